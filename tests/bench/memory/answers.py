"""What an answer in a Parquet file was, in a few numbers, read by DuckDB without a bound: size does not matter."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import duckdb

Answer = list[Any]
_NUMBERS = ("TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UBIGINT", "UINTEGER", "FLOAT", "DOUBLE", "DECIMAL")
_CLOSE = 1e-6


def read(output: Path, ordered: bool) -> Answer:
    """Rows, then per column the nulls and a sum: of numbers, or of hashes; weighted by the row's place if ordered."""
    files = sorted(str(path) for path in output.rglob("*.parquet")) if output.is_dir() else [str(output)]
    with duckdb.connect(config={"threads": 2, "memory_limit": "8GB"}) as connection:
        source = f"read_parquet({files!r}, file_row_number = true)"
        columns = connection.execute(f"describe from {source}").fetchall()
        place = "(file_row_number % 100003 + 1)" if ordered else "1"
        parts = ["count(*)"]
        for name, kind, *_ in columns:
            if name == "file_row_number":
                continue
            column = f'"{name}"'
            value = f"{column}::double" if kind.split("(")[0] in _NUMBERS else f"(hash({column}::varchar) % 1000003)"
            parts += [f"count(*) - count({column})", f"sum({value} * {place})"]
        return list(connection.execute(f"select {', '.join(parts)} from {source}").fetchone() or ())


def same(a: Answer, b: Answer) -> bool:
    return len(a) == len(b) and all(
        x == y or (x is not None and y is not None and math.isclose(float(x), float(y), rel_tol=_CLOSE, abs_tol=_CLOSE))
        for x, y in zip(a, b, strict=True)
    )
