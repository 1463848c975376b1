"""TPC-DS queries here and in DuckDB over the same files.

    python -m tests.tpcds.answers        makes the tables in a temporary folder, prints per query whether the answers
                                         agree, its rows, and CPU milliseconds of planning and of running

Many queries cut a list whose order has ties, so answers are compared without the LIMIT at their end.
"""

from __future__ import annotations

import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import duckdb

import sqlengine
from sqlengine.session import Session
from tests.fuzz.compare import same_answer
from tests.tpcds.generate import schema, write_tables
from tests.tpcds.queries import QUERIES

Rows = list[tuple[Any, ...]]


def without_limit(query: str) -> str:
    return re.sub(r"\s+LIMIT\s+\d+\s*;?\s*$", "", query, flags=re.IGNORECASE)


def open_tables(connection: Session | duckdb.DuckDBPyConnection, folder: Path) -> None:
    for name in schema():
        text = f"create view {name} as from '{folder / f'{name}.parquet'}'"
        connection.sql(text) if isinstance(connection, Session) else connection.execute(text)


def main(names: list[str]) -> None:
    with tempfile.TemporaryDirectory() as made, sqlengine.connect(threads=2) as session, duckdb.connect() as oracle:
        folder = Path(made)
        write_tables(folder)
        open_tables(session, folder)
        open_tables(oracle, folder)
        planning = []
        for name in names or QUERIES:
            query = without_limit(QUERIES[name])
            times = []
            for _ in range(3):
                start = time.process_time()
                session.sql(query).explain()
                times.append(1000 * (time.process_time() - start))
            planning.append(statistics.median(times))
            start = time.process_time()
            found = session.sql(query).fetchall()
            ran = 1000 * (time.process_time() - start)
            expected = oracle.execute(query).fetchall()
            verdict = "same" if same_answer(found, expected, False) else "DIFFERENT"
            print(f"{name} {verdict:9} {len(expected):5} rows  planning {planning[-1]:4.0f} ms  all {ran:4.0f} ms")
        print(f"planning: median {statistics.median(planning):.0f} ms, most {max(planning):.0f} ms")


if __name__ == "__main__":
    main(sys.argv[1:])
