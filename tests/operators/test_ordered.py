# ruff: noqa: E501 (SQL on one line)
"""Sorting, DISTINCT ON, ordered aggregates and ASOF joins against DuckDB, in memory and spilling."""

from __future__ import annotations

import random
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from sqlengine.operators.aggregate_spec import AggregateSpec
from sqlengine.operators.asof_join import AsofJoin
from sqlengine.operators.base import Operator
from sqlengine.operators.distinct_on import DistinctOn
from sqlengine.operators.external_sort import ExternalSort, TopK
from sqlengine.operators.large_groups import PagedGroup
from sqlengine.operators.literal_rows import LiteralRows
from sqlengine.operators.sorted_aggregate import SortedAggregate
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.spill import SpillFile
from sqlengine.runtime.task import standalone_task
from sqlengine.settings import Settings

I32, F64 = pa.int32(), pa.float64()
ROOMY, TIGHT = 1 << 28, 1 << 19
SPILLING = 3 << 20  # less than all rows of a group, more than twice the longest text


def _leaf(table: pa.Table) -> LiteralRows:
    return LiteralRows((), table.schema, ())


def _run(operator: Operator, *tables: pa.Table, capacity: int = ROOMY, rows: int = 500) -> list[tuple[Any, ...]]:
    task = standalone_task(
        Settings(batch_rows=1000, batch_bytes=65536 if capacity >= SPILLING // 2 else 16384, threads=1),
        capacity,
        capacity // 2,
    )
    task.declare(operator, capacity // 2, True)
    inputs = [iter(table.to_batches(rows)) for table in tables]
    found = [tuple(row.values()) for batch in operator.run(inputs, task) for row in batch.to_pylist()]
    small = isinstance(operator, TopK) and operator.limit < 10
    assert bool(task.metrics(operator).spilled_bytes) == (capacity != ROOMY and not small)
    return found


def _table(rows: int = 20_000) -> pa.Table:
    make = random.Random(1)
    return pa.table(
        {
            "g": [make.choice([1, 2, 3, None]) for _ in range(rows)],
            "x": pa.array([make.choice([None, 0.0, -0.0, float("nan"), make.gauss(0, 9)]) for _ in range(rows)], F64),
            "s": [make.choice(["a", "b\0c", "b", "bb", None, "zé" * 50]) for _ in range(rows)],
            "i": list(range(rows)),
        }
    )


@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
@pytest.mark.parametrize("limit", [None, 3000, 5])
def test_sort_is_stable_and_as_duckdb(capacity: int, limit: int | None) -> None:
    t = _table()
    by = (SortColumn("s", True, True), SortColumn("x"), SortColumn("g", True))
    wanted = duckdb.execute(
        "select * from t order by s desc nulls first, x nulls last, g desc nulls last, i limit ?", [limit or 10**9]
    ).fetchall()
    leaf = _leaf(t)
    operator = ExternalSort((leaf,), t.schema, by) if limit is None else TopK((leaf,), t.schema, by, limit)
    assert repr(_run(operator, t, capacity=capacity)) == repr(wanted)


def test_equal_keys_over_many_blocks_of_many_runs_stay_in_order() -> None:
    t = pa.table({"k": [0] * 30_000, "i": list(range(30_000))})
    found = _run(ExternalSort((_leaf(t),), t.schema, (SortColumn("k"),)), t, capacity=TIGHT)
    assert [row[1] for row in found] == list(range(30_000))


@pytest.mark.parametrize("values", [50, 1 << 30])
def test_rows_that_cannot_be_among_the_first_are_not_written(values: int, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    append = SpillFile.append
    monkeypatch.setattr(SpillFile, "append", lambda self, b: (written.append(b.num_rows), append(self, b))[1])
    make = random.Random(5)
    t = pa.table({"k": [make.choice([None, make.randrange(values)]) for _ in range(60_000)], "i": range(60_000)})
    by = (SortColumn("k", True, True),)
    wanted = duckdb.execute("select * from t order by k desc nulls first, i limit 12000").fetchall()
    assert _run(TopK((_leaf(t),), t.schema, by, 12_000), t, capacity=TIGHT) == wanted
    assert sum(written) < 45_000


def test_nested_keys_sort_by_their_values() -> None:
    make = random.Random(3)
    lists = [
        make.choice([None, [make.choice([None, 2, 10, -3]) for _ in range(make.randrange(4))]]) for _ in range(500)
    ]
    structs = [
        make.choice([None, {"a": make.choice([None, 9, 10]), "b": make.choice(["x", None])}]) for _ in range(500)
    ]
    t = pa.table({"l": lists, "s": structs, "i": list(range(500))})
    by = (SortColumn("l", descending=True), SortColumn("s"))
    wanted = duckdb.execute("select * from t order by l desc nulls last, s nulls last, i").fetchall()
    assert _run(ExternalSort((_leaf(t),), t.schema, by), t) == wanted


@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
def test_distinct_on(capacity: int) -> None:
    t = _table()
    operator = DistinctOn((_leaf(t),), t.schema, ("g",), (SortColumn("x"), SortColumn("s", True)))
    wanted = duckdb.execute("select distinct on (g) * from t order by g, x, s desc nulls last, i").fetchall()
    assert repr(_run(operator, t, capacity=capacity)) == repr(wanted)


def _spec(
    name: str, output: str, args: str, types: list[pa.DataType], type_: pa.DataType, **rest: Any
) -> AggregateSpec:
    return AggregateSpec(name, output, tuple(args.split()), tuple(types), type_, **rest)


CALLS = (
    _spec("list", "a", "y", [I32], pa.list_(I32), order_by=(SortColumn("y", True), SortColumn("i"))),
    _spec("median", "b", "y", [I32], F64),
    _spec("quantile_cont", "c", "y q", [I32, F64], F64),
    _spec("quantile_disc", "e", "y q", [I32, F64], I32),
    _spec("sum", "h", "y", [I32], pa.decimal128(38, 0), distinct=True),
    _spec("count", "j", "y", [I32], pa.int64(), distinct=True, filter="odd"),
    _spec("string_agg", "k", "s sep", [pa.string(), pa.string()], pa.string(), order_by=(SortColumn("i", True),)),
    _spec("first", "l", "y", [I32], I32, order_by=(SortColumn("i", True),)),
    _spec("count_star", "m", "", [], pa.int64()),
    _spec("entropy", "o", "y", [I32], F64),
    _spec("mad", "p", "y", [I32], F64),
    _spec("mode", "r", "z", [I32], I32),
    _spec("max", "u", "l", [pa.list_(pa.int64())], pa.list_(pa.int64())),
)
SQL = """list(y order by y desc nulls last, i), median(y), quantile_cont(y, .3), quantile_disc(y, .3), sum(distinct y),
    count(distinct y) filter (where odd), string_agg(s, '-' order by i desc), first(y order by i desc), count(*), entropy(y),
    mad(y), mode(z), max(l)"""


@pytest.mark.parametrize("keys", [(), ("g",)])
@pytest.mark.parametrize("rows", [0, 2000, 20_000])
def test_aggregates_over_all_values(keys: tuple[str, ...], rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With many rows a group does not fit: it goes to pages, pages and sorts go to disk."""
    paged: list[int] = []
    finish = PagedGroup.finish
    monkeypatch.setattr(PagedGroup, "finish", lambda self: (paged.append(self.pages.rows), finish(self))[1])
    make = random.Random(2)
    n = max(rows, 2000)
    t = _table(n)
    t = t.append_column("y", pa.array([make.choice([None, *range(50)]) for _ in range(n)], I32))
    t = t.append_column("q", pa.array([0.3] * n)).append_column("sep", pa.array(["-"] * n))
    # Skewed, so that no two values are the most frequent: which of them `mode` gives is not defined.
    t = t.append_column("z", pa.array([int(make.expovariate(0.5)) for _ in range(n)], I32))
    t = t.append_column("odd", pa.array([i % 2 == 1 for i in range(n)]))
    t = t.append_column("l", pa.array([[make.randrange(20), 1] for _ in range(n)])).slice(0, rows)
    schema = pa.schema([*(t.schema.field(k) for k in keys), *(pa.field(c.output, c.type) for c in CALLS)])
    capacity = ROOMY if rows <= 2000 else SPILLING // 2 if keys else SPILLING
    found = _run(SortedAggregate((_leaf(t),), schema, keys, CALLS), t, capacity=capacity)
    assert bool(paged) == (rows > 2000)
    group = ("g,", "group by g order by g") if keys else ("", "")
    wanted = duckdb.execute(f"select {group[0]} {SQL} from t {group[1]}").fetchall()
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        for x, y in zip(a, b, strict=True):
            assert x == (pytest.approx(y) if isinstance(y, float) else y)


@pytest.mark.parametrize(("comparison", "sign"), [("ge", ">="), ("gt", ">"), ("le", "<="), ("lt", "<")])
@pytest.mark.parametrize("outer", [True, False])
def test_asof_join(comparison: str, sign: str, outer: bool) -> None:
    make = random.Random(4)
    left = pa.table(
        {
            "k": [make.choice([1, 2, None]) for _ in range(5000)],
            "ts": [make.choice([make.randrange(3000), None]) for _ in range(5000)],
            "i": list(range(5000)),
        }
    )
    right = pa.table(
        {
            "k2": [make.choice([1, 2, 3, None]) for _ in range(1000)],
            "ts2": [make.randrange(1500) for _ in range(1000)],  # of equal rows the first matches
            "v": list(range(1000)),
        }
    )
    schema = pa.schema([*left.schema, *right.schema])
    operator = AsofJoin((_leaf(left), _leaf(right)), schema, ("k",), ("k2",), "ts", "ts2", comparison, outer)
    found = sorted(_run(operator, left, right), key=lambda row: row[2])
    joined = f"left_rows asof {'left' if outer else ''} join firsts on k = k2 and ts {sign} ts2"
    with duckdb.connect() as oracle:
        oracle.register("left_rows", left)
        oracle.register("right_rows", right)
        oracle.execute("create view firsts as select k2, ts2, min(v) as v from right_rows group by all")
        wanted = oracle.execute(f"select * from {joined} order by i").fetchall()
    assert found == wanted
