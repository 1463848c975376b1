"""Joins of the FROM clause: which rows pair, and which columns the pair shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from sqlengine.errors import BindError, Location, NotSupportedError, ParseError
from sqlengine.expr.nodes import TRUE, Call, ColumnRef, Expr, and_all, columns_of, conjuncts
from sqlengine.expr.registry import bind_call
from sqlengine.plan import nodes as p
from sqlengine.plan.keys import outer_refs, refs, replace_outer
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.scope import Column, Scope

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder

_SIDES = {"": "inner", "LEFT": "left", "RIGHT": "right", "FULL": "full"}
_INEQUALITIES = frozenset({"lt", "le", "gt", "ge"})


def bind_join(binder: Binder, node: exp.Join, left: p.Plan, scope: Scope, right: p.Plan, there: Scope) -> p.Plan:
    """The join; `scope`, which sees the left columns, sees those of the pair afterwards."""
    check_consumed(node, binder.text)
    location = binder.text.of(node)
    method, how = _kind(node, location)
    both = Scope([*scope.columns, *there.columns], scope.parent, scope.hidden | there.hidden)
    on = node.args.get("on")
    using = [u.name for u in node.args.get("using") or ()]
    if method == "NATURAL":
        names = {c.name.lower() for c in there.columns if c.key not in there.hidden}
        using = [c.name for c in scope.columns if c.name.lower() in names and c.key not in scope.hidden]
        if not using:
            raise BindError(
                "the sides of the NATURAL JOIN have no column in common", code="natural_join",
                hint="use CROSS JOIN, or name the columns with ON", location=location,
            )  # fmt: skip
    if (on is not None or using) and (how == "cross" or method == "POSITIONAL"):
        raise ParseError(f"a {method or 'CROSS'} JOIN takes no condition", location=location)
    if method == "NATURAL" and (on is not None or node.args.get("using")):
        raise ParseError("a NATURAL JOIN takes no condition", location=location)
    pairs: list[tuple[ColumnRef, ColumnRef]] = []
    condition: Expr = TRUE
    if using:
        alone = Scope(there.columns, None, there.hidden)
        here = Scope(scope.columns, None, scope.hidden)
        for name in using:
            mine, other = here.find(None, name, location), alone.find(None, name, location)
            assert isinstance(mine, ColumnRef) and isinstance(other, ColumnRef)
            pairs.append((mine, other))
        last = "ge" if method == "ASOF" else "eq"
        names_of = ["eq"] * (len(pairs) - 1) + [last]
        condition = and_all(
            [bind_call(name, pair, location=location) for name, pair in zip(names_of, pairs, strict=True)]
        )
    elif on is not None:
        condition = binder.expressions(both, "ON").boolean(on)
    elif how != "cross" and method != "POSITIONAL":
        raise BindError("a join needs ON or USING", code="join_without_condition", location=location)
    if method == "POSITIONAL":
        plan: p.Plan = _independent(p.Join(left, right, "positional"), location)
    elif method == "ASOF":
        if how not in ("inner", "left"):
            raise NotSupportedError(f"ASOF {how.upper()} JOIN is not supported", location=location)
        _check_asof(condition, left, right, location)
        plan = _independent(p.Join(left, right, "asof", condition, outer=how == "left"), location)
    else:
        plan = _joined(left, right, how, condition)
    if how in ("semi", "anti"):
        return plan
    scope.columns[:], scope.hidden = both.columns, both.hidden
    return _merged(binder, plan, scope, pairs, how) if pairs else plan


def cross_join(left: p.Plan, scope: Scope, right: p.Plan, there: Scope) -> p.Plan:
    """Every pair, for a comma in FROM; `scope` sees both sides afterwards."""
    scope.columns[:] = [*scope.columns, *there.columns]
    scope.hidden |= there.hidden
    return _joined(left, right, "cross", TRUE)


def _kind(node: exp.Join, location: Location | None) -> tuple[str, str]:
    """(NATURAL, ASOF, POSITIONAL or nothing, the kind of the plan's join)."""
    side, kind, method = (str(node.args.get(k) or "").upper() for k in ("side", "kind", "method"))
    if side not in _SIDES or method not in ("", "NATURAL", "ASOF", "POSITIONAL"):
        raise NotSupportedError(f"{method or side} JOIN is not supported", location=location)
    if kind in ("SEMI", "ANTI"):
        if side:
            raise ParseError(f"{side} {kind} JOIN: write {kind} JOIN", location=location)
        return method, kind.lower()
    if kind == "CROSS":
        if side or method:
            raise ParseError(f"{method or side} CROSS JOIN makes no sense", location=location)
        return method, "cross"
    if kind not in ("", "INNER", "OUTER"):
        raise NotSupportedError(f"{kind} JOIN is not supported", location=location)
    if kind == "OUTER" and not side:
        raise ParseError("OUTER JOIN needs LEFT, RIGHT or FULL", location=location)
    return method, _SIDES[side]


def _joined(left: p.Plan, right: p.Plan, how: str, condition: Expr) -> p.Plan:
    """The join, a dependent one where the right side reads columns of the left one."""
    if not outer_refs(right).keys() & set(left.schema.names):
        kind = "cross" if how == "inner" and condition == TRUE else how
        return p.Join(left, right, kind, condition)
    plain = how in ("inner", "cross") or (how == "left" and condition == TRUE)
    if plain and isinstance(right, p.Unnest) and right.input == p.ONE_ROW:
        # The elements of a list of each row: no join at all.
        own = {f.name: ColumnRef(f.type, f.name) for f in left.schema}
        columns = tuple((key, replace_outer(e, own)) for key, e in right.columns)
        plan: p.Plan = p.Unnest(left, columns, how == "left", right.ordinality)
        return plan if condition == TRUE else p.Filter(plan, condition)
    kind = "inner" if how == "cross" and condition != TRUE else how
    return p.DependentJoin(left, right, kind, condition)


def _independent(join: p.Join, location: Location | None) -> p.Plan:
    if outer_refs(join.right).keys() & set(join.left.schema.names):
        raise NotSupportedError(f"a LATERAL side of an {join.kind.upper()} JOIN is not supported", location=location)
    return join


def _check_asof(condition: Expr, left: p.Plan, right: p.Plan, location: Location | None) -> None:
    """Equalities between the sides and exactly one inequality."""
    of_left, of_right = set(left.schema.names), set(right.schema.names)
    inequalities = 0
    for part in conjuncts(condition):
        if not isinstance(part, Call) or part.name not in ("eq", *_INEQUALITIES):
            raise NotSupportedError("ASOF JOIN takes comparisons with =, >=, >, <= and < only", location=location)
        reads = [columns_of(arg) for arg in part.args]
        if not all(reads) or not (
            (reads[0] <= of_left and reads[1] <= of_right) or (reads[0] <= of_right and reads[1] <= of_left)
        ):
            raise NotSupportedError("a condition of ASOF JOIN must compare the two sides", location=location)
        inequalities += part.name in _INEQUALITIES
    if inequalities != 1:
        raise BindError(
            f"ASOF JOIN needs exactly one inequality, this has {inequalities}", code="asof_inequality",
            hint="such as ON a.key = b.key AND a.time >= b.time", location=location,
        )  # fmt: skip


def _merged(binder: Binder, plan: p.Plan, scope: Scope, pairs: list[tuple[ColumnRef, ColumnRef]], how: str) -> p.Plan:
    """USING: each pair shows as one column in the place of the left one: the side that is always there, or the first
    that is not NULL. Qualified names still reach both."""
    made: list[tuple[str, Expr]] = []
    for mine, other in pairs:
        place = next(i for i, c in enumerate(scope.columns) if c.key == mine.key)
        column = scope.columns[place]
        scope.hidden.add(other.key)
        if how not in ("right", "full"):
            continue
        scope.hidden.add(mine.key)
        value = other if how == "right" else bind_call("coalesce", [mine, other])
        key = binder.keys.make(column.name)
        made.append((key, value))
        scope.columns.insert(place, Column("", column.name, key, value.type))
    return p.Project(plan, (*refs(plan), *made)) if made else plan
