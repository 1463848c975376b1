"""Logical plans as DuckDB SQL, so that a plan before and after a rewriting can be run and compared."""

from __future__ import annotations

import duckdb

from sqlengine.expr.nodes import (
    AggregateCall,
    Call,
    Case,
    Cast,
    ColumnRef,
    Expr,
    Literal,
    OuterRef,
    SortKey,
    Subquery,
    WindowCall,
)  # fmt: skip
from sqlengine.plan import nodes as p
from sqlengine.types import sql_name

_INFIX = {
    "eq": "=", "ne": "<>", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "and": "AND", "or": "OR", "add": "+",
    "subtract": "-", "multiply": "*", "is_distinct": "IS DISTINCT FROM", "is_not_distinct": "IS NOT DISTINCT FROM",
}  # fmt: skip
_POSTFIX = {"is_null": "IS NULL", "is_not_null": "IS NOT NULL"}


def q(key: str) -> str:
    return '"' + key + '"'


def order(keys: tuple[SortKey, ...]) -> str:
    return ", ".join(
        f"{expr_sql(k.expr)} {'DESC' if k.descending else 'ASC'} NULLS {'FIRST' if k.nulls_first else 'LAST'}"
        for k in keys
    )


def expr_sql(e: Expr) -> str:
    match e:
        case Literal():
            if e.value is None:
                return f"CAST(NULL AS {sql_name(e.type)})"
            text = "'" + e.value + "'" if isinstance(e.value, str) else str(e.value)
            return f"CAST({text} AS {sql_name(e.type)})"
        case ColumnRef() | OuterRef():
            return q(e.key)
        case Call(name="not"):
            return f"(NOT {expr_sql(e.args[0])})"
        case Call() if e.name in _INFIX:
            return f"({expr_sql(e.args[0])} {_INFIX[e.name]} {expr_sql(e.args[1])})"
        case Call() if e.name in _POSTFIX:
            return f"({expr_sql(e.args[0])} {_POSTFIX[e.name]})"
        case Call():
            return f"{e.name}({', '.join(map(expr_sql, e.args))})"
        case Cast():
            return f"CAST({expr_sql(e.arg)} AS {sql_name(e.type)})"
        case Case():
            whens = " ".join(f"WHEN {expr_sql(c)} THEN {expr_sql(v)}" for c, v in e.whens)
            return f"(CASE {whens} ELSE {expr_sql(e.otherwise)} END)"
        case AggregateCall():
            name = "count" if e.name == "count_star" else e.name
            inside = ("DISTINCT " if e.distinct else "") + (", ".join(map(expr_sql, e.args)) or "*")
            tail = f" FILTER (WHERE {expr_sql(e.filter)})" if e.filter is not None else ""
            return f"CAST({name}({inside}){tail} AS {sql_name(e.type)})"
        case WindowCall():
            over = []
            if e.partition_by:
                over.append("PARTITION BY " + ", ".join(map(expr_sql, e.partition_by)))
            if e.order_by:
                over.append("ORDER BY " + order(e.order_by))
            return f"{e.name}({', '.join(map(expr_sql, e.args))}) OVER ({' '.join(over)})"
        case Subquery():
            inner = f"({sql(e.plan)})"
            args = ", ".join(map(expr_sql, e.args))
            match e.kind:
                case "scalar":
                    return inner
                case "exists":
                    return f"EXISTS {inner}"
                case "in":
                    return f"(({args}) IN {inner})"
                case _:
                    return f"({args} {_INFIX[e.comparison]} {e.kind.upper()} {inner})"
    raise AssertionError(e)


def named(items) -> str:
    return ", ".join(f"{expr_sql(e)} AS {q(k)}" for k, e in items) or "1 AS one"


def condition_value(right: p.Plan, condition: Expr, null_aware: bool) -> str:
    c = expr_sql(condition)
    unknown = f" WHEN count(*) FILTER (WHERE {c} IS NULL) > 0 THEN NULL" if null_aware else ""
    return f"(SELECT CASE WHEN count(*) FILTER (WHERE {c}) > 0 THEN true{unknown} ELSE false END FROM ({sql(right)}))"


def sql(plan: p.Plan) -> str:
    def below() -> str:
        return f"({sql(plan.input)})"

    match plan:
        case p.Scan():
            text = f"SELECT {', '.join(f'{q(n)} AS {q(k)}' for n, k in plan.columns)} FROM {plan.name}"
            for f in plan.filters:
                text = f"SELECT * FROM ({text}) WHERE {expr_sql(f)}"
            return text
        case p.Values():
            if not plan.columns:
                return "SELECT 1 AS one"
            rows = [named(zip(plan.schema.names, r, strict=True)) for r in plan.rows]
            return " UNION ALL ".join(f"SELECT {r}" for r in rows)
        case p.Filter():
            return f"SELECT * FROM {below()} WHERE {expr_sql(plan.predicate)}"
        case p.Project():
            return f"SELECT {named(plan.columns)} FROM {below()}"
        case p.Aggregate():
            group = ", ".join(expr_sql(e) for _, e in plan.keys)
            tail = f" GROUP BY {group}" if group else ""
            return f"SELECT {named((*plan.keys, *plan.aggregates))} FROM {below()}{tail}"
        case p.Distinct(on=None):
            return f"SELECT DISTINCT * FROM {below()}"
        case p.Window():
            return f"SELECT *, {named(plan.calls)} FROM {below()}"
        case p.Sort():
            limit = f" LIMIT {plan.limit}" if plan.limit is not None else ""
            return f"SELECT * FROM {below()} ORDER BY {order(plan.keys)}{limit}"
        case p.Limit():
            count = f" LIMIT {plan.count}" if plan.count is not None else ""
            if isinstance(plan.input, p.Sort) and plan.input.limit is None:
                return f"{sql(plan.input)}{count} OFFSET {plan.offset}"
            return f"SELECT * FROM {below()}{count} OFFSET {plan.offset}"
        case p.OneRowOnly():
            cols = ", ".join(f"b.{q(n)}" for n in plan.schema.names)
            return f"SELECT {cols} FROM (SELECT 1 AS one) a LEFT JOIN ({sql(plan.input)}) b ON true"
        case p.Join() | p.DependentJoin():
            left, right = sql(plan.left), sql(plan.right)
            lateral = "LATERAL " if isinstance(plan, p.DependentJoin) else ""
            on = expr_sql(plan.condition)
            value = condition_value(plan.right, plan.condition, plan.null_aware)
            match plan.kind:
                case "semi":
                    return f"SELECT * FROM ({left}) WHERE {value}"
                case "anti":
                    return f"SELECT * FROM ({left}) WHERE NOT {value}"
                case "mark":
                    return f"SELECT *, {value} AS {q(plan.mark)} FROM ({left})"
                case "cross":
                    return f"SELECT * FROM ({left}) a, {lateral}({right}) b"
                case _:
                    kind = {"inner": "INNER", "single": "LEFT"}.get(plan.kind, plan.kind.upper())
                    cols = ", ".join(map(q, plan.schema.names))
                    return f"SELECT {cols} FROM ({left}) a {kind} JOIN {lateral}({right}) b ON {on}"
        case p.Union():
            parts = []
            for child in plan.inputs:
                cols = ", ".join(f"{q(o)} AS {q(n)}" for o, n in zip(child.schema.names, plan.keys, strict=True))
                parts.append(f"(SELECT {cols} FROM ({sql(child)}))")
            return " UNION ALL ".join(parts)
        case p.SetOperation():
            word = plan.kind.upper() + (" ALL" if plan.all else "")
            text = f"(SELECT * FROM ({sql(plan.left)})) {word} (SELECT * FROM ({sql(plan.right)}))"
            cols = ", ".join(f"{q(o)} AS {q(n)}" for o, n in zip(plan.left.schema.names, plan.keys, strict=True))
            return f"SELECT {cols} FROM ({text})"
        case p.SharedPlan():
            return f"WITH {q(plan.name)} AS ({sql(plan.definition)}) SELECT * FROM ({sql(plan.body)})"
        case p.SharedRef():
            return f"SELECT {', '.join(f'{q(o)} AS {q(n)}' for o, n, _ in plan.columns)} FROM {q(plan.name)}"
    raise AssertionError(plan)


def rows(db: duckdb.DuckDBPyConnection, plan: p.Plan) -> list[tuple]:
    """The rows of a plan, sorted."""
    return sorted(db.execute(sql(plan)).fetchall(), key=repr)
