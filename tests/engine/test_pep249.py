"""PEP 249 point by point, as a driver's compliance suite goes through it; and the Arrow stream protocol both ways."""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import Any

import duckdb
import pandas
import polars
import pyarrow as pa
import pytest

import sqlengine
from sqlengine import dbapi
from sqlengine.session import Session

DRINKS = ["Cooper's", "Victoria Bitter", "Redback", "100% 'proof'", "Boag's"]


@pytest.fixture
def connection() -> Iterator[dbapi.Connection]:
    with dbapi.connect(threads=1) as made:
        yield made


@pytest.fixture
def filled(connection: dbapi.Connection) -> dbapi.Cursor:
    cursor = connection.cursor()
    cursor.execute("create table drinks (name varchar, price decimal(5, 2))")
    cursor.executemany("insert into drinks values (?, 1.5)", [(name,) for name in DRINKS])
    assert cursor.rowcount == len(DRINKS)
    return cursor


def test_the_module() -> None:
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 2, "qmark")
    assert issubclass(dbapi.Warning, Exception) and issubclass(dbapi.Error, Exception)
    for name in ("InterfaceError", "DatabaseError"):
        assert issubclass(getattr(dbapi, name), dbapi.Error)
    for name in ("DataError", "OperationalError", "IntegrityError", "InternalError", "ProgrammingError",
                 "NotSupportedError"):  # fmt: skip
        assert issubclass(getattr(dbapi, name), dbapi.DatabaseError)


def test_types_are_told_apart(connection: dbapi.Connection) -> None:
    cursor = connection.cursor()
    cursor.execute("select 'x' as s, 'x'::blob as b, 1 as i, 1.5 as d, date '2024-01-01' as t")
    kinds = [column[1] for column in cursor.description or ()]
    wanted = [dbapi.STRING, dbapi.BINARY, dbapi.NUMBER, dbapi.NUMBER, dbapi.DATETIME]
    assert all(kind == group for kind, group in zip(kinds, wanted, strict=True))
    assert kinds[0] != dbapi.NUMBER and dbapi.ROWID not in kinds


def test_constructors_of_values(connection: dbapi.Connection) -> None:
    values = [
        dbapi.Date(2002, 12, 25), dbapi.Time(13, 45, 30), dbapi.Timestamp(2002, 12, 25, 13, 45, 30),
        dbapi.Binary(b"\x00x"), dbapi.DateFromTicks(86400.0), dbapi.TimeFromTicks(3600.0),
        dbapi.TimestampFromTicks(86400.0),
    ]  # fmt: skip
    found = connection.cursor().execute("select ?, ?, ?, ?, ?, ?, ?", values).fetchone()
    assert found == tuple(values)
    assert found is not None and found[0] == datetime.date(2002, 12, 25)


def test_connection(connection: dbapi.Connection) -> None:
    connection.commit()
    with pytest.raises(dbapi.NotSupportedError):
        connection.rollback()
    for name in ("Error", "ProgrammingError", "NotSupportedError", "Warning"):  # the optional extension
        assert getattr(connection, name) is getattr(dbapi, name)
    cursor = connection.cursor()
    assert cursor.connection is connection
    connection.close()
    for use in (connection.cursor, connection.commit, lambda: cursor.execute("select 1")):
        with pytest.raises(dbapi.Error):
            use()


def test_cursors_share_the_connection(connection: dbapi.Connection) -> None:
    connection.cursor().execute("create table t as select 5 as n")
    assert connection.cursor().execute("select n from t").fetchall() == [(5,)]


def test_description(filled: dbapi.Cursor) -> None:
    assert filled.description is None
    filled.execute("select name, price from drinks")
    assert filled.description is not None
    assert [len(column) for column in filled.description] == [7, 7]
    assert [column[0] for column in filled.description] == ["name", "price"]
    assert filled.description[1][4:6] == (5, 2)
    filled.execute("delete from drinks")
    assert filled.description is None and filled.rowcount == len(DRINKS)


def test_fetching(filled: dbapi.Cursor) -> None:
    with pytest.raises(dbapi.Error):
        filled.fetchone()
    filled.execute("select name from drinks order by name")
    names = [(name,) for name in sorted(DRINKS)]
    assert filled.fetchone() == names[0]
    assert filled.arraysize == 1 and filled.fetchmany() == names[1:2]
    filled.arraysize = 2
    assert filled.fetchmany() == names[2:4]
    assert filled.fetchmany(10) == names[4:]
    assert filled.fetchmany(10) == [] and filled.fetchone() is None and filled.fetchall() == []
    filled.execute("select name from drinks order by name")
    assert list(filled) == names
    filled.execute("select name from drinks where false")
    assert filled.fetchall() == [] and filled.fetchone() is None


def test_parameters_are_values(filled: dbapi.Cursor) -> None:
    assert filled.execute("select count(*) from drinks where name = ?", ("Cooper's",)).fetchone() == (1,)
    assert filled.execute("select $n || '%'", {"n": "a'b"}).fetchone() == ("a'b%",)
    with pytest.raises(dbapi.ProgrammingError):
        filled.executemany("select ?", [(1,), (2,)])
    filled.setinputsizes([25])
    filled.setoutputsize(1000, 0)
    filled.close()
    with pytest.raises(dbapi.Error):
        filled.execute("select 1")


# Arrow's stream protocol

QUERY = "select i, i / 2 as half, 'n' || i as name, [i, null] as list, {'a': i} as s from range(3) t(i)"


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=1) as made:
        yield made


def test_consumers_read_relations(session: Session) -> None:
    relation = session.sql(QUERY)
    wanted = relation.to_pylist()
    assert pa.RecordBatchReader.from_stream(relation).read_all().to_pylist() == wanted
    assert pa.table(relation).to_pylist() == wanted
    assert polars.DataFrame(relation).to_dicts() == wanted
    assert duckdb.sql("select i, half, name from relation").fetchall() == [
        (r["i"], r["half"], r["name"]) for r in wanted
    ]
    assert pandas.DataFrame.from_arrow(relation)["name"].tolist() == ["n0", "n1", "n2"]


PRODUCERS: dict[str, Any] = {
    "pyarrow table": lambda rows: pa.Table.from_pylist(rows),
    "pyarrow batch": lambda rows: pa.RecordBatch.from_pylist(rows),
    "polars frame": lambda rows: polars.DataFrame(rows),
    "polars lazy": lambda rows: polars.DataFrame(rows).lazy(),
    "pandas": lambda rows: pandas.DataFrame(rows),
    "duckdb": lambda rows: duckdb.sql("select * from (values (1, 'x'), (2, null)) t(a, b)"),
    "list": lambda rows: rows,
    "columns": lambda rows: {"a": [1, 2], "b": ["x", None]},
    "relation": lambda rows: sqlengine.sql("select * from (values (1, 'x'), (2, null)) t(a, b)"),
}


@pytest.mark.parametrize("kind", PRODUCERS)
def test_producers_are_tables_by_their_names(session: Session, kind: str) -> None:
    mine = PRODUCERS[kind]([{"a": 1, "b": "x"}, {"a": 2, "b": None}])
    query = "select a + 1, b from mine where a > 0 order by a"
    if kind == "polars lazy":
        with pytest.raises(sqlengine.errors.Error, match="mine"):  # it would have to be run first: mine.collect()
            session.sql(query)
        return
    for _ in range(2):  # a table may be read again
        assert session.sql(query).fetchall() == [(2, "x"), (3, None)]
    assert session.sql("select count(*) from other o join other p using (a)", tables={"other": mine}).fetchall() == [
        (2,)
    ]
