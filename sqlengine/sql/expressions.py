"""Binding of expressions: sqlglot nodes to typed expressions in a scope.

Aggregates and window calls are handed to callbacks of the query that is being bound, which gives them a column.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError
from sqlengine.expr.coercion import cast_to, common_of
from sqlengine.expr.nodes import Case, Cast, ColumnRef, Expr, Literal, Subquery, and_all, literal, null_of
from sqlengine.expr.registry import bind_call, find_aggregate
from sqlengine.plan.nodes import Project
from sqlengine.sql.parse import Text
from sqlengine.sql.scope import Scope
from sqlengine.sql.type_names import arrow_type
from sqlengine.types import INTERVAL, sql_name

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder

_BINARY = {
    exp.Add: "add", exp.Sub: "subtract", exp.Mul: "multiply", exp.Div: "divide", exp.IntDiv: "int_divide",
    exp.Mod: "modulo", exp.Pow: "power", exp.EQ: "eq", exp.NEQ: "ne", exp.LT: "lt", exp.LTE: "le", exp.GT: "gt",
    exp.GTE: "ge", exp.NullSafeEQ: "is_not_distinct", exp.NullSafeNEQ: "is_distinct", exp.Like: "like",
    exp.ILike: "ilike", exp.DPipe: "concat", exp.RegexpLike: "regexp_matches",
}  # fmt: skip
# sqlglot classes whose arguments, in order, are those of a function of ours.
_FUNCTIONS = {
    exp.Upper: "upper", exp.Lower: "lower", exp.Length: "length", exp.Abs: "abs", exp.Sqrt: "sqrt", exp.Ln: "ln",
    exp.Exp: "exp", exp.Floor: "floor", exp.Ceil: "ceil", exp.Round: "round", exp.Sign: "sign", exp.Nullif: "nullif",
    exp.Year: "year", exp.Month: "month", exp.Day: "day", exp.StartsWith: "starts_with", exp.StrPosition: "strpos",
    exp.Left: "left", exp.Right: "right", exp.Reverse: "reverse", exp.Contains: "contains", exp.Quarter: "quarter", exp.Replace: "replace",
}  # fmt: skip
_AGGREGATES = {
    exp.Sum: "sum", exp.Avg: "avg", exp.Min: "min", exp.Max: "max", exp.Count: "count", exp.Stddev: "stddev_samp",
    exp.StddevSamp: "stddev_samp", exp.StddevPop: "stddev_pop", exp.Variance: "var_samp", exp.VariancePop: "var_pop",
    exp.AnyValue: "any_value", exp.LogicalAnd: "bool_and", exp.LogicalOr: "bool_or", exp.CountIf: "count_if",
}  # fmt: skip
_UNITS = {"year": 12, "quarter": 3, "month": 1, "decade": 120}
_SPANS = {"week": 7 * 86400, "day": 86400, "hour": 3600, "minute": 60, "second": 1}


@dataclass
class ExpressionBinder:
    """Binds expressions of one query level. `aggregate` and `window` are called for such calls, or None where they may not
    stand; `aliases` are select-list names that may be used (after columns)."""

    binder: Binder
    scope: Scope
    text: Text
    where: str = "this clause"
    aggregate: Callable[[exp.Expression, str], Expr] | None = None
    replaced: Callable[[exp.Expression], Expr | None] | None = None
    aliases: dict[str, exp.Expression] | None = None

    def bind(self, node: exp.Expression) -> Expr:
        if self.replaced is not None:
            known = self.replaced(node)
            if known is not None:
                return known
        location = self.text.of(node)
        kind = type(node)
        if kind in _BINARY and node.args.get("negate"):
            # `a NOT LIKE b` is one node with a flag.
            return bind_call("not", [self._call(_BINARY[kind], node, [node.this, node.expression])], location=location)
        if kind in _BINARY:
            return self._call(_BINARY[kind], node, [node.this, node.expression])
        if kind in _AGGREGATES or (isinstance(node, exp.Anonymous | exp.Func) and find_aggregate(_name(node))):
            return self._aggregate(node, _AGGREGATES.get(kind) or _name(node))
        match node:
            case exp.Paren():
                return self.bind(node.this)
            case exp.Column():
                return self._column(node)
            case exp.Literal():
                return _literal(node)
            case exp.Null():
                return null_of(pa.null())
            case exp.Boolean():
                return Literal(pa.bool_(), bool(node.this))
            case exp.Neg():
                inner = self.bind(node.this)
                if isinstance(inner, Literal) and isinstance(inner.value, int | float | decimal.Decimal):
                    return (
                        literal(-inner.value)
                        if not pa.types.is_decimal(inner.type)
                        else Literal(inner.type, -inner.value)
                    )
                return bind_call("negate", [inner], location=location)
            case exp.Not():
                return bind_call("not", [self.boolean(node.this)], location=location)
            case exp.And() | exp.Or():
                name = "and" if isinstance(node, exp.And) else "or"
                return bind_call(name, [self.boolean(a) for a in (node.this, node.expression)], location=location)
            case exp.Is():
                return self._is(node)
            case exp.Between():
                value, low, high = (self.bind(a) for a in (node.this, node.args["low"], node.args["high"]))
                return and_all(
                    [
                        bind_call("ge", [value, low], location=location),
                        bind_call("le", [value, high], location=location),
                    ]
                )
            case exp.In():
                return self._in(node)
            case exp.Exists():
                return Subquery(pa.bool_(), "exists", self.binder.subquery(node.this, self.scope)[0], location=location)
            case exp.Subquery():
                plan, _ = self.binder.subquery(node.this, self.scope)
                if len(plan.schema) != 1:
                    raise BindError(
                        "a subquery used as a value must have one column", code="subquery_columns", location=location
                    )
                return Subquery(plan.schema.types[0], "scalar", plan, location=location)
            case exp.Case():
                return self._case(node)
            case exp.If():
                return self._case(exp.Case(ifs=[node.copy()], default=node.args.get("false")))
            case exp.Cast() | exp.TryCast():
                return self._cast(node)
            case exp.Interval():
                return _interval(node)
            case exp.Extract():
                part = Literal(pa.string(), node.this.name.lower())
                return bind_call("date_part", [part, self.bind(node.expression)], location=location)
            case exp.Escape():
                like = node.this
                return bind_call(
                    _BINARY[type(like)],
                    [self.bind(a) for a in (like.this, like.expression, node.expression)],
                    location=location,
                )
            case exp.Coalesce():
                return bind_call("coalesce", [self.bind(a) for a in (node.this, *node.expressions)], location=location)
            case exp.Substring():
                args = [a for a in (node.this, node.args.get("start"), node.args.get("length")) if a is not None]
                return bind_call("substring", [self.bind(a) for a in args], location=location)
            case exp.Trim():
                names = {"LEADING": "ltrim", "TRAILING": "rtrim"}
                args = [a for a in (node.this, node.expression) if a is not None]
                return bind_call(
                    names.get(str(node.args.get("position")).upper(), "trim"),
                    [self.bind(a) for a in args],
                    location=location,
                )
            case exp.Concat():
                parts = [
                    bind_call("coalesce", [cast_to(self.bind(a), pa.string()), literal("")]) for a in node.expressions
                ]
                return bind_call("concat", parts, location=location)
            case exp.Greatest() | exp.Least():
                name = "greatest" if isinstance(node, exp.Greatest) else "least"
                return bind_call(name, [self.bind(a) for a in (node.this, *node.expressions)], location=location)
            case exp.TimestampTrunc() | exp.DateTrunc():
                unit = Literal(pa.string(), node.args["unit"].name.lower())
                return bind_call("date_trunc", [unit, self.bind(node.this)], location=location)
            case exp.Anonymous():
                return bind_call(node.name, [self.bind(a) for a in node.expressions], location=location)
            case exp.Filter():
                return self.bind(node.this)
            case exp.Window():
                raise NotSupportedError("window functions are not supported yet", location=location)
            case exp.Star():
                raise BindError("* cannot stand here", code="misplaced_star", location=location)
        if kind in _FUNCTIONS:
            args = [a for a in node.args.values() if isinstance(a, exp.Expression)]
            return bind_call(_FUNCTIONS[kind], [self.bind(a) for a in args], location=location)
        shown = _name(node) if isinstance(node, exp.Func) else node.key
        raise NotSupportedError(f"{shown} is not supported: {node.sql('duckdb')[:60]}", location=location)

    def boolean(self, node: exp.Expression) -> Expr:
        """A condition: BOOLEAN, or NULL."""
        value = self.bind(node)
        if value.type == pa.bool_():
            return value
        if pa.types.is_null(value.type):
            return null_of(pa.bool_())
        if pa.types.is_integer(value.type):
            return cast_to(value, pa.bool_())
        raise BindError(
            f"a condition must be BOOLEAN, this is {sql_name(value.type)}", code="type_mismatch",
            hint="compare it with something", location=self.text.of(node),
        )  # fmt: skip

    def _call(self, name: str, node: exp.Expression, args: list[exp.Expression]) -> Expr:
        if isinstance(args[-1], exp.Any | exp.All):
            return self._quantified(name, node)
        return bind_call(
            name, [self.bind(a) for a in args], location=self.text.of(node), settings=self.binder.context.settings
        )

    def _column(self, node: exp.Column) -> Expr:
        table = node.table or None
        location = self.text.of(node)
        try:
            return self.scope.find(table, node.name, location)
        except BindError as error:
            if (
                error.code == "column_not_found"
                and table is None
                and self.aliases
                and node.name.lower() in self.aliases
            ):
                named = self.aliases[node.name.lower()]
                inner = ExpressionBinder(self.binder, self.scope, self.text, self.where, self.aggregate, self.replaced)
                return inner.bind(named)
            raise

    def _aggregate(self, node: exp.Expression, name: str) -> Expr:
        if self.aggregate is None:
            raise BindError(
                f"aggregate {name.lower()}() cannot stand in {self.where}", code="misplaced_aggregate",
                hint="use HAVING for conditions on aggregates" if self.where == "WHERE" else None, location=self.text.of(node),
            )  # fmt: skip
        return self.aggregate(node, name)

    def _is(self, node: exp.Is) -> Expr:
        value = self.bind(node.this)
        if isinstance(node.expression, exp.Null):
            return bind_call("is_null", [value])
        if isinstance(node.expression, exp.Boolean):
            return bind_call("is_true" if node.expression.this else "is_false", [value])
        return bind_call("is_not_distinct", [value, self.bind(node.expression)], location=self.text.of(node))

    def _in(self, node: exp.In) -> Expr:
        location = self.text.of(node)
        value = self.bind(node.this)
        query = node.args.get("query")
        if query is None:
            return bind_call("in", [value, *(self.bind(a) for a in node.expressions)], location=location)
        plan, _ = self.binder.subquery(query.this if isinstance(query, exp.Subquery) else query, self.scope)
        return self._compared(Subquery(pa.bool_(), "in", plan, (value,), location=location))

    def _quantified(self, name: str, node: exp.Expression) -> Expr:
        right = node.expression
        kind = "any" if isinstance(right, exp.Any) else "all"
        inner = right.this.this if isinstance(right.this, exp.Subquery) else right.this
        plan, _ = self.binder.subquery(inner, self.scope)
        return self._compared(Subquery(pa.bool_(), kind, plan, (self.bind(node.this),), name, self.text.of(node)))

    def _compared(self, subquery: Subquery) -> Expr:
        """Both sides of the comparison in one type."""
        plan = subquery.plan
        if len(plan.schema) != 1:
            raise BindError("the subquery must have one column", code="subquery_columns", location=subquery.location)
        column = ColumnRef(plan.schema.types[0], plan.schema.names[0])
        type_ = common_of([subquery.args[0], column])
        if type_ is None:
            raise BindError(
                f"cannot compare {sql_name(subquery.args[0].type)} with {sql_name(column.type)}", code="type_mismatch",
                hint="cast one of them", location=subquery.location,
            )  # fmt: skip
        if column.type != type_:
            plan = Project(plan, ((self.binder.keys.make("value"), cast_to(column, type_)),))
        return Subquery(
            pa.bool_(), subquery.kind, plan, (cast_to(subquery.args[0], type_),), subquery.comparison, subquery.location
        )

    def _case(self, node: exp.Case) -> Expr:
        subject = node.this
        whens = []
        for branch in node.args["ifs"]:
            condition = (
                exp.EQ(this=subject.copy(), expression=branch.this.copy()) if subject is not None else branch.this
            )
            whens.append((self.boolean(condition), self.bind(branch.args["true"])))
        default = node.args.get("default")
        otherwise = self.bind(default) if default is not None else null_of(pa.null())
        type_ = common_of([*(value for _, value in whens), otherwise])
        if type_ is None:
            raise BindError(
                "the branches of CASE have no common type",
                code="type_mismatch",
                hint="cast them",
                location=self.text.of(node),
            )
        return Case(type_, tuple((c, cast_to(v, type_)) for c, v in whens), cast_to(otherwise, type_))

    def _cast(self, node: exp.Expression) -> Expr:
        type_ = arrow_type(node.args["to"])
        value = self.bind(node.this)
        safe = isinstance(node, exp.TryCast)
        if value.type == type_:
            return value
        if isinstance(value, Literal) and isinstance(value.value, str) and type_ == pa.date32():
            try:
                return Literal(type_, datetime.date.fromisoformat(value.value.strip()))
            except ValueError:
                pass  # the cast reports it, or gives NULL
        return Cast(type_, value, safe, self.text.of(node))


def _name(node: exp.Expression) -> str:
    if isinstance(node, exp.Anonymous):
        return str(node.name)
    names = getattr(node, "sql_names", None)
    return str(names()[0]).lower() if names is not None else str(node.key)


def _literal(node: exp.Literal) -> Expr:
    if node.is_string:
        return literal(str(node.this))
    text = str(node.this)
    if "e" in text.lower():
        return literal(float(text))
    return literal(decimal.Decimal(text)) if "." in text else literal(int(text))


def _interval(node: exp.Interval) -> Expr:
    """INTERVAL 3 MONTH, INTERVAL '3' MONTH, INTERVAL '1 year 2 days'."""
    unit = node.args.get("unit")
    text = node.this.name if node.this is not None else ""
    words = f"{text} {unit.name}" if unit is not None else text
    parts = words.split()
    if not parts or len(parts) % 2:
        raise BindError(f"cannot read the interval {words!r}", code="invalid_interval", hint="write INTERVAL '3' MONTH")
    months, seconds = 0, decimal.Decimal(0)
    for amount, name in zip(parts[::2], parts[1::2], strict=True):
        key = name.lower().rstrip("s")
        try:
            number = decimal.Decimal(amount)
        except decimal.InvalidOperation:
            raise BindError(f"cannot read the interval {words!r}", code="invalid_interval") from None
        if key in _UNITS:
            months += int(number * _UNITS[key])
        elif key in _SPANS:
            seconds += number * _SPANS[key]
        else:
            raise BindError(f"{name!r} is not a unit of time", code="invalid_interval")
    days = int(seconds // 86400)
    return Literal(INTERVAL, pa.MonthDayNano([months, days, int((seconds - days * 86400) * 10**9)]))
