"""Ordinary and nasty values of each type, as SQL that both engines read."""

from __future__ import annotations

_WIDTHS = {"TINYINT": 7, "SMALLINT": 15, "INTEGER": 31, "BIGINT": 63}
_UNSIGNED = {"UTINYINT": 8, "USMALLINT": 16, "UINTEGER": 32, "UBIGINT": 64}


def _whole(type_: str, bits: int, signed: bool) -> list[str]:
    high = 2**bits - 1
    numbers = [0, 1, 2, 3, 7, 10, 12, high] + ([-1, -2, -5, -high - 1] if signed else [])
    return ["NULL", *(str(n) for n in numbers)]


_DAYS = ["2024-02-29", "1992-03-22", "1970-01-01", "1969-12-31", "0001-01-01", "2000-12-31", "2021-01-03", "9999-12-31"]
_CLOCKS = ["00:00:00", "23:59:59.999999", "12:34:56.789", "00:00:00.000001"]
_TEXTS = [
    "", "a", "Hello World", "  padded ", "ÄÖÜ straße", "🦆 duck 🦆", "a,b,,c", "12", "-3.5", "NULL", "it''s", "%_\\", "aaa",  # noqa: E501
    "ｗｉｄｅ", "e\u0301", "2024-02-29", "line\nbreak", "ducks.and.geese", "ABCabc123",
]  # fmt: skip

VALUES: dict[str, list[str]] = {
    **{name: _whole(name, bits, True) for name, bits in _WIDTHS.items()},
    **{name: _whole(name, bits, False) for name, bits in _UNSIGNED.items()},
    "HUGEINT": ["NULL", "0", "1", "-1", "42", "9223372036854775808", "-99999999999999999999999999999999999999",
                "99999999999999999999999999999999999999"],
    "FLOAT": ["NULL", "0", "1.5", "-2.5", "'nan'", "'infinity'", "'-infinity'", "3.4e38", "1e-30", "0.1"],
    "DOUBLE": ["NULL", "0", "-0.0", "1", "0.5", "1.5", "2.5", "-2.5", "'nan'", "'infinity'", "'-infinity'",
               "1.7e308", "1e-300", "123456.789", "-7", "20", "1e15", "0.1"],
    "DECIMAL(9,2)": ["NULL", "0", "1.5", "-1.55", "2.5", "0.01", "9999999.99", "-9999999.99"],
    "DECIMAL(38,10)": ["NULL", "0", "1.5", "-2.25", "1234567890123456789.0123456789"],
    "BOOLEAN": ["NULL", "true", "false"],
    "VARCHAR": ["NULL", *(f"'{text}'" for text in _TEXTS)],
    "BLOB": ["NULL", "''", "'abc'", r"'\x00\xFF'", r"'a\x0Ab'"],
    "DATE": ["NULL", *(f"'{day}'" for day in _DAYS), "'infinity'", "'-infinity'", "'0044-03-15 (BC)'"],
    "TIME": ["NULL", *(f"'{clock}'" for clock in _CLOCKS), "'24:00:00'"],
    "TIMESTAMP": ["NULL", *(f"'{day} {clock}'" for day, clock in zip(_DAYS, _CLOCKS * 2, strict=True)), "'infinity'",
                  "'-infinity'"],
    "TIMESTAMP_S": ["NULL", "'2024-02-29 12:34:56'", "'1969-12-31 23:59:59'"],
    "TIMESTAMP_MS": ["NULL", "'2024-02-29 12:34:56.789'", "'1969-12-31 23:59:59.999'"],
    "TIMESTAMP_NS": ["NULL", "'2024-02-29 12:34:56.123456789'", "'1969-12-31 23:59:59.999999999'"],
    "TIMESTAMP WITH TIME ZONE": ["NULL", *(f"'{day} {clock}+00'" for day, clock in zip(_DAYS, _CLOCKS * 2, strict=True)),  # noqa: E501
                                 "'infinity'"],
    "INTERVAL": ["NULL", "'0 days'", "'1 month'", "'-1 month -2 days'", "'1 year 2 months 3 days 04:05:06.789'",
                 "'-25 hours'", "'1 day'", "'36 hours'", "'90 days'", "'1 microsecond'"],
    "UUID": ["NULL", "'123e4567-e89b-12d3-a456-426614174000'", "'00000000-0000-0000-0000-000000000000'"],
    "JSON": ["NULL", "'null'", "'1'", "'\"text\"'", "'[1, 2, [3, null]]'", "'{\"a\": 1, \"b\": {\"c\": [true, \"x\"]}}'",  # noqa: E501
             "'{}'", "'[]'", "'1.5e3'"],
    "BIT": ["NULL", "'1'", "'0'", "'0101011'", "'11111111000'"],
    "INTEGER[]": ["NULL", "[]", "[1, 2, 3]", "[NULL, 2, NULL]", "[3, 1, 2, 1, 3]", "[NULL]", "[-2147483648, 2147483647]"],  # noqa: E501
    "VARCHAR[]": ["NULL", "[]", "['a', 'b', 'a']", "[NULL, '']", "['ä', '🦆', 'b c']"],
    "DOUBLE[]": ["NULL", "[]", "[1.5, 2.5]", "['nan'::DOUBLE, 1]", "[NULL, 2.0]", "['infinity'::DOUBLE, 0]"],
    "FLOAT[]": ["NULL", "[]", "[1.5, 2.5]", "[0.1, -1]"],
    "BOOLEAN[]": ["NULL", "[]", "[true, false, NULL]"],
    "BIGINT[]": ["NULL", "[]", "[1, 5]", "[2]"],
    "INTEGER[][]": ["NULL", "[]", "[[1], [], NULL, [2, NULL]]", "[[1, 2]]"],
    "DOUBLE[3]": ["NULL", "[1, 2, 3]", "[0, 0, 0]", "[-1.5, 2.5, 1e10]"],
    "FLOAT[3]": ["NULL", "[1, 2, 3]", "[0, 0, 0]", "[0.1, 0.2, 0.3]"],
    "MAP(VARCHAR, INTEGER)": ["NULL", "MAP {}", "MAP {'a': 1, 'b': NULL}", "MAP {'x': 5}"],
    'STRUCT(a INTEGER, b VARCHAR)': ["NULL", "{'a': 1, 'b': 'x'}", "{'a': NULL, 'b': NULL}", "{'a': -5, 'b': ''}"],
}  # fmt: skip

# Types of parameters that stand for others.
GENERIC: dict[str, tuple[str, ...]] = {
    "ANY": ("INTEGER", "VARCHAR", "DOUBLE", "DATE", "INTEGER[]", "STRUCT(a INTEGER, b VARCHAR)"),
    "T": ("INTEGER", "VARCHAR", "DOUBLE", "INTEGER[]"),
    "K": ("VARCHAR",),
    "V": ("INTEGER",),
    "ANY[]": ("INTEGER[]", "VARCHAR[]", "DOUBLE[]", "INTEGER[][]"),
    "T[]": ("INTEGER[]", "VARCHAR[]", "DOUBLE[]", "INTEGER[][]"),
    "K[]": ("VARCHAR[]",),
    "V[]": ("INTEGER[]",),
    "T[][]": ("INTEGER[][]",),
    "MAP(K, V)": ("MAP(VARCHAR, INTEGER)",),
    "DECIMAL": ("DECIMAL(9,2)", "DECIMAL(38,10)"),
    "STRUCT": ("STRUCT(a INTEGER, b VARCHAR)",),
    "DOUBLE[ANY]": ("DOUBLE[3]",),
    "FLOAT[ANY]": ("FLOAT[3]",),
}


def value(type_: str, text: str) -> str:
    return f"CAST({text} AS {type_})"
