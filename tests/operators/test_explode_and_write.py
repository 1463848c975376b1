"""UNNEST and COPY ... TO as operators: against DuckDB, and within the limits of a batch."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from sqlengine.errors import FileError
from sqlengine.operators.explode_rows import ExplodeRows
from sqlengine.operators.literal_rows import LiteralRows
from sqlengine.operators.write_file import WriteFile
from sqlengine.runtime.task import standalone_task
from sqlengine.settings import Settings

ROWS = pa.table(
    {
        "k": ["a", "b", None, "d", "e"],
        "x": pa.array([[1, 2, 3], [], None, [4], [None]], pa.list_(pa.int64())),
        "y": pa.array([["p"], ["q", "r"], None, None, []], pa.list_(pa.string())),
    }
)


def task(tmp_path, **settings):
    return standalone_task(Settings(**{"batch_bytes": 1 << 20, "spill_dir": (str(tmp_path),), **settings}))


def explode(rows, lists, outer, ordinality, tmp_path, **settings):
    fields = [pa.field("k", rows.schema.field("k").type)]
    fields += [pa.field(out, rows.schema.field(source).type.value_type) for out, source in lists]
    if ordinality:
        fields.append(pa.field(ordinality, pa.int64()))
    operator = ExplodeRows((), pa.schema(fields), lists, outer, ordinality)
    batches = list(operator.run([iter(rows.to_batches())], task(tmp_path, **settings)))
    assert all(batch.schema == operator.schema and batch.num_rows for batch in batches)
    return batches


@pytest.mark.parametrize("batch_rows", [1, 2, 1000])
@pytest.mark.parametrize("start", [0, 2])
def test_lists_side_by_side_as_duckdb_does(tmp_path, batch_rows, start):
    rows = ROWS.slice(start)
    batches = explode(rows, (("u", "x"), ("v", "y")), False, None, tmp_path, batch_rows=batch_rows)
    ours = [tuple(row.values()) for batch in batches for row in batch.to_pylist()]
    assert ours == duckdb.sql("select k, unnest(x), unnest(y) from rows").fetchall()
    assert all(batch.num_rows <= batch_rows for batch in batches)


def test_outer_and_ordinality(tmp_path):
    batches = explode(ROWS, (("u", "x"),), True, "n", tmp_path)
    assert [tuple(row.values()) for row in pa.Table.from_batches(batches).to_pylist()] == [
        ("a", 1, 1), ("a", 2, 2), ("a", 3, 3), ("b", None, None), (None, None, None), ("d", 4, 1), ("e", None, 1),
    ]  # fmt: skip


def test_a_long_list_beside_a_long_text_stays_bounded(tmp_path):
    # The mean width of these rows is small; the one long list stands beside the one long text.
    rows = pa.table({"k": ["x" * 2000] + ["y"] * 999, "x": [list(range(200_000))] + [[1]] * 999})
    batches = explode(rows, (("u", "x"),), False, None, tmp_path)
    assert sum(batch.num_rows for batch in batches) == 200_999
    assert max(batch.nbytes for batch in batches) < 1.2 * (1 << 20)
    assert max(sum(b.size for b in c.buffers() if b) for batch in batches for c in batch.columns) < 2 << 20


def test_write_gives_the_count_and_only_whole_files(tmp_path):
    schema = pa.schema([("a#1", pa.int64()), ("b#2", pa.string())])
    below = LiteralRows.__new__(LiteralRows)
    object.__setattr__(below, "schema", schema)
    target = tmp_path / "out.csv"
    operator = WriteFile((below,), pa.schema([("count#3", pa.int64())]), ("a", "b"), str(target), "csv", ())
    batch = pa.record_batch([pa.array([1, 2]), pa.array(["x", None])], schema=schema)
    out = list(operator.run([iter([batch, batch])], task(tmp_path)))
    assert [b.to_pylist() for b in out] == [[{"count#3": 4}]]
    assert target.read_text() == "a,b\n1,x\n2,\n1,x\n2,\n"

    def broken():
        yield batch
        raise FileError("no more")

    target.unlink()
    with pytest.raises(FileError, match="no more"):
        list(operator.run([broken()], task(tmp_path)))
    assert not [f for f in tmp_path.iterdir() if "out" in f.name]
