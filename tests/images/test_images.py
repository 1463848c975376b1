"""Image functions: what they give, what they refuse, and that batches are cut by decoded bytes."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Iterator
from typing import Any

import psutil
import pytest
from PIL import Image

import sqlengine
from sqlengine import errors
from sqlengine.runtime.images.picture import decoded
from sqlengine.session import Session
from tests.weight import above_weight


def encoded(width: int, height: int, colour: Any, format_: str = "PNG", mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    Image.new(mode, (width, height), colour).save(out, format_)
    return out.getvalue()


def slope(width: int, height: int) -> bytes:
    out = io.BytesIO()
    Image.linear_gradient("L").rotate(90).resize((width, height)).save(out, "JPEG", quality=95)
    return out.getvalue()


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        red, green = encoded(64, 48, (255, 0, 0)), encoded(10, 5, (0, 128, 0), "GIF")
        made.register("t", {"n": [1, 2, 3], "b": [red, green, None]})
        yield made


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    return session.sql(query).fetchall()


def test_decoding(session: Session) -> None:
    first, second, none = (row[0] for row in rows(session, "select image_decode(b) from t order by n"))
    assert (first["width"], first["height"], first["mode"], first["format"]) == (64, 48, "RGB", "png")
    assert first["pixels"] == b"\xff\x00\x00" * 64 * 48
    assert (second["mode"], second["format"], none) == ("RGB", "gif", None)
    assert rows(session, "select typeof(image_decode(b)), decode_image(b, 'L').mode from t where n = 1") == [
        ("IMAGE", "L")
    ]
    assert rows(session, "select image_decode(b)::varchar, image_resize(b, 8, 8)::varchar from t where n < 3") == [
        (f"<image 64x48 RGB png {len(encoded(64, 48, (255, 0, 0)))} B>", "<image 8x8 RGB 192 B>"),
        (f"<image 10x5 RGB gif {len(encoded(10, 5, (0, 128, 0), 'GIF'))} B>", "<image 8x8 RGB 192 B>"),
    ]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F"])
def test_every_mode_has_its_pixels(mode: str) -> None:
    made = decoded(encoded(3, 2, 1, "TIFF", mode))
    row = made.row()
    assert len(row["pixels"]) == 6 * {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 2, "I": 4, "F": 4}[row["mode"]]


def test_chains(session: Session) -> None:
    """A chain is one operator, and gives what its steps give one by one."""
    session.register("p", {"b": [slope(300, 200)]})
    chain = "image_mean(image_crop(image_resize(image_decode(b), 30, 20), 0, 10, 30, 10))"
    plan = session.sql(f"select {chain} from p").explain("physical")
    assert plan.count("CallUdf") == 1
    session.sql("create table steps as select image_decode(b) as i from p")
    session.sql("create table smaller as select image_resize(i, 30, 20) as i from steps")
    session.sql("create table part as select image_crop(i, 0, 10, 30, 10) as i from smaller")
    assert rows(session, f"select {chain} from p") == rows(session, "select image_mean(i) from part")
    # What two calls want is made once.
    both = "select image_hash(i), image_mean(i) from (select image_resize(b, 64, 64) as i from p)"
    plan = session.sql(both).explain("physical")
    assert plan.count("= image_resize(") == 1 and plan.count("CallUdf") == 3
    assert len(rows(session, both)) == 1


def test_functions(session: Session) -> None:
    assert rows(session, "select image_info(b) from t where n = 1") == [
        ({"width": 64, "height": 48, "mode": "RGB", "format": "png", "size": len(encoded(64, 48, (255, 0, 0)))},)
    ]
    assert rows(session, "select image_mean(b) from t order by n") == [([255, 0, 0],), ([0, 128, 0],), (None,)]
    [(size,)] = rows(session, "select image_info(image_thumbnail(b, 32, 32)) from t where n = 1")
    assert (size["width"], size["height"]) == (32, 24)
    [(file,)] = rows(session, "select image_encode(image_to_mode(b, 'L'), 'jpeg', quality => 70) from t where n = 1")
    assert Image.open(io.BytesIO(file)).mode == "L"
    assert rows(session, "select image_pixels(resize(b, 2, 1, 'nearest'))::utinyint[6] from t where n = 1") == [
        ([255, 0, 0, 255, 0, 0],)
    ]
    session.register("alike", {"b": [slope(300, 200), slope(150, 100), encoded(50, 50, (9, 9, 9))]})
    for kind in ("difference", "average", "perceptual"):
        found = rows(session, f"select image_hash(b, '{kind}') from alike")
        near, far = (bin(found[0][0] ^ other[0]).count("1") for other in found[1:])
        assert near < far / 2


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("image_decode('no image'::blob)", "8 bytes are not an image of a known format"),
        ("image_decode(b, max_pixels => 100)", "64x48 are more than 100 pixels"),
        ("image_crop(b, 60, 0, 10, 10)", "10x10 at 60,0 is not inside 64x48"),
        ("image_resize(b, 0, 5)", "cannot be resized to 0x5"),
        ("image_resize(b, 5, 5, 'best')", "no filter 'best'"),
        ("image_to_mode(b, 'XYZ')", "no mode 'XYZ'"),
        ("image_encode(b, 'doc')", "no format 'doc'"),
        ("image_hash(b, 'md5')", "no kind of hash 'md5'"),
    ],
)
def test_what_will_not_do(session: Session, call: str, message: str) -> None:
    with pytest.raises(errors.UDFError, match=message):
        rows(session, f"select {call} from t where n = 1")
    lenient = call[:-1] + ", on_error => 'null')"
    assert rows(session, f"select {lenient} is null from t where n = 1") == [(True,)]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        ("image_resize(b)", "wants width"),
        ("image_resize(b, 1, 2, 'box', 4)", "takes at most 4 arguments"),
        ("image_resize(b, current_date, 2)", "width of image_resize.. is DATE"),
        ("image_decode(image_decode(b))", "takes a BLOB, this is IMAGE"),
        ("image_info(n)", "takes an IMAGE, or a BLOB with an image file, this is BIGINT"),
        ("image_decode(b, colour => 'L')", 'unknown option "colour"'),
        ("image_decode(b, max_pixels => 'many')", "is not BIGINT"),
    ],
)
def test_calls_that_do_not_bind(session: Session, call: str, message: str) -> None:
    with pytest.raises(errors.BindError, match=message):
        session.sql(f"select {call} from t")


def test_without_pillow(session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("sqlengine.functions.images.find_spec", lambda n: None if n == "PIL" else found(n))
    with pytest.raises(errors.NotSupportedError, match="needs Pillow") as caught:
        session.sql("select image_decode(b) from t")
    assert caught.value.hint == "pip install 'sqlengine[image]'"


@pytest.mark.parametrize("call", ["image_decode(b)", "image_thumbnail(b, 2, 2)", "image_hash(b)"])
def test_a_file_that_ends_early(session: Session, call: str) -> None:
    session.register("cut", {"b": [encoded(64, 48, (255, 0, 0))[:90], slope(64, 48)[:700]]})
    assert rows(session, f"select {call[:-1]}, on_error => 'null') is null from cut") == [(True,), (True,)]
    with pytest.raises(errors.UDFError, match=r"broken image|truncated"):
        rows(session, f"select {call} from cut")


def test_a_guilty_row_among_good_ones(session: Session) -> None:
    good = encoded(8, 8, (1, 2, 3))
    session.register("m", {"b": [good if i % 50 else b"bad" for i in range(1, 201)]})
    with pytest.raises(errors.UDFError, match="at row 50 of its input"):
        rows(session, "select image_mean(b) from m")
    query = "select count(image_mean(image_decode(b, on_error => 'null'))), count(*) from m"
    assert rows(session, query) == [(196, 200)]


def test_batches_are_cut_by_decoded_bytes() -> None:
    """40 files of 20 KB are 4 MB each when decoded: neither the pool nor the process sees more than a few of them."""
    file = slope(2000, 2000)
    with sqlengine.connect(memory_limit=above_weight(110 << 20), threads=2) as session:
        session.register("m", {"b": [file] * 40})
        before = psutil.Process(os.getpid()).memory_info().rss
        most = 0
        for batch in session.sql("select image_decode(b, 'RGB') as i from m").batches():
            assert batch.num_rows == 1
            most = max(most, psutil.Process(os.getpid()).memory_info().rss)
        assert most - before < 140 << 20  # all of them are 480 MB
        assert session.sql("select count(image_mean(image_decode(b))) from m").fetchall() == [(40,)]
        session.register("huge", {"b": [encoded(9000, 9000, 7, "PNG", "L")]})
        with pytest.raises(errors.MemoryLimitError):
            session.sql("select image_resize(image_decode(b, 'RGB'), 100, 100) from huge").fetchall()
        assert session.sql("select image_info(b).width from huge").fetchall() == [(9000,)]
