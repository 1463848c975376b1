"""PEP 249: `connect`, connections and cursors, for programs that speak to any database.

Statements take effect one by one: `commit` has nothing to do, and there is no `rollback`.

>>> with connect(threads=1) as connection:
...     cursor = connection.cursor()
...     cursor.execute("create table t (n int)").description
...     cursor.executemany("insert into t values (?)", [(1,), (2,)]).rowcount
...     cursor.execute("select n * 10 as n from t order by n").fetchall()
2
[(10,), (20,)]
"""

from __future__ import annotations

import builtins
import datetime
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlengine.errors import (
    DatabaseError,
    DataError,
    Error,
    InterfaceError,
    InternalError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from sqlengine.value_text import python_values

if TYPE_CHECKING:
    from sqlengine.parameters import Params
    from sqlengine.relation import Relation
    from sqlengine.session import Session

__all__ = [
    "BINARY", "DATETIME", "NUMBER", "ROWID", "STRING", "Binary", "Connection", "Cursor", "DataError", "DatabaseError",
    "Date", "DateFromTicks", "Error", "IntegrityError", "InterfaceError", "InternalError", "NotSupportedError",
    "OperationalError", "ProgrammingError", "Time", "TimeFromTicks", "Timestamp", "TimestampFromTicks", "Warning",
    "apilevel", "connect", "paramstyle", "threadsafety",
]  # fmt: skip

apilevel = "2.0"
threadsafety = 2
paramstyle = "qmark"


class Warning(builtins.Warning):
    """Never raised; the standard names it."""


class IntegrityError(DatabaseError):
    """Never raised by itself: constraints fail with `DataError`."""

    code = "integrity_error"


class TypeGroup:
    """Equal to the Arrow types of its kind, as `cursor.description` has them."""

    def __init__(self, name: str, *tests: Any) -> None:
        self._name = name
        self._tests = tests

    def __eq__(self, other: object) -> bool:
        return other is self or (isinstance(other, pa.DataType) and any(test(other) for test in self._tests))

    def __hash__(self) -> int:
        return hash(self._name)

    def __repr__(self) -> str:
        return self._name


STRING = TypeGroup("STRING", pa.types.is_string)
BINARY = TypeGroup("BINARY", pa.types.is_binary)
NUMBER = TypeGroup("NUMBER", pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)
DATETIME = TypeGroup("DATETIME", pa.types.is_temporal)
ROWID = TypeGroup("ROWID")


Date = datetime.date
Time = datetime.time
Timestamp = datetime.datetime
Binary = bytes
DateFromTicks = datetime.date.fromtimestamp
TimestampFromTicks = datetime.datetime.fromtimestamp


def TimeFromTicks(ticks: float) -> datetime.time:
    """The time of day, here, of seconds since the epoch."""
    return datetime.datetime.fromtimestamp(ticks).time()


class Cursor:
    """Rows of one statement at a time, fetched as they are needed. Iterable."""

    arraysize = 1

    def __init__(self, session: Session, connection: Connection | None = None) -> None:
        self._session = session
        self._connection = connection
        self._relation: Relation | None = None
        self._batches: Iterator[pa.RecordBatch] | None = None
        self._rows: list[tuple[Any, ...]] = []
        self._at = 0
        self._closed = False
        self.rowcount = -1

    @property
    def connection(self) -> Connection | Session:
        """What made it."""
        return self._connection or self._session

    @property
    def description(self) -> list[tuple[Any, ...]] | None:
        """(name, Arrow type, None, None, precision, scale, None) of each column; None where there are no rows."""
        if self._relation is None or self._relation.is_status:
            return None
        found = []
        for field in self._relation.schema:
            sizes = (field.type.precision, field.type.scale) if pa.types.is_decimal(field.type) else (None, None)
            found.append((field.name, field.type, None, None, *sizes, None))
        return found

    def execute(self, operation: str, parameters: Params = None, *, timeout: float | None = None) -> Cursor:
        """Run statements; the rows are those of the last one. Errors in a query's text come now, those in its data at
        the
        fetch that meets them."""
        self._check_open()
        self._stop()
        relation = self._session.sql(operation, parameters, timeout=timeout)
        self._relation = relation
        self.rowcount = -1 if relation.changed is None else relation.changed
        self._batches = None if relation.is_status else relation.batches()
        return self

    def executemany(self, operation: str, seq_of_parameters: Sequence[Params]) -> Cursor:
        """Run the statement once for each set of parameters; `rowcount` is the sum."""
        total = 0
        for parameters in seq_of_parameters:
            self.execute(operation, parameters)
            if self.description is not None:
                raise ProgrammingError("executemany is for statements that give no rows")
            total += max(0, self.rowcount)
        self.rowcount = total
        return self

    def fetchone(self) -> tuple[Any, ...] | None:
        rows = self.fetchmany(1)
        return rows[0] if rows else None

    def fetchmany(self, size: int | None = None) -> list[tuple[Any, ...]]:
        wanted = self.arraysize if size is None else size
        found: list[tuple[Any, ...]] = []
        while len(found) < wanted and self._more():
            taken = self._rows[self._at : self._at + wanted - len(found)]
            self._at += len(taken)
            found += taken
        return found

    def fetchall(self) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = []
        while self._more():
            found += self._rows[self._at :]
            self._at = len(self._rows)
        return found

    def _more(self) -> bool:
        """Whether there is a row at the position, after getting the next batch if need be."""
        self._check_open()
        if self._relation is None or self._relation.is_status:
            raise ProgrammingError("there is no result to fetch from", hint="execute a query first")
        while self._at >= len(self._rows):
            batch = next(self._batches, None) if self._batches is not None else None
            if batch is None:
                self._batches = None
                return False
            self._rows = list(zip(*map(python_values, batch.columns), strict=True))
            self._at = 0
        return True

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        while (row := self.fetchone()) is not None:
            yield row

    def setinputsizes(self, sizes: Sequence[Any]) -> None:
        """Does nothing, as the standard allows."""

    def setoutputsize(self, size: int, column: int | None = None) -> None:
        """Does nothing, as the standard allows."""

    def _stop(self) -> None:
        close = getattr(self._batches, "close", None)
        if close is not None:
            close()
        self._batches, self._rows, self._at, self._relation = None, [], 0, None

    def _check_open(self) -> None:
        if self._closed:
            raise InterfaceError("the cursor is closed", code="cursor_closed")

    def close(self) -> None:
        """Stop the query and give its memory back."""
        self._stop()
        self._closed = True

    def __enter__(self) -> Cursor:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class Connection:
    """A session in the standard's form; `session` is the one behind it. The exceptions are its attributes too."""

    Warning = Warning
    Error = Error
    InterfaceError = InterfaceError
    DatabaseError = DatabaseError
    DataError = DataError
    OperationalError = OperationalError
    IntegrityError = IntegrityError
    InternalError = InternalError
    ProgrammingError = ProgrammingError
    NotSupportedError = NotSupportedError

    def __init__(self, session: Session) -> None:
        self.session = session

    def cursor(self) -> Cursor:
        self.session.check_open()
        return Cursor(self.session, self)

    def commit(self) -> None:
        """Statements take effect when they end."""
        self.session.check_open()

    def rollback(self) -> None:
        raise NotSupportedError("there are no transactions to roll back")

    def close(self) -> None:
        self.session.close()

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def connect(**settings: Any) -> Connection:
    """A connection with a session of its own; settings as in `sqlengine.connect`."""
    from sqlengine.session import Session

    return Connection(Session(**settings))
