"""Tables for random queries: NULLs, duplicates, skew, extreme values, decimals, Unicode, and one without rows."""

from __future__ import annotations

import random
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa

TYPES = {
    "k": ("int", pa.int32()),
    "g": ("int", pa.int64()),
    "n": ("int", pa.int16()),
    "big": ("big", pa.int64()),
    "d": ("dec", pa.decimal128(12, 2)),
    "f": ("flt", pa.float64()),
    "s": ("txt", pa.string()),
    "t": ("date", pa.date32()),
    "b": ("bool", pa.bool_()),
}
COLUMNS = {
    "a": ("k", "g", "n", "d", "f", "s", "t", "b", "big"),
    "c": ("k", "n", "s", "d"),
    "w": ("k", "g", "f", "t"),
    "e": ("k", "g", "s", "d", "f", "b"),
}
_ROWS = {"a": 240, "c": 60, "w": 35, "e": 0}
_TEXTS = ["", "a", "b", "aa", "Äpfel", "漢字", "a%b", "x_y", " pad ", "🙂", "zz" * 40, "B"]
_BIG = [2**63 - 1, -(2**63), 0, 1, -1, 2**53 + 1, 10**18]


def make_tables() -> dict[str, pa.Table]:
    rng = random.Random(20)

    def value(name: str) -> Any:
        if rng.random() < 0.12:
            return None
        match name:
            case "k":
                return rng.randrange(1, 40)
            case "g":
                return 1 if rng.random() < 0.7 else rng.randrange(9)  # skewed
            case "n":
                return rng.randrange(-20, 20)
            case "big":
                return rng.choice(_BIG)
            case "d":
                return Decimal(rng.choice([0, 1, -1, 125, 999, -25050, 123456789])) / 100
            case "f":
                return rng.choice([0.0, 0.5, -1.5, 2.25, 1e6, -1e-3, 3.0])
            case "s":
                return rng.choice(_TEXTS)
            case "t":
                return date(2024, 1, 1) + timedelta(rng.choice([0, 0, 30, 31, 59, 60, 365, -400]))
            case _:
                return rng.random() < 0.5

    return {
        table: pa.table({name: pa.array([value(name) for _ in range(_ROWS[table])], TYPES[name][1]) for name in names})
        for table, names in COLUMNS.items()
    }
