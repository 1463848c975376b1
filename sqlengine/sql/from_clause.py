"""The FROM clause: tables, files, derived tables, table functions and UNNEST, with their plans and visible columns.

What stands to the right of a comma or JOIN may refer to the columns on its left (LATERAL, written or not): it is bound
in a scope inside theirs.
"""

from __future__ import annotations

import datetime
import difflib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, Error, NotSupportedError
from sqlengine.expr.nodes import ColumnRef, Expr
from sqlengine.expr.registry import TableFunction, all_functions, bind_call, find_scalar, find_table_function
from sqlengine.formats import READERS, reader_call
from sqlengine.formats.base import Source
from sqlengine.plan import nodes as p
from sqlengine.plan.keys import with_fresh_keys
from sqlengine.runtime.udf.function import UserFunction
from sqlengine.sql.bind_context import BoundQuery, ViewQuery
from sqlengine.sql.bound_rows import bound_rows
from sqlengine.sql.calls import call_name
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.ctes import read_common_table
from sqlengine.sql.joins import bind_join, cross_join
from sqlengine.sql.named_calls import field_of
from sqlengine.sql.pivots import bind_pivot
from sqlengine.sql.scope import Column, Scope, distinct_names
from sqlengine.sql.select_level import unnestable
from sqlengine.sql.token_reader import OWN_SCHEMAS
from sqlengine.sql.user_calls import bind_generator
from sqlengine.sql.values_rows import bind_values

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names


_SERIES = ("range", "generate_series")
_MOST_JOINS = 100  # each level of a plan is planned and fitted again as its inputs become known


def bind_from(binder: Binder, tree: exp.Select, outer: Scope | None) -> tuple[p.Plan, Scope]:
    """The rows of FROM and the scope that sees their columns."""
    first = tree.args.get("from_")
    if first is None:
        return p.ONE_ROW, Scope([], outer)
    check_consumed(first, binder.text)
    return _joins(binder, first.this, tree.args.get("joins") or [], outer)


def _joins(binder: Binder, first: exp.Expression, more: list[exp.Join], outer: Scope | None) -> tuple[p.Plan, Scope]:
    """A table and what follows it. JOIN binds tighter than a comma: in `a, b JOIN c` the join is of `b` and `c`."""
    parts: list[tuple[exp.Expression, list[exp.Join]]] = [(first, list(first.args.get("joins") or ()))]
    for join in more:
        if join.args.get("kind") == "COMMA":
            check_consumed(join, binder.text)
            parts.append((join.this, list(join.this.args.get("joins") or ())))
        else:
            parts[-1][1].append(join)
    plan, scope = _joined(binder, *parts[0], outer)
    for table, joins in parts[1:]:
        lateral = Scope(list(scope.columns), outer, set(scope.hidden))
        right, there = _joined(binder, table, joins, lateral)
        plan = cross_join(plan, scope, right, there)
    return plan, scope


def _joined(binder: Binder, first: exp.Expression, joins: list[exp.Join], outer: Scope | None) -> tuple[p.Plan, Scope]:
    if len(joins) > _MOST_JOINS:
        raise NotSupportedError(
            f"more than {_MOST_JOINS} joins in a row", hint="join some of the tables in WITH ... AS MATERIALIZED",
            location=binder.text.of(joins[_MOST_JOINS]),
        )  # fmt: skip
    plan, scope = bind_table(binder, first, outer)
    scope = Scope(list(scope.columns), outer, set(scope.hidden))
    for join in joins:
        lateral = Scope(list(scope.columns), outer, set(scope.hidden))
        right, there = bind_table(binder, join.this, lateral)
        if join.this.args.get("joins"):
            raise NotSupportedError("a join inside a join needs parentheses", location=binder.text.of(join.this))
        plan = bind_join(binder, join, plan, scope, right, there)
    return plan, scope


def bind_table(binder: Binder, node: exp.Expression, outer: Scope | None) -> tuple[p.Plan, Scope]:
    """One table expression with what follows it: its rows, and its columns under its alias."""
    known = bound_rows(node)
    if known is not None:
        return known.plan, Scope(list(known.scope.columns), None, set(known.scope.hidden))
    plan, scope = _one_table(binder, node, outer)
    for pivot in node.args.get("pivots") or ():
        label = pivot.alias or next((c.table for c in scope.columns), "")
        plan, names = bind_pivot(binder, pivot, plan, scope, outer)
        names = distinct_names(_renamed(binder, pivot, pivot.args.get("alias"), label, names))
        scope = Scope([Column(label, n, f.name, f.type) for n, f in zip(names, plan.schema, strict=True)])
    return plan, scope


def _one_table(binder: Binder, node: exp.Expression, outer: Scope | None) -> tuple[p.Plan, Scope]:
    check_consumed(node, binder.text)
    alias = node.args.get("alias")
    if isinstance(node, exp.Lateral):
        inner = node.this
        if isinstance(inner, exp.Anonymous | exp.Func) and not isinstance(inner, exp.Unnest):
            inner = exp.Table(this=inner)
        check_consumed(inner, binder.text)
    else:
        inner = node
    match inner:
        case exp.Subquery() if _holds_joins(inner):
            # Parentheses around joins; without an alias the tables keep their names.
            for clause in ("with_", "order", "limit", "offset"):
                if inner.args.get(clause):
                    raise NotSupportedError(f"{clause.strip('_').upper()} of a join", location=binder.text.of(node))
            plan, scope = _joins(binder, inner.this, [], outer)
            if alias is None:
                return _sampled_table(binder, inner, plan), Scope(scope.columns, None, scope.hidden)
            shown = [c for c in scope.columns if c.key not in scope.hidden]
            plan = p.Project(plan, tuple((c.key, ColumnRef(c.type, c.key)) for c in shown))
            names: Names = tuple(c.name for c in shown)
            label = node.alias
        case exp.Subquery():
            plan, names = binder.query(_without(inner, "alias", "sample", "joins", "pivots"), outer)
            label = node.alias or "unnamed_subquery"
        case exp.Values():
            plan, names = bind_values(binder, _without(inner, "alias", "pivots"), outer)
            label = node.alias or "valueslist"
        case exp.Unnest():
            plan, names = _unnest(binder, inner, outer)
            label = node.alias or "unnest"
        case exp.Table() if isinstance(inner.this, exp.Func):
            plan, names, label = _table_function(binder, inner, outer)
            label = node.alias or label
        case exp.Table():
            plan, names = _named_table(binder, inner)
            label = node.alias or inner.name.rsplit("/", 1)[-1].split(".")[0]
        case _:
            raise NotSupportedError(f"{inner.key.upper()} in FROM is not supported", location=binder.text.of(node))
    plan = _sampled_table(binder, inner, plan)
    names = distinct_names(_renamed(binder, node, alias, label, names))
    return plan, Scope([Column(label, n, f.name, f.type) for n, f in zip(names, plan.schema, strict=True)])


def _holds_joins(node: exp.Subquery) -> bool:
    """Whether the parentheses are around tables, not around a query."""
    return not isinstance(node.this, exp.Query | exp.Pivot) or (
        isinstance(node.this, exp.Subquery) and bool(node.this.args.get("joins"))
    )


def _without(node: exp.Expression, *keys: str) -> exp.Expression:
    """The node without parts that are dealt with by whoever asks."""
    if not any(node.args.get(key) for key in keys):
        return node
    kept = {key: value for key, value in node.args.items() if key not in keys}
    changed = type(node)()
    changed.args.update(kept)  # parents stay as they are: nothing of the tree is copied
    return changed


def _renamed(binder: Binder, node: exp.Expression, alias: exp.Expression | None, label: str, names: Names) -> Names:
    if alias is None:
        return names
    check_consumed(alias, binder.text)
    columns = [c.name for c in alias.args.get("columns") or ()]
    if len(columns) > len(names):
        raise BindError(
            f"table {label} has {len(names)} columns, the alias names {len(columns)}", code="alias_columns",
            location=binder.text.of(node),
        )  # fmt: skip
    return (*columns, *names[len(columns) :])


def _sampled_table(binder: Binder, node: exp.Expression, plan: p.Plan) -> p.Plan:
    sample = node.args.get("sample")
    return plan if sample is None else sampled(binder, sample, plan)


def sampled(binder: Binder, sample: exp.Expression, plan: p.Plan) -> p.Plan:
    """TABLESAMPLE and USING SAMPLE."""
    check_consumed(sample, binder.text)
    location = binder.text.of(sample)
    method = sample.args["method"].name.lower() if sample.args.get("method") else None
    seed = binder.constant(sample.args["seed"]) if sample.args.get("seed") else None
    percent, size = sample.args.get("percent"), sample.args.get("size")
    if method not in (None, "bernoulli", "system", "reservoir"):
        raise BindError(
            f"{method} is not a way to sample",
            code="bad_sample",
            hint="one of bernoulli, system, reservoir",
            location=location,
        )
    if size is not None:
        rows = binder.constant(size)
        if method not in (None, "reservoir"):
            raise BindError(f"a number of rows cannot be sampled by {method}", code="bad_sample", location=location)
        if not isinstance(rows, int) or rows < 0:
            raise BindError("a sample takes a whole number of rows", code="bad_sample", location=location)
        return p.Sample(plan, None, rows, "reservoir", seed)
    if percent is None:
        raise BindError("a sample needs a size", code="bad_sample", location=location)
    share = binder.constant(percent)
    if isinstance(share, bool | str) or share is None or not 0 <= share <= 100:
        raise BindError("a sample must be between 0 and 100 percent", code="bad_sample", location=location)
    if method == "reservoir":
        raise NotSupportedError(
            "a reservoir of a percentage", hint="use bernoulli, or a number of rows", location=location
        )
    return p.Sample(plan, float(share) / 100, None, method or "system", seed)


def _named_table(binder: Binder, node: exp.Table) -> tuple[p.Plan, Names]:
    name = node.name
    table = binder.ctes.get(name.lower())
    if table is not None and not node.db:
        return read_common_table(binder, table, node)
    if node.db and node.db.lower() not in OWN_SCHEMAS:
        raise BindError(
            f'there is no schema "{node.db}"',
            code="table_not_found",
            hint="leave the schema out, or put the name of a file in quotes",
            location=binder.text.of(node.args["db"]),
        )
    source = binder.context.find_table(name)
    if isinstance(source, ViewQuery):
        view = binder.view(source)
        return view.plan, view.names
    if isinstance(source, BoundQuery):
        return with_fresh_keys(source.plan, binder.keys)[0], source.names
    if source is None and ("." in name or "/" in name):
        return _files(binder, name, binder.text.of(node), lambda: (name, None, {}))
    if source is None:
        known = [*binder.context.table_names(), *binder.ctes]
        close = difflib.get_close_matches(name, known, 1)
        raise BindError(
            f'table "{name}" does not exist', code="table_not_found",
            hint=f'did you mean "{close[0]}"?' if close else "register a table, or name a file in quotes",
            location=binder.text.of(node),
        )  # fmt: skip
    return _scan(binder, source, name)


def _files(binder: Binder, name: str, location: Any, call: Callable[[], tuple[Any, ...]]) -> tuple[p.Plan, Names]:
    """A scan of files; an error about them shows where the query names them."""
    try:
        return _scan(binder, binder.context.open_file(*call()), name)
    except Error as error:
        if error.location is None:
            error.location = location
        raise


def _scan(binder: Binder, source: Source, name: str) -> tuple[p.Plan, Names]:
    names = tuple(source.schema.names)
    return p.Scan(source, name, tuple((n, binder.keys.make(n)) for n in names)), names


def _unnest(binder: Binder, node: exp.Unnest, outer: Scope | None) -> tuple[p.Plan, Names]:
    location = binder.text.of(node)
    if len(node.expressions) != 1:
        raise BindError("UNNEST in FROM takes one list", code="unnest", location=location)
    value = binder.expressions(Scope([], outer), "UNNEST").bind(node.expressions[0])
    return _elements(binder, unnestable(value, location), "unnest", node.args.get("offset"))


def _elements(binder: Binder, value: Expr, name: str, offset: Any) -> tuple[p.Plan, Names]:
    column = (binder.keys.make(name), value)
    if not offset:
        return p.Unnest(p.ONE_ROW, (column,)), (name,)
    number = offset.name if isinstance(offset, exp.Expression) else "ordinality"
    return p.Unnest(p.ONE_ROW, (column,), ordinality=binder.keys.make(number)), (name, number)


def _table_function(binder: Binder, node: exp.Table, outer: Scope | None) -> tuple[p.Plan, Names, str]:
    call = node.this
    name = call_name(call)
    if isinstance(call, exp.ReadCSV):
        name = "read_csv"
    elif isinstance(call, exp.ReadParquet):
        name = "read_parquet"
    elif isinstance(call, exp.GenerateSeries):
        name = "range" if call.args.get("is_end_exclusive") else "generate_series"
    location = binder.text.of(node)
    user = binder.context.find_function(name) if isinstance(call, exp.Anonymous) else None
    if user is not None and name not in READERS and find_table_function(name) is None:
        return _generated(binder, call, user, outer, location)
    plain = [a for a in call.args.values() if isinstance(a, exp.Expression)] + list(call.expressions or [])
    if name in _LISTS_OF_ROWS or (name in ("range", "generate_series") and len(plain) == 3):
        bound = [binder.expressions(Scope([], outer), f"{name}()").bind(arg) for arg in plain]
        if name in _LISTS_OF_ROWS or any(pa.types.is_temporal(value.type) for value in bound[:2]):
            return _of_list(binder, bind_call(name, bound, location=location), name, location)
    options: dict[str, Any] = {}
    args: list[Any] = []
    for arg in plain:
        if isinstance(arg, exp.PropertyEQ | exp.EQ | exp.Kwarg):
            options[arg.this.name.lower()] = binder.constant(arg.expression)
            continue
        if not isinstance(arg, exp.Array) and arg.find(exp.Column) is not None:
            return _lateral_function(binder, name, plain, outer, location)
        args.append(binder.constant(arg))
    if name in _SERIES and not options and any(isinstance(arg, datetime.date) for arg in args):
        return _lateral_function(binder, name, plain, outer, location)  # of dates and times
    if name in READERS:
        plan, names = _files(binder, name, location, lambda: reader_call(name, args, options))
        return plan, names, name
    function = find_table_function(name)
    if function is None:
        known = [*READERS, *(entry.name for entry in all_functions() if isinstance(entry, TableFunction))]
        close = difflib.get_close_matches(name, known, 1)
        hint = f'did you mean "{close[0]}"?' if close else None
        raise BindError(
            f"table function {name} does not exist", code="function_not_found", hint=hint, location=location
        )
    try:
        columns = function.columns(tuple(args), options)
    except BindError as error:
        error.location = error.location or location
        raise
    keyed = tuple((binder.keys.make(n), t) for n, t in columns)
    return p.TableFunction(name, tuple(args), tuple(options.items()), keyed), tuple(n for n, _ in columns), name


def _generated(
    binder: Binder, call: exp.Anonymous, function: UserFunction, outer: Scope | None, location: Any
) -> tuple[p.Plan, Names, str]:
    """The rows that a user's generator yields; its arguments may be columns of the tables on the left."""
    value = bind_generator(binder.expressions(Scope([], outer), f"{function.name}()"), call, function, location)
    key = binder.keys.make(function.name)
    plan: p.Plan = p.Unnest(p.ONE_ROW, ((key, value),))
    yielded = function.returns
    if not pa.types.is_struct(yielded):
        return plan, (function.name,), function.name
    row = ColumnRef(yielded, key)
    fields = tuple((binder.keys.make(f.name), field_of(row, f.name, location)) for f in yielded)
    return p.Project(plan, fields), tuple(f.name for f in yielded), function.name


def _lateral_function(
    binder: Binder, name: str, args: list[exp.Expression], outer: Scope | None, location: Any
) -> tuple[p.Plan, Names, str]:
    """`range(t.n)` beside t, `range(date, date, interval)`: the elements of the list that the scalar function of the
    same name gives."""
    bound = [binder.expressions(Scope([], outer), f"{name}()").bind(arg) for arg in args]
    if name not in _SERIES or find_scalar(name) is None:
        raise NotSupportedError(f"{name}() in FROM takes constants", location=location)
    value = bind_call(name, bound, location=location)
    return _of_list(binder, value, name, location)


# Scalar functions whose lists of structs are rows in FROM.
_LISTS_OF_ROWS = frozenset({"json_each", "json_tree"})


def _of_list(binder: Binder, value: Expr, name: str, location: Any) -> tuple[p.Plan, Names, str]:
    """The elements of a list as rows; structs as their fields."""
    if not pa.types.is_list(value.type):
        raise NotSupportedError(f"{name}() of columns in FROM", location=location)
    key = binder.keys.make(name)
    plan = p.Unnest(p.ONE_ROW, ((key, value),))
    if name not in _LISTS_OF_ROWS:
        return plan, (name,), name
    row = ColumnRef(value.type.value_type, key)
    fields = tuple((binder.keys.make(f.name), field_of(row, f.name, location)) for f in row.type)
    return p.Project(plan, fields), tuple(f.name for f in row.type), name
