"""The driver's record of a stage: what it takes to run it again, what its units have left, what was measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlengine.backends.ray.fragments import Fragment, inputs_of
from sqlengine.backends.ray.outputs import Piece, UnitOutput
from sqlengine.backends.ray.units import Unit
from sqlengine.expr.evaluate import is_volatile
from sqlengine.expr.nodes import Expr
from sqlengine.operators.base import Operator
from sqlengine.operators.call_udf import CallUdf
from sqlengine.operators.exchange import KeyRange, StageInput
from sqlengine.operators.sample_rows import SampleRows
from sqlengine.operators.take_rows import TakeRows
from sqlengine.physical.fit import pipeline


@dataclass
class RayStage:
    """`packed`: the fragment in the object store, None for a stage of the driver; `objects`: how many each unit leaves,
    0 for a file; `resources`: options of its tasks."""

    number: int
    title: str
    fragment: Fragment
    units: tuple[Unit, ...]
    packed: Any
    objects: int
    resources: dict[str, float]
    outputs: dict[int, UnitOutput] = field(default_factory=dict)
    runs: dict[int, int] = field(default_factory=dict)  # how often each unit has been started
    not_before: dict[int, float] = field(default_factory=dict)  # when a lost unit may run again
    memory: dict[int, int] = field(default_factory=dict)  # of units that were given more than the others
    parts: Callable[[UnitOutput, int], list[Piece]] | None = None  # of a range exchange: what a partition reads
    summaries: dict[int, Mapping[str, KeyRange]] = field(default_factory=dict)
    taken: bool = False  # rows of it were given to the caller

    @property
    def inputs(self) -> list[int]:
        """The stages it reads."""
        held = {name: stage for name, stage, _ in self.fragment.held}
        found = []
        for leaf in inputs_of(self.fragment.root):
            stage = leaf.stage if isinstance(leaf, StageInput) else held.get(leaf.name)
            if stage is not None:
                found.append(stage)
        return list(dict.fromkeys(found))

    def ordered_outputs(self) -> list[UnitOutput]:
        return [self.outputs[unit.number] for unit in self.units]

    @property
    def missing(self) -> list[int]:
        return [unit.number for unit in self.units if unit.number not in self.outputs]

    def repeatable(self) -> bool:
        """Whether running a unit again gives the same rows."""
        for operator in pipeline(self.fragment.root):
            match operator:
                case TakeRows() | SampleRows():
                    return False
                case CallUdf() if not operator.function.options.deterministic:
                    return False
            if any(is_volatile(expr) for expr in expressions(operator)):
                return False
        return True


def expressions(operator: Operator) -> list[Expr]:
    """The expressions among the fields of an operator."""
    found: list[Expr] = []

    def look(value: Any) -> None:
        if isinstance(value, Expr):
            found.append(value)
        elif isinstance(value, tuple):
            for item in value:
                look(item)

    for name, value in vars(operator).items():
        if name != "inputs":
            look(value)
    return found
