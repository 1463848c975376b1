"""Lowering of GROUP BY: arguments become columns, calls are given to the operator that can hold their state.

Calls whose state is small and mergeable run in `HashAggregate`; if any call needs all values of its group (ordered,
distinct or holistic), the whole node runs in `SortedAggregate`. Grouping sets repeat the rows once per set
(`ExpandSets`) with the columns outside the set NULL and the set's number as one more key; the empty set is aggregated
apart, because it has a row even when there is no input.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from sqlengine.expr.nodes import Call, Case, ColumnRef, Expr, Literal, columns_of, null_of
from sqlengine.operators.aggregate_spec import AggregateSpec, is_hashable
from sqlengine.operators.base import Operator
from sqlengine.operators.concat_streams import ConcatStreams
from sqlengine.operators.exchange import HeldInput, HeldPlan
from sqlengine.operators.expand_sets import ExpandSets
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.operators.literal_rows import LiteralRows
from sqlengine.operators.project_columns import ProjectColumns
from sqlengine.operators.sorted_aggregate import SortedAggregate
from sqlengine.plan.nodes import Aggregate
from sqlengine.runtime.sort_column import SortColumn

if TYPE_CHECKING:
    from sqlengine.physical.lower import Lowering

# DISTINCT changes nothing for these.
_IDEMPOTENT = frozenset({"min", "max", "any_value", "bool_and", "bool_or", "bit_and", "bit_or"})


def lower_aggregate(lowering: Lowering, plan: Aggregate) -> Operator:
    child, specs = _inputs(lowering, plan)
    keys = tuple(key for key, _ in plan.keys)
    if plan.sets is None:
        return lowering.only(_grouped(child, keys, specs), plan.schema)
    full = [chosen for chosen in plan.sets if chosen]
    empty = len(plan.sets) - len(full)
    if not empty:
        return lowering.only(_sets(lowering, child, keys, specs, plan, full), plan.schema)
    name = lowering.new_key("sets")

    def reading() -> Operator:
        return HeldInput((), child.schema, name, tuple(child.schema.names))

    total = _grouped(reading(), (), specs)
    all_ones = (1 << len(keys)) - 1
    columns: list[tuple[str, Expr]] = [(key, null_of(e.type)) for key, e in plan.keys]
    columns += [(key, ColumnRef(e.type, key)) for key, e in plan.aggregates]
    if plan.grouping_key is not None:
        columns.append((plan.grouping_key, Literal(pa.int64(), all_ones)))
    parts: list[Operator] = []
    if full:
        parts.append(lowering.only(_sets(lowering, reading(), keys, specs, plan, full), plan.schema))
    parts += [ProjectColumns((total,), plan.schema, tuple(columns)) for _ in range(empty)]
    body = ConcatStreams(tuple(parts), plan.schema) if len(parts) > 1 else parts[0]
    return HeldPlan((child, body), plan.schema, name)


def _inputs(lowering: Lowering, plan: Aggregate) -> tuple[Operator, tuple[AggregateSpec, ...]]:
    """A projection with the keys and every argument as columns, and the calls in terms of those columns."""
    columns: dict[str, Expr] = dict(plan.keys)
    known: dict[Expr, str] = {}
    for key, expr in plan.keys:
        known.setdefault(expr, key)

    def column(expr: Expr) -> str:
        # A key must not double as an argument under grouping sets, where it is NULL in some rows.
        if expr in known and plan.sets is None:
            return known[expr]
        key = expr.key if isinstance(expr, ColumnRef) and expr.key not in columns else lowering.new_key("arg")
        columns[key] = expr
        known[expr] = key
        return key

    specs = []
    for key, call in plan.aggregates:
        name = "count_star" if call.name == "count" and not call.args else call.name
        specs.append(
            AggregateSpec(
                name,
                key,
                tuple(column(arg) for arg in call.args),
                tuple(arg.type for arg in call.args),
                call.type,
                column(call.filter) if call.filter is not None else None,
                call.distinct and name not in _IDEMPOTENT,
                tuple(SortColumn(column(k.expr), k.descending, k.nulls_first) for k in call.order_by),
                call.options,
            )
        )
    child = lowering.lower(plan.input)
    schema = pa.schema([pa.field(key, expr.type) for key, expr in columns.items()])
    if _columns_of_all(columns) == set(child.schema.names) == set(columns) and all(
        isinstance(e, ColumnRef) and e.key == key for key, e in columns.items()
    ):
        return child, tuple(specs)
    return ProjectColumns((child,), schema, tuple(columns.items())), tuple(specs)


def _columns_of_all(columns: dict[str, Expr]) -> set[str]:
    return {key for expr in columns.values() for key in columns_of(expr)}


def _grouped(child: Operator, keys: tuple[str, ...], specs: tuple[AggregateSpec, ...]) -> Operator:
    fields = [child.schema.field(key) for key in keys]
    schema = pa.schema([*fields, *(pa.field(spec.output, spec.type) for spec in specs)])
    if not keys and not specs:
        return LiteralRows((), schema, ((),))  # one row, whatever the input
    if all(is_hashable(spec) for spec in specs):
        return HashAggregate((child,), schema, keys, specs, "single")
    return SortedAggregate((child,), schema, keys, specs)


def _sets(
    lowering: Lowering,
    child: Operator,
    keys: tuple[str, ...],
    specs: tuple[AggregateSpec, ...],
    plan: Aggregate,
    sets: list[tuple[int, ...]],
) -> Operator:
    number = lowering.new_key("set")
    schema = child.schema.append(pa.field(number, pa.int64()))
    expanded = ExpandSets((child,), schema, keys, tuple(sets), number)
    grouped = _grouped(expanded, (*keys, number), specs)
    if plan.grouping_key is None:
        return grouped
    # The id of a set: one bit per key, the first key the most significant, set where the key is not in the set.
    ids = [sum(1 << (len(keys) - 1 - i) for i in range(len(keys)) if i not in chosen) for chosen in sets]
    return _with_grouping_id(grouped, number, tuple(ids), plan)


def _with_grouping_id(grouped: Operator, number: str, ids: tuple[int, ...], plan: Aggregate) -> Operator:
    assert plan.grouping_key is not None
    which = ColumnRef(pa.int64(), number)
    whens = tuple(
        (Call(pa.bool_(), "eq", (which, Literal(pa.int64(), i))), Literal(pa.int64(), id_)) for i, id_ in enumerate(ids)
    )
    value = Case(pa.int64(), whens, Literal(pa.int64(), 0))
    columns = [(f.name, ColumnRef(f.type, f.name)) for f in grouped.schema if f.name != number]
    return ProjectColumns((grouped,), plan.schema, (*columns, (plan.grouping_key, value)))
