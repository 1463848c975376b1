"""Binding of expressions: sqlglot nodes to typed expressions in a scope.

Aggregates, window calls and UNNEST are handed to the query level that is being bound, which gives them a column. Calls
by name are bound in `named_calls`, subqueries and rows of values in `subquery_exprs`, constants in `literals`.
"""

from __future__ import annotations

import decimal
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, Location, NotSupportedError, ParseError
from sqlengine.expr.coercion import cast_to, common_of
from sqlengine.expr.nodes import (
    Case,
    Cast,
    Expr,
    Literal,
    and_all,
    in_pairs,
    literal,
    null_of,
)  # fmt: skip
from sqlengine.expr.registry import bind_call, find_aggregate, find_lifted, find_scalar, find_window
from sqlengine.runtime.udf.function import AGGREGATE
from sqlengine.sql import literals
from sqlengine.sql.call_time import value_of
from sqlengine.sql.calls import call_name, innermost_call
from sqlengine.sql.collations import collated, collation_of
from sqlengine.sql.lifted_calls import bind_lifted_call
from sqlengine.sql.named_calls import CLOCKS, bind_named_call, field_of, from_comprehension, from_list
from sqlengine.sql.scope import Scope
from sqlengine.sql.source_text import Text
from sqlengine.sql.subquery_exprs import bind_comparison, bind_exists, bind_in, bind_scalar_subquery
from sqlengine.sql.type_names import TEXT_KINDS, arrow_type
from sqlengine.sql.user_calls import bind_user_call
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.plan.nodes import Plan
    from sqlengine.sql.binder import Binder
    from sqlengine.sql.select_level import SelectLevel

_BINARY: dict[type[Any], str] = {
    exp.Add: "add", exp.Sub: "subtract", exp.Mul: "multiply", exp.Div: "divide", exp.IntDiv: "int_divide",
    exp.Mod: "modulo", exp.Pow: "power", exp.EQ: "eq", exp.NEQ: "ne", exp.LT: "lt", exp.LTE: "le", exp.GT: "gt",
    exp.GTE: "ge", exp.NullSafeEQ: "is_not_distinct", exp.NullSafeNEQ: "is_distinct", exp.Like: "like",
    exp.ILike: "ilike", exp.DPipe: "concat_operator", exp.RegexpLike: "regexp_full_match",
    exp.SimilarTo: "regexp_full_match", exp.Glob: "glob", exp.BitwiseAnd: "bit_and", exp.BitwiseOr: "bit_or",
    exp.BitwiseLeftShift: "shift_left", exp.BitwiseRightShift: "shift_right", exp.StartsWith: "starts_with",
    exp.JSONExtract: "json_extract", exp.JSONExtractScalar: "json_extract_string", exp.ArrayContainsAll: "list_has_all",
    exp.ArrayOverlaps: "list_has_any", exp.ArrayContainedBy: "list_contained_by",
}  # fmt: skip
_BITS = {"bit_and", "bit_or"}  # of one argument an aggregate; of two what `&` and `|` are called within
_PATTERNS = {"like", "ilike", "glob", "is_distinct", "is_not_distinct"}
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
_NO_PAREN: dict[type[Any], str] = {
    exp.CurrentDate: "current_date", exp.CurrentTimestamp: "now", exp.CurrentTime: "current_time",
    exp.Localtimestamp: "current_localtimestamp", exp.Localtime: "current_localtime", exp.CurrentUser: "current_user",
    exp.SessionUser: "current_user",
}  # fmt: skip


@dataclass
class ExpressionBinder:
    """Binds expressions of one query level. `level` collects the calls that are not scalar (and knows the aliases of
    the select list); `allowed` says which kinds of them may stand here: aggregate, grouping, window, unnest. `locals`
    are parameters of lambdas."""

    binder: Binder
    scope: Scope
    text: Text
    where: str = "this clause"
    level: SelectLevel | None = None
    allowed: frozenset[str] = frozenset()
    locals: dict[str, Expr] = field(default_factory=dict)

    def bind(self, node: exp.Expression) -> Expr:
        location = self.text.of(node)
        kind = type(node)
        if kind in _BINARY:
            return self._binary(_BINARY[kind], node, location)
        match node:
            case exp.Placeholder() if (given := value_of(node)) is not None:
                return given
            case exp.Paren():
                return self.bind(node.this)
            case exp.Column() | exp.Identifier():
                return self._column(node)
            case exp.Literal():
                return literals.text_or_number(node)
            case exp.RawString() | exp.National() | exp.ByteString():
                return literal(str(node.this))
            case exp.Null():
                return null_of(pa.null())
            case exp.Boolean():
                return Literal(pa.bool_(), bool(node.this))
            case exp.Neg():
                inner = self.bind(node.this)
                plain = isinstance(node.this.unnest(), exp.Literal)
                if plain and isinstance(inner, Literal) and type(inner.value) in (int, float, decimal.Decimal):
                    return literals.negated(inner)
                return self.call("negate", [inner], location)
            case exp.BitwiseNot():
                return self.call("bit_not", [self.bind(node.this)], location)
            case exp.Abs():
                return self.call("abs", [self.bind(node.this)], location)
            case exp.RegexpILike():
                return self.call("regexp_matches", [*self._sides(node), literal("i")], location)
            case exp.Not():
                return self.call("not", [self.boolean(node.this)], location)
            case exp.And() | exp.Or():
                return self._logic(node, location)
            case exp.Xor():
                return self.call("xor", self._sides(node), location)
            case exp.Is():
                return self._is(node)
            case exp.Between():
                return self._between(node, location)
            case exp.In():
                return bind_in(self, node)
            case exp.Exists():
                return bind_exists(self, node)
            case exp.Subquery() | exp.Select() | exp.SetOperation():
                return bind_scalar_subquery(self, node)
            case exp.Case():
                return self._case(node)
            case exp.If():
                return self._case(exp.Case(ifs=[node.copy()], default=node.args.get("false")))
            case exp.Cast() | exp.TryCast():
                return self._cast(node)
            case exp.Interval():
                constant = literals.interval(node, location)
                if constant is not None:
                    return constant
                return self.call(literals.interval_unit(node, location), [self.bind(node.this)], location)
            case exp.Extract():
                part = Literal(pa.string(), node.this.name.lower())
                return self.call("date_part", [part, self.bind(node.expression)], location)
            case exp.AtTimeZone():
                return self.call("timezone", [self.bind(node.args["zone"]), self.bind(node.this)], location)
            case exp.Escape():
                like = node.this
                value = self.call(_BINARY[type(like)], [*self._sides(like), self.bind(node.expression)], location)
                return self.call("not", [value], location) if like.args.get("negate") else value
            case exp.Substring():
                return self._parts("substring", [node.this, node.args.get("start"), node.args.get("length")], location)
            case exp.Overlay():
                parts = [node.this, node.expression, node.args["from_"], node.args.get("for_")]
                return self._parts("overlay", parts, location)
            case exp.Trim():
                side = {"LEADING": "ltrim", "TRAILING": "rtrim"}.get(str(node.args.get("position")).upper(), "trim")
                return self._parts(side, [node.this, node.expression], location)
            case exp.StrPosition():
                return self.call("strpos", [self.bind(node.this), self.bind(node.args["substr"])], location)
            case exp.Concat():
                return self.call("concat", [self.bind(a) for a in node.expressions], location)
            case exp.Collate():
                collation_of(self, node)
                return self.bind(node.this)
            case exp.Array():
                if len(node.expressions) == 1 and isinstance(node.expressions[0], exp.Comprehension):
                    return from_comprehension(self, node.expressions[0])
                return self.call("list_value", [self.bind(a) for a in node.expressions], location)
            case exp.Tuple():
                if not node.expressions:
                    raise ParseError("expected something between the parentheses", location=location)
                return self.call("row", [self.bind(a) for a in node.expressions], location)
            case exp.Struct():
                if not all(isinstance(item.this, exp.Expression) for item in node.expressions):
                    raise ParseError("a field of a struct is written name: value", location=location)
                names = tuple(item.this.name for item in node.expressions)
                values = [self.bind(item.expression) for item in node.expressions]
                return self.call("struct_pack", values, location, (("names", names),))
            case exp.ToMap():
                return self._map(node, location)
            case exp.Map():
                return self._parts("map", [node.args.get("keys"), node.args.get("values")], location)
            case exp.Bracket():
                return self._subscript(node, location)
            case exp.Dot():
                return self._dot(node, location)
            case exp.Anonymous():
                return self._named(node, location)
            case exp.Filter() | exp.WithinGroup() | exp.IgnoreNulls() | exp.RespectNulls():
                name = call_name(innermost_call(node))
                if not find_aggregate(name) and not self._is_user_aggregate(name):
                    raise BindError(f"{name} is not an aggregate", code="not_an_aggregate", location=location)
                return self._special("aggregate", node, name)
            case exp.Window():
                return self._special("window", node, call_name(innermost_call(node.this)))
            case exp.Explode() | exp.Unnest():
                return self._special("unnest", node, "unnest")
            case exp.Lambda():
                # `f(j -> 'a')` where f takes no lambda: the arrow extracts from JSON.
                name = node.expressions[0]
                return self.call("json_extract", [self.bind(name), self.bind(node.this)], location)
            case exp.Star():
                raise BindError("* cannot stand here", code="misplaced_star", location=location)
        if kind in _NO_PAREN:
            return self.call(_NO_PAREN[kind], [], location)
        shown = node.key if not isinstance(node, exp.Func) else node.sql_name().lower()
        raise NotSupportedError(f"{shown} is not supported: {node.sql('duckdb')[:60]}", location=location)

    def call(
        self, name: str, args: list[Expr], location: Location | None, options: tuple[tuple[str, Any], ...] = ()
    ) -> Expr:
        """A call of the registry with bound arguments."""
        entry = find_scalar(name)
        if entry is not None and entry.name in CLOCKS:
            options = (("at", self.binder.started),)
        return bind_call(name, args, options=options, location=location, settings=self.binder.context.settings)

    def subquery(self, node: Any) -> tuple[Plan, tuple[str, ...]]:
        """A query inside this expression. Aggregates of this level's columns in it are this level's own."""
        before, self.scope.user = self.scope.user, self
        try:
            return self.binder.subquery(node, self.scope)
        finally:
            self.scope.user = before

    def boolean(self, node: exp.Expression) -> Expr:
        """A condition: BOOLEAN, or NULL."""
        value = self.bind(node)
        if value.type == pa.bool_():
            return value
        if pa.types.is_null(value.type):
            return null_of(pa.bool_())
        if pa.types.is_integer(value.type) or (isinstance(value, Literal) and pa.types.is_string(value.type)):
            return cast_to(value, pa.bool_())
        raise BindError(
            f"a condition must be BOOLEAN, this is {sql_name(value.type)}", code="type_mismatch",
            hint="compare it with something", location=self.text.of(node),
        )  # fmt: skip

    def with_locals(self, more: Mapping[str, Expr]) -> ExpressionBinder:
        """The binder of a lambda's body."""
        return replace(self, locals={**self.locals, **more})

    def _parts(self, name: str, nodes: list[exp.Expression | None], location: Location | None) -> Expr:
        return self.call(name, [self.bind(node) for node in nodes if node is not None], location)

    # operators

    def _sides(self, node: exp.Expression) -> list[Expr]:
        return [self.bind(node.this), self.bind(node.expression)]

    def _binary(self, name: str, node: exp.Expression, location: Location | None) -> Expr:
        compared = bind_comparison(self, name, node)
        if compared is not None:
            return compared
        left, right = self._sides(node)
        if name in _COMPARISONS or name in _PATTERNS:
            functions = collation_of(self, node.this, node.expression)
            left, right = (collated(self, side, functions) for side in (left, right))
        whole = pa.types.is_integer(left.type) and pa.types.is_integer(right.type)
        if name == "divide" and whole and self.binder.context.settings.integer_division:
            name = "int_divide"
        value = self.call(name, [left, right], location)
        # `a NOT LIKE b` is one node with a flag.
        return self.call("not", [value], location) if node.args.get("negate") else value

    def _logic(self, node: exp.Expression, location: Location | None) -> Expr:
        """AND and OR; a long chain of one of them becomes a flat tree."""
        parts = []
        top: exp.Expression = node
        while isinstance(top, type(node)):
            parts.append(top.args["expression"])
            top = top.this
        parts.append(top)
        name = "and" if isinstance(node, exp.And) else "or"
        bound = [self.boolean(part) for part in reversed(parts)]
        return in_pairs(bound, lambda a, b: self.call(name, [a, b], location))

    def _is(self, node: exp.Is) -> Expr:
        value = self.bind(node.this)
        if isinstance(node.expression, exp.Null):
            return bind_call("is_null", [value])
        if isinstance(node.expression, exp.Boolean):
            return bind_call("is_true" if node.expression.this else "is_false", [value])
        return self.call("is_not_distinct", [value, self.bind(node.expression)], self.text.of(node))

    def _between(self, node: exp.Between, location: Location | None) -> Expr:
        parts = (node.this, node.args["low"], node.args["high"])
        functions = collation_of(self, *parts)
        value, low, high = (collated(self, self.bind(a), functions) for a in parts)
        if node.args.get("symmetric"):
            low, high = self.call("least", [low, high], location), self.call("greatest", [low, high], location)
        # All three are compared in one type, as in DuckDB.
        type_ = common_of([value, low, high])
        if type_ is not None:
            value, low, high = (cast_to(e, type_) for e in (value, low, high))
        return and_all([self.call("ge", [value, low], location), self.call("le", [value, high], location)])

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
            shown = ", ".join(dict.fromkeys(sql_name(e.type) for e in (*(v for _, v in whens), otherwise)))
            raise BindError(
                f"the branches of CASE have no common type: {shown}", code="type_mismatch", hint="cast them",
                location=self.text.of(node),
            )  # fmt: skip
        return Case(type_, tuple((c, cast_to(v, type_)) for c, v in whens), cast_to(otherwise, type_))

    def _cast(self, node: exp.Expression) -> Expr:
        to = node.args["to"]
        location = self.text.of(node)
        value = self.bind(node.this)
        if to.this in TEXT_KINDS:
            made = self.call(TEXT_KINDS[to.this], [value], location)
            return self.call("try", [made], location) if isinstance(node, exp.TryCast) else made
        try:
            type_ = arrow_type(to)
        except (BindError, NotSupportedError) as error:
            error.location = error.location or location
            raise
        if value.type == type_:
            return value
        if isinstance(value, Literal):
            folded = cast_to(value, type_)
            if isinstance(folded, Literal):
                return folded
        return Cast(type_, value, isinstance(node, exp.TryCast), location)

    # names

    def _column(self, node: exp.Expression) -> Expr:
        """`column`, `table.column`, or a column (or a lambda's parameter) with fields of structs after it."""
        parts = [p.name for p in node.parts] if isinstance(node, exp.Column) else [node.name]
        location = self.text.of(node)
        local = self.locals.get(parts[0].lower())
        if local is not None:
            return self._fields(local, parts[1:], location)
        if len(parts) == 1:
            return self._plain_column(parts[0], location)
        failure: BindError | None = None
        for table, name, fields in ((parts[0], parts[1], parts[2:]), (None, parts[0], parts[1:])):
            try:
                column = self.scope.find(table, name, location)
            except BindError as error:
                failure = failure or error
                continue
            return self._fields(column, fields, location)
        if len(parts) > 2:  # schema.table.column
            return self._fields(self.scope.find(parts[-2], parts[-1], location), [], location)
        assert failure is not None
        raise failure

    def _plain_column(self, name: str, location: Location | None) -> Expr:
        try:
            return self.scope.find(None, name, location)
        except BindError as error:
            value = None
            if error.code == "column_not_found" and self.level is not None:
                value = self.level.alias(name, self)
            if value is None:
                raise
            return value

    def _fields(self, value: Expr, names: list[str], location: Location | None) -> Expr:
        for name in names:
            value = field_of(value, name, location)
        return value

    def _dot(self, node: exp.Dot, location: Location | None) -> Expr:
        """A field of a struct, or `value.function(more)`."""
        if isinstance(node.expression, exp.Anonymous):
            inside = exp.Anonymous(
                this=node.expression.this, expressions=[_as_column(node.this), *node.expression.expressions]
            )
            inside.meta.update(node.expression.meta)
            return self._named(inside, location)
        column = _as_column(node)
        if isinstance(column, exp.Column):
            return self._column(column)
        return field_of(self.bind(node.this), node.expression.name, location)

    def _named(self, node: exp.Anonymous, location: Location | None) -> Expr:
        name = node.name.lower()
        if name in ("grouping", "grouping_id"):
            return self._special("grouping", node, name)
        if find_aggregate(name) and (not find_scalar(name) or (name in _BITS and len(node.expressions) == 1)):
            return self._special("aggregate", node, name)
        if find_window(name) and not find_scalar(name):
            raise BindError(
                f"{name}() is a window function", code="misplaced_window", hint="add OVER (...)", location=location
            )
        if (lifted := find_lifted(name)) is not None:
            return bind_lifted_call(self, node, lifted, location)
        if not find_scalar(name) and (function := self.binder.context.find_function(name)) is not None:
            if function.kind == AGGREGATE:
                return self._special("aggregate", node, name)
            return bind_user_call(self, node, function, location)
        return bind_named_call(self, node, location)

    def _is_user_aggregate(self, name: str) -> bool:
        function = self.binder.context.find_function(name)
        return function is not None and function.kind == AGGREGATE

    def _special(self, kind: str, node: exp.Expression, name: str) -> Expr:
        """A call that the query level gives a column to, if it may stand here."""
        if self.level is None or kind not in self.allowed:
            # It may still be an aggregate of an enclosing query.
            outer = self.level is not None and kind == "aggregate" and self.scope.parent is not None
            value = self.level.outer_aggregate(node, name) if outer and self.level is not None else None
            if value is not None:
                return value
            article = {"aggregate": "aggregate ", "window": "window function "}.get(kind, "")
            raise self.misplaced(kind, f"{article}{name.lower()}()", self.text.of(node))
        return self.level.call(kind, node, name)

    def misplaced(self, kind: str, what: str, location: Location | None) -> BindError:
        hint = None
        if kind == "aggregate" and self.where == "WHERE":
            hint = "use HAVING for conditions on aggregates"
        elif kind == "window" and self.where in ("WHERE", "HAVING"):
            hint = "use QUALIFY for conditions on window functions"
        elif kind in ("aggregate", "window") and "argument" in self.where:
            hint = "compute the inner one in a subquery"
        return BindError(f"{what} cannot stand in {self.where}", code=f"misplaced_{kind}", hint=hint, location=location)

    # nested values

    def _map(self, node: exp.ToMap, location: Location | None) -> Expr:
        inner = node.this
        if isinstance(inner, exp.Bracket):  # MAP {...}[key] parses as a map of {...}[key]
            made = exp.Bracket(this=exp.ToMap(this=inner.this), expressions=inner.expressions)
            return self._subscript(made, location)
        keys = [self.bind(item.this) for item in inner.expressions]
        items = [self.bind(item.expression) for item in inner.expressions]
        lists = [self.call("list_value", values, location) for values in (keys, items)]
        return self.call("map", lists, location)

    def _subscript(self, node: exp.Bracket, location: Location | None) -> Expr:
        value, index = self.bind(node.this), node.expressions[0]
        if not isinstance(index, exp.Slice):
            return from_list(self, value, self.bind(index), location)
        low, high, step = (
            None if part is None else self.bind(part) for part in (index.this, index.expression, index.args.get("step"))
        )
        parts = [low or literal(1), high or literal(-1), *([step] if step is not None else [])]
        name = "array_slice"
        return self.call(name, [value, *parts], location)


def _as_column(node: exp.Expression) -> exp.Expression:
    """Names joined by dots as the column they name; any other expression as it is."""
    names: list[exp.Expression] = []
    top = node
    while isinstance(top, exp.Dot) and isinstance(top.expression, exp.Identifier):
        names.append(top.expression)
        top = top.this
    if not isinstance(top, exp.Identifier) or len(names) > 3:
        return node
    names.append(top)
    return exp.Column(**dict(zip(("this", "table", "db", "catalog"), (n.copy() for n in names), strict=False)))
