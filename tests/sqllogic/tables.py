# ruff: noqa: E501
"""The tables that every `.test` file sees: NULLs, duplicates, extreme values, keys without partner, an empty table."""

from __future__ import annotations

import datetime
from decimal import Decimal as D

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


def _edges() -> pa.Table:
    """One column of each type with the values that functions get wrong: empty, NULL, negative, not ASCII, nested NULLs."""
    return pa.table(
        {
            "id": pa.array(range(8), pa.int32()),
            "s": pa.array(
                ["", "one", "Hello World", None, "naïve café ü", "a,b,,c", "  pad\t ", "100%_x\\y"], pa.string()
            ),
            "u": pa.array(["x", "o", "lo", "a", None, ",", " ", "%"], pa.string()),
            "i": pa.array([0, 1, -1, None, 7, -100, 2147483647, 12], pa.int32()),
            "j": pa.array([3, 0, 2, 1, None, -4, 5, 64], pa.int32()),
            "b": pa.array([0, 1, -1, None, 7, -9223372036854775807, 9223372036854775807, 12], pa.int64()),
            "f": pa.array([0.0, 1.5, -2.5, None, float("nan"), float("inf"), 1e20, 0.1], pa.float64()),
            "g": pa.array([1.25, -1.5, 2.5, 3.5, None, 1e-5, 123456.789, -0.0], pa.float64()),
            "d": pa.array(
                [
                    D("0.00"),
                    D("1.25"),
                    D("-2.55"),
                    None,
                    D("1234567.89"),
                    D("-0.01"),
                    D("99.995").quantize(D("0.01")),
                    D("10.00"),
                ],
                pa.decimal128(12, 2),
            ),
            "h": pa.array([D(0), D(1), D(-1), None, D(10**30), D(-5), D(7), D(12)], pa.decimal128(38, 0)),
            "dt": pa.array(
                [
                    datetime.date(2020, 2, 29),
                    datetime.date(1999, 12, 31),
                    datetime.date(1970, 1, 1),
                    None,
                    datetime.date(2024, 6, 15),
                    datetime.date(1900, 1, 1),
                    datetime.date(2021, 1, 3),
                    datetime.date(2000, 3, 1),
                ],
                pa.date32(),
            ),
            "ts": pa.array(
                [
                    datetime.datetime(2020, 2, 29, 12, 34, 56, 789012),
                    datetime.datetime(1999, 12, 31, 23, 59, 59, 999999),
                    datetime.datetime(1970, 1, 1),
                    None,
                    datetime.datetime(2024, 6, 15, 1, 2, 3),
                    datetime.datetime(1900, 1, 1, 0, 0, 1),
                    datetime.datetime(2021, 1, 3, 23, 0, 0, 500000),
                    datetime.datetime(2000, 3, 1, 6, 0),
                ],
                pa.timestamp("us"),
            ),
            "tz": pa.array(
                [
                    datetime.datetime(2020, 2, 29, 12, 34, 56, 789012),
                    datetime.datetime(1999, 12, 31, 23, 59, 59, 999999),
                    datetime.datetime(1970, 1, 1),
                    None,
                    datetime.datetime(2024, 6, 15, 1, 2, 3),
                    datetime.datetime(1900, 1, 1, 0, 0, 1),
                    datetime.datetime(2021, 1, 3, 23, 0, 0, 500000),
                    datetime.datetime(2000, 3, 1, 6, 0),
                ],
                pa.timestamp("us", "UTC"),
            ),
            "tm": pa.array(
                [
                    datetime.time(0, 0),
                    datetime.time(12, 34, 56, 789000),
                    datetime.time(23, 59, 59),
                    None,
                    datetime.time(1, 2, 3),
                    datetime.time(6, 0),
                    datetime.time(18, 30),
                    datetime.time(5, 5, 5, 5),
                ],
                pa.time64("us"),
            ),
            "bo": pa.array([True, False, None, True, False, True, None, False], pa.bool_()),
            "l": pa.array(
                [[1, 2, 3], [], None, [None], [5, None, 1], [1, 1, 2], [9], [3, 2, 1, 0]], pa.list_(pa.int32())
            ),
            "m": pa.array([[2], [1, 2], [None], None, [5], [], [9, 9], [0, 1]], pa.list_(pa.int32())),
            "ls": pa.array(
                [["b", "a"], [], None, [None, "x"], ["z"], ["a", "a"], ["c", "B", "a"], ["x", "y", "z"]],
                pa.list_(pa.string()),
            ),
            "ll": pa.array(
                [[[1], [2, 3]], [], None, [None, [1]], [[]], [[1, 2], [3]], [[9]], [[0], [1]]],
                pa.list_(pa.list_(pa.int32())),
            ),
            "st": pa.array(
                [
                    {"a": 1, "b": "x"},
                    {"a": None, "b": "y"},
                    None,
                    {"a": 3, "b": None},
                    {"a": 4, "b": "z"},
                    {"a": 5, "b": ""},
                    {"a": 6, "b": "q"},
                    {"a": 7, "b": "w"},
                ],
                pa.struct([("a", pa.int32()), ("b", pa.string())]),
            ),
            "js": pa.array(
                [
                    '{"a": 1, "b": [1, 2, {"c": "x"}], "d": null}',
                    '[1, "two", 3.5, true, null]',
                    '"text"',
                    None,
                    "12",
                    '{"a": {"b": {"c": 5}}, "x y": 3}',
                    "null",
                    '{"duck": "goose", "n": 1e3}',
                ],
                pa.string(),
            ),
            "bl": pa.array([b"", b"abc", b"\x00\xff", None, b"\xc3\xa9", b"a'b", b"zz", b"\\x"], pa.binary()),
            "mp": pa.array(
                [
                    [("a", 1), ("b", 2)],
                    [],
                    None,
                    [("k", None)],
                    [("x", 5)],
                    [("a", 9)],
                    [("q", 0)],
                    [("b", 3), ("c", 4)],
                ],
                pa.map_(pa.string(), pa.int32()),
            ),
        }
    )


def arrow_tables() -> dict[str, pa.Table]:
    with duckdb.connect() as connection:
        tables = {name: connection.sql(query).to_arrow_table() for name, query in _TABLES.items()}
    return {**tables, "edges": _edges()}
