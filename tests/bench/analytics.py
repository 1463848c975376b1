"""The suite `analytics`: groupings and joins in the manner of the H2O.ai benchmark, sorts, windows, distinct, strings,
explode, and scans of CSV and JSON. At scale 1 the main table has 10 M rows.

The data comes from formulas over hashes: the same content everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

_ROWS = 10_000_000


def _facts(rows: int) -> str:
    few, many = 100, max(1, rows // 100)
    return f"""
        select concat('id', lpad((hash(i) % {few})::varchar, 3, '0')) as id1,
            concat('id', lpad((hash(i + 1) % {few})::varchar, 3, '0')) as id2,
            concat('id', lpad((hash(i + 2) % {many})::varchar, 10, '0')) as id3,
            (hash(i + 3) % {few})::int as id4, (hash(i + 4) % {few})::int as id5, (hash(i + 5) % {many})::int as id6,
            (hash(i + 6) % 5)::int + 1 as v1, (hash(i + 7) % 15)::int + 1 as v2,
            (hash(i + 8) % 100000000) / 1000000.0 as v3, i as row
        from range({rows}) r(i)"""


def _keys(rows: int, name: str, spread: int) -> str:
    return f"""
        select (i * {spread})::int as {name}, concat('name-', hash(i + 9) % 1000) as label,
            (hash(i + 10) % 1000)::int as weight
        from range({rows}) r(i)"""


def _text(rows: int) -> str:
    return f"""
        select i as id, (hash(i) % 1000)::int as g, (hash(i + 1) % 1000000) / 100.0 as price,
            date '2020-01-01' + (hash(i + 2) % 1500)::int as day, concat('customer ', hash(i + 3) % 50000) as customer,
            concat(
                'note ', hash(i + 4), ' about ', ['special', 'plain', 'urgent'][(hash(i + 5) % 3)::int + 1], ' requests'
            ) as note
        from range({rows}) r(i)"""


def _lists(rows: int) -> str:
    return f"""
        select i as id, list_transform(range((hash(i) % 20)::bigint), lambda j: (hash(i * 20 + j) % 1000)::int) as items
        from range({rows}) r(i)"""


def make(scale: float, folder: Path) -> Mapping[str, str]:
    """Paths of the files by table; what is not there yet is made."""
    rows = int(_ROWS * scale)
    definitions = {
        "x.parquet": _facts(rows),
        "small.parquet": _keys(100, "id4", 1),
        "medium.parquet": _keys(max(1, rows // 100), "id6", 1),
        "big.parquet": _keys(rows, "row", 1),
        "notes.parquet": _text(rows // 4),
        "lists.parquet": _lists(rows // 10),
        "lines.csv": _text(rows // 4),
        "objects.jsonl": _text(rows // 10),
    }
    place = folder / f"analytics-{scale:g}"
    place.mkdir(parents=True, exist_ok=True)
    for name, query in definitions.items():
        path = place / name
        if not path.exists():
            form = {"parquet": "parquet", "csv": "csv, header", "jsonl": "json"}[name.rsplit(".", 1)[1]]
            with duckdb.connect(config={"threads": 2}) as connection:
                connection.execute(f"copy ({query}) to '{path}.partial' (format {form})")
            path.with_name(f"{name}.partial").replace(path)
    return {name.split(".")[0]: str(place / name) for name in definitions}


QUERIES: Mapping[str, str] = {
    "group_id1": "select id1, sum(v1) as a from x group by id1",
    "group_id1_id2": "select id1, id2, sum(v1) as a from x group by id1, id2",
    "group_id3": "select id3, sum(v1) as a, avg(v3) as b from x group by id3",
    "group_id4": "select id4, avg(v1) as a, avg(v2) as b, avg(v3) as c from x group by id4",
    "group_id6": "select id6, sum(v1) as a, sum(v2) as b, sum(v3) as c from x group by id6",
    "group_median": "select id4, id5, median(v3) as a, stddev(v3) as b from x group by id4, id5",
    "group_range": "select id3, max(v1) - min(v2) as a from x group by id3",
    "group_corr": "select id2, id4, corr(v1, v2) as a from x group by id2, id4",
    "group_all": "select id1, id2, id3, id4, id5, id6, sum(v3) as a, count(*) as b from x "
    "group by id1, id2, id3, id4, id5, id6 having count(*) > 1",
    "group_rows": "select count(*) as a, sum(b) as c from (select row, sum(v3) as b from x group by row) t",
    "join_small": "select sum(v3) as a, sum(weight) as b from x join small on x.id4 = small.id4",
    "join_medium": "select sum(v3) as a, sum(weight) as b from x join medium on x.id6 = medium.id6",
    "join_medium_left": "select sum(v3) as a, count(weight) as b from x left join medium on x.id6 = medium.id6 + 7",
    "join_medium_text": "select label, sum(v3) as a from x join medium on x.id6 = medium.id6 group by label",
    "join_big": "select sum(v3) as a, sum(weight) as b from x join big on x.row = big.row",
    "join_semi": "select sum(v3) as a, count(*) as b from x where id6 in (select id6 from medium where weight < 100)",
    "sort_int": "select id6, v3 from x order by id6, v3, row",
    "sort_float": "select v3, row from x order by v3, row",
    "sort_text": "select id3, row from x order by id3, row",
    "top_100": "select * from x order by v3 desc, row limit 100",
    "top_100000": "select row, v3 from x order by v3 desc, row limit 100000",
    "distinct_int": "select count(*) as a from (select distinct id6, v1 from x) t",
    "distinct_text": "select count(*) as a from (select distinct id3 from x) t",
    "count_distinct": "select count(distinct id3) as a, count(distinct id6) as b from x",
    "count_distinct_by": "select id4, count(distinct id6) as a from x group by id4",
    "window_top_2": "select id6, v3 from (select id6, v3, row_number() over (partition by id6 order by v3 desc, row) "
    "as n from x) t where n <= 2",
    "window_running": "select sum(a) as b from (select sum(v1) over (order by row rows between unbounded preceding "
    "and current row) as a from x) t",
    "window_lag": "select sum(a) as b from (select v3 - lag(v3) over (partition by id4 order by row) as a from x) t",
    "window_moving": "select sum(a) as b from (select avg(v3) over (partition by id5 order by row rows between 9 "
    "preceding and current row) as a from x) t",
    "window_rank": "select sum(a) as b from (select rank() over (partition by id1 order by v2) as a from x) t",
    "filter_and": "select count(*) as a, sum(v3) as b from x where v1 = 3 and v2 > 7 and v3 < 50 and id4 <> 17",
    "case_sum": "select sum(case when v1 > 3 then v3 else 0 end) as a, sum(case when v2 < 4 then v3 * 2 end) as b "
    "from x",
    "arithmetic": "select sum(v1 * v2 + v3 / 2) as a, avg(v3 * v3 - v1) as b, max(v1 + v2) as c from x",
    "like": "select count(*) as a from notes where note like '%special%requests'",
    "like_group": "select customer, count(*) as a from notes where customer like '%77%' group by customer",
    "text_functions": "select sum(length(upper(note))) as a, max(substr(note, 6, 10)) as b from notes",
    "regexp": "select count(*) as a from notes where note ~ '.*9+ about (plain|urgent).*'",
    "date_group": "select extract(year from day) as y, extract(month from day) as m, sum(price) as a from notes "
    "group by extract(year from day), extract(month from day)",
    "explode": "select sum(item) as a, count(*) as b from (select unnest(items) as item from lists) t",
    "csv_sum": "select count(*) as a, sum(price) as b from lines",
    "csv_group": "select customer, sum(price) as a, max(day) as b from lines group by customer",
    "csv_filter": "select id, note from lines where g = 500 and price > 9000",
    "json_sum": "select count(*) as a, sum(price) as b from objects",
    "json_group": "select g, sum(price) as a, count(customer) as b from objects group by g",
}
