"""Whether two results are the same, and the data that the tests share."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from sqlengine.session import Session

Rows = list[tuple[Any, ...]]


def same(left: Rows, right: Rows, ordered: bool = False) -> bool:
    """Floats to nine digits; the order counts only if wanted."""
    if len(left) != len(right):
        return False
    pairs = (
        zip(left, right, strict=True) if ordered else zip(sorted(left, key=repr), sorted(right, key=repr), strict=True)
    )
    return all(all(_alike(a, b) for a, b in zip(x, y, strict=True)) for x, y in pairs)


def _alike(a: Any, b: Any) -> bool:
    if isinstance(a, float) and isinstance(b, float):
        return math.isclose(a, b, rel_tol=1e-9) or (a != a and b != b)
    return bool(a == b)


def check(on_ray: Session, local: Session, query: str, ordered: bool = False) -> Rows:
    """The rows of a query on both, which must be the same."""
    got, wanted = on_ray.sql(query).fetchall(), local.sql(query).fetchall()
    assert same(got, wanted, ordered), f"{len(got)} rows {got[:3]}, wanted {len(wanted)} rows {wanted[:3]}"
    return got


def facts_files(folder: Path, files: int = 8, rows: int = 6000) -> str:
    """Parquet files of k (30 % of one value, some NULL), v, s; the pattern that names them."""
    chance = random.Random(7)
    for number in range(files):
        keys = [None if i % 97 == 0 else 7 if i % 10 < 3 else chance.randrange(2000) for i in range(rows)]
        table = pa.table(
            {
                "k": pa.array(keys, pa.int64()),
                "v": pa.array([chance.random() * 100 for _ in range(rows)], pa.float64()),
                "n": pa.array(range(number * rows, (number + 1) * rows), pa.int64()),
                "s": pa.array([f"text {chance.randrange(10**6):06}" for _ in range(rows)]),
            }
        )
        pq.write_table(table, folder / f"facts{number}.parquet", row_group_size=rows // 2)
    names = pa.table({"k": pa.array(range(0, 2000, 2), pa.int64()), "name": [f"name {i % 50}" for i in range(1000)]})
    pq.write_table(names, folder / "names.parquet")
    return f"{folder}/facts*.parquet"


def views(session: Session, folder: Path) -> None:
    session.sql(f"create or replace view facts as select * from '{folder}/facts*.parquet'")
    session.sql(f"create or replace view names as select * from '{folder}/names.parquet'")
