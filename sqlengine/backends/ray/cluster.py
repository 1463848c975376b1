"""The connection to a Ray cluster: what its nodes have, what one task may use, and the keepers of shuffle files.

A Ray that was initialised by the caller is used as it is and never shut down; one that a session started is shut down
with the last session that uses it.
"""

from __future__ import annotations

import contextlib
import os
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from sqlengine.backends.ray.node_server import keeper_class
from sqlengine.errors import BackendError, NotSupportedError
from sqlengine.settings import Settings, format_bytes

_TASK_SHARE = 0.9  # of a node's memory resource, for the tasks of one query at a time
_KEEPER_SECONDS = 60.0
_lock = threading.Lock()
_users = 0  # sessions that use a Ray which one of them started


@dataclass(frozen=True)
class NodeFacts:
    """`slots`: tasks at a time; sizes in bytes."""

    id: str
    address: str
    slots: int
    memory: int
    object_store: int
    gpus: float

    @property
    def task_memory(self) -> int:
        return int(self.memory * _TASK_SHARE / self.slots)


@dataclass(frozen=True)
class ClusterFacts:
    """The nodes that can run tasks. `task_memory`: what every task may use, the least of all nodes."""

    nodes: tuple[NodeFacts, ...]
    task_memory: int
    object_store: int

    @property
    def slots(self) -> int:
        return sum(node.slots for node in self.nodes)


@dataclass(frozen=True)
class Keeper:
    """The actor that keeps a node's shuffle files, and its folder there."""

    handle: Any = field(compare=False)
    folder: str


class RayCluster:
    """One session's connection."""

    def __init__(self, settings: Settings) -> None:
        self.address = settings.ray_address
        self.session = uuid.uuid4().hex[:12]
        self._roots = settings.spill_dir
        self._keepers: dict[str, Keeper] = {}
        self._lock = threading.Lock()
        self._owns = _connect(settings)
        try:
            self.node = ray.get_runtime_context().get_node_id()
        except BaseException:
            self.close()
            raise

    def alive(self) -> bool:
        return bool(ray.is_initialized())

    def live_nodes(self) -> set[str]:
        return {node["NodeID"] for node in ray.nodes() if node["Alive"]}

    def facts(self, settings: Settings) -> ClusterFacts:
        """What there is now. Raises BackendError if no node can run a task."""
        nodes = []
        for node in ray.nodes():
            has = node["Resources"]
            slots = int(has.get("CPU", 0))
            if node["Alive"] and slots > 0:
                nodes.append(
                    NodeFacts(
                        node["NodeID"],
                        node["NodeManagerAddress"],
                        slots,
                        int(has.get("memory", 0)),
                        int(has.get("object_store_memory", 0)),
                        float(has.get("GPU", 0)),
                    )
                )
        if not nodes:
            raise BackendError(
                "no node of the Ray cluster has a CPU for tasks", code="cluster_empty",
                hint="start nodes with `ray start --address=...` (their --num-cpus says how many tasks they run)",
            )  # fmt: skip
        least = min(node.task_memory for node in nodes)
        wanted = settings.ray_task_memory
        if wanted:
            largest = max(node.memory for node in nodes)
            if wanted > largest:
                raise BackendError(
                    f"ray_task_memory is {format_bytes(wanted)}, the largest node of the cluster offers tasks "
                    f"{format_bytes(largest)}",
                    code="cluster_too_small", hint="lower ray_task_memory, or start nodes with more --memory",
                )  # fmt: skip
            least = wanted
        return ClusterFacts(tuple(nodes), least, sum(node.object_store for node in nodes))

    def keepers(self) -> dict[str, Keeper]:
        """One for each live node: those that are missing are started, those of dead nodes are forgotten."""
        with self._lock:
            live = self.live_nodes()
            for node in set(self._keepers) - live:
                del self._keepers[node]
            started = {}
            for node in live - set(self._keepers):
                remote = ray.remote(keeper_class())
                started[node] = remote.options(
                    num_cpus=0,
                    max_restarts=0,
                    max_concurrency=4,
                    scheduling_strategy=NodeAffinitySchedulingStrategy(node, soft=False),
                ).remote(self._roots, self.session)
            asked = {node: handle.ready.remote() for node, handle in started.items()}
            for node, answer in asked.items():
                try:
                    folder, _ = ray.get(answer, timeout=_KEEPER_SECONDS)
                except ray.exceptions.RayActorError:
                    if node in self.live_nodes():
                        raise BackendError(f"the keeper of shuffle files on node {node[:8]} cannot start") from None
                    continue  # the node went away meanwhile
                except ray.exceptions.GetTimeoutError:
                    raise BackendError(
                        f"node {node[:8]} started nothing within {_KEEPER_SECONDS:.0f} s", code="cluster_busy"
                    ) from None
                self._keepers[node] = Keeper(started[node], folder)
            return dict(self._keepers)

    def forget_keeper(self, node: str) -> None:
        """It does not answer, or its folder is gone: the next query starts another."""
        with self._lock:
            gone = self._keepers.pop(node, None)
        if gone is not None:
            with contextlib.suppress(Exception):
                ray.kill(gone.handle)

    def drop(self, query: str) -> None:
        """Remove the shuffle files of a query on all nodes."""
        with self._lock:
            asked = [keeper.handle.drop.remote(query) for keeper in self._keepers.values()]
        with contextlib.suppress(Exception):
            ray.wait(asked, num_returns=len(asked), timeout=5.0)

    def summary(self, settings: Settings) -> str:
        facts = self.facts(settings)
        count = f"{len(facts.nodes)} node{'s' if len(facts.nodes) != 1 else ''}"
        return (
            f"ray, {count}, {facts.slots} tasks at a time, {format_bytes(facts.task_memory)} for each, "
            f"object store {format_bytes(facts.object_store)}"
        )

    def close(self) -> None:
        """Stop the keepers, and Ray if a session started it and no other uses it."""
        with self._lock:
            keepers, self._keepers = list(self._keepers.values()), {}
        if ray.is_initialized():
            for keeper in keepers:
                with contextlib.suppress(Exception):
                    ray.kill(keeper.handle)
        if self._owns:
            self._owns = False
            _leave()


def _connect(settings: Settings) -> bool:
    """Whether this process's Ray was started by us."""
    global _users
    address = settings.ray_address or os.environ.get("RAY_ADDRESS", "")
    if address.startswith("ray://") or ray.util.client.ray.is_connected():
        raise NotSupportedError(
            "the ray backend through the Ray client (ray://)",
            hint="run the session on a machine of the cluster, or as a job (`ray job submit`), with ray_address='auto'",
        )
    with _lock:
        if ray.is_initialized():
            if _users:
                _users += 1
            return bool(_users)
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR"}
        if settings.ray_py_modules:
            options["runtime_env"] = {"py_modules": list(settings.ray_py_modules)}
        if address:
            options["address"] = address
        else:
            options["include_dashboard"] = False
        _quietly(lambda: ray.init(**options), address)
        _users += 1
        return True


def _quietly(start: Callable[[], Any], address: str) -> None:
    try:
        start()
    except (ConnectionError, RuntimeError, ValueError, OSError) as error:
        where = f"the Ray cluster at {address!r} cannot be reached" if address else "Ray cannot be started here"
        raise BackendError(
            f"{where}: {error}", code="cluster_unreachable",
            hint="`ray status` on a machine of the cluster shows whether it runs; SET ray_address names it",
        ) from None  # fmt: skip


def _leave() -> None:
    global _users
    with _lock:
        _users -= 1
        if _users == 0 and ray.is_initialized():
            ray.shutdown()
