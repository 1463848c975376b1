"""Binding: parsed queries to logical plans with every name resolved and every expression typed.

A SELECT is bound in the order in which SQL evaluates it: FROM, WHERE, GROUP BY with the aggregates found anywhere, HAVING,
the select list, DISTINCT, ORDER BY, LIMIT. Subqueries stay as `Subquery` expressions for `decorrelate`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, NotSupportedError, ParseError
from sqlengine.expr.coercion import cast_to, common_of, common_type
from sqlengine.expr.evaluate import evaluate_constant
from sqlengine.expr.nodes import (
    AggregateCall,
    ColumnRef,
    Expr,
    KeyMaker,
    OuterRef,
    SortKey,
    Subquery,
    and_all,
)
from sqlengine.expr.registry import bind_aggregate, bind_call, find_aggregate, find_table_function
from sqlengine.formats.base import Source
from sqlengine.plan import nodes as p
from sqlengine.settings import Settings
from sqlengine.sql.expressions import ExpressionBinder
from sqlengine.sql.parse import Text
from sqlengine.sql.scope import Column, Scope
from sqlengine.tree import transform_up

Names = tuple[str, ...]


@dataclass(frozen=True)
class BindContext:
    """What binding needs from the session: tables by name, files by path, the names it could suggest."""

    find_table: Callable[[str], Source | None]
    open_file: Callable[[str | list[str], str | None, dict[str, Any]], Source]
    table_names: Callable[[], list[str]]
    settings: Settings = field(default_factory=Settings)


@dataclass(frozen=True)
class BoundQuery:
    """A query ready to optimize: the plan and the names of its columns."""

    plan: p.Plan
    names: Names


_READERS = {"read_parquet": "parquet", "parquet_scan": "parquet", "read_csv": "csv", "read_csv_auto": "csv"}


class Binder:
    """Binds one statement; gives out its column keys."""

    def __init__(self, context: BindContext, text: Text) -> None:
        self.context = context
        self.text = text
        self.keys = KeyMaker()
        self._ctes: list[dict[str, exp.CTE]] = [{}]

    def bind(self, tree: exp.Expression) -> BoundQuery:
        if not isinstance(tree, exp.Query):
            raise NotSupportedError(f"{tree.key.upper()} statements are not supported", location=self.text.of(tree))
        plan, names = self.query(tree, None)
        return BoundQuery(plan, names)

    def subquery(self, tree: exp.Expression, scope: Scope) -> tuple[p.Plan, Names]:
        """A query inside an expression of `scope`, which it may refer to."""
        return self.query(tree, scope)

    def query(self, tree: exp.Expression, outer: Scope | None) -> tuple[p.Plan, Names]:
        if isinstance(tree, exp.Subquery | exp.Paren) and tree.args.get("alias") is None and not tree.args.get("joins"):
            plan, names = self.query(tree.this, outer)
            return self._ordered(tree, plan, names)
        with_ = tree.args.get("with_") or tree.args.get("with")
        if with_ is not None:
            if with_.args.get("recursive"):
                raise NotSupportedError("WITH RECURSIVE is not supported yet", location=self.text.of(with_))
            visible = dict(self._ctes[-1])
            for cte in with_.expressions:
                visible[cte.alias.lower()] = cte
            self._ctes.append(visible)
        try:
            match tree:
                case exp.Select():
                    return self._select(tree, outer)
                case exp.SetOperation():
                    return self._set_operation(tree, outer)
                case exp.Values():
                    return self._values(tree)
            raise NotSupportedError(f"{tree.key.upper()} is not supported as a query", location=self.text.of(tree))
        finally:
            if with_ is not None:
                self._ctes.pop()

    # FROM

    def _from(self, tree: exp.Select, outer: Scope | None) -> tuple[p.Plan, Scope]:
        first = tree.args.get("from_") or tree.args.get("from")
        if first is None:
            return p.ONE_ROW, Scope([], outer)
        plan, columns = self._table(first.this, outer)
        scope = Scope(columns, outer)
        for join in (*(first.this.args.get("joins") or ()), *(tree.args.get("joins") or ())):
            plan = self._join(join, plan, scope, outer)
        return plan, scope

    def _table(self, node: exp.Expression, outer: Scope | None) -> tuple[p.Plan, list[Column]]:
        alias = node.args.get("alias")
        renamed = [c.name for c in alias.args.get("columns") or ()] if alias is not None else []
        match node:
            case exp.Subquery():
                plan, names = self.query(node.this, outer)
                label = node.alias or "subquery"
            case exp.Values():
                plan, names = self._values(node)
                label = node.alias or "values"
            case exp.Table() if isinstance(node.this, exp.Func):
                plan, names, label = self._table_function(node)
            case exp.Table():
                plan, names = self._named_table(node)
                label = node.alias or node.name.rsplit("/", 1)[-1].split(".")[0]
            case _:
                raise NotSupportedError(f"{node.key.upper()} in FROM is not supported", location=self.text.of(node))
        if len(renamed) > len(names):
            raise BindError(
                f"table {label} has {len(names)} columns, the alias names {len(renamed)}", code="alias_columns",
                location=self.text.of(node),
            )  # fmt: skip
        names = (*renamed, *names[len(renamed) :])
        columns = [Column(label, n, f.name, f.type) for n, f in zip(names, plan.schema, strict=True)]
        return plan, columns

    def _named_table(self, node: exp.Table) -> tuple[p.Plan, Names]:
        name = node.name
        cte = self._ctes[-1].get(name.lower())
        if cte is not None and not node.db:
            # A CTE sees only those before it.
            before: dict[str, exp.CTE] = {}
            for key, other in self._ctes[-1].items():
                if other is cte:
                    break
                before[key] = other
            self._ctes.append(before)
            try:
                plan, names = self.query(cte.this, None)
            finally:
                self._ctes.pop()
            columns = [c.name for c in cte.args["alias"].args.get("columns") or ()]
            return plan, (*columns, *names[len(columns) :])
        source = self.context.find_table(name)
        if source is None and ("." in name or "/" in name):
            source = self.context.open_file(name, None, {})
        if source is None:
            close = difflib.get_close_matches(name, self.context.table_names(), 1)
            raise BindError(
                f'table "{name}" does not exist', code="table_not_found",
                hint=f'did you mean "{close[0]}"?' if close else "register a table, or name a file in quotes",
                location=self.text.of(node),
            )  # fmt: skip
        return self._scan(source, name)

    def _scan(self, source: Source, name: str) -> tuple[p.Plan, Names]:
        names = tuple(source.schema.names)
        return p.Scan(source, name, tuple((n, self.keys.make(n)) for n in names)), names

    def _table_function(self, node: exp.Table) -> tuple[p.Plan, Names, str]:
        call = node.this
        name = (call.name if isinstance(call, exp.Anonymous) else call.sql_names()[0]).lower()
        if isinstance(call, exp.ReadCSV):
            name = "read_csv"
        elif isinstance(call, exp.ReadParquet):
            name = "read_parquet"
        elif isinstance(call, exp.GenerateSeries):
            name = "range" if call.args.get("is_end_exclusive") else "generate_series"
        location = self.text.of(node)
        plain = [a for a in call.args.values() if isinstance(a, exp.Expression)] + list(call.expressions or [])
        options: dict[str, Any] = {}
        args: list[Any] = []
        for arg in plain:
            if isinstance(arg, exp.PropertyEQ | exp.EQ | exp.Kwarg):
                options[arg.this.name.lower()] = self._constant(arg.expression)
            else:
                args.append(self._constant(arg))
        label = node.alias or name
        if name in _READERS:
            source = self.context.open_file(args[0], _READERS[name], options)
            plan, names = self._scan(source, name)
            return plan, names, label
        function = find_table_function(name)
        if function is None:
            raise BindError(f"table function {name} does not exist", code="function_not_found", location=location)
        columns = function.columns(tuple(args), options)
        keyed = tuple((self.keys.make(n), t) for n, t in columns)
        return p.TableFunction(name, tuple(args), tuple(options.items()), keyed), tuple(n for n, _ in columns), label

    def _constant(self, node: exp.Expression) -> Any:
        if isinstance(node, exp.Array):
            return [self._constant(item) for item in node.expressions]
        return evaluate_constant(self._expressions(Scope(), "an argument").bind(node))

    def _join(self, node: exp.Join, left: p.Plan, scope: Scope, outer: Scope | None) -> p.Plan:
        right, columns = self._table(node.this, outer)
        side, kind, method = (str(node.args.get(k) or "").upper() for k in ("side", "kind", "method"))
        location = self.text.of(node)
        if method not in ("", "NATURAL"):
            raise NotSupportedError(f"{method} JOIN is not supported yet", location=location)
        how = {"LEFT": "left", "RIGHT": "right", "FULL": "full", "": "inner"}[side]
        if kind in ("SEMI", "ANTI"):
            how = kind.lower()
        both = Scope([*scope.columns, *columns], outer, set(scope.hidden))
        using = [u.name for u in node.args.get("using") or ()]
        if method == "NATURAL":
            there = {c.name.lower() for c in columns}
            using = [c.name for c in scope.columns if c.name.lower() in there and c.key not in scope.hidden]
        condition: Expr = and_all([])
        if using:
            parts = []
            for name in using:
                mine = scope.find(None, name, location)
                other = Scope(columns).find(None, name, location)
                parts.append(bind_call("eq", [mine, other], location=location))
                hide = mine if how == "right" else other
                assert isinstance(hide, ColumnRef)
                both.hidden.add(hide.key)
                if how == "full":
                    raise NotSupportedError("FULL JOIN with USING is not supported yet", location=location)
            condition = and_all(parts)
        elif node.args.get("on") is not None:
            condition = self._expressions(both, "ON").boolean(node.args["on"])
        elif side and kind != "CROSS":
            raise BindError("a join needs ON or USING", code="join_without_condition", location=location)
        if how not in ("semi", "anti"):
            scope.columns[:] = both.columns
            scope.hidden = both.hidden
        if how == "inner" and condition == and_all([]):
            how = "cross"
        return p.Join(left, right, how, condition)

    # SELECT

    def _expressions(self, scope: Scope, where: str, **more: Any) -> ExpressionBinder:
        return ExpressionBinder(self, scope, self.text, where, **more)

    def _select(self, tree: exp.Select, outer: Scope | None) -> tuple[p.Plan, Names]:
        if not tree.expressions:
            raise ParseError("the select list is empty", hint="name a column, or use *", location=self.text.of(tree))
        for clause in ("windows", "qualify", "laterals", "sample", "pivots"):
            if tree.args.get(clause):
                raise NotSupportedError(f"{clause.upper()} is not supported yet", location=self.text.of(tree))
        plan, scope = self._from(tree, outer)
        items = self._items(tree, scope)
        aliases = {name.lower(): node for name, node in items if isinstance(node, exp.Expression)}
        if tree.args.get("where") is not None:
            condition = self._expressions(scope, "WHERE", aliases=aliases).boolean(tree.args["where"].this)
            plan = p.Filter(plan, condition)
        grouping = _Grouping(self, tree, scope, items, aliases)
        plan, bind = grouping.apply(plan)
        having = tree.args.get("having")
        if having is not None:
            plan = p.Filter(plan, bind(having.this, True))
        columns: list[tuple[str, Expr]] = []
        names: list[str] = []
        for name, item in items:
            expr = item if isinstance(item, Expr) else bind(item, False)
            if isinstance(item, Expr) and grouping.active:
                expr = grouping.check_column(item, name)
            names.append(name)
            columns.append((self.keys.make(name), expr))
        order = tree.args.get("order")
        distinct = tree.args.get("distinct")
        if distinct is not None and distinct.args.get("on") is not None:
            raise NotSupportedError("DISTINCT ON is not supported yet", location=self.text.of(distinct))
        sort: list[SortKey] = []
        hidden: list[tuple[str, Expr]] = []
        for item in order.expressions if order is not None else ():
            sort.append(self._sort_key(item, columns, names, hidden, bind, distinct is not None))
        plan = p.Project(plan, (*columns, *hidden))
        if distinct is not None:
            plan = p.Distinct(plan)
        if sort:
            plan = p.Sort(plan, tuple(sort))
        plan = self._limited(tree, plan)
        if hidden:
            plan = p.Project(plan, tuple((key, ColumnRef(e.type, key)) for key, e in columns))
        return plan, tuple(names)

    def _items(self, tree: exp.Select, scope: Scope) -> list[tuple[str, exp.Expression | Expr]]:
        """The select list with stars expanded: names, and nodes or (from stars) columns."""
        items: list[tuple[str, exp.Expression | Expr]] = []
        for node in tree.expressions:
            star = node if isinstance(node, exp.Star) else node.this if isinstance(node, exp.Column) else None
            if isinstance(star, exp.Star):
                items += self._star(star, node.table if isinstance(node, exp.Column) else None, scope)
            elif isinstance(node, exp.Alias):
                items.append((node.alias, node.this))
            else:
                items.append((_output_name(node, self.text), node))
        return items

    def _star(self, star: exp.Star, table: str | None, scope: Scope) -> list[tuple[str, exp.Expression | Expr]]:
        excluded = {e.name.lower() for e in (star.args.get("except_") or star.args.get("except") or ())}
        replaced = {e.alias.lower(): e.this for e in star.args.get("replace") or ()}
        renamed = {e.this.name.lower(): e.alias for e in star.args.get("rename") or ()}
        items: list[tuple[str, exp.Expression | Expr]] = []
        for c in scope.columns:
            if table is None and c.key in scope.hidden:
                continue
            if (table is None or c.table.lower() == table.lower()) and c.name.lower() not in excluded:
                shown = renamed.get(c.name.lower(), c.name)
                items.append((shown, replaced.get(c.name.lower()) or ColumnRef(c.type, c.key)))
        if not items:
            raise BindError(
                "SELECT * needs a FROM clause with columns" if table is None else f'table "{table}" is not in this query',
                code="empty_star", location=self.text.of(star),
            )  # fmt: skip
        return items

    def _sort_key(
        self,
        node: exp.Expression,
        columns: list[tuple[str, Expr]],
        names: list[str],
        hidden: list[tuple[str, Expr]],
        bind: Callable[[exp.Expression, bool], Expr],
        distinct: bool,
    ) -> SortKey:
        inner = node.this
        descending = bool(node.args.get("desc"))
        expr: Expr
        lower = [n.lower() for n in names]
        if isinstance(inner, exp.Literal) and not inner.is_string:
            place = int(inner.name)
            if not 1 <= place <= len(columns):
                raise BindError(
                    f"ORDER BY position {place} is not in the select list", code="bad_position",
                    hint=f"it has {len(columns)} columns", location=self.text.of(inner),
                )  # fmt: skip
            key, value = columns[place - 1]
            expr = ColumnRef(value.type, key)
        elif isinstance(inner, exp.Column) and not inner.table and lower.count(inner.name.lower()) == 1:
            key, value = columns[lower.index(inner.name.lower())]
            expr = ColumnRef(value.type, key)
        else:
            value = bind(inner, False)
            same = next((key for key, e in (*columns, *hidden) if e == value), None)
            if same is None:
                if distinct:
                    raise BindError(
                        "with DISTINCT, ORDER BY may only use columns of the select list", code="order_by_distinct",
                        location=self.text.of(inner),
                    )  # fmt: skip
                same = self.keys.make("order")
                hidden.append((same, value))
            expr = ColumnRef(value.type, same)
        return SortKey(expr, descending, self._nulls_first(node, descending))

    def _nulls_first(self, node: exp.Expression, descending: bool) -> bool:
        match self.context.settings.default_null_order:
            case "nulls_first":
                default = True
            case "nulls_first_on_asc_last_on_desc":
                default = not descending
            case "nulls_last_on_asc_first_on_desc":
                default = descending
            case _:
                default = False
        said = node.args.get("nulls_first")
        return default if said is None else bool(said)

    def _ordered(self, tree: exp.Expression, plan: p.Plan, names: Names) -> tuple[p.Plan, Names]:
        """ORDER BY and LIMIT of a set operation or a query in parentheses."""
        order = tree.args.get("order")
        if order is not None:
            columns = [(f.name, ColumnRef(f.type, f.name)) for f in plan.schema]
            scope = Scope([Column("", n, f.name, f.type) for n, f in zip(names, plan.schema, strict=True)])
            hidden: list[tuple[str, Expr]] = []

            def bind(node: exp.Expression, condition: bool) -> Expr:
                return self._expressions(scope, "ORDER BY").bind(node)

            keys = [self._sort_key(i, list(columns), list(names), hidden, bind, False) for i in order.expressions]
            if hidden:
                plan = p.Project(plan, (*columns, *hidden))
            plan = p.Sort(plan, tuple(keys))
            plan = self._limited(tree, plan)
            if hidden:
                plan = p.Project(plan, tuple(columns))
            return plan, names
        return self._limited(tree, plan), names

    def _limited(self, tree: exp.Expression, plan: p.Plan) -> p.Plan:
        limit, offset = tree.args.get("limit"), tree.args.get("offset")
        if limit is None and offset is None:
            return plan
        if isinstance(limit, exp.Fetch):
            raise NotSupportedError("FETCH FIRST is not supported, use LIMIT", location=self.text.of(limit))
        if limit is not None and limit.args.get("limit_options"):
            raise NotSupportedError("LIMIT with a percentage is not supported yet", location=self.text.of(limit))
        count = None if limit is None else self._count(limit.expression, "LIMIT")
        return p.Limit(plan, count, 0 if offset is None else self._count(offset.expression, "OFFSET") or 0)

    def _count(self, node: exp.Expression, what: str) -> int | None:
        value = self._constant(node)
        if value is None:
            return None
        if isinstance(value, bool) or value != int(value) or value < 0:
            raise BindError(
                f"{what} must be a whole number that is not negative", code="bad_limit", location=self.text.of(node)
            )
        return int(value)

    # other queries

    def _values(self, tree: exp.Values) -> tuple[p.Plan, Names]:
        binder = self._expressions(Scope(), "VALUES")
        rows = []
        for row in tree.expressions:
            cells = row.expressions if isinstance(row, exp.Tuple) else [row]
            rows.append([binder.bind(cell) for cell in cells])
        if len({len(row) for row in rows}) != 1:
            raise BindError(
                "the rows of VALUES have different lengths", code="values_length", location=self.text.of(tree)
            )
        types = []
        for column in zip(*rows, strict=True):
            type_ = common_of(list(column))
            if type_ is None:
                raise BindError(
                    "a column of VALUES has no common type", code="type_mismatch", location=self.text.of(tree)
                )
            types.append(pa.int32() if pa.types.is_null(type_) else type_)
        names = tuple(f"col{i}" for i in range(len(types)))
        columns = tuple((self.keys.make(n), t) for n, t in zip(names, types, strict=True))
        cast = tuple(tuple(cast_to(e, t) for e, t in zip(row, types, strict=True)) for row in rows)
        return p.Values(columns, cast), names

    def _set_operation(self, tree: exp.SetOperation, outer: Scope | None) -> tuple[p.Plan, Names]:
        if tree.args.get("by_name"):
            raise NotSupportedError("BY NAME is not supported yet", location=self.text.of(tree))
        left, names = self.query(tree.this, outer)
        right, others = self.query(tree.expression, outer)
        kind = {exp.Union: "union", exp.Intersect: "intersect", exp.Except: "except"}[type(tree)]
        if len(names) != len(others):
            raise BindError(
                f"the sides of {kind.upper()} have {len(names)} and {len(others)} columns", code="set_columns",
                location=self.text.of(tree),
            )  # fmt: skip
        types = []
        for number, (a, b) in enumerate(zip(left.schema.types, right.schema.types, strict=True)):
            type_ = common_type(a, b)
            if type_ is None:
                raise BindError(
                    f"column {number + 1} of {kind.upper()} is {a} on one side and {b} on the other", code="type_mismatch",
                    hint="cast one of them", location=self.text.of(tree),
                )  # fmt: skip
            types.append(type_)
        left, right = self._typed(left, types), self._typed(right, types)
        keys = tuple(self.keys.make(name) for name in names)
        all_ = not tree.args.get("distinct")
        plan: p.Plan
        if kind == "union":
            plan = p.Union((left, right), keys)
            plan = plan if all_ else p.Distinct(plan)
        else:
            plan = p.SetOperation(left, right, kind, all_, keys)
        return self._ordered(tree, plan, names)

    def _typed(self, plan: p.Plan, types: list[pa.DataType]) -> p.Plan:
        if plan.schema.types == types:
            return plan
        columns = [
            (self.keys.make("side"), cast_to(ColumnRef(f.type, f.name), t))
            for f, t in zip(plan.schema, types, strict=True)
        ]
        return p.Project(plan, tuple(columns))


class _Grouping:
    """GROUP BY of one SELECT: keys, and the aggregates that its clauses name, each computed once."""

    def __init__(
        self,
        binder: Binder,
        tree: exp.Select,
        scope: Scope,
        items: list[tuple[str, exp.Expression | Expr]],
        aliases: dict[str, exp.Expression],
    ) -> None:
        self._binder = binder
        self._scope = scope
        self._aliases = aliases
        self._tree = tree
        self._keys: list[tuple[str, Expr]] = []
        self._calls: list[tuple[str, AggregateCall]] = []
        group = tree.args.get("group")
        clauses = [n for _, n in items if isinstance(n, exp.Expression)]
        clauses += [tree.args[c] for c in ("having", "order") if tree.args.get(c) is not None]
        self.active = group is not None or tree.args.get("having") is not None or any(map(_has_aggregate, clauses))
        self._sets: tuple[tuple[int, ...], ...] | None = None
        if group is not None:
            self._bind_keys(group, items)

    def _bind_keys(self, group: exp.Group, items: list[tuple[str, exp.Expression | Expr]]) -> None:
        if group.args.get("all"):
            for _, item in items:
                if isinstance(item, Expr):
                    self._key(item)
                elif not _has_aggregate(item):
                    self._key(self._plain(item))
            return
        kinds = {exp.Rollup: "rollup", exp.Cube: "cube", exp.GroupingSets: "grouping_sets"}
        for node in group.expressions:
            if type(node) not in kinds:
                self._key(self._key_expr(node, items))
        plain = tuple(range(len(self._keys)))
        sets: list[tuple[int, ...]] | None = None
        for type_, kind in kinds.items():
            inside = [n for n in group.expressions if isinstance(n, type_)]
            for node in (*inside, *(group.args.get(kind) or ())):
                made = self._set_list(kind, node, items)
                sets = made if sets is None else [(*a, *b) for a in sets for b in made]
        if sets is not None:
            self._sets = tuple(tuple(dict.fromkeys((*plain, *s))) for s in sets)

    def _set_list(self, kind: str, node: exp.Expression, items: Any) -> list[tuple[int, ...]]:
        groups = []
        for item in node.expressions:
            inner = (
                item.expressions
                if isinstance(item, exp.Tuple)
                else [item.this if isinstance(item, exp.Paren) else item]
            )
            groups.append(tuple(self._key(self._key_expr(part, items)) for part in inner))
        if kind == "rollup":
            return [tuple(k for g in groups[:n] for k in g) for n in range(len(groups), -1, -1)]
        if kind == "cube":
            return [
                tuple(k for i, g in enumerate(groups) if mask >> (len(groups) - 1 - i) & 1 for k in g)
                for mask in range((1 << len(groups)) - 1, -1, -1)
            ]
        return groups

    def _key_expr(self, node: exp.Expression, items: list[tuple[str, exp.Expression | Expr]]) -> Expr:
        if isinstance(node, exp.Literal) and not node.is_string:
            place = int(node.name)
            if not 1 <= place <= len(items):
                raise BindError(
                    f"GROUP BY position {place} is not in the select list", code="bad_position",
                    location=self._binder.text.of(node),
                )  # fmt: skip
            item = items[place - 1][1]
            return item if isinstance(item, Expr) else self._plain(item)
        return self._plain(node)

    def _plain(self, node: exp.Expression) -> Expr:
        return self._binder._expressions(self._scope, "GROUP BY", aliases=self._aliases).bind(node)

    def _key(self, expr: Expr) -> int:
        for number, (_, known) in enumerate(self._keys):
            if known == expr:
                return number
        name = expr.key.rpartition("#")[0] if isinstance(expr, ColumnRef) else "key"
        self._keys.append((self._binder.keys.make(name), expr))
        return len(self._keys) - 1

    def apply(self, plan: p.Plan) -> tuple[p.Plan, Callable[[exp.Expression, bool], Expr]]:
        """The plan with the aggregation, and how to bind expressions above it."""
        binder = self._binder
        if not self.active:

            def bind(node: exp.Expression, condition: bool) -> Expr:
                over = binder._expressions(self._scope, "the select list", aliases=self._aliases)
                return over.boolean(node) if condition else over.bind(node)

            return plan, bind
        # All clauses are bound once to collect the aggregates, so that the node below them is complete.
        for clause in self._clauses():
            self._above(clause, False)
        node = p.Aggregate(plan, tuple(self._keys), tuple(self._calls), self._sets)
        return node, self._above

    def _clauses(self) -> list[exp.Expression]:
        nodes = [n.this if isinstance(n, exp.Alias) else n for n in self._tree.expressions]
        nodes = [
            n
            for n in nodes
            if not isinstance(n, exp.Star) and not (isinstance(n, exp.Column) and isinstance(n.this, exp.Star))
        ]
        if self._tree.args.get("having") is not None:
            nodes.append(self._tree.args["having"].this)
        if self._tree.args.get("order") is not None:
            nodes += [o.this for o in self._tree.args["order"].expressions if _has_aggregate(o)]
        return nodes

    def _above(self, node: exp.Expression, condition: bool) -> Expr:
        """An expression over the groups: keys and aggregates become columns, any other column is an error."""
        raw = self._binder._expressions(self._scope, "this clause", aggregate=self._aggregate, aliases=self._aliases)
        expr = raw.boolean(node) if condition else raw.bind(node)
        return self._over_groups(expr, node)

    def _over_groups(self, expr: Expr, node: exp.Expression) -> Expr:
        made = {key for key, _ in self._calls}
        known = {e: ColumnRef(e.type, key) for key, e in self._keys}

        def rewrite(e: Expr) -> Expr:
            if e in known:
                return known[e]
            if isinstance(e, ColumnRef):
                if e.key in made:
                    return e
                raise self._not_grouped(e.key, node)
            if isinstance(e, Subquery):
                inner = transform_plan(e.plan, known)
                args = tuple(rewrite(a) for a in e.args)
                return Subquery(e.type, e.kind, inner, args, e.comparison, e.location)
            children = e.children()
            new = tuple(rewrite(c) for c in children)
            return e.with_children(new) if any(a is not b for a, b in zip(new, children, strict=True)) else e

        return rewrite(expr)

    def check_column(self, expr: Expr, name: str) -> Expr:
        """A column that came from a star."""
        for key, e in self._keys:
            if e == expr:
                return ColumnRef(e.type, key)
        raise self._not_grouped(name, self._tree)

    def _not_grouped(self, key: str, node: exp.Expression) -> BindError:
        name = key.rpartition("#")[0] or key
        return BindError(
            f'column "{name}" must be in GROUP BY or inside an aggregate', code="not_grouped",
            hint=f"add {name} to GROUP BY, or use any_value({name})", location=self._binder.text.of(node),
        )  # fmt: skip

    def _aggregate(self, node: exp.Expression, name: str) -> Expr:
        binder = self._binder
        location = binder.text.of(node)
        filter_: exp.Expression | None = None
        if isinstance(node, exp.Filter):
            raise NotSupportedError("FILTER here", location=location)
        inner = node.this if not isinstance(node, exp.Anonymous) else None
        args = list(node.expressions) if isinstance(node, exp.Anonymous) else ([inner] if inner is not None else [])
        distinct = False
        if args and isinstance(args[0], exp.Distinct):
            distinct = True
            args = list(args[0].expressions)
        if args and isinstance(args[0], exp.Star):
            args = []
        if any(isinstance(a, exp.Order) for a in args):
            raise NotSupportedError(f"ORDER BY inside {name}() is not supported yet", location=location)
        parent = node.parent
        if isinstance(parent, exp.Filter):
            filter_ = parent.expression.this if isinstance(parent.expression, exp.Where) else parent.expression
        plain = binder._expressions(self._scope, "the argument of an aggregate")
        bound = [plain.bind(a) for a in args]
        condition = plain.boolean(filter_) if filter_ is not None else None
        call = bind_aggregate(name, bound, distinct=distinct, filter=condition, location=location)
        for key, known in self._calls:
            if known == call:
                return ColumnRef(call.type, key)
        key = binder.keys.make(name)
        self._calls.append((key, call))
        return ColumnRef(call.type, key)


def transform_plan(plan: p.Plan, known: dict[Expr, ColumnRef]) -> p.Plan:
    """A correlated subquery above an aggregation: its references to key columns now mean the keys of the groups."""
    outer = {e.key: ref for e, ref in known.items() if isinstance(e, ColumnRef)}

    def change(node: p.Plan) -> p.Plan:
        def rewrite(e: Expr) -> Expr:
            return transform_up(
                e,
                lambda x: (
                    OuterRef(x.type, outer[x.key].key, x.depth) if isinstance(x, OuterRef) and x.key in outer else x
                ),
            )

        return p.map_exprs(node, rewrite)

    return transform_up(plan, change)


def _has_aggregate(node: exp.Expression) -> bool:
    """Whether the expression has an aggregate of this query level."""

    if isinstance(node, exp.Query | exp.Subquery):
        return False
    if isinstance(node, exp.AggFunc):
        return True
    if isinstance(node, exp.Anonymous) and find_aggregate(node.name):
        return True
    children = [
        c for v in node.args.values() for c in (v if isinstance(v, list) else [v]) if isinstance(c, exp.Expression)
    ]
    return any(map(_has_aggregate, children))


def _output_name(node: exp.Expression, text: Text) -> str:
    if isinstance(node, exp.Column):
        return str(node.name)
    return node.sql("duckdb").lower()
