"""Lowering of window calls: what they read becomes columns; calls of the same window share one operator."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pyarrow as pa

from sqlengine.expr.nodes import Expr, WindowCall
from sqlengine.operators.base import Operator
from sqlengine.operators.window_rows import WindowRows
from sqlengine.operators.window_values import WindowSpec
from sqlengine.plan.nodes import Window
from sqlengine.runtime.sort_column import SortColumn

if TYPE_CHECKING:
    from sqlengine.physical.lower import Lowering


@dataclass
class _Shared:
    """Calls over the same partition and order."""

    partition_by: tuple[str, ...]
    order_by: tuple[SortColumn, ...]
    calls: list[WindowSpec] = field(default_factory=list)


def lower_window(lowering: Lowering, plan: Window) -> Operator:
    child = lowering.lower(plan.input)
    wanted = [e for _, call in plan.calls for e in call.children()]
    child, keys = lowering.with_columns(child, wanted)
    of = dict(zip(wanted, keys, strict=True))
    shared: dict[tuple[tuple[str, ...], tuple[SortColumn, ...]], _Shared] = {}
    for output, call in plan.calls:
        partition_by = tuple(dict.fromkeys(of[e] for e in call.partition_by))
        order_by = tuple(SortColumn(of[k.expr], k.descending, k.nulls_first) for k in call.order_by)
        group = shared.setdefault((partition_by, order_by), _Shared(partition_by, order_by))
        group.calls.append(_spec(output, call, of))
    for group in shared.values():
        added = [pa.field(spec.output, spec.type) for spec in group.calls]
        schema = pa.schema([*child.schema, *added])
        child = WindowRows((child,), schema, group.partition_by, group.order_by, tuple(group.calls))
    return lowering.only(child, plan.schema)


def _spec(output: str, call: WindowCall, of: dict[Expr, str]) -> WindowSpec:
    name = "count_star" if call.name == "count" and not call.args else call.name
    start, end = (
        tuple(of[b] if isinstance(b, Expr) else b for b in bound) for bound in (call.frame.start, call.frame.end)
    )
    return WindowSpec(
        name,
        output,
        tuple(of[e] for e in call.args),
        tuple(e.type for e in call.args),
        call.type,
        call.frame.unit,
        start,
        end,
        call.frame.exclude,
        call.aggregate,
        of[call.filter] if call.filter is not None else None,
        call.distinct,
        call.ignore_nulls,
        tuple(SortColumn(of[k.expr], k.descending, k.nulls_first) for k in call.arg_order),
        call.options,
    )
