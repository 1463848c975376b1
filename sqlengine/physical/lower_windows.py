"""Lowering of windows: calls with the same partition and order share one `WindowRows`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa

from sqlengine.expr.nodes import Expr, SortKey, WindowCall
from sqlengine.operators.base import Operator
from sqlengine.operators.window_rows import WindowRows
from sqlengine.physical.window_specs import window_spec
from sqlengine.plan.nodes import Window

if TYPE_CHECKING:
    from sqlengine.physical.lower import Lowering


def lower_window(lowering: Lowering, plan: Window) -> Operator:
    groups: dict[tuple[tuple[Expr, ...], tuple[SortKey, ...]], list[tuple[str, WindowCall]]] = {}
    for key, call in plan.calls:
        groups.setdefault((call.partition_by, call.order_by), []).append((key, call))
    child = lowering.lower(plan.input)
    for (partition_by, order_by), calls in groups.items():
        child, partition = lowering.with_columns(child, partition_by)
        child, order = lowering.sort_columns(child, order_by)
        specs = []
        for key, call in calls:
            child, spec = window_spec(lowering, child, key, call)
            specs.append(spec)
        schema = pa.schema([*child.schema, *(pa.field(key, call.type) for key, call in calls)])
        child = WindowRows((child,), schema, partition, order, tuple(specs))
    return lowering.only(child, plan.schema)
