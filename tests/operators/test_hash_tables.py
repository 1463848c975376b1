"""Hash tables and what is held beside them: keys of every kind, long texts, skew, and budgets that are kept."""

from __future__ import annotations

import datetime
import random
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, ColumnRef
from sqlengine.kernels.grouping import GroupTable
from sqlengine.kernels.row_chunks import Rows
from sqlengine.operators.aggregate_spec import AggregateSpec, state_fields
from sqlengine.operators.base import Operator
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.operators.hash_join import HashJoin
from sqlengine.runtime.task import standalone_task
from sqlengine.settings import Settings
from tests.operators.test_hash_operators import (
    KINDS,
    LEFT,
    ON,
    RIGHT,
    ROOMY,
    TIGHT,
    aggregate,
    canon,
    hash_join,
    join_schema,
    oracle,
    rows_of,
    run,
    sides,
)
from tests.operators.test_hash_operators import Rows as Input

COUNT = [("count_star", (), pa.int64(), "count(*)")]


def observed(operator: Operator, tables: list[pa.Table], capacity: int, batch_bytes: int) -> tuple[pa.Table, int, int]:
    """The rows, the most bytes reserved, and the largest batch given out."""
    settings = Settings(batch_rows=1000, batch_bytes=batch_bytes)
    task = standalone_task(settings, capacity, floor=capacity // 2)
    task.declare(operator, capacity // 2, True)
    batches, largest = [], 0
    for batch in operator.run([iter(t.combine_chunks().to_batches(200)) for t in tables], task):
        largest = max(largest, batch.nbytes)
        batches.append(batch)
    peak = task.reservation(operator).peak
    assert task.reservation(operator).size == 0 or getattr(operator, "shared", False)
    task.spill.close()
    return pa.Table.from_batches(batches, operator.schema), peak, largest


def values(rows: int, seed: int = 3) -> dict[str, pa.Array]:
    """Columns by the kind of key they are."""
    r = random.Random(seed)

    def some(make: Any) -> list[Any]:
        return [None if r.random() < 0.05 else make() for _ in range(rows)]

    day = datetime.date(2020, 1, 1)
    return {
        "tiny": pa.array(some(lambda: r.randrange(-3, 4)), pa.int8()),
        "byte": pa.array(some(lambda: r.randrange(0, 256)), pa.uint8()),
        "short": pa.array(some(lambda: r.randrange(-400, 400)), pa.int16()),
        "int": pa.array(some(lambda: r.choice([-(2**31), 2**31 - 1, 0, 5, r.randrange(-50, 50)])), pa.int32()),
        "long": pa.array(some(lambda: r.choice([-(2**63), 2**63 - 1, 0, -1, r.randrange(10**12)])), pa.int64()),
        "unsigned": pa.array(some(lambda: r.choice([0, 2**64 - 1, 2**63, r.randrange(9)])), pa.uint64()),
        "bool": pa.array(some(lambda: r.random() < 0.5), pa.bool_()),
        "date": pa.array(some(lambda: day + datetime.timedelta(r.randrange(200))), pa.date32()),
        "time": pa.array(some(lambda: r.randrange(10**15, 10**15 + 99)), pa.timestamp("us")),
        "money": pa.array(some(lambda: Decimal(r.randrange(-500, 500)) / 100), pa.decimal128(9, 2)),
        "wide": pa.array(
            some(lambda: Decimal(r.choice([-1, 1]) * r.randrange(10**15, 10**15 + 99))), pa.decimal128(18, 0)
        ),
        "huge": pa.array(some(lambda: Decimal(r.choice([-(10**37), 10**37, 1, -1]))), pa.decimal128(38, 0)),
        "float": pa.array(some(lambda: r.choice([0.0, -0.0, float("nan"), 1.5, -1e300])), pa.float64()),
        "letter": pa.array(some(lambda: r.choice(["", "A", "N", "R", "~"])), pa.string()),
        "word": pa.array(some(lambda: r.choice("ab") * r.randrange(40)), pa.string()),
    }


@pytest.mark.parametrize(
    "keys",
    [
        *[(name,) for name in values(1)],
        ("letter", "bool"), ("tiny", "letter"), ("int", "date"), ("long", "long2"), ("long", "int", "date"),
        ("money", "wide"), ("wide", "huge"), ("huge", "tiny"), ("unsigned", "byte"), ("float", "int"),
        ("word", "letter"), ("word", "long", "float"), ("bool", "tiny", "byte", "short"), ("date", "time"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("rows", [5000, 300])
def test_groups_of_every_kind_of_key(keys: tuple[str, ...], rows: int) -> None:
    columns = values(rows)
    columns["long2"] = pa.array(reversed(columns["long"].to_pylist()), pa.int64())
    table = pa.table({name: columns[name] for name in keys}).slice(7)  # bitmaps and values that begin in the middle
    wanted = canon(oracle(f"select {', '.join(keys)}, count(*) from t group by all", t=table))
    operator = aggregate(table, keys, COUNT)
    for rows_per_batch in (rows, 64):
        task = standalone_task(Settings(batch_rows=10_000, batch_bytes=1 << 20))
        stream = iter(table.combine_chunks().to_batches(rows_per_batch))
        got = pa.Table.from_batches(list(operator.run([stream], task)), operator.schema)
        assert canon(rows_of(got)) == wanted
    assert canon(rows_of(run(operator, [table], TIGHT)[0])) == wanted


def test_group_keys_are_given_as_they_came_first() -> None:
    table = GroupTable([pa.float64()])
    groups, first = table.lookup([pa.array([-0.0, 0.0, float("nan"), None, 2.0])])
    assert groups.to_pylist() == [0, 0, 1, 2, 3] and first.to_pylist() == [0, 2, 3, 4]
    assert str(table.keys(0, 0, 4).to_pylist()) == "[-0.0, nan, None, 2.0]"


def test_nested_keys_that_spill() -> None:
    r = random.Random(2)
    table = pa.table({"l": pa.array([[r.randrange(60), None] for _ in range(4000)], pa.list_(pa.int64()))})
    table = table.append_column("i", pa.array(range(4000)))
    operator = aggregate(table, ("l", "i"), COUNT)
    got, spilled = run(operator, [table], TIGHT)
    assert spilled > 0
    assert canon(rows_of(got)) == canon(oracle("select l, i, count(*) from t group by all", t=table))


@pytest.mark.parametrize("name", ["min", "max", "any_value", "last"])
def test_long_texts_as_states_are_counted(name: str) -> None:
    r = random.Random(5)
    texts = [None if r.random() < 0.1 else chr(97 + r.randrange(26)) * r.randrange(2000) for _ in range(3000)]
    table = pa.table({"k": pa.array([i % 400 for i in range(3000)]), "s": pa.array(texts)})
    capacity = 1 << 19
    calls = [(name, ("s",), pa.string(), f"{name}(s)")]
    got, peak, largest = observed(aggregate(table, ("k",), calls), [table], capacity, 1 << 15)
    sql = f"select k, {name}(s) from t group by k"
    if name in ("min", "max"):
        assert canon(rows_of(got)) == canon(oracle(sql, t=table))
    else:
        kept: dict[int, str | None] = {}
        for k, s in zip(table["k"].to_pylist(), texts, strict=True):
            if name == "last" or (s is not None and k not in kept):
                kept[k] = s
        assert dict(rows_of(got)) == kept
    assert peak <= capacity and largest <= 3 << 15


def test_a_sum_has_a_state_while_filters_leave_groups_without_rows() -> None:
    table = pa.table({"k": [1, 1, 2, 3, 3], "v": [1, None, None, 4, 5], "b": [True, True, True, False, None]})
    huge = pa.decimal128(38, 0)
    specs = tuple(
        AggregateSpec(name, f"o{i}", ("v",), (pa.int64(),), type_, filter=mask)
        for i, (name, type_, mask) in enumerate(
            [("sum", huge, None), ("sum", huge, "b"), ("min", pa.int64(), "b"), ("count", pa.int64(), "b")]
        )
    )
    schema = pa.schema([table.schema.field("k"), *(pa.field(s.output, s.type) for s in specs)])
    got, _ = run(HashAggregate((Input((), table.schema),), schema, ("k",), specs, "single"), [table])
    assert canon(rows_of(got)) == [(1, 1, 1, 1, 1), (2, None, None, None, 0), (3, 9, None, None, 0)]


@pytest.mark.parametrize("distinct", [0.2, 1.0])
def test_a_partial_step_that_does_not_reduce_gives_up(distinct: float) -> None:
    rows = 260_000
    r = random.Random(8)
    table = pa.table(
        {"k": pa.array([r.randrange(int(rows * distinct)) for _ in range(rows)]), "v": pa.array(range(rows))}
    )
    calls = [
        ("sum", ("v",), pa.decimal128(38, 0), ""),
        ("count", ("v",), pa.int64(), ""),
        ("avg", ("v",), pa.float64(), ""),
    ]
    operator = aggregate(table, ("k",), calls, "partial")
    task = standalone_task(Settings(batch_rows=50_000, batch_bytes=1 << 22))
    out = list(operator.run([iter(table.to_batches(50_000))], task))
    assert all(b.nbytes <= 2 << 22 for b in out)
    states = pa.Table.from_batches(out, operator.schema)
    groups = len(set(table["k"].to_pylist()))
    assert (states.num_rows == groups) == (distinct < 1)
    assert task.reservation(operator).size == 0
    final = aggregate(table, ("k",), calls, "final")
    got = pa.Table.from_batches(
        list(final.run([iter(states.to_batches(50_000))], standalone_task(Settings(batch_bytes=1 << 22)))), final.schema
    )
    assert canon(rows_of(got)) == canon(oracle("select k, sum(v), count(v), avg(v) from t group by k", t=table))
    assert {f.name for f in states.schema} == {"k", *(f.name for c in operator.calls for f in state_fields(c))}


def test_groups_keep_to_their_budget() -> None:
    table = pa.table({"k": pa.array([f"key number {i * 7919 % 20000}" for i in range(40_000)])})
    for capacity in (1 << 17, 1 << 20):
        got, peak, largest = observed(aggregate(table, ("k",), COUNT), [table], capacity, 1 << 13)
        assert got.num_rows == 20_000 and set(got["o0"].to_pylist()) == {2}
        assert peak <= capacity and largest <= 2 << 13


@pytest.mark.parametrize("name", list(values(1)))
@pytest.mark.parametrize("capacity", [ROOMY, TIGHT])
@pytest.mark.parametrize("null_equal", [False, True])
def test_joins_on_every_kind_of_key(name: str, capacity: int, null_equal: bool) -> None:
    left = pa.table({"a": values(300, 1)[name], "x": pa.array(range(300))})
    right = pa.table({"b": values(2000, 2)[name], "y": pa.array(range(2000)), "t": pa.array(["some text"] * 2000)})
    schema = pa.schema([*left.schema, *right.schema])
    operator = HashJoin(
        (Input((), left.schema), Input((), right.schema)), schema, "full", ("a",), ("b",), None, null_equal=null_equal
    )
    got, spilled = run(operator, [left, right], capacity)
    on = "a is not distinct from b" if null_equal else "a = b"
    assert canon(rows_of(got)) == canon(oracle(f"select l.*, r.* from l full join r on {on}", l=left, r=right))
    assert (spilled > 0) == (capacity == TIGHT)


@pytest.mark.parametrize("keys", [2, 3])
def test_joins_on_several_packed_keys(keys: int) -> None:
    r = random.Random(1)
    types = [pa.int64(), pa.int32(), pa.date32()][:keys]

    def side(prefix: str, rows: int) -> pa.Table:
        columns = [pa.array([r.choice([None, 1, 2, 3, 4, 5]) for _ in range(rows)], pa.int32()) for _ in types]
        return pa.table({f"{prefix}{i}": c.cast(t) for i, (c, t) in enumerate(zip(columns, types, strict=True))})

    left, right = side("a", 150), side("b", 200)
    schema = pa.schema([*left.schema, *right.schema])
    names = tuple(left.column_names), tuple(right.column_names)
    operator = HashJoin((Input((), left.schema), Input((), right.schema)), schema, "probe_outer", *names, None)
    on = " and ".join(f"a{i} = b{i}" for i in range(keys))
    got, _ = run(operator, [left, right])
    assert canon(rows_of(got)) == canon(oracle(f"select * from l left join r on {on}", l=left, r=right))


def test_decimals_of_different_precision_join() -> None:
    left = pa.table({"a": pa.array([Decimal("1.50"), Decimal("30000000.25"), None], pa.decimal128(18, 2))})
    right = pa.table({"b": pa.array([Decimal("30000000.25"), Decimal("1.50")], pa.decimal128(12, 2))})
    small = pa.table({"b": pa.array([Decimal("1.50"), Decimal("-1.50")], pa.decimal128(5, 2))})
    for build, wanted in ((right, 2), (small, 1)):
        schema = pa.schema([*left.schema, *build.schema])
        operator = HashJoin((Input((), left.schema), Input((), build.schema)), schema, "inner", ("a",), ("b",), None)
        assert run(operator, [left, build])[0].num_rows == wanted


@pytest.mark.parametrize("step", [1, 1_000_003])
@pytest.mark.parametrize("repeats", [1, 3])
def test_dense_and_sparse_whole_numbers(step: int, repeats: int) -> None:
    left = pa.table({"a": pa.array([i * step for i in range(-50, 3000)]), "x": pa.array(range(3050))})
    right = pa.table({"b": pa.array([i * step for i in range(2000)] * repeats), "y": pa.array(range(2000 * repeats))})
    schema = pa.schema([*left.schema, *right.schema])
    inputs = (Input((), left.schema), Input((), right.schema))
    got, _ = run(HashJoin(inputs, schema, "inner", ("a",), ("b",), None), [left, right])
    assert canon(rows_of(got)) == canon(oracle("select * from l join r on a = b", l=left, r=right))
    # The matches of a row come in the order of the build rows, the rows in their own.
    assert got.select(["x", "y"]).equals(got.select(["x", "y"]).sort_by([("x", "ascending"), ("y", "ascending")]))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("residual", [False, True])
def test_a_shared_build_side_that_does_not_fit(kind: str, residual: bool) -> None:
    left, right = sides(3000, 2000)
    got, spilled = run(hash_join(kind, residual, shared=True), [left, right], TIGHT)
    on = ON[False] + (" and l.x < r.y" if residual else "")
    assert canon(rows_of(got)) == canon(oracle(KINDS[kind].format(on=on), l=left, r=right))
    assert spilled > 0


@pytest.mark.parametrize("kind", ["probe_anti", "mark"])
@pytest.mark.parametrize("nulls", [False, True])
@pytest.mark.parametrize("shared", [False, True])
def test_not_in_a_large_list(kind: str, nulls: bool, shared: bool) -> None:
    left, right = sides(2000, 9000)
    if not nulls:
        right = right.filter(pc.is_valid(right["k2"]))
    operator = hash_join(kind, probe_keys=("k",), build_keys=("k2",), null_aware=True, shared=shared)
    sql = "select * from l where k not in (select k2 from r)"
    if kind == "mark":
        sql = "select *, k in (select k2 from r) from l"
    got, spilled = run(operator, [left, right], TIGHT)
    assert spilled > 0
    assert canon(rows_of(got)) == canon(oracle(sql, l=left, r=right))


@pytest.mark.parametrize("kind", [*KINDS, "single"])
@pytest.mark.parametrize("shared", [False, True])
def test_a_hot_key_on_both_sides_keeps_to_its_budget(kind: str, shared: bool) -> None:
    left, right = sides(4000, 300, hot=0.9)
    left = left.slice(0, 400)
    if kind == "single":
        with pytest.raises(DataError, match="more than one row"):
            observed(hash_join(kind, shared=shared), [left, right], TIGHT, 4096)
        return
    got, peak, largest = observed(hash_join(kind, shared=shared), [left, right], TIGHT, 4096)
    assert canon(rows_of(got)) == canon(oracle(KINDS[kind].format(on=ON[False]), l=left, r=right))
    assert peak <= TIGHT and largest <= 2 * 4096


@pytest.mark.parametrize("side", ["left", "right"])
def test_one_long_text_matched_often_comes_in_bounded_batches(side: str) -> None:
    long = "x" * 50_000
    few = pa.table({"k": [1, 2], "t": [long, "short"]})
    many = pa.table({"k2": [1] * 300 + [2] * 300, "y": list(range(600))})
    left, right = (few, many) if side == "left" else (many, few)
    keys = (("k",), ("k2",)) if side == "left" else (("k2",), ("k",))
    schema = pa.schema([*left.schema, *right.schema])
    operator = HashJoin((Input((), left.schema), Input((), right.schema)), schema, "inner", *keys, None)
    got, _, largest = observed(operator, [left, right], 1 << 22, 1 << 17)
    assert got.num_rows == 600 and largest <= 2 << 17
    assert sum(len(t) for t in got["t"].to_pylist()) == 300 * 50_000 + 300 * 5


def test_nested_columns_are_gathered_from_several_batches() -> None:
    items = [[i, None] if i % 3 else None for i in range(900)]
    right = pa.table(
        {"k2": list(range(900)), "items": items, "pair": [{"a": i, "b": "z" * (i % 5)} for i in range(900)]}
    )
    left = pa.table({"k": [899, 5, -1, 450, 5, 10_000]})
    schema = pa.schema([*left.schema, *right.schema])
    inputs = (Input((), left.schema), Input((), right.schema))
    operator = HashJoin(inputs, schema, "probe_outer", ("k",), ("k2",), None)
    got, _, _ = observed(operator, [left, right], ROOMY, 1 << 15)
    assert canon(rows_of(got)) == canon(oracle("select * from l left join r on k = k2", l=left, r=right))


def test_rows_of_batches_by_number() -> None:
    schema = pa.schema([("s", pa.string()), ("b", pa.bool_()), ("n", pa.null())])
    rows = Rows(schema)
    for start in (0, 3, 5):
        part = [None if i % 4 == 1 else f"{i}" for i in range(start, start + 3)]
        columns = [pa.array(part, pa.string()), pa.array([v == "6" for v in part]), pa.nulls(3)]
        rows.add(pa.record_batch(columns, schema=schema).slice(0, 2 if start == 3 else 3))
    wanted = pa.array([7, -1, 0, 4, 6, 1], pa.int32())
    s, b, n = rows.take(wanted, ["s", "b", "n"])
    assert s.to_pylist() == ["7", None, "0", "4", "6", None]
    assert b.to_pylist() == [False, None, False, False, True, False] and n.null_count == 6
    s.validate(full=True)
    assert rows.take(wanted, ["s"], limit=2)[0].to_pylist() == ["7", None, "0"]


def test_residual_reads_only_what_it_needs() -> None:
    left, right = sides(800, 30)
    condition = Call(pa.bool_(), "lt", (ColumnRef(pa.int64(), "x"), ColumnRef(pa.int64(), "y")))
    operator = HashJoin(
        (Input((), LEFT), Input((), RIGHT)), join_schema("probe_semi"), "probe_semi", ("k",), ("k2",), condition
    )
    got, _ = run(operator, [left, right])
    sql = "select * from l where exists (select 1 from r where k = k2 and x < y)"
    assert canon(rows_of(got)) == canon(oracle(sql, l=left, r=right))
