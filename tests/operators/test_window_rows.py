# ruff: noqa: E501 (SQL on one line)
"""Window functions against DuckDB, over random partitions with ties, NULLs and every kind of frame."""

from __future__ import annotations

import random
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from sqlengine.operators.literal_rows import LiteralRows
from sqlengine.operators.window_pages import PagedPartition
from sqlengine.operators.window_rows import WindowRows
from sqlengine.operators.window_values import WindowSpec
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.runtime.task import standalone_task
from sqlengine.settings import Settings

I64, F64, I32 = pa.int64(), pa.float64(), pa.int32()
SUM = pa.decimal128(38, 0)


def _table(rows: int = 400) -> pa.Table:
    make = random.Random(7)
    o = [make.choice([None, *range(25)]) for _ in range(rows)]
    return pa.table(
        {
            "p": pa.array([make.choice([1, 2, 3, None]) for _ in range(rows)], I32),
            "o": pa.array(o, I32),
            "x": pa.array([make.choice([None, *range(9)]) for _ in range(rows)], I32),
            "d": pa.array([make.random() for _ in range(rows)], F64),
            "s": pa.array([make.choice(["a", "b", None]) for _ in range(rows)]),
            "i": pa.array(range(rows), I32),
            "two": pa.array([2] * rows, I32),
            "nine": pa.array([9] * rows, I32),
            "o_minus": pa.array([None if v is None else v - 2 for v in o], I32),
            "o_plus": pa.array([None if v is None else v + 2 for v in o], I32),
            "f": pa.array([make.choice([True, False, None]) for _ in range(rows)]),
        }
    )


def _run(
    table: pa.Table,
    order: tuple[SortColumn, ...],
    call: WindowSpec,
    capacity: int = 1 << 28,
    parts: tuple[str, ...] = ("p",),
    batch_bytes: int = 8192,
) -> list[Any]:
    schema = table.schema.append(pa.field("out", call.type))
    operator = WindowRows((LiteralRows((), table.schema, ()),), schema, parts, order, (call,))
    task = standalone_task(Settings(batch_rows=100, batch_bytes=batch_bytes, threads=1), capacity, capacity // 2)
    task.declare(operator, capacity // 2, True)
    found = [row for batch in operator.run([iter(table.to_batches(50))], task) for row in batch.to_pylist()]
    if capacity < 1 << 20:
        assert task.metrics(operator).spilled_bytes
    return [row["out"] for row in sorted(found, key=lambda row: row["i"])]


def _same(found: list[Any], wanted: list[Any]) -> None:
    assert len(found) == len(wanted)
    for a, b in zip(found, wanted, strict=True):
        assert a == pytest.approx(b) if isinstance(a, float) and isinstance(b, float) else a == b


UNIQUE = (SortColumn("o", nulls_first=True), SortColumn("i"))
TIES = (SortColumn("o"),)
DOWN = (SortColumn("o", descending=True),)
UP, ALL = ("unbounded_preceding",), ("unbounded_following",)
PRE, FOL, HERE = ("preceding", "two"), ("following", "two"), ("current",)


def _spec(name: str, args: tuple[str, ...], type_: pa.DataType, **rest: Any) -> WindowSpec:
    return WindowSpec(name, "out", args, tuple(_table(1).schema.field(a).type for a in args), type_, **rest)


CASES = [
    ("row_number() over (partition by p order by o nulls first, i)", UNIQUE, _spec("row_number", (), I64)),
    ("rank() over (partition by p order by o)", TIES, _spec("rank", (), I64)),
    ("dense_rank() over (partition by p order by o)", TIES, _spec("dense_rank", (), I64)),
    ("percent_rank() over (partition by p order by o)", TIES, _spec("percent_rank", (), F64)),
    ("cume_dist() over (partition by p order by o)", TIES, _spec("cume_dist", (), F64)),
    ("ntile(9) over (partition by p order by o nulls first, i)", UNIQUE, _spec("ntile", ("nine",), I64)),
    ("lag(x) over (partition by p order by o nulls first, i)", UNIQUE, _spec("lag", ("x",), I32)),
    ("lead(x, 2, 9) over (partition by p order by o nulls first, i)", UNIQUE, _spec("lead", ("x", "two", "nine"), I32)),
    (
        "lag(x, 2 ignore nulls) over (partition by p order by o nulls first, i)",
        UNIQUE,
        _spec("lag", ("x", "two"), I32, ignore_nulls=True),
    ),
    (
        "first_value(x ignore nulls) over (partition by p order by o nulls first, i rows between 2 preceding and 2 following exclude current row)",
        UNIQUE,
        _spec("first_value", ("x",), I32, unit="rows", start=PRE, end=FOL, exclude="current_row", ignore_nulls=True),
    ),
    (
        "nth_value(x, 2) over (partition by p order by o nulls first, i rows between 2 preceding and 2 following)",
        UNIQUE,
        _spec("nth_value", ("x", "two"), I32, unit="rows", start=PRE, end=FOL),
    ),
    (
        "last_value(x ignore nulls) over (partition by p order by o nulls first, i)",
        UNIQUE,
        _spec("last_value", ("x",), I32, ignore_nulls=True),
    ),
    ("sum(x) over (partition by p order by o)", TIES, _spec("sum", ("x",), SUM, aggregate=True)),
    (
        "sum(d) filter (where f) over (partition by p order by o nulls first, i rows between 2 preceding and current row)",
        UNIQUE,
        _spec("sum", ("d",), F64, aggregate=True, unit="rows", start=PRE, end=HERE, filter="f"),
    ),
    (
        "avg(x) over (partition by p order by o range between 2 preceding and 2 following)",
        TIES,
        _spec("avg", ("x",), F64, aggregate=True, start=("preceding", "o_minus"), end=("following", "o_plus")),
    ),
    (
        "count(x) over (partition by p order by o desc nulls last range between 2 preceding and current row exclude ties)",
        DOWN,
        _spec("count", ("x",), I64, aggregate=True, start=("preceding", "o_plus"), exclude="ties"),
    ),
    (
        "sum(x) over (partition by p order by o groups between 2 preceding and 2 following exclude group)",
        TIES,
        _spec("sum", ("x",), SUM, aggregate=True, unit="groups", start=PRE, end=FOL, exclude="group"),
    ),
    (
        "max(s) over (partition by p order by o nulls first, i rows between 2 following and unbounded following)",
        UNIQUE,
        _spec("max", ("s",), pa.string(), aggregate=True, unit="rows", start=FOL, end=ALL),
    ),
    (
        "count(distinct x) over (partition by p order by o rows between unbounded preceding and unbounded following)",
        TIES,
        _spec("count", ("x",), I64, aggregate=True, unit="rows", start=UP, end=ALL, distinct=True),
    ),
    (
        "stddev_samp(d) over (partition by p order by o groups between 2 preceding and current row)",
        TIES,
        _spec("stddev_samp", ("d",), F64, aggregate=True, unit="groups", start=PRE),
    ),
    (
        "list(x order by i desc) over (partition by p order by o groups between current row and current row)",
        TIES,
        _spec("list", ("x",), pa.list_(I32), aggregate=True, unit="groups", start=HERE, arg_order=(SortColumn("i", True),)),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("sql", "order", "call"), CASES, ids=[case[0][:40] for case in CASES])
def test_window_as_duckdb(sql: str, order: tuple[SortColumn, ...], call: WindowSpec) -> None:
    t = _table()
    wanted = [row[0] for row in duckdb.execute(f"select {sql} from t order by i").fetchall()]
    _same(_run(t, order, call), wanted)


@pytest.mark.parametrize("parts", [(), ("p",)])
@pytest.mark.parametrize(("sql", "order", "call"), CASES, ids=[case[0][:40] for case in CASES])
def test_pages_give_the_same_values(
    sql: str, order: tuple[SortColumn, ...], call: WindowSpec, parts: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    paged = []
    finish = PagedPartition.finish
    monkeypatch.setattr(PagedPartition, "finish", lambda self: (paged.append(len(self._pages)), finish(self))[1])
    t = _table(2400)
    if not parts:
        sql = sql.replace("partition by p", "")
    wanted = [row[0] for row in duckdb.execute(f"select {sql} from t order by i").fetchall()]
    _same(_run(t, order, call, 180_000, parts, 4096), wanted)
    assert paged and max(paged) > 4


def test_spilled_sort_gives_the_same_values() -> None:
    t = _table(6000)
    call = _spec("sum", ("x",), SUM, aggregate=True)
    wanted = [
        r[0]
        for r in duckdb.execute("select sum(x) over (partition by i % 600 order by o, i) from t order by i").fetchall()
    ]
    t = t.set_column(0, "p", pa.array([i % 600 for i in range(6000)], I32))
    found = _run(t, (SortColumn("o"), SortColumn("i")), call, capacity=1 << 18)
    _same(found, wanted)
