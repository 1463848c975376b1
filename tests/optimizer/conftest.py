"""Two small tables with NULLs, duplicates and keys without partner, and plans over them."""

from __future__ import annotations

import duckdb
import pytest


@pytest.fixture(scope="session")
def db():
    connection = duckdb.connect()
    connection.execute("create table o as select a::bigint a, b::bigint b, c::bigint c from (values "
                       "(1,10,1),(2,20,2),(2,20,NULL),(3,NULL,3),(NULL,5,4),(4,40,9),(5,0,NULL)) t(a,b,c)")  # fmt: skip
    connection.execute("create table t as select k::bigint k, v::bigint v, w::bigint w from (values "
                       "(1,10,1),(1,11,2),(2,20,2),(2,NULL,3),(3,30,3),(NULL,7,1),(4,40,NULL),(4,41,9),(9,9,9)) "
                       "t(k,v,w)")  # fmt: skip
    connection.execute(
        "create table e as select k::bigint k, v::bigint v, w::bigint w from (values (1,1,1)) t(k,v,w) where false"
    )
    return connection
