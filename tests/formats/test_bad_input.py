"""Bad files and bad values, through SQL: the error names what is wrong, where, and what to do; the session goes on."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sqlengine
from sqlengine.errors import Error

GOOD = pa.table({"a": list(range(60_000)), "s": [f"text {n % 1000}" for n in range(60_000)]})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bad")
    pq.write_table(GOOD, path / "good.parquet", row_group_size=20_000)
    data = (path / "good.parquet").read_bytes()
    (path / "cut.parquet").write_bytes(data[: len(data) // 2])
    (path / "nothing.parquet").write_bytes(b"")
    (path / "text.parquet").write_text("a,b\n1,2\n")
    footer = pq.read_metadata(path / "good.parquet")
    at = footer.row_group(1).column(1).data_page_offset + 30
    (path / "page.parquet").write_bytes(data[:at] + bytes(200) + data[at + 200 :])
    (path / "footer.parquet").write_bytes(data[:-100] + b"\xff" * 80 + data[-20:])
    bad_text = pa.array([b"good", b"b\xffd"]).view(pa.string())
    pq.write_table(pa.table({"s": bad_text}), path / "utf8.parquet")
    texts = {
        "few.csv": "a,b,c\n" + "1,2,3\n" * 100_000 + "1,2\n" + "1,2,3\n",
        "many.csv": "a,b,c\n" + "1,2,3\n" * 100_000 + "1,2,3,4\n" + "1,2,3\n",
        "type.csv": "a,b\n" + "1,2\n" * 100_000 + "x,2\n" + "1,2\n",
        "quote.csv": "a,b\n" + "1,x\n" * 100_000 + '1,"abc\n2,x\n' + "3,y\n",
        "short_quote.csv": 'a,b\n1,"abc\n2,x\n',
        "broken.jsonl": '{"a": 1}\n' * 30_000 + '{"a":\n' + '{"a": 1}\n',
        "type.jsonl": '{"a": 1}\n' * 100_000 + '{"a": "x"}\n',
        "names/1.csv": "a,b\n1,2\n",
        "names/2.csv": "a,c\n1,2\n",
        "stray.csv": 'a,b\n1,5" pipe\n2,x\n',
        "comma.csv": "a;b\n1,5;x\n2,25;y\n",
    }
    for name, text in texts.items():
        (path / name).parent.mkdir(exist_ok=True)
        (path / name).write_text(text)
    (path / "latin.csv").write_bytes(b"a,b\n" + b"1,x\n" * 100_000 + b"2,caf\xe9\n" + b"1,x\n")
    (path / "wide.csv").write_bytes("a,b\n1,é\n".encode("utf-16"))
    for number, table in enumerate((pa.table({"a": [1], "b": ["x"]}), pa.table({"a": ["q"], "b": ["x"]}))):
        (path / "types").mkdir(exist_ok=True)
        pq.write_table(table, path / "types" / f"{number}.parquet")
    return path


@pytest.fixture(scope="module")
def session(folder: Path) -> Iterator[sqlengine.session.Session]:
    with sqlengine.connect(threads=2) as found:
        yield found


@pytest.mark.parametrize(
    ("query", "code", "parts"),
    [
        ("select max(s) from '{}/cut.parquet'", "format_error", ["cut.parquet", "may be truncated"]),
        ("select max(s) from '{}/nothing.parquet'", "format_error", ["nothing.parquet", "it is empty"]),
        ("select max(s) from '{}/text.parquet'", "format_error", ["text.parquet", "not a readable Parquet file"]),
        ("select max(s) from '{}/footer.parquet'", "format_error", ["footer.parquet", "not a readable Parquet file"]),
        ("select max(s) from '{}/page.parquet'", "format_error", ["page.parquet", "row group 1", "column 's'"]),
        ("select * from '{}/utf8.parquet'", "format_error", ["utf8.parquet", "column 's'", "not UTF-8"]),
        ("select sum(a) from '{}/few.csv'", "ragged_row", ["few.csv, line 100002", "2 cells instead of 3"]),
        ("select sum(a) from '{}/many.csv'", "ragged_row", ["many.csv, line 100002", "4 cells instead of 3"]),
        ("select count(b) from '{}/latin.csv'", "encoding", ["latin.csv, line 100002", "column 'b'", "encoding => "]),
        ("select * from '{}/wide.csv'", "encoding", ["wide.csv", "UTF-8"]),
        (
            "select sum(a) from '{}/type.csv'",
            "type_change",
            ["type.csv, line 100002", "column 'a'", "'x' is not a BIGINT", "types={'a': 'VARCHAR'}"],
        ),
        ("select sum(a) from '{}/quote.csv'", "unclosed_quote", ["quote.csv, line 100002"]),
        ("select * from '{}/short_quote.csv'", "unclosed_quote", ["short_quote.csv, line 2"]),
        ("select sum(a) from '{}/broken.jsonl'", "format_error", ["broken.jsonl, line 30001", "ignore_errors"]),
        ("select sum(a) from '{}/type.jsonl'", "format_error", ["type.jsonl, row 100001", "column 'a'", "columns="]),
        ("select a from '{}/types/*.parquet'", "schema_drift", ["'a' is BIGINT", "0.parquet", "1.parquet", "VARCHAR"]),
        ("select a from '{}/names/*.csv'", "schema_drift", ["'b'", "1.csv", "missing in", "2.csv", "union_by_name"]),
        ("from '{}/gone.parquet'", "file_not_found", ["gone.parquet", "there are "]),
        ("from '{}/nowhere/*.csv'", "file_not_found", ["nowhere"]),
        ("copy (select 1) to '{}/nowhere/x.parquet'", "file_error", ["there is no directory", "nowhere"]),
        ("select a // (a - a) from '{}/good.parquet'", "division_by_zero", ["<command>:1:", "NULLIF"]),
        (
            "select a + 9223372036854775807 from '{}/good.parquet'",
            "out_of_range",
            ["<command>:1:", "BIGINT", "HUGEINT"],
        ),
        ("select s::int from '{}/good.parquet'", "invalid_cast", ["1:8", "'text 0'", "TRY_CAST"]),
        ("select 300::tinyint", "invalid_cast", ["300", "TINYINT"]),
    ],
)
def test_the_error_says_where_and_what_to_do(
    session: sqlengine.session.Session, folder: Path, query: str, code: str, parts: list[str]
) -> None:
    with pytest.raises(Error) as caught:
        session.sql(query.format(folder)).fetchall()
    text = str(caught.value)
    assert caught.value.code == code, text
    assert caught.value.hint or code == "encoding", text
    for part in parts:
        assert part in text, text
    assert session.sql(f"select count(*) from '{folder}/good.parquet'").fetchall() == [(60_000,)]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("select count(*), max(b) from read_csv('{}/latin.csv', encoding => 'latin-1') where a = 2", (1, "café")),
        ("select a, b from read_csv('{}/wide.csv', encoding => 'utf-16')", (1, "é")),
        ("select sum(a), count(*) from read_csv('{}/type.csv', ignore_errors => true)", (100_001, 100_001)),
        ("select count(*) from read_csv('{}/few.csv', ignore_errors => true)", (100_001,)),
        ("select count(*) from read_csv('{}/quote.csv', quote => '', ignore_errors => true)", (100_003,)),
        ("select max(b) from '{}/stray.csv'", ("x",)),
        ("select sum(a) from read_csv('{}/comma.csv', delim => ';', decimal_separator => ',')", (3.75,)),
        ("select count(b) from read_csv('{}/names/*.csv', union_by_name => true)", (1,)),
    ],
)
def test_what_the_hints_say_helps(
    session: sqlengine.session.Session, folder: Path, query: str, expected: tuple[object, ...]
) -> None:
    assert session.sql(query.format(folder)).fetchall() == [expected]


def test_parquet_files_with_wrong_bytes(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.formats.flipped_parquet", str(tmp_path), "0", "60"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
