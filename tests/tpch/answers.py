"""Running the TPC-H queries here and in DuckDB over the same files, and comparing the answers."""

from __future__ import annotations

import decimal
import math
from pathlib import Path
from typing import Any

import duckdb

import sqlengine
from sqlengine.formats import open_source
from sqlengine.session import Session
from tests.tpch.queries import QUERIES, TABLES

__all__ = ["QUERIES", "TABLES", "Rows", "open_tables", "oracle", "ours", "same_rows"]

Rows = list[tuple[Any, ...]]


def open_tables(session: Session, folder: Path) -> None:
    for name in TABLES:
        session.register_source(name, open_source(str(folder / f"{name}.parquet")))


def ours(query: str, folder: Path, **settings: Any) -> Rows:
    with sqlengine.connect(**settings) as session:
        open_tables(session, folder)
        return session.sql(query).fetchall()


def oracle(query: str, folder: Path) -> Rows:
    with duckdb.connect() as connection:
        for name in TABLES:
            connection.execute(f"create view {name} as from '{folder / f'{name}.parquet'}'")
        return connection.execute(query).fetchall()


def same_value(a: Any, b: Any) -> bool:
    numbers = (int, float, decimal.Decimal)
    if isinstance(a, numbers) and isinstance(b, numbers):
        return math.isclose(a, b, rel_tol=1e-9, abs_tol=1e-9)
    return bool(a == b)


def same_rows(a: Rows, b: Rows) -> bool:
    return len(a) == len(b) and all(len(x) == len(y) and all(map(same_value, x, y)) for x, y in zip(a, b, strict=True))
