"""What user functions ask of the machine that runs them: CPUs, GPUs and memory of their tasks."""

from __future__ import annotations

from sqlengine.backends.ray.cluster import ClusterFacts
from sqlengine.errors import BackendError
from sqlengine.operators.base import Operator
from sqlengine.operators.call_udf import CallUdf
from sqlengine.tree import walk


def placement(root: Operator, facts: ClusterFacts) -> dict[str, float]:
    """Options of the tasks of a plan with functions. Raises BackendError, naming the function, for what no node has."""
    found: dict[str, float] = {}
    most = {"num_cpus": max(n.slots for n in facts.nodes), "num_gpus": max(n.gpus for n in facts.nodes)}
    for operator in walk(root):
        if not isinstance(operator, CallUdf):
            continue
        options = operator.function.options
        for name, wanted in (("num_cpus", options.num_cpus), ("num_gpus", options.num_gpus)):
            if not wanted:
                continue
            if wanted > most[name]:
                what = name.removeprefix("num_").upper()[:-1]
                raise BackendError(
                    f"{operator.function.name}() asks for {wanted:g} {what}, the largest node of the cluster has "
                    f"{most[name]:g}",
                    code="cluster_too_small", hint=f"SET udf.{operator.function.name}.{name} = ..., or add such a node",
                )  # fmt: skip
            found[name] = max(found.get(name, 0.0), wanted)
    return found
