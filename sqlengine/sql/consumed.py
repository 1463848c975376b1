"""Nothing that the parser understood is dropped: every part of a node must be one that binding reads.

sqlglot knows the clauses of many databases and keeps them in the tree; a clause that the binder does not look at would
silently change the answer. `check_consumed` lists what binding reads of each kind of node and refuses the rest by name.
"""

from __future__ import annotations

from typing import Any

from sqlglot import exp

from sqlengine.errors import NotSupportedError
from sqlengine.sql.source_text import Text

_RESULT = {"with_", "order", "limit", "offset"}
_READ: dict[type[exp.Expression], frozenset[str]] = {
    exp.Select: frozenset(
        {"expressions", "distinct", "from_", "joins", "where", "group", "having", "qualify", "windows", "sample"}
        | _RESULT
    ),
    exp.Union: frozenset({"this", "expression", "distinct", "by_name"} | _RESULT),
    exp.Intersect: frozenset({"this", "expression", "distinct", "by_name"} | _RESULT),
    exp.Except: frozenset({"this", "expression", "distinct", "by_name"} | _RESULT),
    exp.Subquery: frozenset({"this", "alias", "joins", "sample", "pivots"} | _RESULT),
    exp.Values: frozenset({"expressions", "alias", "pivots"} | _RESULT),
    exp.Table: frozenset({"this", "alias", "db", "catalog", "joins", "sample", "pivots"}),
    # sqlglot's own guess of the columns is not read.
    exp.Pivot: frozenset(
        {"this", "expressions", "using", "group", "unpivot", "include_nulls", "into", "fields", "alias", "with_"}
        | {"columns", "identify_pivot_strings", "prefixed_pivot_columns", "pivot_column_naming", "value_columns_first"}
    ),
    exp.Unnest: frozenset({"expressions", "alias", "offset"}),
    exp.Lateral: frozenset({"this", "alias"}),
    exp.Join: frozenset({"this", "on", "using", "side", "kind", "method"}),
    exp.From: frozenset({"this"}),
    exp.TableAlias: frozenset({"this", "columns"}),
    exp.TableSample: frozenset({"method", "percent", "size", "seed"}),
    exp.With: frozenset({"expressions", "recursive"}),
    exp.CTE: frozenset({"this", "alias", "materialized", "key_expressions"}),
    exp.Group: frozenset({"expressions", "all", "rollup", "cube", "grouping_sets"}),
    exp.Order: frozenset({"this", "expressions"}),
    exp.Ordered: frozenset({"this", "desc", "nulls_first"}),
    exp.Limit: frozenset({"expression", "limit_options"}),
    exp.Fetch: frozenset({"direction", "count", "limit_options"}),
    exp.LimitOptions: frozenset({"percent", "rows"}),
    exp.Offset: frozenset({"expression"}),
    exp.Distinct: frozenset({"expressions", "on"}),
    exp.Star: frozenset({"except_", "replace", "rename"}),
    exp.Window: frozenset({"this", "partition_by", "order", "spec", "alias", "over"}),
    exp.WindowSpec: frozenset({"kind", "start", "start_side", "end", "end_side", "exclude"}),
    exp.In: frozenset({"this", "expressions", "query", "field"}),
}
_NAMES = {
    "locks": "FOR UPDATE", "into": "SELECT INTO", "pivots": "PIVOT", "laterals": "LATERAL VIEW", "hint": "a hint",
    "kind": "SELECT AS", "with_fill": "WITH FILL", "with_ties": "WITH TIES", "when": "AT (VERSION ...)",
    "ordinality": "WITH ORDINALITY", "totals": "WITH TOTALS", "cluster": "CLUSTER BY", "distribute": "DISTRIBUTE BY",
    "sort": "SORT BY", "match": "MATCH_RECOGNIZE", "connect": "CONNECT BY", "match_condition": "MATCH_CONDITION",
    "search": "SEARCH", "cycle": "CYCLE",
}  # fmt: skip


def check_consumed(node: exp.Expression, text: Text) -> None:
    """NotSupportedError if the node has a part that binding does not read."""
    read = _READ.get(type(node))
    if read is None:
        return
    for key, value in node.args.items():
        if key not in read and not _is_empty(value):
            what = _NAMES.get(key, key.strip("_").replace("_", " ").upper())
            raise NotSupportedError(f"{what} is not supported", location=_place(value, text) or text.of(node))


def _is_empty(value: Any) -> bool:
    return value is None or value is False or value == [] or value == ""


def _place(value: Any, text: Text) -> Any:
    first = value[0] if isinstance(value, list) else value
    return text.of(first) if isinstance(first, exp.Expression) else None
