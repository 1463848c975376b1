"""What single rules must do to plans, and that answers stay the same."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pyarrow as pa
import pytest

from sqlengine.errors import InternalError
from sqlengine.expr.nodes import AggregateCall, Literal, SortKey, and_all
from sqlengine.optimizer.examples import DescribedTable
from sqlengine.optimizer.join_order import join_order
from sqlengine.optimizer.prune_columns import prune_columns
from sqlengine.optimizer.push_filters import push_filters
from sqlengine.optimizer.rules import RULES, optimize, verify
from sqlengine.optimizer.simplify_predicates import simplify_predicates
from sqlengine.plan import nodes as p
from sqlengine.plan.keys import walk_all
from sqlengine.settings import Settings
from tests.optimizer.plan_sql import rows
from tests.optimizer.test_decorrelate import INT, T, agg, call, key, lit, ref, where

S = Settings()


@pytest.mark.parametrize(
    ("kind", "side", "expected"),
    [("left", "right", "inner"), ("left", "left", "left"), ("right", "left", "inner"), ("full", "left", "left"),
     ("full", "right", "right")],
)  # fmt: skip
def test_outer_joins_narrow(db, kind: str, side: str, expected: str) -> None:
    o, t = T("o"), T("t")
    joined = p.Join(o.plan, t.plan, kind, call("eq", o.a, t.k))
    plan = where(joined, call("gt", o.b if side == "left" else t.v, lit(9)))
    done = push_filters(plan, S)
    assert [n.kind for n in walk_all(done) if isinstance(n, p.Join)] == [expected]
    assert rows(db, done) == rows(db, plan)


def test_is_null_keeps_the_outer_join(db) -> None:
    o, t = T("o"), T("t")
    plan = where(p.Join(o.plan, t.plan, "left", call("eq", o.a, t.k)), call("is_null", t.v))
    done = optimize(plan, S)
    assert [n.kind for n in walk_all(done) if isinstance(n, p.Join)] == ["left"]
    assert rows(db, done) == rows(db, plan)


@pytest.mark.parametrize("kinds", list(itertools.product(("inner", "left", "full", "semi", "anti", "right"), repeat=2)))
def test_filters_over_two_joins(db, kinds: tuple[str, str]) -> None:
    o, t, u = T("o"), T("t"), T("t")
    low = p.Join(
        o.plan, t.plan, kinds[0], and_all([call("eq", o.a, t.k), call("gt", t.v, lit(5)), call("lt", o.b, lit(30))])
    )
    top = p.Join(
        low, u.plan, kinds[1], and_all([call("eq", o.a, u.k), call("lt", u.v, lit(35)), call("gt", o.b, lit(5))])
    )
    for test in (
        call("gt", o.b, lit(10)),
        call("or", call("is_null", o.b), call("gt", o.c, lit(1))),
        call("eq", o.a, lit(2)),
    ):
        plan = where(top, test)
        assert rows(db, optimize(plan, S)) == rows(db, plan)


def test_filters_through_grouping_and_union(db) -> None:
    t, u = T("t"), T("t")
    sides = ((t.plan, t.k, t.v), (u.plan, u.w, u.v))
    union = p.Union(tuple(p.Project(plan, ((key("k"), k), (key("v"), v))) for plan, k, v in sides),
                    (k := key("k"), v := key("v")))  # fmt: skip
    grouped = agg(union, "sum", ref(union, 1), by=(ref(union, 0),))
    plan = where(grouped, call("gt", ref(grouped, 0), lit(1)))
    done = push_filters(plan, S)
    assert not any(isinstance(n, p.Filter) for n in walk_all(done))
    assert all(n.filters for n in walk_all(done) if isinstance(n, p.Scan))
    assert rows(db, done) == rows(db, plan)
    assert k and v


def test_common_parts_of_or_become_join_conditions(db) -> None:
    o, t = T("o"), T("t")
    same = call("eq", o.a, t.k)
    either = call(
        "or",
        and_all([same, call("lt", o.b, lit(15)), call("gt", t.v, lit(1))]),
        and_all([same, call("gt", o.b, lit(15))]),
    )
    plan = where(p.Join(o.plan, t.plan, "cross"), either)
    done = optimize(plan, S)
    join = next(n for n in walk_all(done) if isinstance(n, p.Join))
    assert join.kind == "inner"
    assert any(isinstance(n, p.Scan) and n.name == "o" and n.filters for n in walk_all(done))
    assert rows(db, done) == rows(db, plan) == rows(db, simplify_predicates(plan, S))


def sized(table: T, size: float) -> p.Plan:
    return replace(table.plan, source=DescribedTable(table.plan.source.names, size))


@pytest.mark.parametrize("order", list(itertools.permutations(range(4))))
def test_join_order(db, order: tuple[int, ...]) -> None:
    tables = [T("o"), T("t"), T("t"), T("t")]
    plans = [sized(t, 10.0 ** (i + 1)) for i, t in enumerate(tables)]
    o, t, u, w = tables
    plan = plans[order[0]]
    for i in order[1:]:
        plan = p.Join(plan, plans[i], "cross")
    tests = [
        call("eq", o.a, t.k),
        call("eq", t.k, u.k),
        call("eq", u.w, w.w),
        call("lt", call("add", o.b, t.v), call("add", u.v, w.v)),
    ]
    plan = where(plan, *tests)
    done = join_order(plan, S)
    assert done.schema == plan.schema
    assert rows(db, push_filters(done, S)) == rows(db, optimize(plan, S)) == rows(db, plan)
    assert not any(isinstance(n, p.Join) and n.kind == "cross" for n in walk_all(optimize(plan, S)))


def test_many_relations_are_ordered_greedily(db) -> None:
    tables = [T("t") for _ in range(14)]
    plan = tables[0].plan
    for t in tables[1:]:
        plan = p.Join(plan, t.plan, "cross")
    plan = where(
        plan, *(call("eq", a.w, b.w) for a, b in itertools.pairwise(tables)), *(call("eq", t.k, lit(2)) for t in tables)
    )
    done = optimize(plan, S)
    assert not any(isinstance(n, p.Join) and n.kind == "cross" for n in walk_all(done))


def test_columns_are_pruned_to_the_scan() -> None:
    o, t = T("o"), T("t")
    joined = p.Join(o.plan, t.plan, "inner", call("eq", o.a, t.k))
    done = prune_columns(agg(joined, "count_star"), S)
    assert {n.name: [c for c, _ in n.columns] for n in walk_all(done) if isinstance(n, p.Scan)} == {
        "o": ["a"],
        "t": ["k"],
    }


@pytest.mark.parametrize("by", [0, 1])
def test_distinct_aggregates(db, by: int) -> None:
    t = T("t")
    calls = (
        ("n#90001", AggregateCall(INT, "count", (t.v,), True)),
        ("s#90002", AggregateCall(pa.decimal128(38, 0), "sum", (t.w,))),
        ("c#90003", AggregateCall(INT, "count_star", ())),
    )
    for table in (t.plan, where(t.plan, call("gt", t.v, lit(1000)))):
        plan = p.Aggregate(table, ((key("k"), t.k),)[:by], calls)
        done = optimize(plan, S)
        assert not any(c.distinct for n in walk_all(done) if isinstance(n, p.Aggregate) for _, c in n.aggregates)
        assert rows(db, done) == rows(db, plan)


def test_limits_reach_sorts_and_scans() -> None:
    t = T("t")
    named = p.Project(p.Sort(t.plan, (SortKey(t.v),)), ((key("v"), t.v),))
    done = optimize(p.Limit(named, 3, 2), S)
    assert [n.limit for n in walk_all(done) if isinstance(n, p.Sort)] == [5]
    done = optimize(p.Limit(p.Project(t.plan, ((key("v"), t.v),)), 3, 2), S)
    assert [n.limit for n in walk_all(done) if isinstance(n, p.Scan)] == [5]


def test_a_rule_that_changes_columns_is_caught() -> None:
    t = T("t")
    with pytest.raises(InternalError, match="changed the columns"):
        verify("bad", t.plan, p.Project(t.plan, (("x#1", t.v),)))


def test_deep_plans_and_expressions() -> None:
    t = T("t")
    test = call("eq", t.v, lit(0))
    for i in range(1, 1500):
        test = call("or", test, call("eq", t.v, lit(i)))
    plan: p.Plan = where(t.plan, test)
    for _ in range(300):
        plan = p.Filter(
            p.Project(plan, tuple((f.name, ref(plan, i)) for i, f in enumerate(plan.schema))), call("gt", t.w, lit(0))
        )
    done = optimize(plan, S)
    assert isinstance(done, p.Scan | p.Project)


def test_names_of_rules_are_unique() -> None:
    assert len({r.name for r in RULES}) == len(RULES)
    assert Literal(INT, 1) == lit(1)
