"""Columns that nobody reads are not computed, not kept and not read from files."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import pyarrow as pa

from sqlengine.expr.nodes import Expr, columns_of
from sqlengine.expr.selectivity import type_width
from sqlengine.plan import nodes as plans
from sqlengine.plan.keys import restrict
from sqlengine.plan.nodes import Plan
from sqlengine.settings import Settings
from sqlengine.tree import walk


def prune_columns(plan: Plan, settings: Settings) -> Plan:
    """
    >>> from sqlengine.optimizer.examples import table, x, y
    >>> plan = plans.Project(table("t", x, y), (("x#1", x),))
    >>> prune_columns(plan, Settings()).input.columns
    (('x', 'x#1'),)
    """
    return restrict(_prune(plan, set(plan.schema.names)), plan.schema.names)


def _read(exprs: Iterable[Expr]) -> set[str]:
    return {key for e in exprs for key in columns_of(e)}


def _one_of(schema: pa.Schema) -> set[str]:
    """The narrowest column: a batch needs one to have a number of rows."""
    return {min(schema, key=lambda f: (type_width(f.type), f.name)).name} if len(schema) else set()


def _prune(plan: Plan, needed: set[str]) -> Plan:
    """The plan with the columns `needed`, and as few others as possible, in the old order."""
    needed = needed & set(plan.schema.names) or _one_of(plan.schema)
    match plan:
        case plans.Scan():
            wanted = needed | _read(plan.filters)
            return replace(plan, columns=tuple(c for c in plan.columns if c[1] in wanted))
        case plans.Values():
            kept = [i for i, (key, _) in enumerate(plan.columns) if key in needed]
            rows = tuple(tuple(row[i] for i in kept) for row in plan.rows)
            return plans.Values(tuple(plan.columns[i] for i in kept), rows)
        case plans.Unnest():
            # The lists themselves end here, unless somebody above wants them: repeated for each element they are large.
            made = _with_input(plan, needed | _read(plan.exprs()))
            return restrict(made, [name for name in made.schema.names if name in needed])
        case plans.Filter() | plans.Sort():
            needed_below = needed | _read(plan.exprs())
            return _with_input(plan, needed_below)
        case plans.Project():
            columns = tuple(c for c in plan.columns if c[0] in needed)
            below = _prune(plan.input, _read(e for _, e in columns))
            return plans.Project(below, columns)
        case plans.Aggregate():
            calls = tuple(c for c in plan.aggregates if c[0] in needed)
            grouping = plan.grouping_key if plan.grouping_key in needed else None
            if not calls and not plan.keys and grouping is None:
                calls = plan.aggregates[:1]
            below = _prune(plan.input, _read([*(e for _, e in plan.keys), *(e for _, e in calls)]))
            return plans.Aggregate(below, plan.keys, calls, plan.sets, grouping)
        case plans.Distinct():
            if plan.on is None:
                return replace(plan, input=_whole(plan.input))
            return _with_input(plan, needed | _read(plan.exprs()))
        case plans.Window():
            window_calls = tuple(c for c in plan.calls if c[0] in needed)
            below = _prune(plan.input, needed | _read(e for _, e in window_calls))
            return plans.Window(below, window_calls) if window_calls else below
        case plans.Limit() | plans.Sample() | plans.OneRowOnly():
            return _with_input(plan, needed)
        case plans.Join():
            wanted = needed | columns_of(plan.condition)
            if plan.kind == "mark" and plan.mark not in needed:
                return _prune(plan.left, needed)
            return replace(plan, left=_prune(plan.left, wanted), right=_prune(plan.right, wanted))
        case plans.Union():
            kept = [i for i, key in enumerate(plan.keys) if key in needed]
            inputs = []
            for child in plan.inputs:
                names = [child.schema.names[i] for i in kept]
                inputs.append(restrict(_prune(child, set(names)), names))
            return plans.Union(tuple(inputs), tuple(plan.keys[i] for i in kept))
        case plans.SharedPlan():
            body = _prune(plan.body, needed)
            readings = [n for n in walk(body) if isinstance(n, plans.SharedRef) and n.name == plan.name]
            if not readings:
                return body
            read = {old for n in readings for old, _, _ in n.columns}
            return plans.SharedPlan(plan.name, _prune(plan.definition, read), body)
        case plans.SharedRef():
            return replace(plan, columns=tuple(c for c in plan.columns if c[1] in needed))
        case plans.TableFunction():
            return plan
        case _:
            # By position, or for the outside: every column of every input stays where it is.
            children = tuple(_whole(child) for child in plan.children())
            return plan.with_children(children) if children else plan


def _with_input(plan: Plan, needed: set[str]) -> Plan:
    (child,) = plan.children()
    return plan.with_children((_prune(child, needed),))


def _whole(plan: Plan) -> Plan:
    return restrict(_prune(plan, set(plan.schema.names)), plan.schema.names)
