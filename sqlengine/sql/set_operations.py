"""UNION, INTERSECT and EXCEPT: both sides brought to the same columns."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.coercion import cast_to, common_type
from sqlengine.expr.nodes import ColumnRef
from sqlengine.plan import nodes as p
from sqlengine.sql.ordering import ordered
from sqlengine.sql.scope import Scope

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names


def bind_set_operation(binder: Binder, tree: exp.SetOperation, outer: Scope | None) -> tuple[p.Plan, Names]:
    if tree.args.get("by_name"):
        raise NotSupportedError("BY NAME is not supported yet", location=binder.text.of(tree))
    left, names = binder.query(tree.this, outer)
    right, others = binder.query(tree.expression, outer)
    kind = {exp.Union: "union", exp.Intersect: "intersect", exp.Except: "except"}[type(tree)]
    if len(names) != len(others):
        raise BindError(
            f"the sides of {kind.upper()} have {len(names)} and {len(others)} columns", code="set_columns",
            location=binder.text.of(tree),
        )  # fmt: skip
    types = []
    for number, (a, b) in enumerate(zip(left.schema.types, right.schema.types, strict=True)):
        type_ = common_type(a, b)
        if type_ is None:
            raise BindError(
                f"column {number + 1} of {kind.upper()} is {a} on one side and {b} on the other", code="type_mismatch",
                hint="cast one of them", location=binder.text.of(tree),
            )  # fmt: skip
        types.append(type_)
    left, right = _typed(binder, left, types), _typed(binder, right, types)
    keys = tuple(binder.keys.make(name) for name in names)
    all_ = not tree.args.get("distinct")
    plan: p.Plan
    if kind == "union":
        plan = p.Union((left, right), keys)
        plan = plan if all_ else p.Distinct(plan)
    else:
        plan = p.SetOperation(left, right, kind, all_, keys)
    return ordered(binder, tree, plan, names)


def _typed(binder: Binder, plan: p.Plan, types: list[pa.DataType]) -> p.Plan:
    if plan.schema.types == types:
        return plan
    columns = [
        (binder.keys.make("side"), cast_to(ColumnRef(f.type, f.name), t))
        for f, t in zip(plan.schema, types, strict=True)
    ]
    return p.Project(plan, tuple(columns))
