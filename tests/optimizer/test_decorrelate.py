"""Correlated plans: DuckDB runs them as they are and after decorrelation; the answers must be the same."""

from __future__ import annotations

import itertools

import pyarrow as pa
import pytest

from sqlengine.expr.nodes import (
    AggregateCall,
    Call,
    Case,
    ColumnRef,
    Expr,
    Frame,
    Literal,
    OuterRef,
    SortKey,
    Subquery,
    WindowCall,
    and_all,
    null_of,
)  # fmt: skip
from sqlengine.optimizer.examples import DescribedTable
from sqlengine.optimizer.rules import RULES, optimize
from sqlengine.plan import nodes as p
from sqlengine.plan.keys import outer_refs, walk_all, walk_exprs
from sqlengine.settings import Settings
from sqlengine.sql.decorrelate import decorrelate
from tests.optimizer.plan_sql import rows

INT, B = pa.int64(), pa.bool_()
_COLUMNS = {"o": "abc", "t": "kvw", "e": "kvw"}


class T:
    """A table reading: its scan, and its columns as attributes of `c` (here) and `o` (from inside a subquery)."""

    numbers = itertools.count(1)

    def __init__(self, name: str) -> None:
        keys = {c: f"{c}#{next(T.numbers)}" for c in _COLUMNS[name]}
        self.plan = p.Scan(DescribedTable(tuple(keys), 10.0), name, tuple(keys.items()))
        for column, key in keys.items():
            setattr(self, column, ColumnRef(INT, key))
            setattr(self, column.upper(), OuterRef(INT, key))


def call(name: str, *args: Expr) -> Call:
    return Call(B if name not in ("add", "multiply") else INT, name, args)


def lit(n: int) -> Literal:
    return Literal(INT, n)


def key(name: str) -> str:
    return f"{name}#{next(T.numbers)}"


def where(plan: p.Plan, *tests: Expr) -> p.Plan:
    return p.Filter(plan, and_all(list(tests)))


def select(plan: p.Plan, *exprs: Expr) -> p.Plan:
    return p.Project(plan, tuple((key("s"), e) for e in exprs))


def agg(plan: p.Plan, name: str, *args: Expr, by: tuple[Expr, ...] = ()) -> p.Plan:
    type_ = pa.decimal128(38, 0) if name == "sum" else (INT if name in ("count", "count_star") else args[0].type)
    keys = tuple((key("g"), e) for e in by)
    return p.Aggregate(plan, keys, ((key(name), AggregateCall(type_, name, args)),))


def scalar(plan: p.Plan) -> Subquery:
    return Subquery(plan.schema.types[0], "scalar", plan)


def exists(plan: p.Plan) -> Subquery:
    return Subquery(B, "exists", plan)


def in_(x: Expr, plan: p.Plan) -> Subquery:
    return Subquery(B, "in", plan, (x,))


def keep(plan: p.Plan, *extra: Expr) -> p.Plan:
    passed = tuple((f.name, ColumnRef(f.type, f.name)) for f in plan.schema)
    return p.Project(plan, (*passed, *((key("x"), e) for e in extra)))


def ref(plan: p.Plan, i: int = 0) -> ColumnRef:
    f = plan.schema.field(i)
    return ColumnRef(f.type, f.name)


def subqueries(o: T) -> dict[str, Subquery]:
    """Scalar subqueries over `t`, correlated with `o` in every way."""

    def t_where(kind: str) -> tuple[T, p.Plan]:
        t = T("t")
        test = {
            "eq": call("eq", t.k, o.A),
        "lt": call("lt", t.k, o.A), "none": call("gt", t.k, lit(2)),
            "expr": call("eq", call("add", t.k, lit(1)), o.A),
            "two": call("and", call("eq", t.k, o.A), call("le", t.w, o.C)),
            "only_outer": call("gt", o.A, lit(1)),
        }[kind]  # fmt: skip
        return t, where(t.plan, test)

    found: dict[str, Subquery] = {}
    for kind in ("eq", "lt", "none", "expr", "two", "only_outer"):
        for name in ("sum", "count", "max"):
            t, plan = t_where(kind)
            found[f"{name}-{kind}"] = scalar(agg(plan, name, t.v))
        t, plan = t_where(kind)
        counted = agg(plan, "count_star")
        found[f"count+1-{kind}"] = scalar(select(counted, call("add", ref(counted), lit(1))))
        t, plan = t_where(kind)
        found[f"outer-arg-{kind}"] = scalar(agg(plan, "max", call("add", t.v, o.B)))
        t, plan = t_where(kind)
        having = agg(plan, "count_star")
        found[f"having-{kind}"] = scalar(where(having, call("lt", ref(having), lit(2))))
        t, plan = t_where(kind)
        top = p.Sort(plan, (SortKey(t.v, True), SortKey(t.w)), 1)
        found[f"top1-{kind}"] = scalar(select(top, t.v))
        t, plan = t_where(kind)
        found[f"limit-offset-{kind}"] = scalar(
            p.Limit(select(p.Sort(plan, (SortKey(t.v), SortKey(t.w))), call("add", t.w, o.A)), 1, 1)
        )
        t, plan = t_where(kind)
        found[f"distinct-{kind}"] = scalar(agg(d := p.Distinct(select(plan, t.k)), "count", ref(d)))
        t, plan = t_where(kind)
        grouped = agg(plan, "max", t.v, by=(t.w,))
        found[f"grouped-{kind}"] = scalar(agg(grouped, "sum", ref(grouped, 1)))
        t, plan = t_where(kind)
        window = p.Window(
            plan, ((key("w"), WindowCall(INT, "row_number", (), (), (SortKey(t.v), SortKey(t.w)), Frame())),)
        )
        found[f"window-{kind}"] = scalar(agg(window, "sum", call("multiply", ref(window, 3), t.w)))
        (t, plan), (u, plan2) = t_where(kind), t_where("eq")
        union = p.Union((select(plan, t.v), select(plan2, u.w)), (key("u"),))
        found[f"union-{kind}"] = scalar(agg(union, "sum", ref(union)))
        (t, plan), (u, plan2) = t_where(kind), t_where("lt")
        both = p.SetOperation(select(plan, t.k), select(plan2, u.w), "except", False, (key("s"),))
        found[f"except-{kind}"] = scalar(agg(both, "count", ref(both)))
        for join in ("inner", "left", "full", "right", "semi", "anti"):
            (t, plan), (u, plan2) = t_where(kind), t_where("lt")
            joined = p.Join(plan, plan2, join, call("eq", t.k, u.w))
            found[f"{join}-join-{kind}"] = scalar(agg(joined, "sum", t.v if join != "right" else u.v))
        t, plan = t_where(kind)
        u = T("t")
        deep = agg(where(u.plan, call("eq", u.k, t.K), call("ne", u.w, OuterRef(INT, o.A.key, 2))), "count_star")
        found[f"nested-{kind}"] = scalar(agg(where(plan, call("ge", scalar(deep), lit(1))), "sum", t.v))
        (t, plan), u = t_where("eq"), T("t")
        deep_in = select(where(u.plan, call("eq", u.w, t.W)), u.k)
        found[f"nested-in-{kind}"] = scalar(
            agg(where(plan, call("not", in_(OuterRef(INT, o.C.key), deep_in))), "count_star")
        )
        t, plan = t_where(kind)
        name = key("cte")
        first = p.SharedRef(name, tuple((f.name, key("r"), f.type) for f in plan.schema))
        second = p.SharedRef(name, tuple((f.name, key("r"), f.type) for f in plan.schema))
        twice = agg(p.Join(first, second, "inner", call("lt", ref(first, 1), ref(second, 1))), "count_star")
        found[f"cte-{kind}"] = scalar(p.SharedPlan(name, plan, twice))
    found["values"] = scalar(p.Values(((key("v"), INT),), ((call("add", o.A, lit(1)),),)))
    t = T("e")
    found["empty"] = scalar(agg(where(t.plan, call("eq", t.k, o.A)), "count_star"))
    return found


NAMES = list(subqueries(T("o")))


def check(db, plan: p.Plan) -> p.Plan:
    expected = rows(db, plan)
    done = decorrelate(plan)
    for node in walk_all(done):
        assert not isinstance(node, p.DependentJoin)
        assert not any(isinstance(e, Subquery | OuterRef) for e in walk_exprs(node))
    assert not outer_refs(done)
    assert rows(db, done) == expected
    assert rows(db, optimize(done, Settings())) == expected
    return done


@pytest.mark.parametrize("name", NAMES)
def test_scalar(db, name: str) -> None:
    o = T("o")
    check(db, keep(o.plan, subqueries(o)[name]))


@pytest.mark.parametrize("name", [n for n in NAMES if n.startswith(("count-", "sum-", "having-", "left-join"))])
def test_scalar_in_filter(db, name: str) -> None:
    o = T("o")
    sub = subqueries(o)[name]
    number = Literal(sub.type, 1)
    check(db, where(o.plan, call("ge", sub, number), call("gt", o.b, lit(0))))
    o = T("o")
    sub = subqueries(o)[name]
    check(db, where(o.plan, call("or", call("ge", sub, number), call("is_null", o.c))))


def _inner(o: T, correlation: str) -> tuple[T, p.Plan]:
    t = T("e" if correlation == "empty" else "t")
    test = {
        "none": call("is_not_null", t.v), "nulls": call("le", t.w, lit(99)), "eq": call("eq", t.k, o.A),
        "lt": call("lt", t.k, o.A),
        "count": call("eq", t.k, o.A), "empty": call("eq", t.k, o.A),
    }[correlation]  # fmt: skip
    plan = where(t.plan, test)
    return t, (
        agg(plan, "count_star") if correlation == "count" else select(plan, t.v if correlation != "none" else t.k)
    )


@pytest.mark.parametrize("correlation", ["none", "nulls", "eq", "lt", "count", "empty"])
@pytest.mark.parametrize("kind", ["in", "exists", "eq any", "ne all", "gt any", "le all", "eq all", "ne any"])
@pytest.mark.parametrize("place", ["conjunct", "negated", "value", "or"])
def test_predicates(db, correlation: str, kind: str, place: str) -> None:
    o = T("o")
    _, plan = _inner(o, correlation)
    if kind == "exists":
        sub = exists(plan)
    elif kind == "in":
        sub = in_(o.b, plan)
    else:
        comparison, quantifier = kind.split()
        sub = Subquery(B, quantifier, plan, (o.b,), comparison)
    match place:
        case "conjunct":
            check(db, where(o.plan, sub, call("is_not_null", o.a)))
        case "negated":
            check(db, where(o.plan, call("not", sub)))
        case "value":
            check(db, keep(o.plan, sub, Case(INT, ((call("not", sub), lit(1)),), null_of(INT))))
        case _:
            check(db, where(o.plan, call("or", call("not", sub), call("eq", o.a, lit(1)))))


@pytest.mark.parametrize("kind", ["cross", "left", "inner"])
@pytest.mark.parametrize("body", ["rows", "top", "count"])
def test_lateral(db, kind: str, body: str) -> None:
    o, t = T("o"), T("t")
    plan = where(t.plan, call("eq", t.k, o.A))
    if body == "top":
        plan = p.Sort(where(t.plan, call("lt", t.k, o.A)), (SortKey(t.v, True), SortKey(t.w)), 2)
    if body == "count":
        plan = agg(plan, "count_star")
    condition = call("ge", ref(plan), lit(1)) if kind != "cross" else Literal(B, True)
    check(db, p.DependentJoin(o.plan, plan, kind, condition))


def test_simple_cases_need_no_domain(db) -> None:
    o = T("o")
    for name in ("sum-eq", "count-eq", "top1-eq", "window-eq", "distinct-eq"):
        done = check(db, keep(o.plan, subqueries(o)[name]))
        assert not any(isinstance(n, p.SharedPlan) for n in walk_all(done)), name
        assert [n.kind for n in walk_all(done) if isinstance(n, p.Join)] == ["left"]


def test_join_conditions(db) -> None:
    for kind in ("inner", "left"):
        o, t, u = T("o"), T("t"), T("t")
        sub = exists(where(u.plan, call("eq", u.w, t.V)))
        check(db, p.Join(o.plan, t.plan, kind, call("and", call("eq", o.a, t.k), call("not", sub))))


@pytest.mark.parametrize("rule", [r.name for r in RULES])
def test_every_rule_can_be_left_out(db, rule: str) -> None:
    for name in ("nested-two", "cte-lt", "left-join-eq", "full-join-lt", "union-eq", "grouped-eq", "limit-offset-lt"):
        o = T("o")
        plan = where(keep(o.plan, subqueries(o)[name]), call("gt", o.a, lit(1)))
        assert rows(db, optimize(decorrelate(plan), Settings(disabled_rules=(rule,)))) == rows(db, plan)
