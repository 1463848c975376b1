"""DESCRIBE and SUMMARIZE: the columns of a query, and one aggregation over all of its rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from sqlengine.sql.binder import BoundQuery
from sqlengine.sql.table_queries import summary_query
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.statement_runner import Running

_INPUT = "input"
_TEXTS = ("column_name", "column_type", "min", "max")


def describe_columns(names: Sequence[str], types: Sequence[pa.DataType], nullable: Sequence[bool] = ()) -> pa.Table:
    """In the form of DuckDB's DESCRIBE; what the engine does not have is NULL."""
    count = len(names)
    nothing = pa.nulls(count, pa.string())
    allowed = [*nullable, *[True] * (count - len(nullable))]
    return pa.table(
        {
            "column_name": pa.array(list(names), pa.string()),
            "column_type": pa.array([sql_name(type_) for type_ in types], pa.string()),
            "null": pa.array(["YES" if yes else "NO" for yes in allowed], pa.string()),
            "key": nothing,
            "default": nothing,
            "extra": nothing,
        }
    )


def _is_number(type_: pa.DataType) -> bool:
    t = pa.types
    return bool(t.is_integer(type_) or t.is_floating(type_) or t.is_decimal(type_))


def _is_ordered(type_: pa.DataType) -> bool:
    return not (pa.types.is_nested(type_) or pa.types.is_null(type_) or pa.types.is_interval(type_))


def summarize(run: Running, bound: BoundQuery) -> pa.Table:
    """Per column: type, smallest, largest, distinct values (exact), mean, deviation, rows, share of NULLs."""
    names = _unique(bound.names)
    types = list(bound.plan.schema.types)
    shapes = [(n, _is_number(t), _is_ordered(t)) for n, t in zip(names, types, strict=True)]
    around = replace(run.around, tables={_INPUT: BoundQuery(bound.plan, names)})
    inner = replace(run, around=around)
    values = iter(inner.relation(inner.bind(summary_query(_INPUT, shapes))).fetchall()[0])
    total = next(values)
    rows: list[dict[str, Any]] = []
    for shown, (_, number, ordered), type_ in zip(bound.names, shapes, types, strict=True):
        present = next(values)
        low, high, distinct = (next(values), next(values), next(values)) if ordered else (None, None, None)
        mean, deviation = (next(values), next(values)) if number else (None, None)
        share = round(100.0 * (total - present) / total, 2) if total else None
        rows.append(
            {
                "column_name": shown, "column_type": sql_name(type_), "min": low, "max": high, "unique": distinct,
                "avg": mean, "std": deviation, "count": total, "null_percentage": share,
            }
        )  # fmt: skip
    fields: list[tuple[str, pa.DataType]] = [(name, pa.string()) for name in _TEXTS]
    fields += [("unique", pa.int64()), ("avg", pa.float64()), ("std", pa.float64()), ("count", pa.int64())]
    return pa.Table.from_pylist(rows, pa.schema([*fields, ("null_percentage", pa.float64())]))


def _unique(names: Sequence[str]) -> tuple[str, ...]:
    """Names under which each column can be reached."""
    return tuple(f"{name}_{number}" for number, name in enumerate(names))
