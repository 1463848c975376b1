"""The tables that every `.test` file sees, with NULLs, duplicates, extreme values, keys without partner and one empty table."""

from __future__ import annotations

import duckdb
import pyarrow as pa

_TABLES = {
    # Every type with NULLs in every column and one row of NULLs.
    "types": """from (values
        (1, true, 1::tinyint, 100::smallint, 1000, 10000000000::bigint, 1.5::float, 2.25::double, 12.34::decimal(9,2), 'one', date '2024-01-31', timestamp '2024-01-31 10:20:30.5', time '10:20:30'),
        (2, false, -1, -100, -1000, -10000000000, -1.5, -2.25, -12.34, 'two', date '2024-02-29', timestamp '2024-02-29 23:59:59', time '23:59:59'),
        (3, null, null, null, null, null, null, null, null, null, null, null, null),
        (4, true, 127, 32767, 2147483647, 9223372036854775807, 3.25, 1e300, 9999999.99, 'ünï ✓ 漢字', date '1970-01-01', timestamp '1970-01-01 00:00:00', time '00:00:00'),
        (5, false, -128, -32768, -2147483648, -9223372036854775807, 0.0, 0.0, 0.00, '', date '1999-12-31', timestamp '1999-12-31 12:00:00.000001', time '12:30:00'),
        (6, true, 0, 0, 0, 0, 0.5, -0.5, 0.05, '  padded  ', date '2024-12-31', timestamp '2024-07-04 01:02:03', time '06:07:08.9'),
        (7, null, 7, 7, 7, 7, 7, 7, 7, 'a%b_c', date '2000-02-29', null, null)
        ) v(id, b, i8, i16, i32, i64, f32, f64, d, s, dt, ts, tm)""",
    # Employees: a tree by boss, departments that do not exist, equal salaries.
    "emp": """from (values
        (1, 'Ann', null, 10, 5000.00::decimal(10,2), date '2015-03-01'), (2, 'Bob', 1, 10, 4000.00, date '2016-04-01'),
        (3, 'Cid', 1, 20, 4000.00, date '2016-04-01'), (4, 'Dan', 2, 20, 3000.50, date '2018-01-15'),
        (5, 'Eve', 2, 30, null, date '2019-06-30'), (6, 'Fay', 3, null, 2500.00, null),
        (7, 'Gus', 3, 99, 2500.00, date '2021-11-11'), (8, null, 6, 10, 100.00, date '2022-02-28')
        ) v(id, name, boss, dept, salary, hired)""",
    "dept": """from (values (10, 'Sales', 'Rome'), (20, 'Tech', 'Oslo'), (30, 'Law', null), (40, 'Empty', 'Oslo'), (null, 'Nowhere', 'Rome')
        ) v(dept, title, city)""",
    # Join keys with duplicates and NULLs on both sides.
    "l": "from (values (1, 'a', 10), (2, 'b', 20), (2, 'c', null), (3, 'd', 30), (null, 'e', 40), (4, null, 50)) v(k, x, n)",
    "r": "from (values (2, 'p', 20), (2, 'q', 21), (3, null, 30), (null, 's', 40), (5, 't', null)) v(k, y, n)",
    "empty": "select 1 as k, 'x' as x, 1.5::double as f where false",
    # 120 rows with skewed groups, for grouping and windows.
    "many": """select i::integer as i, case when i % 11 = 0 then null else (i * i) % 7 end::integer as g, ((i * 37) % 101 - 50)::integer as v,
        case when i % 13 = 0 then null else ((i * 53) % 89) / 4.0 end::double as f, ((i * 19) % 1000 / 100)::decimal(8,2) as d,
        'k' || (i % 5) as s, date '2024-01-01' + (i % 40)::integer as dt from range(120) t(i)""",
    "lists": """from (values (1, [1, 2, 3], ['a', 'b']), (2, [], []), (3, null, null), (4, [null, 4], [null]), (5, [5], ['e', null, ''])
        ) v(id, ints, texts)""",
}


def arrow_tables() -> dict[str, pa.Table]:
    with duckdb.connect() as connection:
        return {name: connection.sql(query).to_arrow_table() for name, query in _TABLES.items()}
