"""Our page decoder gives what Arrow's reader gives, whatever wrote the file, and refuses what is not a page."""

from __future__ import annotations

import datetime as dt
import decimal
import random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sqlengine.errors import FormatError
from sqlengine.formats import open_source, parquet_chunks, parquet_huge
from sqlengine.formats.base import ReadLimits, RowTest
from sqlengine.kernels.parquet_pages import CorruptPage, PageDecoder, page_headers
from sqlengine.types import canonical

ROWS = 5000
LIMITS = ReadLimits(1000, 1 << 20)


def column(make, nulls, seed=1):
    rng = random.Random(seed)
    return [None if nulls and rng.random() < nulls else make(rng) for _ in range(ROWS)]


KINDS = {
    "i8": (pa.int8(), lambda r: r.randrange(-128, 128)),
    "u16": (pa.uint16(), lambda r: r.randrange(0, 65536)),
    "i32": (pa.int32(), lambda r: r.randrange(-5, 5)),
    "i64": (pa.int64(), lambda r: r.randrange(-(2**63), 2**63)),
    "u64": (pa.uint64(), lambda r: r.randrange(0, 2**64)),
    "f32": (pa.float32(), lambda r: float(r.randrange(100))),
    "f64": (pa.float64(), lambda r: r.random()),
    "date": (pa.date32(), lambda r: dt.date(2000, 1, 1) + dt.timedelta(r.randrange(3000))),
    "ts_ms": (pa.timestamp("ms"), lambda r: dt.datetime(2000, 1, 1) + dt.timedelta(r.randrange(3000))),
    "ts_s": (pa.timestamp("s"), lambda r: dt.datetime(2000, 1, 1) + dt.timedelta(r.randrange(3000))),
    "ts_tz": (pa.timestamp("us", "UTC"), lambda r: dt.datetime(2000, 1, 1) + dt.timedelta(r.randrange(3000))),
    "time": (pa.time64("us"), lambda r: dt.time(r.randrange(24), 5, 6)),
    "dec9": (pa.decimal128(7, 2), lambda r: decimal.Decimal(r.randrange(-(10**6), 10**6)).scaleb(-2)),
    "dec18": (pa.decimal128(18, 4), lambda r: decimal.Decimal(r.randrange(-(10**15), 10**15)).scaleb(-4)),
    "dec38": (pa.decimal128(38, 5), lambda r: decimal.Decimal(r.randrange(-(10**30), 10**30)).scaleb(-5)),
    "text": (pa.string(), lambda r: "é" * r.randrange(40)),
    "few": (pa.string(), lambda r: r.choice(["", "a", "much longer than sixteen bytes"])),
    "view": (pa.string_view(), lambda r: str(r.randrange(2000))),
    "blob": (pa.binary(), lambda r: bytes(r.randrange(20))),
    "bool": (pa.bool_(), lambda r: r.random() < 0.5),
    "list": (pa.list_(pa.int32()), lambda r: [1] * r.randrange(3)),
    "struct": (pa.struct([("a", pa.int64())]), lambda r: {"a": r.randrange(9)}),
    "one": (pa.string(), lambda r: "the same"),
}


def rows_of(nulls):
    return pa.table({name: pa.array(column(make, nulls), type_) for name, (type_, make) in KINDS.items()})


def read(source, columns, tests=(), limits=LIMITS):
    batches = []
    for split in source.splits(columns, []):
        for batch in source.read_selected(split, columns, tests, [], limits):
            assert 0 < batch.num_rows <= limits.batch_rows
            batches.append(batch)
    schema = pa.schema([source.schema.field(name) for name in columns])
    return pa.Table.from_batches(batches, schema).combine_chunks()


@pytest.mark.parametrize("nulls", [0, 0.3, 1])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"compression": "none", "use_dictionary": False},
        {"compression": "zstd", "data_page_version": "2.0", "data_page_size": 2000, "row_group_size": 1700},
        {"compression": "gzip", "dictionary_pagesize_limit": 3000, "data_page_size": 3000, "write_page_checksum": True},
        {"compression": "lz4", "row_group_size": 999},
        {"compression": "brotli", "store_decimal_as_integer": True, "data_page_size": 500},
        {"column_encoding": {"i32": "DELTA_BINARY_PACKED", "text": "DELTA_BYTE_ARRAY", "f64": "BYTE_STREAM_SPLIT"},
         "use_dictionary": False},
    ],
)  # fmt: skip
def test_same_values_as_arrow(tmp_path, options, nulls):
    rows = rows_of(nulls)
    path = str(tmp_path / "t.parquet")
    pq.write_table(rows, path, **options)
    source = open_source(path)
    expected = pa.table(
        {name: rows.column(name).cast(canonical(rows.column(name).type)) for name in rows.column_names}
    ).combine_chunks()
    found = read(source, rows.column_names)
    for name in rows.column_names:
        if name == "ts_s":  # the file holds milliseconds
            assert found.column(name).to_pylist() == expected.column(name).to_pylist()
        else:
            assert found.column(name).equals(expected.column(name)), name
    found.validate(full=True)


@pytest.mark.parametrize("nulls", [0, 0.3])
@pytest.mark.parametrize(
    "options", [{}, {"data_page_size": 700, "row_group_size": 2300}, {"use_dictionary": False}, {"compression": "lz4"}]
)
def test_selected_rows(tmp_path, options, nulls):
    rows = rows_of(nulls)
    path = str(tmp_path / "t.parquet")
    pq.write_table(rows, path, **options)
    source = open_source(path)
    everything = read(source, rows.column_names)
    tests = {
        "few": (RowTest(("few",), lambda b: pc.equal(b.column(0), "a")), lambda t: pc.equal(t["few"], "a")),
        "null": (RowTest(("few",), lambda b: pc.is_null(b.column(0))), lambda t: pc.is_null(t["few"])),
        "two": (
            RowTest(("i32", "i8"), lambda b: pc.less(b.column(0).cast("int64"), b.column(1).cast("int64"))),
            lambda t: pc.less(t["i32"].cast("int64"), t["i8"].cast("int64")),
        ),
        "rare": (RowTest(("i64",), lambda b: pc.less(b.column(0), -(2**62) - 2**61)),
                 lambda t: pc.less(t["i64"], -(2**62) - 2**61)),
        "none": (RowTest(("f64",), lambda b: pc.greater(b.column(0), 2.0)), lambda t: pc.greater(t["f64"], 2.0)),
    }  # fmt: skip
    for chosen in (["few"], ["null"], ["two"], ["rare"], ["none"], ["few", "two"], ["rare", "few", "two"]):
        expected = everything
        for name in chosen:
            expected = expected.filter(tests[name][1](expected))
        found = read(source, rows.column_names, [tests[name][0] for name in chosen])
        assert found.equals(expected.combine_chunks()), chosen
        split_rows = sum(
            batch.num_rows
            for split in source.splits([], [])
            for batch in source.read_selected(split, [], [tests[name][0] for name in chosen], [], LIMITS)
        )
        assert split_rows == expected.num_rows


@pytest.mark.parametrize("nulls", [0, 0.3])
@pytest.mark.parametrize("codec", ["none", "snappy", "zstd", "gzip", "brotli"])
@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_version": "2.0"}])
def test_huge_pages_in_pieces(tmp_path, monkeypatch, options, codec, nulls):
    monkeypatch.setattr(parquet_chunks, "_HUGE", 3000)
    monkeypatch.setattr(parquet_chunks, "_LONG", 1)
    monkeypatch.setattr(parquet_huge, "_PIECE", 700)
    rng = random.Random(3)
    values = column(lambda r: f"{r.random()}" * r.choice([1, 1, 1, 300]), nulls)
    rows = pa.table({
        "unique": values, "n": pa.array(range(ROWS)), "some": rng.choices(values[:50], k=ROWS),
        "required": pa.array([v or "" for v in values]),
    })  # fmt: skip
    rows = rows.cast(pa.schema([*list(rows.schema)[:3], pa.field("required", pa.string(), nullable=False)]))
    path = str(tmp_path / "t.parquet")
    pq.write_table(rows, path, compression=codec, data_page_size=1 << 30, dictionary_pagesize_limit=1 << 30, **options)
    source = open_source(path)
    limits = ReadLimits(777, 100_000)
    assert read(source, rows.column_names, limits=limits).to_pylist() == rows.to_pylist()
    few = RowTest(("n",), lambda b: pc.equal(pc.bit_wise_and(b.column(0), 1023), 5))
    expected = rows.take([i for i in range(ROWS) if i & 1023 == 5]).combine_chunks()
    assert read(source, rows.column_names, [few], limits).to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("dictionary", [True, False])
def test_rows_of_a_megabyte_take_little_memory(tmp_path, dictionary):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"b": [random.Random(i).randbytes(1 << 20) for i in range(60)]}), path,
                   use_dictionary=dictionary)  # fmt: skip
    source = open_source(path)
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for split in source.splits(["b"], []):
        for batch in source.read(split, ["b"], [], ReadLimits(batch_bytes=4 << 20)):
            rows += batch.num_rows
            assert batch.nbytes < 6 << 20
            most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 60 and most < 20 << 20


@pytest.mark.parametrize("room", [0, 15_000, 1 << 30])
@pytest.mark.parametrize("options", [{}, {"use_dictionary": False}, {"data_page_size": 3000}])
def test_pages_are_kept_between_batches_where_there_is_room(tmp_path, options, room):
    path = str(tmp_path / "t.parquet")
    rows = rows_of(0.2).select(["i64", "text", "few", "ts_ms", "dec38"])
    pq.write_table(rows, path, **options)
    kept = most = 0

    def keep(n):
        nonlocal kept, most
        if n > 0 and kept + n > room:
            return False
        kept += n
        most = max(most, kept)
        return True

    source = open_source(path)
    found = read(source, rows.column_names, limits=ReadLimits(500, 20_000, keep))
    assert found.to_pylist() == rows.cast(found.schema).to_pylist()
    assert kept == 0 and most <= room and (most > 0 or room < 1 << 30 or options)
    stream = source.read(source.splits([], [])[0], ["i64", "text"], [], ReadLimits(500, 20_000, keep))
    next(stream)
    stream.close()
    assert kept == 0


def test_a_test_that_fails_on_unused_values_is_asked_about_rows(tmp_path):
    path = str(tmp_path / "t.parquet")
    pq.write_table(pa.table({"s": ["x", "1"] * 100, "k": [0, 1] * 100}), path)
    numbers = RowTest(("s",), lambda b: pc.equal(b.column(0).cast("int64"), 1))
    ones = RowTest(("k",), lambda b: pc.equal(b.column(0), 1))
    assert read(open_source(path), ["s"], [ones, numbers]).num_rows == 100
    with pytest.raises(pa.ArrowInvalid):
        read(open_source(path), ["s"], [numbers])


@pytest.mark.parametrize("seed", range(60))
def test_garbage_is_an_error_or_an_answer_never_a_crash(tmp_path, seed):
    rng = random.Random(seed)
    path = tmp_path / "t.parquet"
    rows = rows_of(0.2).select(["i64", "text", "few", "dec38", "i8"])
    codec = rng.choice(["none", "snappy", "zstd"])
    pq.write_table(rows, path, compression=codec, data_page_size=2000, data_page_version=rng.choice(["1.0", "2.0"]))
    data = bytearray(path.read_bytes())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for _ in range(rng.choice([1, 10, 200])):
        data[rng.randrange(4, footer)] = rng.randrange(256)
    path.write_bytes(data)
    source = open_source(str(path))
    try:
        read(source, rows.column_names)
    except FormatError as error:
        assert "row group 0" in str(error) and "column" in str(error) and "t.parquet" in str(error)


def test_checksums_are_looked_at(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": list(range(1000))}), path, compression="none", use_dictionary=False,
                   write_page_checksum=True)  # fmt: skip
    data = bytearray(path.read_bytes())
    data[2000] ^= 1
    path.write_bytes(data)
    with pytest.raises(FormatError, match=r"row group 0 of .*t.parquet, column 'a'.*checksum"):
        read(open_source(str(path)), ["a"])


def test_a_truncated_file_with_a_footer(tmp_path):
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table({"a": list(range(100_000)), "b": list(range(100_000))}), path, use_dictionary=False)
    data = path.read_bytes()
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    path.write_bytes(data[: footer // 2] + data[footer:])
    with pytest.raises(FormatError, match="row group 0"):
        read(open_source(str(path)), ["a", "b"])


def test_headers_of_nonsense():
    with pytest.raises(CorruptPage):
        page_headers(pa.py_buffer(b"\xff" * 40))
    decoder = PageDecoder(0, 8, 8, False)
    with pytest.raises(CorruptPage):
        decoder.load(None, pa.py_buffer(b"\0" * 12), 2, False)
    with pytest.raises(CorruptPage):
        decoder.load(None, pa.py_buffer(b"\x02\x05"), 2, True)
