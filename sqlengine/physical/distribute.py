"""Put an `Exchange` wherever what an operator needs is not how its input is spread, and split work over tasks.

- An aggregation over rows spread over tasks becomes partial, exchange by the keys, final.
- A top-N and a limit run in every task first, then once over what is left.
- Windows that have to spill run in one task, unless there are many: the sort writes every row once, an exchange before
  it would write them all once more.
- With one task nothing is exchanged, except that build sides stay stages of their own (their real size decides).
"""

from __future__ import annotations

import math
from dataclasses import replace

import pyarrow as pa

from sqlengine.operators.aggregate_spec import state_fields
from sqlengine.operators.base import SINGLE, Distribution, Operator
from sqlengine.operators.concat_streams import ConcatStreams
from sqlengine.operators.exchange import Exchange, HeldPlan
from sqlengine.operators.external_sort import TopK
from sqlengine.operators.hash_aggregate import HashAggregate
from sqlengine.operators.hash_join import HashJoin
from sqlengine.operators.recursive_union import RecursiveUnion
from sqlengine.operators.window_rows import WindowRows
from sqlengine.physical.estimates import estimate

_FEW = 16  # partitions: of some four threads
_SORTED = 3  # times its bytes is what a sort in memory takes


def distribute(root: Operator, partitions: int, room: float = math.inf) -> Operator:
    """The plan with exchanges, its result in one task. `room`: bytes that operators share."""
    root, given = _spread(root, partitions, room)
    return gathered(root, given)


def gathered(operator: Operator, given: Distribution) -> Operator:
    if given.kind == "single":
        return operator
    return Exchange((operator,), operator.schema, SINGLE)


def _spread(operator: Operator, partitions: int, room: float) -> tuple[Operator, Distribution]:
    if isinstance(operator, HeldPlan):
        definition = distribute(operator.inputs[0], partitions, room)
        body, given = _spread(operator.inputs[1], partitions, room)
        return replace(operator, inputs=(definition, body)), given
    spread = [_spread(child, partitions, room) for child in operator.inputs]
    inputs = [child for child, _ in spread]
    spreads = [how for _, how in spread]
    match operator:
        case HashAggregate(phase="single") if spreads[0].kind != "single":
            return _two_phases(operator, inputs[0], spreads[0], partitions)
        case TopK() if spreads[0].kind != "single":
            # A local step is worth it where it drops most rows; else all of them would be sorted twice.
            drops = estimate(inputs[0]).rows >= 2 * partitions * operator.limit
            local = operator.with_children((inputs[0],)) if drops else inputs[0]
            return operator.with_children((gathered(local, spreads[0]),)), SINGLE
        case WindowRows() if partitions <= _FEW and _SORTED * estimate(inputs[0]).bytes > room:
            return operator.with_children((gathered(inputs[0], spreads[0]),)), SINGLE
        case ConcatStreams() if all(how.kind == "any" for how in spreads):
            # Every task reads its share of the first input, then its share of the second.
            return operator.with_children(tuple(inputs)), spreads[0]
        case RecursiveUnion():
            # The step runs inside one task again and again.
            operator = replace(operator, step=for_one_task(operator.step))
    needs = operator.needs()
    if spreads and all(how.kind == "single" for how in spreads) and all(need.kind != "shared" for need in needs):
        return operator.with_children(tuple(inputs)), SINGLE  # one task has everything any need could ask for
    for i, need in enumerate(needs):
        inputs[i], spreads[i] = _satisfy(inputs[i], spreads[i], need, partitions)
    if isinstance(operator, HashJoin) and isinstance(inputs[1], Exchange):
        inputs[1] = replace(inputs[1], summarize=operator.build_keys)
    return operator.with_children(tuple(inputs)), operator.gives(spreads)


def _satisfy(
    child: Operator, given: Distribution, need: Distribution, partitions: int
) -> tuple[Operator, Distribution]:
    match need.kind:
        case "any":
            return child, given
        case "single":
            return gathered(child, given), SINGLE
        case "hash":
            if given.kind == "hash" and given.keys == need.keys:
                return child, given
            return Exchange((child,), child.schema, need, partitions), need
        case _:
            return Exchange((child,), child.schema, need), need


def _two_phases(
    operator: HashAggregate, child: Operator, given: Distribution, partitions: int
) -> tuple[Operator, Distribution]:
    if given.kind == "hash" and given.keys and set(given.keys) <= set(operator.keys):
        # Equal keys are together already.
        return operator.with_children((child,)), given
    key_fields = [operator.schema.field(key) for key in operator.keys]
    states = pa.schema([*key_fields, *(field for spec in operator.calls for field in state_fields(spec))])
    partial = HashAggregate((child,), states, operator.keys, operator.calls, "partial")
    to = Distribution("hash", operator.keys) if operator.keys else SINGLE
    exchange = Exchange((partial,), states, to, partitions if operator.keys else 1)
    return HashAggregate((exchange,), operator.schema, operator.keys, operator.calls, "final"), to


def for_one_task(root: Operator) -> Operator:
    """The plan with every operator in the form that runs alone in one task (no exchange, no shared tables)."""
    inputs = tuple(for_one_task(child) for child in root.inputs)
    if any(a is not b for a, b in zip(inputs, root.inputs, strict=True)):
        root = root.with_children(inputs)
    if isinstance(root, HashJoin) and root.shared:
        root = replace(root, shared=False)
    return root
