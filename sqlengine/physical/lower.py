"""From logical nodes to operators: one `match`. Expressions as keys become columns by a projection below.

What an operator cannot do is not decided here but by the operators; what depends on real sizes (shared or partitioned
joins) is decided when they are known, in `adapt`.
"""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa

from sqlengine.errors import InternalError, NotSupportedError
from sqlengine.expr.nodes import ColumnRef, Expr, KeyMaker, SortKey, columns_of
from sqlengine.operators.base import Operator
from sqlengine.operators.concat_streams import ConcatStreams
from sqlengine.operators.distinct_on import DistinctOn
from sqlengine.operators.exchange import HeldInput, HeldPlan
from sqlengine.operators.explode_rows import ExplodeRows
from sqlengine.operators.external_sort import ExternalSort, TopK
from sqlengine.operators.filter_rows import FilterRows
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.operators.literal_rows import LiteralRows
from sqlengine.operators.one_row_only import OneRow
from sqlengine.operators.produce_rows import ProduceRows
from sqlengine.operators.project_columns import ProjectColumns
from sqlengine.operators.recursive_union import RecursiveUnion
from sqlengine.operators.sample_rows import SampleRows
from sqlengine.operators.scan_splits import ScanSplits
from sqlengine.operators.set_operation import HashSetOperation
from sqlengine.operators.take_rows import TakeRows
from sqlengine.operators.write_file import WriteFile
from sqlengine.physical.bounds import bounds_of
from sqlengine.physical.lower_aggregates import lower_aggregate
from sqlengine.physical.lower_calls import lower_calls, lower_generator
from sqlengine.physical.lower_joins import lower_join
from sqlengine.physical.lower_windows import lower_window
from sqlengine.plan import nodes as plans
from sqlengine.plan.nodes import table_call
from sqlengine.runtime.sort_column import SortColumn


class Lowering:
    """One lowering of one plan: gives out the names of helper columns."""

    def __init__(self) -> None:
        self._keys = KeyMaker()

    def new_key(self, name: str) -> str:
        return self._keys.make(f"{name}'")

    def lower(self, plan: plans.Plan) -> Operator:
        match plan:
            case plans.Scan():
                names = {key: name for name, key in plan.columns}
                return ScanSplits(
                    (), plan.schema, plan.source, plan.name, plan.columns, plan.filters,
                    bounds_of(plan.filters, names), plan.limit,
                )  # fmt: skip
            case plans.Values():
                return LiteralRows((), plan.schema, plan.rows)
            case plans.TableFunction():
                return ProduceRows((), plan.schema, plan.name, plan.args, plan.options)
            case plans.Filter():
                child = self.lower(plan.input)
                return FilterRows((child,), child.schema, plan.predicate)
            case plans.Project(input=plans.Unnest() as below) if table_call(below) is None:
                read = {key for _, e in plan.columns for key in columns_of(e)}
                return ProjectColumns((self._unnested(below, read),), plan.schema, plan.columns)
            case plans.Project():
                return ProjectColumns((self.lower(plan.input),), plan.schema, plan.columns)
            case plans.Aggregate():
                return lower_aggregate(self, plan)
            case plans.Distinct(on=None):
                child = self.lower(plan.input)
                return HashAggregate((child,), child.schema, tuple(child.schema.names), (), "single")
            case plans.Distinct():
                return self._distinct_on(plan)
            case plans.Window():
                return lower_window(self, plan)
            case plans.Sort():
                child, by = self.sort_columns(self.lower(plan.input), plan.keys)
                if plan.limit is not None:
                    return self.only(TopK((child,), child.schema, by, plan.limit), plan.schema)
                return self.only(ExternalSort((child,), child.schema, by), plan.schema)
            case plans.Limit():
                child = self.lower(plan.input)
                return TakeRows((child,), child.schema, plan.count, plan.offset, plan.percent)
            case plans.Sample():
                child = self.lower(plan.input)
                return SampleRows((child,), child.schema, plan.fraction, plan.rows, plan.method, plan.seed)
            case plans.Join():
                return lower_join(self, plan)
            case plans.OneRowOnly():
                child = self.lower(plan.input)
                return OneRow((child,), child.schema)
            case plans.Union():
                return ConcatStreams(tuple(self.lower(child) for child in plan.inputs), plan.schema)
            case plans.SetOperation():
                sides = (self.lower(plan.left), self.lower(plan.right))
                return HashSetOperation(sides, plan.schema, plan.kind, plan.all)
            case plans.Unnest() if table_call(plan) is not None:
                return lower_generator(self, plan)
            case plans.Unnest():
                return self._unnested(plan, set(plan.schema.names))
            case plans.Extend():
                return lower_calls(self, plan)
            case plans.SharedPlan():
                sides = (self.lower(plan.definition), self.lower(plan.body))
                return HeldPlan(sides, sides[1].schema, plan.name)
            case plans.SharedRef():
                return HeldInput((), plan.schema, plan.name, tuple(source for source, _, _ in plan.columns))
            case plans.Recursion():
                if plan.using_key:
                    raise NotSupportedError("WITH RECURSIVE ... USING KEY is not supported")
                return RecursiveUnion(
                    (self.lower(plan.base),), plan.schema, plan.name, self.lower(plan.step), plan.distinct
                )
            case plans.Write():
                child = self.lower(plan.input)
                return WriteFile((child,), plan.schema, plan.names, plan.path, plan.format, plan.options)
            case _:
                raise InternalError(f"no operator for {type(plan).__name__}")

    def _distinct_on(self, plan: plans.Distinct) -> Operator:
        child, on = self.with_columns(self.lower(plan.input), plan.on or ())
        child, by = self.sort_columns(child, plan.order_by)
        return self.only(DistinctOn((child,), child.schema, tuple(dict.fromkeys(on)), by), plan.schema)

    def _unnested(self, plan: plans.Unnest, wanted: set[str]) -> Operator:
        """UNNEST with the columns beside the lists that are wanted; the others are not repeated."""
        child, lists = self.with_columns(self.lower(plan.input), [e for _, e in plan.columns])
        made = tuple((key, source) for (key, _), source in zip(plan.columns, lists, strict=True))
        passed = [child.schema.field(f.name) for f in plan.input.schema if f.name in wanted]
        fields = [plan.schema.field(i) for i in range(len(plan.input.schema), len(plan.schema))]
        return ExplodeRows((child,), pa.schema([*passed, *fields]), made, plan.outer, plan.ordinality)

    def with_columns(self, child: Operator, exprs: Sequence[Expr]) -> tuple[Operator, tuple[str, ...]]:
        """The child with a column for each expression (those it has already are used as they are), and their keys."""
        keys = []
        added: dict[Expr, str] = {}
        for expr in exprs:
            if isinstance(expr, ColumnRef):
                keys.append(expr.key)
                continue
            if expr not in added:
                added[expr] = self.new_key("x")
            keys.append(added[expr])
        if not added:
            return child, tuple(keys)
        passed = [(f.name, ColumnRef(f.type, f.name)) for f in child.schema]
        columns = (*passed, *((key, expr) for expr, key in added.items()))
        schema = pa.schema([*child.schema, *(pa.field(key, expr.type) for expr, key in added.items())])
        return ProjectColumns((child,), schema, columns), tuple(keys)

    def sort_columns(self, child: Operator, keys: Sequence[SortKey]) -> tuple[Operator, tuple[SortColumn, ...]]:
        child, names = self.with_columns(child, [key.expr for key in keys])
        return child, tuple(
            SortColumn(name, key.descending, key.nulls_first) for name, key in zip(names, keys, strict=True)
        )

    def only(self, child: Operator, schema: pa.Schema) -> Operator:
        """The child with just the columns of `schema`, in that order."""
        if child.schema.names == schema.names:
            return child
        return ProjectColumns((child,), schema, tuple((f.name, ColumnRef(f.type, f.name)) for f in schema))


def lower(plan: plans.Plan) -> Operator:
    """The operators of a whole plan, for one task."""
    return Lowering().lower(plan)
