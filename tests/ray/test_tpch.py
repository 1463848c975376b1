"""TPC-H on a cluster: the answers of the local backend, for both ways to leave rows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sqlengine.session import Session
from tests.ray.same import check
from tests.tpch.answers import QUERIES, TABLES


@pytest.mark.parametrize(
    "shuffle", ["auto", *(pytest.param(way, marks=pytest.mark.slow) for way in ("files", "objects"))]
)
def test_all_queries_give_the_local_answers(
    on_ray: Session, local: Session, folder_of: Callable[[str], Path], small_tasks: None, shuffle: str
) -> None:
    on_ray.set("shuffle", shuffle)
    for session in (on_ray, local):
        for table in TABLES:
            session.sql(f"create view {table} as select * from '{folder_of('0.01')}/{table}.parquet'")
    for name, query in QUERIES.items():
        try:
            check(on_ray, local, query)
        except AssertionError as error:
            raise AssertionError(f"{name}: {error}") from None
