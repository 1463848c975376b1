"""Nodes that die in the middle: the right answer, and nothing is done again but what was lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sqlengine.backends.ray.scheduler import Scheduler
from sqlengine.session import Session
from tests.ray.conftest import RayNodes
from tests.ray.same import facts_files, same, views

QUERIES = {
    "aggregate": "select n % 40000 as k, count(*) as c, sum(n) as t, min(s) as s from facts group by 1",
    "join": "select f.k, f.n, g.s from facts f join (select n + 1 as n, s from facts) g on f.n = g.n where f.n % 5 = 0",
    "sort": "select v, n, s from facts order by v desc, n",
    "udf": "select twice(n) % 40000 as k, min(s) as s, sum(n) as t from facts group by 1",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("facts")
    facts_files(made, rows=20_000)  # so that objects do not stay with the driver, as small ones do
    return made


class Killer:
    """Kills the node that did a unit, when the time has come; counts what ran."""

    def __init__(self, nodes: RayNodes, when: Callable[[Any, Any, Any], bool]) -> None:
        self.nodes = nodes
        self.when = when
        self.lost = 0  # outputs that the dead node had, and tasks it was running
        self.scheduler: Any = None
        self.killed = False

    def saw(self, scheduler: Any, stage: Any, unit: Any, report: Any) -> None:
        self.scheduler = scheduler
        if self.killed or not self.when(stage, unit, report):
            return
        self.killed = True
        self.lost = sum(o.node == report.node for s in scheduler.stages.values() for o in s.outputs.values())
        self.lost += 2 * len(scheduler._running)  # until the cluster knows, a task may be sent there again
        self.nodes.kill(report.node)


@pytest.fixture
def killer(nodes: RayNodes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Killer]:
    made = Killer(nodes, lambda stage, unit, report: False)
    accept = Scheduler._accept

    def watched(self: Any, stage: Any, unit: Any, report: Any, objects: Any) -> None:
        accept(self, stage, unit, report, objects)
        made.saw(self, stage, unit, report)

    monkeypatch.setattr(Scheduler, "_accept", watched)
    yield made


def twice(n: int) -> int:
    return n * 2


CASES = [
    ("aggregate", "files", "map"), ("join", "objects", "map"), ("sort", "files", "between"),
    ("udf", "objects", "between"),
]  # fmt: skip
MORE = [
    ("aggregate", "objects", "reduce"), ("join", "files", "reduce"), ("sort", "objects", "reduce"),
    ("udf", "files", "map"), ("join", "files", "between"), ("aggregate", "objects", "between"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "shuffle", "moment"), [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in MORE)]
)
def test_a_killed_node_costs_only_its_own_work(
    on_ray: Session,
    local: Session,
    killer: Killer,
    folder: Path,
    small_tasks: None,
    shuffle: str,
    name: str,
    moment: str,
) -> None:
    for session in (on_ray, local):
        views(session, folder)
        session.udf(twice)
    on_ray.set("shuffle", shuffle)
    on_ray.set("spill_codec", "none")
    moments = {
        "map": lambda stage, unit, report: stage.number == 0 and len(stage.outputs) == 2,
        "between": lambda stage, unit, report: stage.number == 0 and not stage.missing,
        "reduce": lambda stage, unit, report: stage.number > 0 and len(stage.outputs) == 1 and len(stage.units) > 1,
    }
    killer.when = moments[moment]
    wanted = local.sql(QUERIES[name]).fetchall()
    got = on_ray.sql(QUERIES[name]).fetchall()
    assert killer.killed
    assert same(got, wanted, ordered=name == "sort")
    again = sum(killer.scheduler.rerun.values())
    assert 0 < again <= killer.lost
