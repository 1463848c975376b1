"""Parquet files as they are written: whole, readable, bounded, and with codes only where values repeat."""

from __future__ import annotations

import datetime as dt
import decimal
import random

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from sqlengine.formats.parquet_rows import KEPT
from sqlengine.formats.writers import open_writer

ROWS = 3000


def rows_of(nulls: float) -> pa.Table:
    rng = random.Random(7)

    def column(make, type_):
        return pa.array([None if rng.random() < nulls else make() for _ in range(ROWS)], type_)

    return pa.table(
        {
            "number": column(lambda: rng.randrange(1 << 60), pa.int64()),
            "few": column(lambda: rng.choice(["a", "b"]), pa.string()),
            "text": column(lambda: str(rng.random()), pa.string()),
            "day": column(lambda: dt.date(2020, 1, rng.randrange(1, 9)), pa.date32()),
            "price": column(lambda: decimal.Decimal(rng.randrange(9)), pa.decimal128(9, 2)),
            "yes": column(lambda: rng.random() < 0.5, pa.bool_()),
            "list": column(lambda: [rng.randrange(5)] * rng.randrange(3), pa.list_(pa.int32())),
            "deep": column(
                lambda: [{"x": str(rng.random()), "y.z": [1.5]}],
                pa.list_(pa.struct({"x": pa.string(), "y.z": pa.list_(pa.float64())})),
            ),
            "map": column(lambda: {"k": rng.random()}, pa.map_(pa.string(), pa.float64())),
            "none": pa.nulls(ROWS),
        }
    )  # fmt: skip


def encodings(path: str) -> dict[str, bool]:
    group = pq.ParquetFile(path).metadata.row_group(0)
    columns = [group.column(i) for i in range(group.num_columns)]
    return {column.path_in_schema: column.has_dictionary_page for column in columns}


@pytest.mark.parametrize("nulls", [0, 0.3, 1])
@pytest.mark.parametrize("size", [ROWS, 7])
def test_every_type_comes_back(tmp_path, nulls, size):
    path = str(tmp_path / "t.parquet")
    rows = rows_of(nulls)
    with open_writer(path, rows.schema, "parquet", {}, 100_000) as writer:
        for batch in rows.to_batches(max_chunksize=size):
            writer.write(batch)
        writer.commit()
    assert pq.read_table(path).to_pylist() == rows.to_pylist()


def test_codes_where_values_repeat(tmp_path):
    path = str(tmp_path / "t.parquet")
    rows = rows_of(0.1)
    with open_writer(path, rows.schema, "parquet", {}) as writer:
        writer.write(rows.slice(5).combine_chunks().to_batches()[0])
        writer.commit()
    found = encodings(path)
    assert {name for name, coded in found.items() if coded} >= {
        "few", "day", "price", "list.list.element", "deep.list.element.y.z.list.element", "map.key_value.key"
    }  # fmt: skip
    assert not any(found[name] for name in ("number", "text", "deep.list.element.x", "map.key_value.value"))


def test_row_groups_are_cut_by_bytes_and_rows(tmp_path):
    path = str(tmp_path / "t.parquet")
    rows = pa.table({"b": ["x" * 10_000] * 50})
    with open_writer(path, rows.schema, "parquet", {"row_group_size": 8}, 30_100) as writer:
        for batch in rows.to_batches(max_chunksize=4):
            writer.write(batch)
        writer.commit()
    metadata = pq.ParquetFile(path).metadata
    assert max(metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)) == 3
    assert metadata.num_rows == 50


def test_long_values_are_not_held_more_often_than_told(tmp_path):
    path = str(tmp_path / "t.parquet")
    schema = pa.schema({"n": pa.int64(), "b": pa.string()})
    value = "".join(str(random.Random(1).random()) for _ in range(8)) * 65536
    with open_writer(path, schema, "parquet", {}, 1 << 20) as writer:
        for number in range(4):
            batch = pa.record_batch([pa.array([number]), pa.array([value])], schema)
            before = pa.total_allocated_bytes()
            writer.write(batch)
            assert pa.total_allocated_bytes() - before < KEPT * batch.nbytes
        writer.commit()
    assert pq.read_table(path, columns=["n"]).column("n").to_pylist() == [0, 1, 2, 3]
    assert pq.read_table(path).column("b")[3].as_py() == value


def test_no_rows(tmp_path):
    path = str(tmp_path / "t.parquet")
    schema = rows_of(0).schema
    with open_writer(path, schema, "parquet", {}) as writer:
        writer.commit()
    assert pq.read_table(path).schema.equals(schema) and pq.read_table(path).num_rows == 0
