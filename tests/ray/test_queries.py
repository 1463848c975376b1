"""Queries on a cluster at their edges: nothing, much, wide, skewed, stopped, several at once; and what they leave."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import sqlengine
from sqlengine.backends.ray.driver import RayBackend
from sqlengine.backends.ray.scheduler import Scheduler
from sqlengine.errors import BackendError, Interrupted, UDFError
from sqlengine.session import Session
from tests.ray.conftest import RayNodes
from tests.ray.same import check, facts_files, views


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("facts")
    facts_files(made)
    return made


@pytest.fixture
def both(on_ray: Session, local: Session, folder: Path, small_tasks: None) -> tuple[Session, Session]:
    views(on_ray, folder)
    views(local, folder)
    return on_ray, local


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The schedulers of the queries that ran."""
    made: list[Any] = []
    start = Scheduler.__init__

    def noted(self: Any, *args: Any) -> None:
        start(self, *args)
        made.append(self)

    monkeypatch.setattr(Scheduler, "__init__", noted)
    return made


def left_behind(nodes: RayNodes) -> list[str]:
    """Files of queries in the keepers' folders."""
    return [str(path) for path in nodes.folder.rglob("*") if path.is_file()]


def wait_for(done: Any, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.1)


QUERIES = [
    "select k, count(*), sum(n), avg(v), count(distinct s) from facts group by k",
    "select count(*), sum(n), min(s) from facts where n < 0",
    "select k, count(*) from facts where n < 0 group by k",
    "select f.k, f.n, m.name from facts f left join names m on f.k = m.k where f.n % 7 = 0",
    "select f.k, m.k, m.name from facts f full join names m on f.k = m.k and f.n < 100",
    "select m.name, count(*) from names m where m.k not in (select k from facts where k is not null) group by 1",
    "select count(*) from names m where exists (select 1 from facts f where f.k = m.k)",
    "select k, n, row_number() over (partition by k order by n), sum(n) over (partition by k order by n) from facts",
    "select distinct k from facts union select k from names",
    "select k from facts except select k from names",
    "with big as (select k, sum(n) as t from facts group by k) select a.k, b.t from big a join big b on a.t = b.t",
    "select s, n from facts order by s, n limit 20 offset 5",
    "select repeat(s, 2000) as wide, n from facts where n % 4000 = 0",
    "select count(*) from facts a, (select 1 as x union all select 2) b",
]


@pytest.mark.parametrize("shuffle", ["files", pytest.param("objects", marks=pytest.mark.slow)])
def test_the_answers_are_the_local_ones(both: tuple[Session, Session], shuffle: str) -> None:
    both[0].set("shuffle", shuffle)
    for query in QUERIES:
        check(*both, query)


def test_a_sort_by_ranges_is_in_order(both: tuple[Session, Session], seen: list[Any]) -> None:
    for query in ("select k, n from facts order by k desc nulls first, n", "select k from facts order by k"):
        check(*both, query, ordered=True)
        assert seen[-1]._counts[1].tasks > 1


def test_a_thousand_partitions_make_few_tasks(both: tuple[Session, Session], seen: list[Any]) -> None:
    both[0].set("partitions", 1000)
    both[0].set("shuffle", "files")
    check(*both, "select n, count(*), min(s) from facts group by n")
    assert sum(counts.tasks for counts in seen[-1]._counts.values()) < 100


def test_little_memory_spills_and_a_hot_key_is_no_problem(both: tuple[Session, Session], seen: list[Any]) -> None:
    both[0].set("ray_task_memory", "140MB")
    check(*both, "select k, n, s, count(*) from facts group by k, n, s")
    check(
        *both, "select a.k, count(*), max(b.s) from facts a join facts b on a.k = b.k where a.n % 50 = 0 group by a.k"
    )


def test_a_limit_stops_early(both: tuple[Session, Session], seen: list[Any]) -> None:
    def slow(n: int) -> int:
        time.sleep(0.0005)
        return n

    both[0].udf(slow)
    started = time.monotonic()
    assert len(both[0].sql("select slow(n) as n from facts limit 5").fetchall()) == 5
    reader = both[0].sql("select slow(n) as n from facts").batches()
    next(reader)
    reader.close()
    assert time.monotonic() - started < 40  # all rows would take 24 s a time


def test_two_queries_at_once(both: tuple[Session, Session]) -> None:
    queries = [QUERIES[0], QUERIES[3]]
    results: list[Any] = [None, None]

    def run(number: int) -> None:
        results[number] = both[0].sql(queries[number]).fetchall()

    threads = [threading.Thread(target=run, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    for number, query in enumerate(queries):
        assert sorted(map(repr, results[number])) == sorted(map(repr, both[1].sql(query).fetchall()))


def test_nothing_is_left_after_any_end(both: tuple[Session, Session], nodes: RayNodes) -> None:
    on_ray = both[0]
    on_ray.set("shuffle", "files")

    def broken(n: int) -> int:
        if n == 30_000:
            raise ValueError("thirty thousand")
        return n

    def slow(n: int) -> int:
        time.sleep(0.01)
        return n

    on_ray.udf(broken)
    on_ray.udf(slow)
    on_ray.sql(QUERIES[0]).fetchall()
    wait_for(lambda: not left_behind(nodes))
    with pytest.raises(UDFError, match="thirty thousand"):
        on_ray.sql("select k, sum(broken(n)) from facts group by k").fetchall()
    wait_for(lambda: not left_behind(nodes))
    timer = threading.Timer(2.0, on_ray.interrupt)
    timer.start()
    with pytest.raises(Interrupted):
        on_ray.sql("select k, sum(slow(n)) from facts group by k").fetchall()
    wait_for(lambda: not left_behind(nodes))
    assert on_ray.sql("select count(*) from facts").fetchall() == [(48_000,)]
    on_ray.close()
    wait_for(lambda: not list(nodes.folder.iterdir()))


def test_a_dead_driver_leaves_nothing(nodes: RayNodes, folder: Path) -> None:
    code = f"""
import sqlengine, time
session = sqlengine.connect(backend="ray", ray_address={nodes.cluster.address!r}, spill_dir={str(nodes.folder)!r},
                            shuffle="files")
def slow(n: int) -> int:
    time.sleep(0.01)
    return n
session.udf(slow)
print(session.backend_summary(), flush=True)
session.sql("select k, sum(slow(n)) from '{folder}/facts*.parquet' group by k").fetchall()
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env={**os.environ}, text=True)
    assert child.stdout is not None
    assert "2 tasks at a time" in child.stdout.readline()
    wait_for(lambda: list(nodes.folder.iterdir()), 60)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()
    wait_for(lambda: not list(nodes.folder.iterdir()), 60)


def test_functions_travel_as_code_and_errors_are_not_repeated(both: tuple[Session, Session], seen: list[Any]) -> None:
    on_ray, _ = both
    factor = {"by": 3}

    class Counting:
        def __init__(self) -> None:
            self.calls = 0

        def __call__(self, n: int) -> int:
            self.calls += 1
            return n * factor["by"]

    on_ray.udf(Counting, name="counting")
    assert on_ray.sql("select sum(counting(n)) = 3 * sum(n) from facts").fetchall() == [(True,)]

    def dies(n: int) -> int:
        os._exit(1)

    on_ray.udf(dies)
    on_ray.set("task_attempts", 2)
    with pytest.raises(BackendError, match="lost 2 times"):
        on_ray.sql("select sum(dies(n)) from facts").fetchall()
    assert on_ray.sql("select count(*) from facts").fetchall() == [(48_000,)]


def test_what_no_node_has_is_refused_at_once(both: tuple[Session, Session]) -> None:
    on_ray, _ = both

    def seeing(n: int) -> int:
        return n

    on_ray.udf(seeing, num_gpus=1)
    with pytest.raises(BackendError, match=r"seeing\(\) asks for 1 GPU, the largest node of the cluster has 0"):
        on_ray.sql("select sum(seeing(n)) from facts").fetchall()
    on_ray.set("ray_task_memory", "100GB")
    with pytest.raises(BackendError, match="the largest node of the cluster offers"):
        on_ray.sql("select count(*) from facts").fetchall()


def test_another_version_is_refused(both: tuple[Session, Session], monkeypatch: pytest.MonkeyPatch) -> None:
    from sqlengine.backends.ray import fragments

    mine = fragments.versions()
    monkeypatch.setattr(fragments, "versions", lambda: {**mine, "sqlengine": "9.9"})
    with pytest.raises(BackendError, match=r"the driver has sqlengine 9\.9, a worker has"):
        both[0].sql("select count(*) from facts").fetchall()


def test_explain_shows_stages_and_memory(both: tuple[Session, Session]) -> None:
    on_ray, _ = both
    query = "select k, count(*) from facts group by k order by k"
    text = "\n".join(row[0] for row in on_ray.sql(f"explain {query}").fetchall())
    assert "2 nodes, 2 tasks at a time" in text and "stage 0: hash of" in text and "8 tasks at most" in text
    text = "\n".join(row[0] for row in on_ray.sql(f"explain memory {query}").fetchall())
    assert "verdict: fits" in text and "stage 0: 2 at a time, floor" in text
    text = "\n".join(row[0] for row in on_ray.sql(f"explain analyze {query}").fetchall())
    assert "48,000 rows" in text and "stage 0: 8 tasks on" in text


def test_rows_of_this_process_are_given_to_the_cluster(on_ray: Session, local: Session) -> None:
    rows = pa.table({"a": list(range(50_000)), "b": [i % 13 for i in range(50_000)]})
    for session in (on_ray, local):
        session.register("mine", rows)
        session.sql("create table kept as select a, b from mine where a % 2 = 0")
    check(on_ray, local, "select b, count(*), sum(a) from mine group by b")
    check(on_ray, local, "select m.b, count(*) from mine m join kept k on m.a = k.a group by m.b")
    check(
        on_ray, local, "with recursive r as (select 1 as n union all select n + 1 from r where n < 9) select * from r"
    )


def test_copy_writes_what_a_cluster_made(both: tuple[Session, Session], tmp_path: Path) -> None:
    both[0].sql(f"copy (select k, sum(n) as t from facts group by k) to '{tmp_path}/sums.parquet'")
    check(*both, "select k, sum(n) as t from facts group by k")
    assert (
        both[1].sql(f"select sum(t) from '{tmp_path}/sums.parquet'").fetchall()
        == both[1].sql("select sum(n) from facts").fetchall()
    )


def test_the_callers_ray_stays(nodes: RayNodes) -> None:
    import ray

    with sqlengine.connect(backend="ray") as session:
        assert "2 nodes" in session.backend_summary()
    assert ray.is_initialized()
    assert RayBackend.__doc__
