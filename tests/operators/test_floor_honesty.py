# ruff: noqa: E501 (SQL on one line)
"""A floor is a promise: with a pool of just its floor every operator finishes, with the rows of a run without limit.

The operators come from queries. Each runs alone, on batches made one by one, with what Arrow allocates counted by a
proxy of its own; and the whole query runs in a pool of the sum of its floors. An operator without a query here fails
the last test.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import sqlengine
import sqlengine.operators
from sqlengine import udf
from sqlengine.backends.worker import open_stream
from sqlengine.expr.statistics import Stats
from sqlengine.operators.base import Operator
from sqlengine.optimizer.rules import optimize
from sqlengine.physical.distribute import for_one_task
from sqlengine.physical.lower import lower
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.guard import MemoryGuard
from sqlengine.runtime.memory import MemoryPool
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.runtime.task import Task
from sqlengine.session import Session
from sqlengine.settings import Settings
from sqlengine.sql.decorrelate import decorrelate

BATCH = 16 << 10
SETTINGS: dict[str, Any] = {"batch_bytes": BATCH, "threads": 1, "partitions": 8}
ROWS = 6_000  # some twenty batches, most of which must be written
# What Arrow takes beyond what is reserved: alignment, and growth of buffers by doubling.
SLACK, ALWAYS = 1.5, 128 << 10


@udf
def shout(text: str) -> str:
    return text + "!" * 40


@udf.table
def parts(n: int) -> Iterator[int]:
    yield from range(n % 4)


QUERIES = {
    "AsofJoin": "select t.i, u.s from t asof join u on t.v >= u.v",
    "CallUdf": "select shout(s) x from t",
    "ConcatStreams": "select i from t union all select i from u",
    "DistinctOn": "select distinct on (g) g, s, i from t order by g, s, i",
    "ExpandSets": "select g, k, median(v) m from t group by rollup (g, k)",
    "ExplodeRows": "select i, unnest(range(i % 7)) x from t",
    "ExternalSort": "select * from t order by s, i",
    "FetchUrls": "select i, url_download('data:,' || s) b from t limit 100",
    "FilterRows": "select g, count(*) c from t group by g having count(*) > 3",
    "GenerateRows": "select i, p from t, parts(i) r(p)",
    "HashAggregate": "select k, count(*) c, sum(v) x, min(s) m from t group by k",
    "HashJoin": "select t.i, t.s, u.s x from t join u on t.k = u.k",
    "HashSetOperation": "select k, s from t intersect all select k, s from u",
    "LiteralRows": "select * from (values (1, 'a'), (2, 'b')) x(a, b)",
    "NestedLoopJoin": "select count(*) c, sum(a.i) x from t a, (select i from u limit 200) b where a.i + b.i = 900 or a.i < b.i - 150",
    "OneRow": "select i, (select s from u where i = 5) m from t",
    "PositionalJoin": "select * from t positional join (select s x from u) y",
    "ProduceRows": "select * from range(9000)",
    "ProjectColumns": "select s || s || s a, i * 2 b from t",
    "SampleRows": "select count(*) c from (select * from t using sample 2000 rows (reservoir, 7))",
    "ScanSplits": "select s, i from t where i % 3 = 0",
    "SortedAggregate": "select i // 60 j, array_agg(s order by i) l, median(v) m from t group by j",
    "SortedAggregate of large groups": "select g, median(v) m, quantile_disc(s, 0.3) q from t group by g",
    "TakeRows": "select i, s from t limit 3000 offset 2000",
    "TopK": "select * from t order by s, i limit 3000",
    "WindowRows": "select i, sum(v) over (partition by g order by i) a, lag(s, 300) over (order by i) b from t",
    "WriteFile": "copy (select * from t) to '{folder}/out.parquet'",
    # These are seams of the backend; they run with the query as a whole.
    "Exchange": "select t.i, u.s from t join u on t.k = u.k",
    "StageInput": "select u.s, count(*) c from t join u on t.k = u.k group by u.s",
    "HeldPlan": "with c as materialized (select k, sum(v) x from t group by k) select a.k from c a join c b on a.x = b.x",
    "HeldInput": "with c as materialized (select k, sum(v) x from t group by k) select a.k from c a, c b where a.k = b.k",
    "RecursiveUnion": (
        "with recursive r(n) as (select 0 union all select n + 1 from r where n < 60) select n, s from r, u where u.i = n"
    ),
}  # fmt: skip
TOGETHER = {"ExpandSets", "Exchange", "StageInput", "HeldPlan", "HeldInput", "RecursiveUnion"}
SAME_ORDER = {"ExternalSort", "TopK"}


@functools.cache
def _table(times: int) -> pa.Table:
    numbers = range(ROWS)
    return pa.table(
        {
            "i": pa.array(numbers, pa.int32()),
            "k": pa.array([(n * 7919) % (ROWS // 2) for n in numbers], pa.int64()),
            "g": pa.array([n % 3 for n in numbers], pa.int32()),
            "v": pa.array([float((n * times) % ROWS) for n in numbers], pa.float64()),
            "s": pa.array([f"text {(n * 104729) % ROWS:06d}" for n in numbers], pa.string()),
        }
    )


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    with sqlengine.connect(**SETTINGS) as made:
        made.register("t", _table(31))
        made.register("u", _table(17))
        made.udf(shout)
        made.udf(parts)
        yield made


@pytest.fixture
def planned(session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """The bound plan of a query."""

    def plan(name: str) -> Any:
        text = QUERIES[name].replace("{folder}", str(tmp_path))
        if not text.startswith("copy"):
            return session.sql(text).plan
        caught: list[Any] = []
        with monkeypatch.context() as patched:
            patched.setattr(session, "run", lambda plan, **_: iter(caught.append(plan) or ()))  # type: ignore[func-returns-value]
            session.sql(text)
        return caught[0]

    return plan


def _walk(operator: Operator) -> Iterator[Operator]:
    yield operator
    for child in operator.inputs:
        yield from _walk(child)


def _task(session: Session, floor: int, more: int = 0) -> Task:
    """In a pool of a floor and more."""
    return Task(
        settings=_settings(session), memory=MemoryPool(floor + more).admit("floor", floor),
        spill=SpillDirectory.open(session.current), cancel=Cancel(),
    )  # fmt: skip


def _settings(session: Session) -> Settings:
    return session._context().settings


def _rows(batches: Any, name: str) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for batch in batches:
        found += zip(*(column.to_pylist() for column in batch.columns), strict=True)
    return found if name in SAME_ORDER else sorted(found, key=repr)


def _streams(tables: list[pa.Table]) -> list[Iterator[pa.RecordBatch]]:
    def stream(table: pa.Table) -> Iterator[pa.RecordBatch]:
        """Copies, as the operator below would make them."""
        rows = max(1, int(BATCH / max(1.0, table.nbytes / max(1, table.num_rows))))
        for start in range(0, table.num_rows, rows):
            batch = table.slice(start, rows).to_batches()[0]
            yield pa.RecordBatch.from_arrays(
                [pa.concat_arrays([column, column.slice(0, 0)]) for column in batch.columns], schema=batch.schema
            )

    return [stream(table) for table in tables]


@pytest.mark.parametrize("name", sorted(set(QUERIES) - TOGETHER))
def test_an_operator_alone_with_its_floor(name: str, session: Session, planned: Callable[[str], Any]) -> None:
    settings = _settings(session)
    root = for_one_task(lower(optimize(decorrelate(planned(name)), settings)))
    operator = next(found for found in _walk(root) if type(found).__name__ == name.split()[0])

    roomy = _task(session, 0, 1 << 30)
    tables = []
    for child in operator.inputs:
        batches = list(open_stream(child, roomy, lambda *_: iter(())))
        tables.append(pa.Table.from_batches(batches, child.schema).combine_chunks())
    expected = _rows(operator.run(_streams(tables), roomy), name)

    inputs = [Stats(table.num_rows, table.nbytes) for table in tables]
    need = operator.memory(inputs, settings)
    task = _task(session, need.floor)
    task.declare(operator, need.floor, need.spills)
    before = pa.default_memory_pool()
    counted = pa.proxy_memory_pool(before)
    pa.set_memory_pool(counted)
    try:
        found = []
        for batch in operator.run(_streams(tables), task):
            found.append(_rows([batch], "TopK"))
            del batch
    finally:
        pa.set_memory_pool(before)
    rows = [row for part in found for row in part]
    assert (rows if name in SAME_ORDER else sorted(rows, key=repr)) == expected
    assert task.reservation(operator).peak <= need.floor
    assert counted.max_memory() <= SLACK * need.floor + ALWAYS


@pytest.mark.parametrize("name", sorted(QUERIES))
def test_a_query_in_a_pool_of_its_floors(name: str, session: Session, planned: Callable[[str], Any]) -> None:
    plan = planned(name)
    expected = _rows(session.run(plan), name)
    floor = session.forecast(plan, session.current.with_value("memory_limit", "1GB")).floor
    session._pool = MemoryPool(floor)
    session._guard = MemoryGuard(1 << 40, session.weight, session._pool)
    assert _rows(session.run(plan), name) == expected
    assert session._pool.peak <= floor
    if name != "StageInput":  # is made while the query runs
        found = _walk(session._operators(plan, _settings(session)))
        assert name.split()[0] in {type(operator).__name__ for operator in found}


def test_every_operator_has_a_query() -> None:
    known = set()
    for module in pkgutil.iter_modules(sqlengine.operators.__path__, "sqlengine.operators."):
        found = importlib.import_module(module.name)
        known |= {
            name
            for name, value in vars(found).items()
            if isinstance(value, type) and issubclass(value, Operator) and value.__module__ == module.name
        }
    assert known - {"Operator"} == {name.split()[0] for name in QUERIES}
