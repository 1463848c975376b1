"""VALUES: rows of expressions, each column with the common type of its cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError
from sqlengine.expr.coercion import cast_to, common_of
from sqlengine.plan import nodes as p
from sqlengine.sql.consumed import check_consumed
from sqlengine.sql.ordering import ordered
from sqlengine.sql.scope import Scope

if TYPE_CHECKING:
    from sqlengine.sql.binder import Binder, Names


def bind_values(binder: Binder, tree: exp.Expression, outer: Scope | None) -> tuple[p.Plan, Names]:
    check_consumed(tree, binder.text)
    cells_of = binder.expressions(Scope([], outer), "VALUES")
    rows = []
    for row in tree.expressions:
        cells = row.expressions if isinstance(row, exp.Tuple) else [row]
        rows.append([cells_of.bind(cell) for cell in cells])
    if len({len(row) for row in rows}) != 1:
        raise BindError(
            "the rows of VALUES have different lengths", code="values_length", location=binder.text.of(tree)
        )
    types = []
    for column in zip(*rows, strict=True):
        type_ = common_of(list(column))
        if type_ is None:
            raise BindError(
                "a column of VALUES has no common type", code="type_mismatch", location=binder.text.of(tree)
            )
        types.append(pa.int32() if pa.types.is_null(type_) else type_)
    names = tuple(f"col{i}" for i in range(len(types)))
    columns = tuple((binder.keys.make(n), t) for n, t in zip(names, types, strict=True))
    cast = tuple(tuple(cast_to(e, t) for e, t in zip(row, types, strict=True)) for row in rows)
    return ordered(binder, tree, p.Values(columns, cast), names)
