"""Hash aggregate, joins and set operations against DuckDB, in memory and with budgets that force spilling."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import duckdb
import pyarrow as pa
import pytest

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, ColumnRef
from sqlengine.operators.aggregate_spec import AggregateSpec, state_fields
from sqlengine.operators.base import MemoryNeed, Operator
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.operators.hash_join import HashJoin
from sqlengine.operators.nested_loop_join import NestedLoopJoin
from sqlengine.operators.set_operation import HashSetOperation
from sqlengine.runtime.task import standalone_task
from sqlengine.settings import Settings

ROOMY = 1 << 28
TIGHT = 1 << 16


@dataclass(frozen=True)
class Rows(Operator):
    def run(self, inputs: Any, task: Any) -> Any:
        raise NotImplementedError

    def memory(self, inputs: Any, settings: Any) -> MemoryNeed:
        return MemoryNeed.streaming(settings)


def stream(table: pa.Table, rows: int = 1000) -> Iterator[pa.RecordBatch]:
    return iter(table.combine_chunks().to_batches(rows))


def run(operator: Operator, tables: list[pa.Table], capacity: int = ROOMY) -> tuple[pa.Table, int]:
    """The rows that an operator gives, and the bytes it spilled."""
    settings = Settings(batch_rows=1000, batch_bytes=32768 if capacity == ROOMY else 4096)
    task = standalone_task(settings, capacity, floor=capacity // 2)
    task.declare(operator, capacity // 2, True)
    batches = []
    rows = 1000 if capacity == ROOMY else 100
    for batch in operator.run([stream(t, rows) for t in tables], task):
        assert 0 < batch.num_rows <= settings.batch_rows
        assert batch.schema == operator.schema
        batches.append(batch)
    task.spill.close()
    return pa.Table.from_batches(batches, operator.schema), task.metrics(operator).spilled_bytes


def plain(value: Any) -> Any:
    if isinstance(value, float):
        return "nan" if value != value else float(f"{value:.9g}") + 0.0
    if isinstance(value, Decimal) and value == int(value):
        return int(value)
    return value


def canon(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted((tuple(plain(v) for v in row) for row in rows), key=repr)


def rows_of(table: pa.Table) -> list[tuple[Any, ...]]:
    return list(zip(*(c.to_pylist() for c in table.columns), strict=True))


def oracle(sql: str, **tables: pa.Table) -> list[tuple[Any, ...]]:
    connection = duckdb.connect()
    connection.execute("set threads=1")
    for name, table in tables.items():
        connection.register(name, table)
    return connection.execute(sql).fetchall()


def sample(rows: int, keys: int, seed: int = 1) -> pa.Table:
    r = random.Random(seed)

    def maybe(value: Any) -> Any:
        return None if r.random() < 0.1 else value

    return pa.table(
        {
            "k": pa.array([maybe(r.randrange(keys)) for _ in range(rows)], pa.int64()),
            "s": pa.array([maybe(f"text {r.randrange(keys)}") for _ in range(rows)], pa.string()),
            "i": pa.array([maybe(r.randrange(-1000, 1000)) for _ in range(rows)], pa.int32()),
            "d": pa.array(
                [maybe(r.choice([0.0, -0.0, 1.5, float("nan"), r.random()])) for _ in range(rows)], pa.float64()
            ),
            "f": pa.array([maybe(r.gauss(0, 10)) for _ in range(rows)], pa.float64()),
            "p": pa.array([maybe(Decimal(r.randrange(-9999, 9999)) / 100) for _ in range(rows)], pa.decimal128(9, 2)),
            "b": pa.array([maybe(r.random() < 0.9) for _ in range(rows)], pa.bool_()),
        }
    )


HUGE = pa.decimal128(38, 0)
CALLS = [
    ("count_star", (), pa.int64(), "count(*)"),
    ("count", ("s",), pa.int64(), "count(s)"),
    ("sum", ("i",), HUGE, "sum(i)"),
    ("sum", ("p",), pa.decimal128(38, 2), "sum(p)"),
    ("sum", ("f",), pa.float64(), "sum(f)"),
    ("avg", ("p",), pa.float64(), "avg(p)"),
    ("min", ("s",), pa.string(), "min(s)"),
    ("max", ("s",), pa.string(), "max(s)"),
    ("min", ("d",), pa.float64(), "min(d)"),
    ("max", ("d",), pa.float64(), "max(d)"),
    ("max", ("p",), pa.decimal128(9, 2), "max(p)"),
    ("bool_and", ("b",), pa.bool_(), "bool_and(b)"),
    ("bool_or", ("b",), pa.bool_(), "bool_or(b)"),
    ("bit_xor", ("i",), pa.int32(), "bit_xor(i)"),
    ("stddev_samp", ("f",), pa.float64(), "stddev_samp(f)"),
    ("var_pop", ("f",), pa.float64(), "var_pop(f)"),
    ("sem", ("f",), pa.float64(), "sem(f)"),
    ("count_if", ("b",), pa.int64(), "count_if(b)"),
]


def aggregate(table: pa.Table, keys: tuple[str, ...], calls: list[Any], phase: str = "single") -> HashAggregate:
    specs = tuple(
        AggregateSpec(name, f"o{n}", args, tuple(table.schema.field(a).type for a in args), type_)
        for n, (name, args, type_, _) in enumerate(calls)
    )
    fields = [table.schema.field(key) for key in keys]
    if phase == "partial":
        fields += [field for spec in specs for field in state_fields(spec)]
    else:
        fields += [pa.field(spec.output, spec.type) for spec in specs]
    return HashAggregate((Rows((), table.schema),), pa.schema(fields), keys, specs, phase)


@pytest.mark.parametrize("keys", [(), ("k",), ("s",), ("k", "b"), ("d",), ("p", "s"), ("b",)])
@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
def test_aggregate_equals_duckdb(keys: tuple[str, ...], capacity: int) -> None:
    table = sample(3000, 1500)
    got, spilled = run(aggregate(table, keys, CALLS), [table], capacity)
    names = ", ".join([*keys, *(sql for *_, sql in CALLS)])
    wanted = oracle(f"select {names} from t {'group by ' + ', '.join(keys) if keys else ''}", t=table)
    assert canon(rows_of(got)) == canon(wanted)
    if capacity == TIGHT and keys in [("k",), ("s",), ("p", "s")]:
        assert spilled > 0


@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
@pytest.mark.parametrize("keys", [(), ("s",)])
def test_partial_then_final(keys: tuple[str, ...], capacity: int) -> None:
    table = sample(3000, 1500)
    states, _ = run(aggregate(table, keys, CALLS, "partial"), [table], capacity)
    got, _ = run(aggregate(table, keys, CALLS, "final"), [states], capacity)
    names = ", ".join([*keys, *(sql for *_, sql in CALLS)])
    wanted = oracle(f"select {names} from t {'group by ' + ', '.join(keys) if keys else ''}", t=table)
    assert canon(rows_of(got)) == canon(wanted)


STATISTICS = [
    *((name, ("f",)) for name in ("skewness", "kurtosis", "kurtosis_pop", "fsum", "favg", "var_samp")),
    *((name, ("f", "p")) for name in ("corr", "covar_samp", "covar_pop", "regr_slope", "regr_intercept", "regr_r2")),
    *((name, ("f", "p")) for name in ("regr_sxx", "regr_sxy", "regr_syy", "regr_avgx", "regr_avgy")),
]


@pytest.mark.parametrize("keys", [(), ("k",)])
def test_states_of_statistics_merge(keys: tuple[str, ...]) -> None:
    """Pieces of different sizes, each with its own states of the same groups."""
    table = sample(3000, 20)
    calls = [(name, args, pa.float64(), f"{name}({', '.join(args)})") for name, args in STATISTICS]
    pieces = [table.slice(0, 300), table.slice(300, 1700), table.slice(2000)]
    states = pa.concat_tables([run(aggregate(table, keys, calls, "partial"), [piece])[0] for piece in pieces])
    got, _ = run(aggregate(table, keys, calls, "final"), [states])
    names = ", ".join([*keys, *(sql for *_, sql in calls)])
    wanted = oracle(f"select {names} from t {'group by ' + ', '.join(keys) if keys else ''}", t=table)
    by_key = dict(zip([row[: len(keys)] for row in wanted], wanted, strict=True))
    assert got.num_rows == len(wanted)
    for row in rows_of(got):
        assert row[len(keys) :] == pytest.approx(by_key[row[: len(keys)]][len(keys) :], rel=1e-6, abs=1e-9)


def test_aggregate_of_no_rows() -> None:
    table = sample(0, 1)
    got, _ = run(aggregate(table, (), CALLS), [table])
    names = ", ".join(sql for *_, sql in CALLS)
    assert canon(rows_of(got)) == canon(oracle(f"select {names} from t", t=table))
    assert run(aggregate(table, ("k",), CALLS), [table])[0].num_rows == 0


def test_aggregate_filter_and_overflow() -> None:
    table = sample(500, 5)
    spec = AggregateSpec("sum", "o", ("i",), (pa.int32(),), HUGE, filter="b")
    schema = pa.schema([table.schema.field("k"), pa.field("o", HUGE)])
    got, _ = run(HashAggregate((Rows((), table.schema),), schema, ("k",), (spec,), "single"), [table])
    assert canon(rows_of(got)) == canon(oracle("select k, sum(i) filter (where b) from t group by k", t=table))
    big = pa.table({"p": pa.array([Decimal("9" * 38), Decimal("9" * 38)], HUGE)})
    with pytest.raises(DataError, match="out of the range"):
        run(aggregate(big, (), [("sum", ("p",), HUGE, "")]), [big])


def nested(rows: int) -> pa.Table:
    r = random.Random(4)
    return pa.table(
        {
            "l": pa.array([r.choice([None, [], [1], [1, None], [2, 1]]) for _ in range(rows)], pa.list_(pa.int64())),
            "z": pa.array([r.choice([None, {"a": 1, "b": "x"}, {"a": None, "b": "x"}]) for _ in range(rows)]),
        }
    )


@pytest.mark.parametrize("key", ["l", "z"])
def test_aggregate_by_nested_keys(key: str) -> None:
    table = nested(300)
    got, _ = run(aggregate(table, (key,), [("count_star", (), pa.int64(), "")]), [table])
    assert canon(rows_of(got)) == canon(oracle(f"select {key}, count(*) from t group by {key}", t=table))


# joins

LEFT = pa.schema([("k", pa.int64()), ("s", pa.string()), ("x", pa.int64())])
RIGHT = pa.schema([("k2", pa.int64()), ("s2", pa.string()), ("y", pa.int64())])


def sides(rows: int, keys: int, nulls: bool = True, hot: float = 0.0) -> tuple[pa.Table, pa.Table]:
    r = random.Random(7)

    def key() -> Any:
        if nulls and r.random() < 0.05:
            return None
        return 1 if r.random() < hot else r.randrange(keys)

    def text(k: Any) -> Any:
        return None if k is None else f"t{k % 7}"

    def side(schema: pa.Schema) -> pa.Table:
        ks = [key() for _ in range(rows)]
        columns = [pa.array(ks, pa.int64()), pa.array([text(k) for k in ks], pa.string()), pa.array(range(rows))]
        return pa.table(columns, schema=schema)

    return side(LEFT), side(RIGHT)


ON = {False: "l.k = r.k2 and l.s = r.s2", True: "l.k is not distinct from r.k2 and l.s is not distinct from r.s2"}
KINDS = {
    "inner": "select l.*, r.* from l join r on {on}",
    "probe_outer": "select l.*, r.* from l left join r on {on}",
    "build_outer": "select l.*, r.* from l right join r on {on}",
    "full": "select l.*, r.* from l full join r on {on}",
    "probe_semi": "select * from l where exists (select 1 from r where {on})",
    "probe_anti": "select * from l where not exists (select 1 from r where {on})",
    "build_semi": "select * from r where exists (select 1 from l where {on})",
    "build_anti": "select * from r where not exists (select 1 from l where {on})",
    "mark": "select l.*, exists (select 1 from r where {on}) from l",
}


def join_schema(kind: str) -> pa.Schema:
    match kind:
        case "probe_semi" | "probe_anti":
            return LEFT
        case "build_semi" | "build_anti":
            return RIGHT
        case "mark":
            return LEFT.append(pa.field("m", pa.bool_()))
        case "single":
            return LEFT.append(RIGHT.field("y"))
    return pa.schema([*LEFT, *RIGHT])


def hash_join(kind: str, residual: bool = False, **more: Any) -> HashJoin:
    more = {"probe_keys": ("k", "s"), "build_keys": ("k2", "s2"), "mark": "m" if kind == "mark" else None, **more}
    condition = Call(pa.bool_(), "lt", (ColumnRef(pa.int64(), "x"), ColumnRef(pa.int64(), "y"))) if residual else None
    inputs = (Rows((), LEFT), Rows((), RIGHT))
    return HashJoin(inputs, join_schema(kind), kind, residual=condition, **more)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("null_equal", [False, True])
@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
def test_hash_join_equals_duckdb(kind: str, residual: bool, null_equal: bool, capacity: int) -> None:
    left, right = sides(3000, 2000)
    if null_equal:  # so that NULLs do not make most of the answer
        left, right = left.slice(0, 1500), right
    on = ON[null_equal] + (" and l.x < r.y" if residual else "")
    got, spilled = run(hash_join(kind, residual, null_equal=null_equal), [left, right], capacity)
    assert canon(rows_of(got)) == canon(oracle(KINDS[kind].format(on=on), l=left, r=right))
    assert (spilled > 0) == (capacity == TIGHT)


@pytest.mark.parametrize("kind", KINDS)
def test_shared_build(kind: str) -> None:
    left, right = sides(1000, 700)
    got, _ = run(hash_join(kind, shared=True), [left, right])
    assert canon(rows_of(got)) == canon(oracle(KINDS[kind].format(on=ON[False]), l=left, r=right))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("residual", [False, True])
def test_one_hot_key_beyond_memory(kind: str, residual: bool) -> None:
    left, right = sides(5000, 40, hot=0.97)
    left = left.slice(0, 60)
    got, spilled = run(hash_join(kind, residual), [left, right], TIGHT)
    on = ON[False] + (" and l.x < r.y" if residual else "")
    assert canon(rows_of(got)) == canon(oracle(KINDS[kind].format(on=on), l=left, r=right))
    assert spilled > 0


@pytest.mark.parametrize("empty", ["left", "right"])
@pytest.mark.parametrize("kind", KINDS)
def test_join_with_an_empty_side(kind: str, empty: str) -> None:
    left, right = sides(50, 20)
    left, right = (left.slice(0, 0), right) if empty == "left" else (left, right.slice(0, 0))
    wanted = canon(oracle(KINDS[kind].format(on=ON[False]), l=left, r=right))
    assert canon(rows_of(run(hash_join(kind), [left, right])[0])) == wanted


@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
@pytest.mark.parametrize("kind", ["probe_anti", "mark"])
def test_in_and_not_in_with_nulls(kind: str, capacity: int, nulls: bool) -> None:
    left, right = sides(3000, 4000)
    if not nulls:
        right = right.filter(pa.compute.is_valid(right["k2"]))
    operator = hash_join(kind, probe_keys=("k",), build_keys=("k2",), null_aware=True)
    sql = "select * from l where k not in (select k2 from r)"
    if kind == "mark":
        sql = "select *, k in (select k2 from r) from l"
    for build in (right, right.slice(0, 0)):
        assert canon(rows_of(run(operator, [left, build], capacity)[0])) == canon(oracle(sql, l=left, r=build))


@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
def test_single_join(capacity: int) -> None:
    left, _ = sides(3000, 2500)
    right = pa.table([list(range(2500)), [f"t{i % 7}" for i in range(2500)], list(range(2500))], schema=RIGHT)
    got, _ = run(hash_join("single"), [left, right], capacity)
    wanted = oracle("select *, (select y from r where l.k = k2 and l.s = s2) from l", l=left, r=right)
    assert canon(rows_of(got)) == canon(wanted)
    twice = pa.concat_tables([right, right])
    with pytest.raises(DataError, match="more than one row"):
        run(hash_join("single"), [left, twice], capacity)


@pytest.mark.parametrize("kind", ["inner", "probe_outer", "full", "probe_semi", "probe_anti", "mark"])
@pytest.mark.parametrize("capacity", [ROOMY, TIGHT // 2])
def test_nested_loop_join(kind: str, capacity: int) -> None:
    left, right = sides(2500, 2500)
    left = left.slice(0, 100)
    condition = Call(pa.bool_(), "gt", (ColumnRef(pa.int64(), "k"), ColumnRef(pa.int64(), "k2")))
    near = Call(pa.bool_(), "lt", (ColumnRef(pa.int64(), "x"), ColumnRef(pa.int64(), "y")))
    both = Call(pa.bool_(), "and", (condition, near))
    operator = NestedLoopJoin(
        (Rows((), LEFT), Rows((), RIGHT)), join_schema(kind), kind, both, mark="m" if kind == "mark" else None
    )
    got, spilled = run(operator, [left, right], capacity)
    on = "l.k > r.k2 and l.x < r.y"
    assert canon(rows_of(got)) == canon(oracle(KINDS[kind].format(on=on), l=left, r=right))
    assert (spilled > 0) == (capacity != ROOMY)


def test_cross_join_respects_the_batch_law() -> None:
    left, right = sides(120, 50)
    operator = NestedLoopJoin((Rows((), LEFT), Rows((), RIGHT)), join_schema("inner"), "inner", None)
    assert run(operator, [left, right])[0].num_rows == 120 * 120


@pytest.mark.parametrize("kind", ["intersect", "except"])
@pytest.mark.parametrize("all_", [False, True])
@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
def test_set_operations(kind: str, all_: bool, capacity: int) -> None:
    left, right = (t.select([0, 1]) for t in sides(4000, 2500))
    operator = HashSetOperation((Rows((), left.schema), Rows((), right.schema)), left.schema, kind, all_)
    got, _ = run(operator, [left, right], capacity)
    wanted = oracle(f"from l {kind} {'all' if all_ else ''} from r", l=left, r=right)
    assert canon(rows_of(got)) == canon(wanted)
