"""Subqueries in expressions, and comparisons of rows of values, which share their rules.

`(a, b) = (c, d)` compares rows as values: NULLs are equal to each other and greater than everything, so the answer is
never NULL. Against a subquery (`IN`, `ANY`, `ALL`) each pair is compared as SQL compares columns, and may be NULL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, Location, NotSupportedError
from sqlengine.expr.coercion import cast_to, common_of
from sqlengine.expr.nodes import FALSE, TRUE, Case, ColumnRef, Expr, Literal, OuterRef, SortKey, Subquery, and_all
from sqlengine.expr.registry import bind_aggregate, bind_call
from sqlengine.plan import nodes as p
from sqlengine.sql.collations import collated, collation_of
from sqlengine.sql.consumed import check_consumed
from sqlengine.tree import transform_up
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.sql.expressions import ExpressionBinder

_BOOL = pa.bool_()
_ROW_COMPARISONS = frozenset({"eq", "ne", "lt", "le", "gt", "ge", "is_distinct", "is_not_distinct"})


def bind_exists(binder: ExpressionBinder, node: exp.Exists) -> Expr:
    inner: Any = node.this.this if isinstance(node.this, exp.Subquery) else node.this
    if not isinstance(inner, exp.Query):
        raise NotSupportedError("EXISTS takes a query", location=binder.text.of(node))
    plan, _ = binder.subquery(inner)
    return Subquery(_BOOL, "exists", plan, location=binder.text.of(node))


def bind_scalar_subquery(binder: ExpressionBinder, node: exp.Expression) -> Expr:
    plan, _ = binder.subquery(node)
    if len(plan.schema) != 1:
        raise BindError(
            f"a subquery used as a value must have one column, this has {len(plan.schema)}", code="subquery_columns",
            location=binder.text.of(node),
        )  # fmt: skip
    return Subquery(plan.schema.types[0], "scalar", plan, location=binder.text.of(node))


def bind_array_subquery(binder: ExpressionBinder, node: Any, location: Location | None) -> Expr:
    """ARRAY(SELECT ...): the list of the subquery's values in its order; of no rows an empty list."""
    plan, _ = binder.subquery(node)
    if len(plan.schema) != 1:
        raise BindError("ARRAY takes a query of one column", code="subquery_columns", location=location)
    value: Expr = ColumnRef(plan.schema.types[0], plan.schema.names[0])
    # The order of ORDER BY is given to the aggregate: rows by themselves have none.
    base = plan
    if isinstance(plan, p.Project):
        value, base = plan.columns[0][1], plan.input
    sort = base.input if isinstance(base, p.Limit) else base
    keys: tuple[SortKey, ...] = ()
    if isinstance(sort, p.Sort):
        keys = sort.keys
        base = base if isinstance(base, p.Limit) else sort.input
    call = bind_aggregate("list", [value], order_by=keys, location=location)
    key, filled = binder.binder.keys.make("array"), binder.binder.keys.make("array")
    rows = p.Aggregate(base, (), ((key, call),))
    whole = binder.call("coalesce", [ColumnRef(call.type, key), Literal(call.type, [])], location)
    return Subquery(call.type, "scalar", p.Project(rows, ((filled, whole),)), location=location)


def bind_in(binder: ExpressionBinder, node: exp.In) -> Expr:
    location = binder.text.of(node)
    check_consumed(node, binder.text)
    query = node.args.get("query")
    if query is None and len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Values):
        query = node.expressions[0]
    if query is not None:
        plan, _ = binder.subquery(query.this if _is_bare(query) else query)
        values = [binder.bind(part) for part in _row(node.this) or [node.this]]
        return _compared(binder, Subquery(_BOOL, "in", plan, tuple(values), location=location))
    if node.args.get("field") is not None:
        return binder.call("list_contains", [binder.bind(node.args["field"]), binder.bind(node.this)], location)
    row = _row(node.this)
    if row is not None:
        found: Expr = FALSE
        for item in node.expressions:
            other = _row(item)
            if other is None:
                raise BindError("a row is compared with a single value", code="row_length", location=location)
            same = _compare_rows(binder, "eq", row, other, location)
            found = same if found == FALSE else binder.call("or", [found, same], location)
        return found
    functions = collation_of(binder, node.this, *node.expressions)
    values = [collated(binder, binder.bind(a), functions) for a in (node.this, *node.expressions)]
    return binder.call("in", values, location)


def bind_comparison(binder: ExpressionBinder, name: str, node: exp.Expression) -> Expr | None:
    """A comparison with ANY or ALL, or of rows; None for any other."""
    left, right = _quantifier(node.this), _quantifier(node.expression)
    location = binder.text.of(node)
    if isinstance(left, exp.Any | exp.All):
        turned = {"lt": "gt", "gt": "lt", "le": "ge", "ge": "le"}.get(name, name)
        return _quantified(binder, turned, right, left, location)
    if isinstance(right, exp.Any | exp.All):
        return _quantified(binder, name, left, right, location)
    a, b = _row(left), _row(right)
    if a is None or b is None or name not in _ROW_COMPARISONS:
        return None
    return _compare_rows(binder, name, a, b, location)


def _quantifier(node: exp.Expression) -> exp.Expression:
    """`all(list)` is parsed as a call."""
    if isinstance(node, exp.Anonymous) and node.name.lower() in ("all", "any", "some") and len(node.expressions) == 1:
        return (exp.All if node.name.lower() == "all" else exp.Any)(this=node.expressions[0].copy())
    return node


def _quantified(
    binder: ExpressionBinder, name: str, value: exp.Expression, right: exp.Expression, location: Location | None
) -> Expr:
    kind = "any" if isinstance(right, exp.Any) else "all"
    inner: Any = right.this
    while isinstance(inner, exp.Paren) or _is_bare(inner):
        inner = inner.this
    values = [binder.bind(part) for part in _row(value) or [value]]
    if isinstance(inner, exp.Query):
        plan, _ = binder.subquery(inner)
    else:
        plan = _elements(binder, binder.bind(inner), location)
    return _compared(binder, Subquery(_BOOL, kind, plan, tuple(values), name, location))


def _elements(binder: ExpressionBinder, values: Expr, location: Location | None) -> p.Plan:
    """The elements of a list as rows, for `x = ANY(list)`."""
    if not pa.types.is_list(values.type):
        raise BindError(
            f"ANY and ALL take a query or a list, this is {sql_name(values.type)}",
            code="type_mismatch",
            location=location,
        )
    outer = transform_up(
        values,
        lambda e: (
            OuterRef(e.type, e.key)
            if isinstance(e, ColumnRef)
            else OuterRef(e.type, e.key, e.depth + 1)
            if isinstance(e, OuterRef)
            else e
        ),
    )
    key = binder.binder.keys.make("element")
    rows = p.Unnest(p.ONE_ROW, ((key, outer),))
    return rows


def _compared(binder: ExpressionBinder, subquery: Subquery) -> Expr:
    """Both sides of the comparison in common types."""
    plan: p.Plan = subquery.plan
    if len(plan.schema) != len(subquery.args):
        raise BindError(
            f"the subquery has {len(plan.schema)} columns where {len(subquery.args)} are compared",
            code="subquery_columns", location=subquery.location,
        )  # fmt: skip
    args, columns = [], []
    for arg, field in zip(subquery.args, plan.schema, strict=True):
        column = ColumnRef(field.type, field.name)
        type_ = common_of([arg, column])
        if type_ is None:
            raise BindError(
                f"cannot compare {sql_name(arg.type)} with {sql_name(column.type)}", code="type_mismatch",
                hint="cast one of them", location=subquery.location,
            )  # fmt: skip
        args.append(cast_to(arg, type_))
        columns.append(cast_to(column, type_))
    if any(column.type != t for column, t in zip(columns, plan.schema.types, strict=True)):
        plan = p.Project(plan, tuple((binder.binder.keys.make("value"), column) for column in columns))
    return Subquery(_BOOL, subquery.kind, plan, tuple(args), subquery.comparison, subquery.location)


def _is_bare(node: exp.Expression) -> bool:
    """Parentheses around a query and nothing else."""
    return isinstance(node, exp.Subquery) and not any(value for key, value in node.args.items() if key != "this")


def _row(node: exp.Expression) -> list[exp.Expression] | None:
    """The parts of `(a, b)` or `row(a, b)`."""
    while isinstance(node, exp.Paren):
        node = node.this
    if isinstance(node, exp.Tuple):
        return list(node.expressions)
    if isinstance(node, exp.Anonymous) and node.name.lower() == "row":
        return list(node.expressions)
    return None


def _compare_rows(
    binder: ExpressionBinder,
    name: str,
    left: list[exp.Expression],
    right: list[exp.Expression],
    location: Location | None,
) -> Expr:
    if len(left) != len(right):
        raise BindError(
            f"rows of {len(left)} and {len(right)} values are compared", code="row_length", location=location
        )
    pairs = []
    for a, b in zip(left, right, strict=True):
        if _row(a) is not None or _row(b) is not None:
            raise NotSupportedError("rows inside compared rows are not supported", location=location)
        pairs.append((binder.bind(a), binder.bind(b)))
    if name in ("eq", "is_not_distinct"):
        return and_all([binder.call("is_not_distinct", [*pair], location) for pair in pairs])
    if name in ("ne", "is_distinct"):
        return binder.call("not", [_compare_rows(binder, "eq", left, right, location)], location)
    # The first pair that differs decides; NULL is the greatest value.
    whens = []
    for x, y in pairs:
        low, high = (x, y) if name in ("lt", "le") else (y, x)
        below = bind_call("coalesce", [binder.call("lt", [low, high], location), FALSE])
        null_high = and_all([bind_call("is_null", [high]), bind_call("not", [bind_call("is_null", [low])])])
        differs = binder.call("is_distinct", [x, y], location)
        whens.append((differs, bind_call("or", [below, null_high])))
    return Case(_BOOL, tuple(whens), TRUE if name in ("le", "ge") else FALSE)
