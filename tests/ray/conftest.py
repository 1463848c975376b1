"""A cluster of one head without a CPU and two nodes of one CPU each, on this machine, for all tests of the folder."""

from __future__ import annotations

import importlib.util
import os
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqlengine
from sqlengine.session import Session
from tests.tpch.conftest import folder_of  # noqa: F401  # a fixture

HERE = Path(__file__).parent
_MISSING = importlib.util.find_spec("ray") is None
collect_ignore_glob = ["test_*.py"] if _MISSING else []


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist looks at the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents:
            item.add_marker(pytest.mark.ray)
            item.add_marker(pytest.mark.timeout(300))
            item.add_marker(pytest.mark.xdist_group("ray"))
            # Ray opens what it does not close.
            item.add_marker(pytest.mark.filterwarnings("default"))


class RayNodes:
    """The cluster, with nodes that may be killed; `restore` brings the second one back."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        self.folder = folder
        health = {
            "health_check_initial_delay_ms": 0, "health_check_period_ms": 700, "health_check_failure_threshold": 4,
        }  # fmt: skip
        self.cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0, "memory": 1 << 30, "object_store_memory": 256 << 20, "include_dashboard": False,
                "_system_config": health,
            },
        )  # fmt: skip
        self.workers: list[Any] = []
        self.restore()

    def restore(self) -> None:
        while len(self.workers) < 2:
            self.workers.append(self.cluster.add_node(num_cpus=1, memory=1 << 30, object_store_memory=192 << 20))
        self.cluster.wait_for_nodes()

    def kill(self, node: str) -> None:
        """The node with this id, at once."""
        found = next(worker for worker in self.workers if worker.node_id == node)
        self.workers.remove(found)
        self.cluster.remove_node(found, allow_graceful=False)


@pytest.fixture(scope="package")
def shared_nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RayNodes]:
    os.environ["RAY_AUTH_MODE"] = "disabled"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = RayNodes(tmp_path_factory.mktemp("shuffle"))
        ray.init(address=made.cluster.address, log_to_driver=False, logging_level="ERROR")
        yield made
        ray.shutdown()
        made.cluster.shutdown()


@pytest.fixture
def nodes(shared_nodes: RayNodes) -> Iterator[RayNodes]:
    shared_nodes.restore()
    yield shared_nodes


@pytest.fixture
def small_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Little data is cut into as many tasks as much data would be."""
    from sqlengine.backends.ray import driver, planning, units

    monkeypatch.setattr(units, "_SMALL_SHARE", 0)
    monkeypatch.setattr(units, "_SMALL_PARTITIONS", 1)
    monkeypatch.setattr(driver, "_SMALL_RANGE", 64 << 10)
    monkeypatch.setattr(planning, "_SORT_ALONE_BYTES", 0)


@pytest.fixture
def on_ray(nodes: RayNodes) -> Iterator[Session]:
    with sqlengine.connect(backend="ray", spill_dir=str(nodes.folder)) as session:
        yield session


@pytest.fixture
def local() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as session:
        yield session
