"""What is above a join was planned for how its rows were spread: that holds when its real size makes it partitioned."""

from __future__ import annotations

import pyarrow as pa
import pytest

from sqlengine.operators.base import ANY, SINGLE, Distribution
from sqlengine.operators.exchange import StageInput
from sqlengine.operators.hash_join import HashJoin
from sqlengine.physical.adapt import partitioned, spread
from sqlengine.settings import Settings

LEFT, RIGHT = pa.schema([("a", pa.int64()), ("x", pa.int64())]), pa.schema([("b", pa.int64())])
BY_A, BY_X = Distribution("hash", ("a",)), Distribution("hash", ("x",))


def stage(schema: pa.Schema, given: Distribution) -> StageInput:
    return StageInput((), schema, 0, given, 8, 1000, 8000)


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("inner", ANY, BY_X),
        ("inner", BY_A, BY_A),
        ("inner", SINGLE, SINGLE),
        ("build_outer", ANY, ANY),
        ("build_outer", SINGLE, SINGLE),
        ("full", BY_A, BY_A),
    ],
)
def test_a_partitioned_join_is_spread_as_it_was(kind: str, before: Distribution, after: Distribution) -> None:
    schema = pa.unify_schemas([LEFT, RIGHT])
    inputs = (stage(LEFT, before), stage(RIGHT, Distribution("shared")))
    join = HashJoin(inputs, schema, kind, ("x",), ("b",), None, shared=True)
    changed = partitioned(join, Settings(partitions=8))
    assert spread(changed) == after
    assert all(not operator.shared for operator in (changed, *changed.inputs) if isinstance(operator, HashJoin))


def test_rows_without_a_match_are_not_where_their_key_would_be() -> None:
    inputs = (stage(LEFT, BY_A), stage(RIGHT, Distribution("shared")))
    join = HashJoin(inputs, pa.unify_schemas([LEFT, RIGHT]), "build_outer", ("x",), ("b",), None, shared=True)
    assert spread(join) == ANY
