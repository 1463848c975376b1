"""The queries: what must be held is larger than the budget, or one value, one group or one partition is.

The answer is always written to a Parquet file, so no engine has to hold it, and read back by the runner.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Workload:
    """`ordered`: the order of the rows is part of the answer. `before` is run first, in the same session and measured.

    `udf`: the query calls `widen(n)`, a Python function giving 1 MB of text. `at_once`: so many sessions' cursors run
    the query in parallel; the answer is that of one of them, after all have been found equal in rows. `oracle`: another
    query with the same answer, which needs no function.
    """

    name: str
    sql: str
    ordered: bool = False
    before: tuple[str, ...] = ()
    udf: bool = False
    at_once: int = 1
    oracle: str | None = None


WORKLOADS: dict[str, Workload] = {
    workload.name: workload
    for workload in (
        # sorts
        Workload("sort_by_text", "select id, s, n from facts order by s, id", ordered=True),
        Workload("sort_all_columns", "select * from facts order by v, id", ordered=True),
        Workload("sort_wide_rows", "select id, body from wide order by k", ordered=True),
        Workload("top_million", "select id, v, s from facts order by v, id limit 1000000", ordered=True),
        Workload("offset", "select id, v from facts order by v, id limit 10 offset 5000000", ordered=True),
        Workload("distinct_on", "select distinct on (g1m) g1m, id, s from facts order by g1m, id", ordered=True),
        # groups
        Workload("group_6m_keys", "select k, count(*) c, sum(n) t from facts group by k"),
        Workload("group_6m_texts", "select s, count(*) c, max(v) t from facts group by s"),
        Workload("group_skewed_key", "select skew, count(*) c, sum(n) t, min(s) m from facts group by skew"),
        Workload("rollup", "select g10, g1m, count(*) c, sum(n) t from facts group by rollup (g10, g1m)"),
        Workload("distinct_rows", "select distinct g1m, n from facts"),
        Workload("count_distinct", "select g10, count(distinct s) c, count(distinct k) d from facts group by g10"),
        Workload("median_by_10", "select g10, median(v) m from facts group by g10"),
        Workload("median_by_million", "select g1m, median(v) m from facts group by g1m"),
        Workload("quantiles", "select quantile_cont(v, 0.25) a, quantile_disc(n, 0.9) b from facts"),
        Workload("mode_by_10", "select g10, mode(skew) m from facts group by g10"),
        Workload("array_agg_by_10", "select g10, array_agg(id order by id) l from facts group by g10"),
        Workload("array_agg_texts", "select g10, len(array_agg(s)) l, count(*) c from facts group by g10"),
        Workload("array_agg_by_million", "select g1m, array_agg(n order by n, id) l from facts group by g1m"),
        Workload("string_agg_by_10", "select g10, string_agg(s, ',' order by id) t from facts group by g10"),
        Workload("string_agg_distinct", "select length(string_agg(distinct s, ',')) t from facts"),
        Workload("histogram", "select cardinality(histogram(g1m)) h from facts"),
        Workload("largest_wide_text", "select id % 3 as g, max(body) a, min(body) b from wide group by id % 3"),
        # joins
        Workload("join_6m_6m", "select f.id, f.s, d.w from facts f join dims d on f.k = d.k"),
        Workload("join_on_text", "select count(*) c, sum(f.n) t, sum(d.w) u from facts f join dims d on f.s = d.s"),
        Workload("full_join", "select f.id, d.w from facts f full join dims d on f.k = d.k and f.g10 = d.g10"),
        Workload("semi_join", "select count(*) c, sum(n) t from facts where s in (select s from dims)"),
        Workload(
            "not_in", "select count(*) c, sum(n) t from facts where k not in (select k from dims where w < 500000)"
        ),
        Workload("skewed_semi_join", "select count(*) c from facts where skew in (select skew from dims where w > 9)"),
        Workload(
            "skewed_join",
            "select f.g10, count(*) c, sum(d.w) t from (select g10, skew from facts where id < 300) f "
            "join dims d on f.skew = d.skew group by f.g10",
        ),
        Workload("wide_join", "select a.id, b.body from wide a join wide b on a.k = b.id"),
        Workload(
            "range_join",
            "select r.lo, count(*) c, sum(f.n) t from (select unnest(range(0, 1000000, 50000)) lo) r "
            "join facts f on f.n >= r.lo and f.n < r.lo + 40000 group by r.lo",
        ),
        Workload("cross_join", "select x.i, sum(f.n) t from (values (1), (2), (3)) x(i), facts f group by x.i"),
        Workload(
            "asof_join", "select count(*) c, sum(f.n + d.w) t from facts f asof join dims d on f.ts >= d.ts"
        ),
        # set operations
        Workload("union_12m_texts", "select count(*) c from (select s from facts union select s from dims)"),
        Workload("except_texts", "select s from facts except select s from dims"),
        Workload("intersect_texts", "select s from facts intersect select s from dims"),
        # windows
        Workload("running_sum", "select id, sum(n) over (order by id) t from facts"),
        Workload("rank_one_partition", "select id, rank() over (order by n) r from facts"),
        Workload(
            "moving_sum",
            "select id, sum(n) over (partition by g10 order by id rows between 5000 preceding and current row) t "
            "from facts",
        ),
        Workload(
            "moving_range",
            "select id, max(n) over (order by ts range between interval 1 hour preceding and current row) t from facts",
        ),
        Workload("lag_of_texts", "select id, lag(s) over (partition by g10 order by id) p from facts"),
        Workload("whole_partition", "select id, n / avg(n) over (partition by g10) d from facts"),
        # wide values and lists
        Workload("copy_wide_rows", "select * from wide"),
        Workload(
            "unnest",
            "select count(*) c, sum(i) t, sum(length(body)) u from (select unnest(items) i, body from lists)",
        ),
        Workload(
            "unnest_long_lists",
            "select i % 1000 g, count(*) c from (select unnest(items) i from long_lists) group by g",
        ),
        Workload("sort_long_lists", "select id, items from long_lists order by body, id", ordered=True),
        Workload(
            "udf_of_wide_text",
            "select count(*) c, sum(length(widen(id))) t from (select id from facts where id < 2000)",
            udf=True,
            oracle="select count(*) c, sum(1000000) t from facts where id < 2000",
        ),
        # whole statements
        Workload(
            "shared_cte",
            "with c as materialized (select k, sum(n) t from facts group by k) "
            "select count(*) c, sum(a.t + b.t) t from c a join c b on a.k = b.k",
        ),
        Workload(
            "recursive_cte",
            "with recursive r(x) as (select 1::bigint union all select x * 2 + y from r, (values (0), (1)) v(y) "
            "where x < 2000000) select count(*) c, sum(x) t from r",
        ),
        Workload(
            "table_of_a_query",
            "select count(*) c, sum(n) t, sum(length(s)) u from held",
            before=("create table held as select * from facts",),
        ),
        Workload("pass_through", "select id, s, v * 2 as v from facts where n % 4 <> 0"),
        Workload("four_at_once", "select k, count(*) c, sum(n) t from facts where g10 < 5 group by k", at_once=4),
    )
}  # fmt: skip
