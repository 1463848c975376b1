"""A stage as it is sent to workers: its operators, settings and functions, with the versions that both sides must
share.

Functions of scripts, notebooks and loaded files travel as code (cloudpickle); operators and expressions are data of the
package, which every worker has in the same version.
"""

from __future__ import annotations

import copyreg
import pickle
import platform
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

import sqlengine
from sqlengine.errors import BackendError
from sqlengine.operators.base import SINGLE, Operator
from sqlengine.operators.exchange import Exchange, HeldInput, HeldPlan, StageInput
from sqlengine.operators.recursive_union import RecursiveUnion
from sqlengine.runtime.sort_column import SortColumn
from sqlengine.settings import Settings

_FORMAT = 1


def interval(*parts: int) -> Any:
    """A value of Arrow's interval type, whose class cannot be pickled."""
    return pa.MonthDayNano(parts)


copyreg.pickle(pa.MonthDayNano, lambda value: (interval, tuple(value)))


@dataclass(frozen=True)
class Fragment:
    """One stage: what runs (`seam.inputs[0]`) and how its rows are left. `held`: the stages behind names of held
    plans, and their rows' schema;
    `by`: the order of the rows, for a range exchange; `ranges`: for its readers by stage, that order and the first
    keys of the partitions after the first (IPC bytes)."""

    seam: Exchange
    settings: Settings
    held: tuple[tuple[str, int, pa.Schema], ...] = ()
    by: tuple[SortColumn, ...] = ()
    ranges: tuple[tuple[int, tuple[SortColumn, ...], bytes], ...] = ()

    @property
    def root(self) -> Operator:
        return self.seam.inputs[0]


def as_exchange(seam: Exchange | HeldPlan) -> Exchange:
    """A held plan's definition is left like gathered rows."""
    if isinstance(seam, Exchange):
        return seam
    return Exchange((seam.inputs[0],), seam.inputs[0].schema, SINGLE)


def versions() -> dict[str, str]:
    return {
        "sqlengine": sqlengine.__version__,
        "pyarrow": pa.__version__,
        "Python": ".".join(platform.python_version_tuple()[:2]),
        "the form of stages": str(_FORMAT),
    }


def pack(fragment: Fragment) -> bytes:
    """For a worker. Raises TypeError or PicklingError for what cannot leave this process."""
    import cloudpickle

    # What earlier stages showed of their columns has been used by now.
    light = replace(fragment, seam=_without_summaries(fragment.seam))
    return pickle.dumps((versions(), cloudpickle.dumps(light, protocol=5)))


def unpack(data: bytes) -> Fragment:
    """On a worker. Raises BackendError where driver and worker differ, or a module is missing."""
    theirs, body = pickle.loads(data)
    mine = versions()
    for name, version in theirs.items():
        if mine.get(name) != version:
            raise BackendError(
                f"the driver has {name} {version}, a worker has {mine.get(name)}", code="version_mismatch",
                hint="install the same versions on all nodes of the cluster",
            )  # fmt: skip
    try:
        found = pickle.loads(body)
    except ModuleNotFoundError as error:
        raise BackendError(
            f"a worker lacks the module {error.name!r}, which a function of the query needs", code="module_missing",
            hint="install it on the nodes, or send it: connect(ray_py_modules=['path/of/package'])",
        ) from None  # fmt: skip
    assert isinstance(found, Fragment)
    return found


def inputs_of(root: Operator) -> list[StageInput | HeldInput]:
    """Everything that reads another stage, steps of recursions included."""
    found: list[StageInput | HeldInput] = []
    stack = [root]
    while stack:
        operator = stack.pop()
        if isinstance(operator, StageInput | HeldInput):
            found.append(operator)
        if isinstance(operator, RecursiveUnion):
            stack.append(operator.step)
        stack += operator.inputs
    return found


def _without_summaries(root: Exchange) -> Exchange:
    def light(operator: Operator) -> Operator:
        if isinstance(operator, StageInput):
            return replace(operator, summary={}) if operator.summary else operator
        children = tuple(light(child) for child in operator.inputs)
        if all(a is b for a, b in zip(children, operator.inputs, strict=True)):
            return operator
        return operator.with_children(children)

    found = light(root)
    assert isinstance(found, Exchange)
    return found
