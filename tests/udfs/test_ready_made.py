"""The functions of udfs/, loaded by LOAD and asked by SQL."""

from __future__ import annotations

import ast
import datetime
import importlib.util
import io
import struct
import sys
import tarfile
import wave
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import sqlengine
from sqlengine import errors
from sqlengine.session import Session

HERE = Path(__file__).parents[2] / "udfs"


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        for file in sorted(HERE.glob("*.py")):
            made.sql(f"LOAD '{file}'")
        yield made


def rows(session: Session, query: str, *params: Any) -> list[tuple[Any, ...]]:
    return session.sql(query, params).fetchall()


@pytest.mark.parametrize("file", sorted(HERE.glob("*.py")), ids=lambda file: file.stem)
def test_imports_the_public_package_only(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text())):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        for name in names:
            assert name.partition(".")[0] in sys.stdlib_module_names | {"PIL", "pypdf"} or name == "sqlengine", name


def test_normal_form_and_words(session: Session) -> None:
    assert rows(session, "select normalise_text($1)", "  Ｃafé\n\tLATTE\u200b ﬁn ") == [("cafe latte fin",)]
    assert rows(session, "select words($1)", "Don't panic: naïve 東京 x_1") == [
        (["Don't", "panic", "naïve", "東", "京", "x_1"],)
    ]


def test_chunks(session: Session) -> None:
    text = "One two three. Four five six. " * 20
    found = rows(session, "select number, start, text from chunk_text($1, 100, 20)", text)
    assert [n for n, _, _ in found] == list(range(1, len(found) + 1))
    assert all(len(piece) <= 100 and text[start:].startswith(piece) for _, start, piece in found)
    assert all(piece.endswith(".") for _, _, piece in found)
    starts = {place for _, start, piece in found for place in range(start, start + len(piece))}
    assert all(place in starts for place, c in enumerate(text) if not c.isspace())  # nothing is lost
    assert rows(session, "select text from chunk_text('abcdef', 4)") == [("abcd",), ("ef",)]
    assert rows(session, "select * from chunk_text('  ', 4)") == []
    with pytest.raises(errors.UDFError, match="overlap smaller"):
        rows(session, "select * from chunk_text('abc', 2, 2)")


def test_near_duplicates(session: Session) -> None:
    base = " ".join(f"word{i}" for i in range(200))
    texts = [base, base.replace("word7 ", "other "), " ".join(f"else{i}" for i in range(200)), base + " more"]
    session.register("texts", {"id": [1, 2, 3, 4], "body": texts})
    pairs = """
        with signed as (select id, minhash(body) as s from texts),
             banded as (select id, s, b.band from signed, minhash_bands(s) as b)
        select distinct a.id, b.id, minhash_similarity(a.s, b.s) > 0.8
        from banded as a join banded as b on a.band = b.band and a.id < b.id order by all"""
    assert rows(session, pairs) == [(1, 2, True), (1, 4, True), (2, 4, True)]
    assert rows(session, "select len(minhash('')), minhash_similarity(minhash('a b c'), minhash('A, b; c'))") == [
        (64, 1.0)
    ]


PAGE = """<html><head><title>A &amp; B</title><style>p {}</style><base href="/docs/"></head><body>
<h1>Head</h1><p>First <b>line</b>,&nbsp;here<br>second<script>var x = "<p>no</p>";</script></p>
<a href="page.html#x">a  link</a><a>none</a><a href="http://other/">other</a></body></html>"""


def test_html(session: Session) -> None:
    assert rows(session, "select html_title($1), html_text($1)", PAGE) == [
        ("A & B", "Head\nFirst line, here\nsecond\na linknoneother")
    ]
    assert rows(session, "select * from html_links($1, 'http://site/a/b.html')", PAGE) == [
        ("http://site/docs/page.html#x", "a link"),
        ("http://other/", "other"),
    ]
    assert rows(session, "select html_title('<p>x'), html_text('<p>open <i>tags')") == [(None, "open tags")]


def zipped(**entries: str) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in entries.items():
            archive.writestr(
                zipfile.ZipInfo(name.replace("__", "/").replace("_xml", ".xml"), (2020, 1, 2, 3, 4, 6)), text
            )
    return out.getvalue()


def test_documents(session: Session) -> None:
    w = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
    docx = zipped(word__document_xml=f"<w:document {w}><w:body><w:p><w:r><w:t>Hello</w:t><w:tab/><w:t>you</w:t></w:r>"
                  "</w:p><w:p/><w:p><w:r><w:t>Second</w:t></w:r></w:p></w:body></w:document>")  # fmt: skip
    assert rows(session, "select document_kind($1), document_text($1)", docx) == [("docx", "Hello\tyou\nSecond")]
    xlsx = zipped(
        xl__workbook_xml="<workbook/>",
        xl__sharedStrings_xml="<sst><si><t>name</t></si><si><r><t>t</t></r><r><t>wo</t></r></si></sst>",
        xl__worksheets__sheet1_xml='<worksheet><sheetData><row><c t="s"><v>0</v></c><c><v>5</v></c></row>'
        '<row><c t="s"><v>1</v></c></row></sheetData></worksheet>',
        xl__worksheets__sheet2_xml="<worksheet><sheetData><row><c><v>7</v></c></row></sheetData></worksheet>",
    )
    assert rows(session, "select * from document_pages($1)", xlsx) == [(1, "name\t5\ntwo"), (2, "7")]
    slide = '<p:sld xmlns:p="p" xmlns:a="a"><a:p><a:r><a:t>Slide {}</a:t></a:r></a:p></p:sld>'
    pptx = zipped(ppt__presentation_xml="<p/>", **{f"ppt__slides__slide{n}_xml": slide.format(n) for n in (10, 9)})
    assert rows(session, "select text from document_pages($1)", pptx) == [("Slide 9",), ("Slide 10",)]
    odt = zipped(mimetype="application/vnd.oasis.opendocument.text",
                 content_xml='<o xmlns:t="t"><t:h>Title</t:h><t:p>a <t:span>b</t:span></t:p></o>')  # fmt: skip
    assert rows(session, "select document_kind($1), document_text($1)", odt) == [("odt", "Title\na b")]
    with pytest.raises(errors.UDFError, match="neither a PDF nor an office document"):
        rows(session, "select document_text('text'::blob)")
    bomb = bytearray(zipped(word__document_xml=" "))
    place = bomb.index(b"PK\x01\x02") + 24  # in the directory: the size when unpacked
    bomb[place : place + 4] = struct.pack("<I", 300 << 20)
    with pytest.raises(errors.UDFError, match="more than 256 MB"):
        rows(session, "select document_text($1)", bytes(bomb))


def test_pdf(session: Session) -> None:
    if importlib.util.find_spec("pypdf") is None:
        with pytest.raises(errors.UDFError, match="pip install pypdf"):
            rows(session, "select document_text('%PDF-1.4'::blob)")
        return
    from pypdf import PdfWriter

    out = io.BytesIO()
    writer = PdfWriter()
    writer.add_blank_page(100, 100)
    writer.add_blank_page(100, 100)
    writer.write(out)
    assert rows(session, "select document_kind($1), count(*) from document_pages($1)", out.getvalue()) == [("pdf", 2)]


def test_embeddings(session: Session) -> None:
    near, far, itself = rows(
        session,
        """select list_cosine_similarity(embed('the quick brown fox'), embed('quick brown foxes')),
                  list_cosine_similarity(embed('the quick brown fox'), embed('annual report on taxation')),
                  list_cosine_similarity(embed('The FOX', 64), embed('fox the', 64))""",
    )[0]
    assert near > 0.5 > 0.3 > far
    assert itself == pytest.approx(1, abs=1e-6)
    assert rows(session, "select embed('...'), len(embed('x')), typeof(embed('x'))") == [(None, 256, "FLOAT[]")]


def picture(colour: tuple[int, int, int], format_: str = "PNG", mode: str = "RGB") -> bytes:
    out = io.BytesIO()
    image = Image.new("RGB", (400, 300), colour)
    image.paste((255, 255, 255), (0, 0, 200, 100))
    image.convert(mode).save(out, format_)
    return out.getvalue()


def test_images(session: Session) -> None:
    red = picture((200, 10, 10))
    [(small, colours)] = rows(session, "select jpeg_thumbnail($1, 64), colour_statistics($1)", red)
    made = Image.open(io.BytesIO(small))
    assert (made.size, made.format) == ((64, 48), "JPEG")
    assert colours["dominant"] == "#c80a0a"
    assert colours["mean"] == pytest.approx([209.2, 50.8, 50.8], abs=2)
    query = "select hash_distance(perceptual_hash($1), perceptual_hash($2))"
    assert rows(session, query, red, picture((200, 10, 10), "JPEG"))[0][0] <= 2
    turned = io.BytesIO()
    Image.open(io.BytesIO(red)).rotate(180).save(turned, "PNG")
    assert rows(session, query, red, turned.getvalue())[0][0] > 16
    with pytest.raises(errors.UDFError, match="cannot identify image"):
        rows(session, "select perceptual_hash('text'::blob)")


def test_archives(session: Session) -> None:
    archive = zipped(readme="hello", dir__a_xml="<a/>")
    query = "select name, size, modified, directory from archive_entries($1)"
    when = datetime.datetime(2020, 1, 2, 3, 4, 6)
    assert rows(session, query, archive) == [("readme", 5, when, False), ("dir/a.xml", 4, when, False)]
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        info = tarfile.TarInfo("notes.txt")
        info.size = 5
        tar.addfile(info, io.BytesIO(b"notes"))
    packed = out.getvalue()
    assert rows(session, query, packed) == [("notes.txt", 5, datetime.datetime(1970, 1, 1), False)]
    for data, name, text in ((archive, "readme", b"hello"), (packed, "notes.txt", b"notes")):
        assert rows(session, "select archive_read($1, $2), archive_read($1, 'none')", data, name) == [(text, None)]
        with pytest.raises(errors.UDFError, match="more than 3 bytes"):
            rows(session, "select archive_read($1, $2, 3)", data, name)
    with pytest.raises(errors.UDFError, match="neither a zip nor a tar"):
        rows(session, "select * from archive_entries('text'::blob)")


def test_audio(session: Session) -> None:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(2)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(bytes(4 * 4000))
    [(info,)] = rows(session, "select audio_info($1)", out.getvalue())
    assert info == {"format": "wav", "seconds": 0.5, "rate": 8000, "channels": 2, "bits": 16, "title": None,
                    "artist": None}  # fmt: skip
    packed = (44100 << 44) | (1 << 41) | (15 << 36) | 441000
    tags = b"".join(struct.pack("<I", len(t)) + t for t in (b"TITLE=Song", b"artist=Me"))
    comments = struct.pack("<I", 3) + b"abc" + struct.pack("<I", 2) + tags
    flac = b"fLaC" + b"\0\0\0\x22" + bytes(10) + packed.to_bytes(8, "big") + bytes(16)
    flac += b"\x84" + len(comments).to_bytes(3, "big") + comments
    [(info,)] = rows(session, "select audio_info($1)", flac)
    assert (info["rate"], info["channels"], info["bits"], info["seconds"]) == (44100, 2, 16, 10.0)
    assert (info["title"], info["artist"]) == ("Song", "Me")
    title = b"TIT2" + (6).to_bytes(4, "big") + b"\0\0" + b"\x03Title"
    mp3 = b"ID3\x03\0\0" + bytes([0, 0, 0, len(title)]) + title + b"\xff\xfb\x90\x00" + bytes(16000 - 4)
    [(info,)] = rows(session, "select audio_info($1)", mp3)
    assert (info["format"], info["rate"], info["channels"], info["seconds"]) == ("mp3", 44100, 2, 1.0)
    assert info["title"] == "Title"
    with pytest.raises(errors.UDFError, match="neither WAV, FLAC nor MP3"):
        rows(session, "select audio_info('text'::blob)")


def test_in_a_process_of_its_own(session: Session) -> None:
    """A loaded file works in a worker process too: functions with helpers, classes, types of their own."""
    assert rows(
        session, "select words(x, isolate => 'process'), len(embed(x, isolate => 'process')) from (values ('a b')) t(x)"
    ) == [(["a", "b"], 256)]
