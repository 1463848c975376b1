"""Lists read by our own reader are those that Arrow reads, whatever the pages, and a huge page takes little memory."""

from __future__ import annotations

import decimal
import random

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from sqlengine.errors import FormatError
from sqlengine.formats import open_source, parquet_lists
from sqlengine.formats.base import ReadLimits, RowTest
from sqlengine.formats.parquet_chunks import lists_of
from sqlengine.formats.parquet_footer import layout_of

ROWS = 400
ITEMS = {
    "i64": (pa.int64(), lambda r: r.randrange(-(2**63), 2**63)),
    "i16": (pa.int16(), lambda r: r.randrange(-9, 9)),
    "f64": (pa.float64(), lambda r: r.random()),
    "dec": (pa.decimal128(18, 2), lambda r: decimal.Decimal(r.randrange(10**9)).scaleb(-2)),
}


def rows_of(nulls: float, null_items: float) -> pa.Table:
    rng = random.Random(5)

    def lists(make):
        def one():
            size = rng.choice([0, 1, 2, 3, 40, 900 if rng.random() < 0.05 else 5])
            return [None if rng.random() < null_items else make(rng) for _ in range(size)]

        return [None if rng.random() < nulls else one() for _ in range(ROWS)]

    columns = {name: pa.array(lists(make), pa.list_(type_)) for name, (type_, make) in ITEMS.items()}
    return pa.table({"n": pa.array(range(ROWS), pa.int64()), **columns})


def read(path, limits, tests=()):
    source = open_source(path)
    columns = ["n", *ITEMS]
    batches = [
        batch
        for split in source.splits(columns, [])
        for batch in source.read_selected(split, columns, tests, [], limits)
    ]
    return pa.Table.from_batches(batches)


@pytest.mark.parametrize("nulls", [(0, 0), (0.2, 0), (0, 0.2), (0.2, 0.9), (1, 0)])
@pytest.mark.parametrize("options", [
    {}, {"data_page_size": 500}, {"data_page_version": "2.0", "data_page_size": 900, "compression": "zstd"},
    {"compression": "none", "data_page_size": 1 << 30}, {"compression": "gzip", "row_group_size": 150},
])  # fmt: skip
def test_lists_as_arrow_reads_them(tmp_path, monkeypatch, nulls, options):
    path = str(tmp_path / "t.parquet")
    rows = rows_of(*nulls)
    pq.write_table(rows, path, use_dictionary=False, write_batch_size=64, **options)
    layout = layout_of(path)
    with open(path, "rb") as file:
        assert all(lists_of(layout, 0, name, file.fileno()) is not None for name in ITEMS)
    few = RowTest(("n",), lambda batch: pc.equal(pc.bit_wise_and(batch.column(0), 255), 7))
    expected = [row for row in rows.to_pylist() if row["n"] & 255 == 7]
    for whole in (4 << 20, 100):
        monkeypatch.setattr(parquet_lists, "_WHOLE", whole)
        for limits in (ReadLimits(), ReadLimits(97, 30_000), ReadLimits(5, 300)):
            assert read(path, limits).to_pylist() == rows.to_pylist()
            assert read(path, limits, [few]).to_pylist() == expected


def test_a_page_of_long_lists_takes_little_memory(tmp_path):
    path = str(tmp_path / "t.parquet")
    lists = pa.array([list(range(i, i + 2000)) for i in range(1000)], pa.list_(pa.int64()))
    pq.write_table(pa.table({"l": lists}), path, use_dictionary=False, data_page_size=1 << 30)
    del lists
    source = open_source(path)
    before, most, rows = pa.total_allocated_bytes(), 0, 0
    for split in source.splits(["l"], []):
        for batch in source.read(split, ["l"], [], ReadLimits(batch_bytes=1 << 19)):
            rows += batch.num_rows
            most = max(most, pa.total_allocated_bytes() - before)
    assert rows == 1000 and most < 3 << 20


@pytest.mark.parametrize("seed", range(10))
def test_garbage_is_an_error_or_an_answer(tmp_path, seed):
    path = tmp_path / "t.parquet"
    rng = random.Random(seed)
    pq.write_table(rows_of(0.1, 0.1), path, use_dictionary=False, compression=rng.choice(["none", "snappy"]),
                   data_page_version=rng.choice(["1.0", "2.0"]))  # fmt: skip
    data = bytearray(path.read_bytes())
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    for _ in range(rng.choice([1, 10, 200])):
        data[rng.randrange(4, footer)] = rng.randrange(256)
    path.write_bytes(data)
    try:
        read(str(path), ReadLimits(100, 20_000))
    except FormatError as error:
        assert "row group" in str(error) or "2 GiB" in str(error)
