"""Lowering of calls that are operators: user functions and downloads."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from sqlengine.errors import NotSupportedError
from sqlengine.operators.base import Operator
from sqlengine.operators.call_udf import CallUdf
from sqlengine.operators.fetch_urls import FetchUrls
from sqlengine.operators.generate_rows import GenerateRows
from sqlengine.plan.nodes import Extend, Unnest, table_call
from sqlengine.runtime.fetch.function import FetchFunction
from sqlengine.runtime.udf.function import UserFunction

if TYPE_CHECKING:
    from sqlengine.physical.lower import Lowering


def lower_calls(lowering: Lowering, plan: Extend) -> Operator:
    """One operator per call, on top of each other."""
    child = lowering.lower(plan.input)
    for key, call, condition in plan.calls:
        wanted = [*call.args, *([condition] if condition is not None else [])]
        child, names = lowering.with_columns(child, wanted)
        args = names[: len(call.args)]
        test = names[-1] if condition is not None else None
        schema = child.schema.append(pa.field(key, call.type))
        if isinstance(call.function, FetchFunction):
            child = FetchUrls((child,), schema, args[0], test, key, call.options, call.function.only_info)
            continue
        function: UserFunction = replace(call.function, options=call.function.options.with_values(dict(call.options)))
        child = CallUdf((child,), schema, function, args, test, key)
    return lowering.only(child, plan.schema)


def lower_generator(lowering: Lowering, plan: Unnest) -> Operator:
    """A user's generator, called for each row."""
    call = table_call(plan)
    assert call is not None
    if len(plan.columns) > 1:
        raise NotSupportedError(f"{call.name}() side by side with another UNNEST")
    options = call.function.options.with_values(dict(call.options))
    if options.in_process:
        raise NotSupportedError(
            f"{call.name}() yields rows, it runs in this process", hint="leave isolate and timeout out"
        )
    child, args = lowering.with_columns(lowering.lower(plan.input), call.args)
    passed = [child.schema.field(f.name) for f in plan.input.schema]
    schema = pa.schema([*passed, *(plan.schema.field(i) for i in range(len(passed), len(plan.schema)))])
    function = replace(call.function, options=options)
    return GenerateRows((child,), schema, function, args, plan.columns[0][0], plan.outer, plan.ordinality)
