"""Plans as text: the same tree drawing for logical plans, operators, and measured operators."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from sqlengine.expr import nodes as e
from sqlengine.operators.base import Operator
from sqlengine.physical.estimates import estimate
from sqlengine.plan import nodes as p
from sqlengine.runtime.metrics import OperatorMetrics
from sqlengine.settings import format_bytes


def draw(node: Any, label: Callable[[Any], str], children: Callable[[Any], Sequence[Any]]) -> str:
    """A tree with one node per line."""
    lines: list[str] = []

    def visit(item: Any, first: str, rest: str) -> None:
        lines.append(first + label(item))
        below = list(children(item))
        for number, child in enumerate(below):
            last = number == len(below) - 1
            visit(child, rest + ("└─ " if last else "├─ "), rest + ("   " if last else "│  "))

    visit(node, "", "")
    return "\n".join(lines)


def logical_text(plan: p.Plan) -> str:
    return draw(plan, _logical_label, lambda node: node.children())


def physical_text(root: Operator) -> str:
    def label(operator: Operator) -> str:
        stats = estimate(operator)
        return f"{_operator_label(operator)}  ~{stats.rows:,.0f} rows"

    return draw(root, label, lambda operator: operator.inputs)


def analyzed_text(stages: Sequence[tuple[str, Operator]], metrics: dict[int, OperatorMetrics]) -> str:
    """Every stage with rows, bytes, time, peak and spill of each operator. Times include the operator's inputs."""

    def label(operator: Operator) -> str:
        text = _operator_label(operator)
        found = metrics.get(id(operator))
        if found is None:
            return text
        text += f"  {found.rows:,} rows, {format_bytes(found.bytes)}, {found.seconds:.3f} s"
        if found.peak:
            text += f", peak {format_bytes(found.peak)}"
        if found.spilled_bytes:
            text += f", spilled {format_bytes(found.spilled_bytes)}"
        return text

    return "\n".join(f"{title}\n{draw(root, label, lambda operator: operator.inputs)}" for title, root in stages)


def _operator_label(operator: Operator) -> str:
    detail = operator.describe()
    return f"{type(operator).__name__} {detail}".rstrip()


def _logical_label(plan: p.Plan) -> str:
    name = type(plan).__name__
    match plan:
        case p.Scan():
            columns = ", ".join(key for _, key in plan.columns)
            text = f"{name} {plan.source.describe()} [{columns}]"
            return text + (f" where {' and '.join(map(expr_text, plan.filters))}" if plan.filters else "")
        case p.Filter():
            return f"{name} {expr_text(plan.predicate)}"
        case p.Project():
            return f"{name} " + ", ".join(_named(key, expr) for key, expr in plan.columns)
        case p.Aggregate():
            keys = ", ".join(_named(key, expr) for key, expr in plan.keys)
            return f"{name} by [{keys}] " + ", ".join(_named(key, expr) for key, expr in plan.aggregates)
        case p.Join() | p.DependentJoin():
            return f"{name} {plan.kind} on {expr_text(plan.condition)}"
        case p.Sort():
            order = ", ".join(expr_text(k.expr) + (" desc" if k.descending else "") for k in plan.keys)
            return f"{name} {order}" + (f" first {plan.limit}" if plan.limit is not None else "")
        case p.Limit():
            return f"{name} {plan.count} offset {plan.offset}"
        case p.Window():
            return f"{name} " + ", ".join(_named(key, call) for key, call in plan.calls)
        case p.SharedPlan() | p.SharedRef() | p.Recursion() | p.TableFunction():
            return f"{name} {plan.name}"
        case p.SetOperation():
            return f"{name} {plan.kind}{' all' if plan.all else ''}"
        case _:
            return name


def _named(key: str, expr: e.Expr) -> str:
    if isinstance(expr, e.ColumnRef) and expr.key == key:
        return key
    return f"{key} := {expr_text(expr)}"


_SIGNS = {
    "add": "+", "subtract": "-", "multiply": "*", "divide": "/", "eq": "=", "ne": "<>", "lt": "<", "le": "<=",
    "gt": ">", "ge": ">=", "and": "and", "or": "or", "concat": "||",
}  # fmt: skip


def expr_text(expr: e.Expr) -> str:
    """An expression as SQL-like text, with column keys."""
    match expr:
        case e.Literal():
            if isinstance(expr.value, str):
                return "'" + expr.value.replace("'", "''") + "'"
            return "NULL" if expr.value is None else str(expr.value)
        case e.ColumnRef():
            return expr.key
        case e.OuterRef():
            return f"outer({expr.key})"
        case e.Call(name=name, args=(left, right)) if name in _SIGNS:
            return f"({expr_text(left)} {_SIGNS[name]} {expr_text(right)})"
        case e.Cast():
            return f"cast({expr_text(expr.arg)} as {expr.type})"
        case e.Case():
            branches = " ".join(f"when {expr_text(c)} then {expr_text(v)}" for c, v in expr.whens)
            return f"case {branches} else {expr_text(expr.otherwise)} end"
        case e.Subquery():
            return f"{expr.kind}(subquery)"
        case e.Lambda():
            return f"lambda {', '.join(name for name, _ in expr.params)}: {expr_text(expr.body)}"
        case e.AggregateCall() | e.WindowCall() | e.Call():
            return f"{expr.name}({', '.join(map(expr_text, expr.args))})"
        case _:
            return type(expr).__name__


def as_table(text: str, name: str = "plan") -> pa.Table:
    """Text as a result of one column, one row per line."""
    return pa.table({name: pa.array(text.split("\n"), pa.string())})
