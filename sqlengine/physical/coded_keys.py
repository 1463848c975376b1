"""Text that is only grouped by stays in the codes of the file's dictionary, from the scan to the table of groups."""

from __future__ import annotations

from dataclasses import replace

import pyarrow as pa

from sqlengine.expr.nodes import ColumnRef, columns_of
from sqlengine.formats.base import SelectiveSource
from sqlengine.operators.base import Operator
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.operators.project_columns import ProjectColumns
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.tree import transform_up

# With more words the dictionaries of the row groups are long, and looking up their words costs what it saves.
_FEW = 10_000


def with_coded_keys(root: Operator) -> Operator:
    """The plan with scans that give codes where an aggregation reads nothing but the key itself."""
    return transform_up(root, _coded)


def _coded(operator: Operator) -> Operator:
    if not isinstance(operator, HashAggregate) or operator.phase == "final":
        return operator
    used = {name for call in operator.calls for name in (*call.args, call.filter, *(by.key for by in call.order_by))}
    child, found = operator.inputs[0], []
    for key in operator.keys:
        below = None if key in used else _with_codes(child, key)
        if below is not None:
            child = below
            found.append(key)
    return replace(operator, inputs=(child,), coded=tuple(found)) if found else operator


def _with_codes(operator: Operator, key: str) -> Operator | None:
    """The operator giving out a key with codes; None where somebody has to see the text."""
    match operator:
        case ScanSplits(source=SelectiveSource()):
            type_, facts = operator.schema.field(key).type, operator.stats(()).columns.get(key)
            few = facts is not None and facts.distinct is not None and facts.distinct <= _FEW
            if few and (pa.types.is_string(type_) or pa.types.is_binary(type_)):
                return replace(operator, coded=operator.coded | {key})
        case ProjectColumns():
            named = dict(operator.columns)[key]
            users = sum(named.key in columns_of(e) for _, e in operator.columns) if isinstance(named, ColumnRef) else 0
            if isinstance(named, ColumnRef) and users == 1:
                below = _with_codes(operator.inputs[0], named.key)
                if below is not None:
                    return replace(operator, inputs=(below,), coded=True)
    return None
