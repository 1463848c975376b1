"""Every reader by its SQL name, and files named in FROM; what is wrong with files is said, and the session goes on."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

import sqlengine
from sqlengine.errors import BindError, Error, FileError, FormatError

PLACES = pa.table({"q": [1, 2, None], "s": ["a", "b", "c"]})


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a.json").write_text('[{"a":1,"b":[1,2]},{"a":2,"b":null}]')
    Path("b.ndjson").write_text('{"a":1}\n{"a":2}\n')
    Path("b.jsonl").write_text('{"a":3}\n')
    with gzip.open("c.csv.gz", "wt") as file:
        file.write("x,y\n1,2\n")
    Path("t.tsv").write_text("x\ty\n1\thello\n")
    feather.write_feather(PLACES, "d.arrow", compression="lz4")
    pq.write_table(PLACES, "p.parquet")
    os.makedirs("year=2024/m=1")
    os.makedirs("year=2025/m=2")
    pq.write_table(PLACES, "year=2024/m=1/f.parquet")
    pq.write_table(PLACES.slice(0, 1), "year=2025/m=2/f.parquet")
    return tmp_path


@pytest.mark.parametrize(
    "query",
    [
        "from 'a.json'",
        "from 'b.ndjson'",
        "from 'b.jsonl'",
        "from read_json('a.json')",
        "from read_json_auto(['b.ndjson', 'b.jsonl'])",
        "from read_ndjson('b.ndjson')",
        "from 'c.csv.gz'",
        "from 't.tsv'",
        "from read_csv_auto('c.csv.gz', all_varchar = true)",
        "from read_csv('c.csv.gz', types = {'x': 'VARCHAR'})",
        "from read_csv('c.csv.gz', columns = {'x': 'VARCHAR', 'y': 'DOUBLE'})",
        "from read_csv('c.csv.gz', names = ['p'], header = true)",
        "select filename, content, size from read_text('*.json*')",
        "select content from read_blob(['a.json', 'b.ndjson'])",
        "select count(last_modified) from read_blob('*')",
        "from glob('*.json*')",
        "from glob('none*')",
        "select name, type, repetition_type from parquet_schema('p.parquet') where column_id > 0",
        "select row_group_num_rows, path_in_schema, num_values, stats_min_value from parquet_metadata('p.parquet')",
        "select num_rows, num_row_groups from parquet_file_metadata('p.parquet')",
        "from read_parquet('year=*/**/*.parquet') where year = 2025",
        "select year, m, count(*) from 'year=*/*/*.parquet' group by all order by all",
        "select * from read_parquet('year=*/*/*.parquet', hive_partitioning = false)",
        "select filename, count(*) from read_parquet('year=*/*/*.parquet', filename = true) group by all order by all",
        "select typeof(year) from read_parquet('year=*/*/*.parquet', hive_types = {'year': 'VARCHAR'}) limit 1",
        "select file_row_number, q from read_parquet('p.parquet', file_row_number = true)",
        "from read_csv('t.tsv', sep = '\t', header = false, skip = 1)",
    ],
)
def test_as_duckdb(folder: Path, query: str) -> None:
    assert sqlengine.connect().sql(query).fetchall() == duckdb.sql(query).fetchall()


def test_arrow_files(folder: Path) -> None:
    for query in ("from 'd.arrow'", "from read_arrow('d.arrow')", "from read_feather('d.arrow')"):
        assert sqlengine.connect().sql(query).to_arrow().equals(PLACES)


@pytest.mark.parametrize(
    ("query", "kind", "text"),
    [
        ("from read_csv('nope.csv')", FileError, "'nope.csv' does not exist"),
        ("from 'none*.parquet'", FileError, "no file matches"),
        ("from 'none/x.parquet'", FileError, "no directory 'none'"),
        ("from read_csv('c.csv.gz', delimm = ';')", BindError, 'did you mean "delim"'),
        ("from read_csv()", BindError, "takes one path"),
        ("from read_parquet(7)", BindError, "a path must be a text"),
        ("from read_json('a.json', format = 'xml')", BindError, "format must be one of"),
        ("from read_csv('c.csv.gz', header = 'maybe')", BindError, "header must be true or false"),
        ("from read_csv('c.csv.gz', compression = 'rar')", BindError, "unknown compression"),
        ("from read_parquet('c.csv.gz')", FormatError, "not a readable Parquet file"),
        ("from read_csv('p.parquet')", FormatError, "not UTF-8"),
        ("from read_text('d.arrow')", FormatError, "read_blob"),
        ("from 'empty.parquet'", FormatError, "it is empty"),
        ("from 'cut.csv.gz'", FormatError, "cut.csv.gz"),
    ],
)
def test_what_is_wrong_is_said_and_the_session_goes_on(folder: Path, query: str, kind: type[Error], text: str) -> None:
    Path("empty.parquet").write_bytes(b"")
    Path("cut.csv.gz").write_bytes(Path("c.csv.gz").read_bytes()[:-12])
    session = sqlengine.connect()
    with pytest.raises(kind) as error:
        session.sql(query).fetchall()
    assert text in str(error.value)
    assert session.sql("select sum(q) from 'p.parquet'").fetchall() == [(3,)]


def test_an_error_about_a_file_shows_where_the_query_names_it(folder: Path) -> None:
    with pytest.raises(FileError) as error:
        sqlengine.sql("select 1\nfrom 'p.parquet'\njoin 'q.parquet' using (q)")
    assert error.value.location is not None and (error.value.location.line, error.value.location.col) == (3, 6)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_no_permission(folder: Path) -> None:
    os.chmod("p.parquet", 0)
    os.chmod("year=2024", 0)
    try:
        for path in ("p.parquet", "year=2024/m=1/f.parquet", "year=2024"):
            with pytest.raises(FileError, match=r"permission|does not exist"):
                sqlengine.sql(f"from '{path}'")
    finally:
        os.chmod("year=2024", 0o755)


def test_files_without_rows(folder: Path) -> None:
    pq.write_table(PLACES.slice(0, 0), "zero.parquet")
    Path("zero.csv").write_text("a,b\n")
    Path("nothing.csv").write_text("")
    Path("nothing.jsonl").write_text("")
    Path("zero.json").write_text("[]")
    for name, columns in [
        ("zero.parquet", 2),
        ("zero.csv", 2),
        ("nothing.csv", 1),
        ("zero.json", 1),
        ("nothing.jsonl", 1),
    ]:
        found = sqlengine.sql(f"from '{name}'").to_arrow()
        assert (found.num_rows, found.num_columns) == (0, columns), name
        assert sqlengine.sql(f"select count(*) from '{name}'").fetchall() == [(0,)]
