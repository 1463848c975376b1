"""The lazy result of a query: bound at once, run at each read."""

from __future__ import annotations

import html
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlengine.expr.nodes import LiftedCall, Subquery
from sqlengine.plan.nodes import Limit, Plan
from sqlengine.tree import walk
from sqlengine.types import sql_name
from sqlengine.value_text import python_values

if TYPE_CHECKING:
    from sqlengine.session import Session


class Relation:
    """Rows that a query will give. Immutable; every reading method runs the query.

    Attributes
    ----------
    schema : pa.Schema
        Column names and types of the result.
    stats : dict or None
        Of the last complete or abandoned run: rows, seconds, peak bytes of the pool, spilled bytes.

    Examples
    --------
    >>> import sqlengine
    >>> relation = sqlengine.sql("select i, 'row ' || i as name from range(3) t(i)")
    >>> relation
    Relation(i: int64, name: string)
    >>> relation.fetchall()
    [(0, 'row 0'), (1, 'row 1'), (2, 'row 2')]
    >>> sum(batch.num_rows for batch in relation)
    3
    >>> sqlengine.sql("select max(i) as last from relation").to_pydict()
    {'last': [2]}
    >>> relation.show(max_rows=2)
    ┌────────┬─────────┐
    │      i │ name    │
    │ bigint │ varchar │
    ├────────┼─────────┤
    │      0 │ row 0   │
    │      · │ ·       │
    │      2 │ row 2   │
    └────────┴─────────┘
    3 rows (1 not shown)
    """

    def __init__(self, session: Session, plan: Plan, names: tuple[str, ...], timeout: float | None = None) -> None:
        self._session = session
        self._plan = plan
        self._timeout = timeout
        self.schema = pa.schema([pa.field(name, type_) for name, type_ in zip(names, plan.schema.types, strict=True)])
        self.stats: dict[str, Any] | None = None
        self.is_status = False  # of a statement such as SET, which has nothing to show
        self.changed: int | None = None  # rows inserted, deleted, updated or written by such a statement

    @property
    def columns(self) -> list[str]:
        return list(self.schema.names)

    @property
    def dtypes(self) -> list[pa.DataType]:
        return list(self.schema.types)

    @property
    def timezone(self) -> str:
        """In which instants are shown."""
        return self._session.current.timezone

    @property
    def plan(self) -> Plan:
        """The bound logical plan, before optimization."""
        return self._plan

    def batches(self, *, timeout: float | None = None) -> Iterator[pa.RecordBatch]:
        """Run and yield record batches; closing the iterator early stops the query. `timeout` in seconds."""
        for batch in self._session.run(self._plan, self, self._timeout if timeout is None else timeout):
            yield pa.RecordBatch.from_arrays(batch.columns, schema=self.schema) if self.schema.names else batch

    __iter__ = batches

    def to_arrow_reader(self) -> pa.RecordBatchReader:
        return pa.RecordBatchReader.from_batches(self.schema, self.batches())

    def to_arrow(self) -> pa.Table:
        """Run and hold the whole result as a table (outside the memory limit once returned)."""
        return pa.Table.from_batches(list(self.batches()), schema=self.schema)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.to_arrow_reader().__arrow_c_stream__(requested_schema)

    def fetchall(self) -> list[tuple[Any, ...]]:
        """All rows as tuples of Python values."""
        rows: list[tuple[Any, ...]] = []
        for batch in self.batches():
            rows += zip(*map(python_values, batch.columns), strict=True)
        return rows

    def to_pylist(self) -> list[dict[str, Any]]:
        names = self.schema.names
        return [dict(zip(names, row, strict=True)) for row in self.fetchall()]

    def to_pydict(self) -> dict[str, list[Any]]:
        result: dict[str, list[Any]] = self.to_arrow().to_pydict()
        return result

    def to_pandas(self) -> Any:
        return self.to_arrow().to_pandas()

    df = to_pandas

    def to_polars(self) -> Any:
        import polars

        return polars.from_arrow(self.to_arrow())

    pl = to_polars

    def show(self, max_rows: int = 40) -> None:
        """Print the first and the last rows as a box."""
        import sys

        from sqlengine.text_box import box

        box(self, sys.stdout, max_rows)

    def materialize(self) -> Relation:
        """Run once and keep the rows in the session, in memory or on disk as the budget allows; a relation over
        them."""
        from sqlengine.table_changes import materialized

        return materialized(self._session, self)

    def write_parquet(self, path: str | os.PathLike[str], **options: Any) -> int:
        """Write all rows, streaming; the file appears when it is complete. Options as those of COPY. The number of
        rows."""
        return self._write(path, "parquet", options)

    def write_csv(self, path: str | os.PathLike[str], **options: Any) -> int:
        """As `write_parquet`, as CSV with a header."""
        return self._write(path, "csv", options)

    def write_json(self, path: str | os.PathLike[str], **options: Any) -> int:
        """As `write_parquet`, as one JSON object a line (one array with `array=True`)."""
        return self._write(path, "json", options)

    def _write(self, path: str | os.PathLike[str], format_: str, options: dict[str, Any]) -> int:
        from sqlengine.sql.binder import BoundQuery
        from sqlengine.table_changes import write_rows

        bound = BoundQuery(self._plan, tuple(self.columns))
        return write_rows(self._session, bound, os.fspath(path), format_, options, self._timeout)

    def explain(self, kind: str = "logical", format: str = "text") -> str:
        """The plan: `logical`, `physical`, `memory`, or `analyze` and `analyze memory`, which run the query. As text or
        as JSON."""
        return self._session.explain(self._plan, kind, format=format)

    def _repr_html_(self) -> str:
        """The first 20 rows, for notebooks; the columns alone of a query that calls user functions or downloads, which
        runs when it is asked to."""
        if _calls_out(self._plan):
            listed = "".join(f"<li>{html.escape(f.name)} {html.escape(sql_name(f.type))}</li>" for f in self.schema)
            return f"<p>not run yet, as it calls user functions or downloads: <code>.show()</code></p><ul>{listed}</ul>"
        limited = Relation(self._session, Limit(self._plan, 21), tuple(self.columns), self._timeout)
        rows = limited.fetchall()
        heads = "".join(
            f"<th>{html.escape(f.name)}<br><small>{html.escape(sql_name(f.type))}</small></th>" for f in self.schema
        )
        body = "".join(
            "<tr>" + "".join(f"<td>{'<i>NULL</i>' if v is None else html.escape(str(v))}</td>" for v in row) + "</tr>"
            for row in rows[:20]
        )
        more = "<p>more rows are not shown</p>" if len(rows) > 20 else ""
        return f"<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>{more}"

    def __repr__(self) -> str:
        return f"Relation({', '.join(f'{f.name}: {f.type}' for f in self.schema)})"


def _calls_out(plan: Plan) -> bool:
    """Whether rows cost more than reading: user functions and downloads, in subqueries too."""
    for node in walk(plan):
        for root in node.exprs():
            for expr in walk(root):
                if isinstance(expr, LiftedCall) or (isinstance(expr, Subquery) and _calls_out(expr.plan)):
                    return True
    return False
