"""Lowering of calls that are operators: user functions."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pyarrow as pa

from sqlengine.operators.base import Operator
from sqlengine.operators.call_udf import CallUdf
from sqlengine.plan.nodes import Extend
from sqlengine.runtime.udf.function import UserFunction

if TYPE_CHECKING:
    from sqlengine.physical.lower import Lowering


def lower_calls(lowering: Lowering, plan: Extend) -> Operator:
    """One operator per call, on top of each other."""
    child = lowering.lower(plan.input)
    for key, call, condition in plan.calls:
        function: UserFunction = call.function
        wanted = [*call.args, *([condition] if condition is not None else [])]
        child, names = lowering.with_columns(child, wanted)
        args = names[: len(call.args)]
        test = names[-1] if condition is not None else None
        function = replace(function, options=function.options.with_values(dict(call.options)))
        child = CallUdf((child,), child.schema.append(pa.field(key, call.type)), function, args, test, key)
    return lowering.only(child, plan.schema)
