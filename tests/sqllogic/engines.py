"""The engine under test and the oracle, behind the same two calls."""

from __future__ import annotations

from typing import Any, Protocol

import duckdb
import pyarrow as pa

import sqlengine
from sqlengine.optimizer.rules import RULES
from sqlengine.runtime.memory import MemoryPool

MATRIX: dict[str, dict[str, Any]] = {
    "default": {},
    "floor": {"threads": 1, "batch_bytes": "64KiB"},
    "batch1": {"batch_rows": 1},
    "batch7": {"batch_rows": 7},
    "rules-off": {"disabled_rules": tuple(rule.name for rule in RULES)},
    "threads1": {"threads": 1},
    "threads4": {"threads": 4},
}
_SMALLEST_POOL = 256 << 10


class Engine(Protocol):
    def run(self, query: str) -> pa.Table: ...
    def close(self) -> None: ...


class Sqlengine:
    """A session with the tables. At the floor, a query gets the smallest power of two with which it is admitted."""

    def __init__(self, tables: dict[str, pa.Table], way: str = "default") -> None:
        self._session = sqlengine.connect(**MATRIX[way])
        self._at_floor = way == "floor"
        for name, table in tables.items():
            self._session.register(name, table)

    def run(self, query: str) -> pa.Table:
        if not self._at_floor:
            return self._session.sql(query).to_arrow()
        size = _SMALLEST_POOL
        while True:
            self._session._pool = MemoryPool(size)
            try:
                return self._session.sql(query).to_arrow()
            except sqlengine.errors.MemoryLimitError:
                if size > 1 << 30:
                    raise
                size *= 2

    def close(self) -> None:
        self._session.close()


class Duckdb:
    def __init__(self, tables: dict[str, pa.Table]) -> None:
        self._connection = duckdb.connect()
        self._connection.execute("set threads = 1; set timezone = 'UTC'")
        for name, table in tables.items():
            self._connection.register(f"{name}_arrow", table)
            self._connection.execute(f"create table {name} as from {name}_arrow")

    def run(self, query: str) -> pa.Table:
        relation = self._connection.sql(query)
        return pa.table({}) if relation is None else relation.to_arrow_table()

    def close(self) -> None:
        self._connection.close()
