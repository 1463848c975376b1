"""Readers and writers: round trips, pruning, options, and every kind of bad input."""

from __future__ import annotations

import datetime as dt
import decimal
import gzip
import os
import pickle

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sqlengine.errors import BindError, FileError, FormatError, NotSupportedError
from sqlengine.formats import open_source
from sqlengine.formats.base import Bounds, ReadLimits
from sqlengine.formats.memory import memory_source
from sqlengine.formats.writers import open_writer

ROWS = pa.table(
    {
        "i": pa.array([1, None, 3], pa.int64()),
        "s": pa.array(["a,b", "", None]),
        "q": pa.array(['x"y', "z\n1", " p"]),
        "d": pa.array([decimal.Decimal("1.50"), None, decimal.Decimal("-2.25")], pa.decimal128(9, 2)),
        "t": pa.array(
            [dt.datetime(2020, 1, 1, 2, 3), None, dt.datetime(2020, 1, 1, 2, 3, 4, 500000)], pa.timestamp("us")
        ),
        "f": pa.array([1.5, -0.25, None]),
        "l": pa.array([[1, 2], None, []], pa.list_(pa.int64())),
    }
)


LIMITS = ReadLimits()


def table(source, columns=None, bounds=(), limits=LIMITS):
    columns = source.schema.names if columns is None else columns
    schema = pa.schema([source.schema.field(name) for name in columns])
    batches = []
    for split in source.splits(columns, bounds):
        for batch in source.read(split, columns, bounds, limits):
            assert batch.schema == schema
            assert 0 < batch.num_rows <= limits.batch_rows
            batches.append(batch)
    return pa.Table.from_batches(batches, schema)


def write(rows, path, format, **options):
    with open_writer(str(path), rows.schema, format, options) as writer:
        for batch in rows.to_batches(max_chunksize=2):
            writer.write(batch)
        writer.commit()
    return str(path)


def text(path, content, encoding="utf-8"):
    path.write_bytes(content.encode(encoding))
    return str(path)


@pytest.mark.parametrize("format", ["parquet", "arrow"])
def test_binary_round_trip_keeps_everything(tmp_path, format):
    path = write(ROWS, tmp_path / f"t.{format}", format)
    assert table(open_source(path)).equals(ROWS)
    assert table(open_source(path), ["s", "i"]).equals(ROWS.select(["s", "i"]))
    assert table(open_source(path), []).num_rows == 3


@pytest.mark.parametrize("format", ["csv", "jsonl"])
def test_text_round_trip_as_duckdb_reads_it(tmp_path, format):
    path = write(ROWS, tmp_path / f"t.{format}", format)
    ours = table(open_source(path))
    reader = f"read_csv('{path}', allow_quoted_nulls=false)" if format == "csv" else f"'{path}'"
    theirs = duckdb.sql(f"select i, s, q, d::double, t::timestamp, f from {reader}").fetchall()
    assert list(zip(*(ours.column(n).to_pylist() for n in "isqdtf"), strict=True)) == theirs
    assert ours.column("s").to_pylist() == ["a,b", "", None]


@pytest.mark.parametrize("name", ["t.csv.gz", "t.csv.zst", "t.tsv", "t.json.gz"])
def test_compressed_and_tab_separated_text(tmp_path, name):
    format = "json" if "json" in name else "csv"
    path = write(ROWS.select(["i", "s"]), tmp_path / name, format)
    assert table(open_source(path)).equals(ROWS.select(["i", "s"]))


def test_json_array_and_nested_types(tmp_path):
    path = write(ROWS.select(["i", "l"]), tmp_path / "t.json", "json", array=True)
    assert table(open_source(path)).equals(ROWS.select(["i", "l"]))
    nested = text(tmp_path / "n.jsonl", '{"a": {"b": [1, 2.5]}, "d": "2020-01-02"}\n\n{"a": null, "x": true}\n')
    found = table(open_source(nested))
    assert found.schema.field("a").type == pa.struct([("b", pa.list_(pa.float64()))])
    assert found.to_pylist() == [
        {"a": {"b": [1.0, 2.5]}, "d": dt.date(2020, 1, 2), "x": None},
        {"a": None, "d": None, "x": True},
    ]


def test_partitioned_write_and_hive_read(tmp_path):
    rows = pa.table({"k": ["a/b", None, "c"] * 10, "n": list(range(30)), "v": list(range(30))})
    path = str(tmp_path / "out")
    with open_writer(path, rows.schema, "parquet", {"PARTITION_BY": ["k"]}) as writer:
        for batch in rows.to_batches(max_chunksize=7):
            writer.write(batch)
        writer.commit()
    source = open_source(path, options={"filename": True})
    found = table(source).sort_by("n")
    assert found.select(["k", "n", "v"]).equals(rows)
    assert len(source.splits(["v"], [Bounds("k", values=frozenset({"c"}))])) == 1
    with pytest.raises(FileError, match="not empty"):
        open_writer(path, rows.schema, "parquet", {"partition_by": ["k"]})


def test_more_partitions_than_open_files(tmp_path):
    rows = pa.table({"k": list(range(40)) * 3, "v": list(range(120))})
    path = str(tmp_path / "out")
    with open_writer(path, rows.schema, "csv", {"partition_by": "k"}) as writer:
        for batch in rows.to_batches(max_chunksize=40):
            writer.write(batch)
        writer.commit()
    assert table(open_source(f"{path}/**/*.csv")).sort_by("v").select(["k", "v"]).equals(rows)


def test_a_failed_write_leaves_nothing(tmp_path):
    target = tmp_path / "t.csv"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), open_writer(str(target), ROWS.schema, "csv", {}) as writer:
        writer.write(ROWS.to_batches()[0])
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == ["t.csv"] and target.read_text() == "old"
    with pytest.raises(FileError, match="cannot write"):
        open_writer(str(tmp_path / "no" / "t.csv"), ROWS.schema, "csv", {})
    with pytest.raises(BindError, match="DELM"):
        open_writer(str(target), ROWS.schema, "csv", {"delm": ";"})
    assert os.listdir(tmp_path) == ["t.csv"]


def test_row_groups_are_pruned_but_never_a_row_lost(tmp_path):
    path = str(tmp_path / "t.parquet")
    rows = pa.table(
        {"a": list(range(1000)), "f": [float("nan") if i == 5 else 1.0 for i in range(1000)], "n": [None] * 1000}
    )
    rows = rows.set_column(2, "n", rows.column("n").cast(pa.int32()))
    pq.write_table(rows, path, row_group_size=100)
    source = open_source(path)

    def numbers(bound):
        return set(table(source, ["a"], [bound]).column("a").to_pylist())

    assert numbers(Bounds("a", 250, 260)) >= set(range(250, 261))
    assert len(numbers(Bounds("a", 250, 260))) < 1000
    assert numbers(Bounds("a", high=100, high_open=True)) >= set(range(100))
    assert numbers(Bounds("a", low=5000)) == set()
    assert numbers(Bounds("n", low=1)) == set()
    assert 5 in numbers(Bounds("f", low=2.0))  # NaN is greater than every number
    assert numbers(Bounds("a", low="text")) == set(range(1000))


def test_parquet_stats_come_from_the_footer(tmp_path):
    path = write(ROWS, tmp_path / "t.parquet", "parquet")
    stats = open_source(path).stats(["i", "s"])
    assert (stats.rows, stats.origin) == (3, "footer")
    assert (stats.columns["i"].min, stats.columns["i"].max, stats.columns["i"].distinct) == (1, 3, 3)
    assert stats.columns["i"].null_fraction == pytest.approx(1 / 3)


def test_row_numbers_union_and_drift(tmp_path):
    a = write(pa.table({"x": pa.array([1, 2], pa.int32())}), tmp_path / "a.parquet", "parquet")
    b = write(pa.table({"x": pa.array([2**40]), "y": ["b"]}), tmp_path / "b.parquet", "parquet")
    found = table(open_source([a, b], options={"union_by_name": True, "file_row_number": True}))
    assert found.to_pylist() == [
        {"x": 1, "y": None, "file_row_number": 0}, {"x": 2, "y": None, "file_row_number": 1},
        {"x": 2**40, "y": "b", "file_row_number": 0},
    ]  # fmt: skip
    with pytest.raises(FormatError, match="'x' is INTEGER"):
        open_source([a, b]).schema  # noqa: B018
    with pytest.raises(FormatError, match=r"'y' .* missing"):
        open_source([b, a]).schema  # noqa: B018


def test_engine_types_only(tmp_path):
    path = str(tmp_path / "t.parquet")
    views = pa.table(
        {
            "v": pa.array(["a", None], pa.string_view()),
            "l": pa.array([["x"], None], pa.list_(pa.string_view())),
            "e": pa.array(["r", "r"]).dictionary_encode(),
            "n": pa.array([dt.datetime(2020, 1, 1), None], pa.timestamp("ns")),
        }
    )
    pq.write_table(views, path)
    source = open_source(path)
    assert source.schema.field("v").type == pa.string()
    assert source.schema.field("l").type == pa.list_(pa.string())
    assert source.schema.field("e").type == pa.string()
    assert table(source).column("l").to_pylist() == [["x"], None]


def test_sources_pickle_without_open_files(tmp_path):
    for format in ("parquet", "csv", "jsonl", "arrow"):
        source = open_source(write(ROWS.select(["i", "s"]), tmp_path / f"t.{format}", format))
        expected = table(source)
        assert table(pickle.loads(pickle.dumps(source))).equals(expected)


def test_wide_rows_come_in_small_batches(tmp_path):
    path = str(tmp_path / "wide.parquet")
    # The file holds each text once; as a column it is 200 MB.
    pq.write_table(pa.table({"s": ["x" * 1_000_000] * 200, "i": list(range(200))}), path)
    limits = ReadLimits(batch_bytes=4 << 20)
    source = open_source(path)
    rows = 0
    for split in source.splits(["s", "i"], []):
        for batch in source.read(split, ["s", "i"], [], limits):
            assert batch.nbytes < 6 << 20
            rows += batch.num_rows
    assert rows == 200


def test_missing_files_name_what_is_there(tmp_path):
    write(ROWS, tmp_path / "orders.parquet", "parquet")
    with pytest.raises(FileError, match=r"does not exist(.|\n)*orders.parquet"):
        open_source(str(tmp_path / "order.parquet"))
    with pytest.raises(FileError, match="no file matches"):
        open_source(str(tmp_path / "*.csv"))
    with pytest.raises(FileError, match="no directory"):
        open_source(str(tmp_path / "no" / "x.csv"))
    with pytest.raises(NotSupportedError, match="read_parquet"):
        open_source(text(tmp_path / "x.odd", "a"))
    with pytest.raises(BindError, match="hav_header"):
        open_source(text(tmp_path / "x.csv", "a"), options={"hav_header": True})
    os.makedirs(tmp_path / "empty")
    with pytest.raises(FileError, match="holds no"):
        open_source(str(tmp_path / "empty"))


def test_truncated_and_corrupt_files(tmp_path):
    big = pa.table({"a": list(range(100_000)), "s": [str(i) for i in range(100_000)]})
    whole = tmp_path / "t.parquet"
    pq.write_table(big, whole, compression="zstd")
    data = whole.read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(FormatError, match=r"cut.parquet is not a readable Parquet"):
        open_source(str(tmp_path / "cut.parquet")).schema  # noqa: B018
    (tmp_path / "bad.parquet").write_bytes(data[:4] + b"\xff" * 100 + data[104:])
    with pytest.raises(FormatError, match=r"row group 0 of .*bad.parquet"):
        table(open_source(str(tmp_path / "bad.parquet")))
    (tmp_path / "zero.parquet").write_bytes(b"")
    with pytest.raises(FormatError, match="empty"):
        open_source(str(tmp_path / "zero.parquet")).schema  # noqa: B018
    write(big, tmp_path / "t.arrow", "arrow")
    (tmp_path / "cut.arrow").write_bytes((tmp_path / "t.arrow").read_bytes()[:5000])
    with pytest.raises(FormatError, match="Arrow IPC"):
        open_source(str(tmp_path / "cut.arrow")).schema  # noqa: B018


@pytest.mark.parametrize(
    ("content", "encoding", "message"),
    [
        ("a,b\n" + "1,x\n" * 400_000 + "foo,y\n", "utf-8", "line 400002, column 'a': 'foo' is not a BIGINT"),
        ("a,b\n1,x\n1,2,3\n", "utf-8", "line 3: 3 cells instead of 2"),
        ("a,b\n1,\xe9\n", "latin-1", "not UTF-8"),
        ("a,b\n" + "1,x\n" * 400_000 + "1,\xe9\n", "latin-1", "line 400002, column 'b': the text is not UTF-8"),
        ("a,b\n1,x\n", "utf-16", "not UTF-8"),
    ],
)
def test_bad_csv_is_named_by_line_and_column(tmp_path, content, encoding, message):
    with pytest.raises(FormatError, match=message):
        table(open_source(text(tmp_path / "t.csv", content, encoding)))


@pytest.mark.parametrize(
    ("content", "options", "expected"),
    [
        ("1,x\n2,y\n", {}, [{"column0": 1, "column1": "x"}, {"column0": 2, "column1": "y"}]),
        ('a;b\n1;"x;\n1"\n', {}, [{"a": 1, "b": "x;\n1"}]),
        ("# c\na|b\n1|NA\n2|3\n", {"skip": 1, "nullstr": "NA"}, [{"a": 1, "b": None}, {"a": 2, "b": 3}]),
        ("a,b\n1,'x\\'y'\n", {"quote": "'", "escape": "\\"}, [{"a": 1, "b": "x'y"}]),
        ("a,b\n1,2\nx,3\n4\n", {"ignore_errors": True, "types": {"a": "BIGINT"}}, [{"a": 1, "b": 2}]),
        ("d\n31/12/2020\n", {"dateformat": "%d/%m/%Y"}, [{"d": dt.date(2020, 12, 31)}]),
        ("a\n1\n", {"all_varchar": True, "header": True}, [{"a": "1"}]),
        ("a,a\n1,2\n", {"header": True}, [{"a": 1, "a_1": 2}]),
        ("a,b\n1,2\n", {"columns": {"x": "INT", "y": "DECIMAL(5,1)"}}, [{"x": 1, "y": decimal.Decimal("2.0")}]),
        ("a,b\n", {}, []),
        ("z,p\n007,+5\n01,1\n", {}, [{"z": "007", "p": "+5"}, {"z": "01", "p": "1"}]),
        ("n\n9223372036854775808\n1\n", {}, [{"n": decimal.Decimal(2**63)}, {"n": decimal.Decimal(1)}]),
        ("\ufeffa,b\n1,2\n", {}, [{"a": 1, "b": 2}]),
        ("a,b\r\n1,2\r\n", {}, [{"a": 1, "b": 2}]),
        ("a,b\n1," + "z" * 3_000_000 + "\n2,k\n", {}, [{"a": 1, "b": "z" * 3_000_000}, {"a": 2, "b": "k"}]),
    ],
)
def test_csv_dialects(tmp_path, content, options, expected):
    assert table(open_source(text(tmp_path / "t.csv", content), options=options)).to_pylist() == expected


def test_large_csv_is_read_in_ranges(tmp_path):
    path = text(tmp_path / "t.csv", "a,b\n" + "".join(f"{i},{'x' * 40}\n" for i in range(900_000)))
    source = open_source(path)
    assert len(source.splits(["a"], [])) > 1
    assert table(source, ["a"]).column("a").to_pylist() == list(range(900_000))


def test_bad_json(tmp_path):
    broken = text(tmp_path / "a.jsonl", '{"a": 1}\n{"a": \n{"a": 2}\n')
    with pytest.raises(FormatError, match="line 2"):
        table(open_source(broken))
    assert table(open_source(broken, options={"ignore_errors": True})).column("a").to_pylist() == [1, 2]
    with pytest.raises(FormatError, match="not UTF-8"):
        table(open_source(text(tmp_path / "l.jsonl", '{"a": "x"}\n' * 30_000 + '{"a": "\xe9"}\n', "latin-1")))
    late = text(tmp_path / "b.jsonl", '{"a": 1}\n' * 30_000 + '{"a": "x"}\n')
    with pytest.raises(FormatError, match="row 30001, column 'a'"):
        table(open_source(late))
    assert table(open_source(late, options={"columns": {"a": "VARCHAR"}})).column("a")[30_000].as_py() == "x"
    with pytest.raises(FormatError, match="element 2 of the array"):
        table(open_source(text(tmp_path / "c.json", '[{"a": 1}, {"a"')))
    with gzip.open(tmp_path / "d.json.gz", "wb") as file:
        file.write(b'{"a": 1}\n' * 1000)
    (tmp_path / "e.json.gz").write_bytes((tmp_path / "d.json.gz").read_bytes()[:-12])
    with pytest.raises(FormatError, match="cannot read"):
        table(open_source(str(tmp_path / "e.json.gz")))


def test_memory_sources():
    assert table(memory_source(ROWS)).equals(ROWS)
    assert table(memory_source([{"a": 1}, {"a": None}])).to_pylist() == [{"a": 1}, {"a": None}]
    reader = pa.RecordBatchReader.from_batches(ROWS.schema, ROWS.to_batches())
    source = memory_source(reader)
    assert table(source).equals(table(source))


def test_memory_takes_other_layouts_and_libraries():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"s": ["a", None], "n": [1, 2]})
    assert table(memory_source(frame)).to_pylist() == [{"s": "a", "n": 1}, {"s": None, "n": 2}]
    odd = pa.table(
        {
            "v": pa.array(["a", "b"], pa.string_view()),
            "g": pa.array(["c", None], pa.large_string()),
            "r": pa.RunEndEncodedArray.from_arrays([2], pa.array([7])),
            "d": pa.array(["z" * 1000, "z" * 1000]).dictionary_encode(),
        }
    )
    source = memory_source(odd)
    assert source.schema.types == [pa.string(), pa.string(), pa.int64(), pa.string()]
    assert table(source, limits=ReadLimits(batch_bytes=1500)).column("r").to_pylist() == [7, 7]
    wide = pa.table({"d": pa.array(["z" * 100_000] * 5000).dictionary_encode()})
    source = memory_source(wide)
    for batch in source.read(source.splits(["d"], [])[0], ["d"], [], ReadLimits(batch_bytes=1 << 20)):
        assert batch.nbytes < 1_200_000
    assert table(memory_source([{"a": 1}, {"b": "x"}])).to_pylist() == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert table(memory_source(ROWS), []).num_rows == 3


def test_large_json_lines_are_read_in_ranges(tmp_path, monkeypatch):
    monkeypatch.setattr("sqlengine.formats.json._RANGE", 50_000)
    lines = [f'{{"a": {i}, "s": "é{i % 7}"}}' for i in range(20_000)]
    source = open_source(text(tmp_path / "t.jsonl", "\n".join(lines)))
    assert len(source.splits(["a"], [])) > 5
    assert table(source, ["a"]).column("a").to_pylist() == list(range(20_000))
    lines[15_000] = '{"a": '
    with pytest.raises(FormatError, match="line 15001"):
        table(open_source(text(tmp_path / "b.jsonl", "\n".join(lines))))
    lines[15_000] = '{"a": "x"}'
    with pytest.raises(FormatError, match="row 15001, column 'a'"):
        table(open_source(text(tmp_path / "c.jsonl", "\n".join(lines)), options={"sample_size": 100}))
