"""A large group by and a large join on Ray, beside Daft and Ray Data: one process each, two CPUs, a small object store.

    python -m tests.bench.ray_shuffle [--rows 20000000] [--store 256] [--engines ours-files,ours-objects,daft,raydata]

Every engine gets a fresh Ray on this machine. Measured from outside, every tenth of a second: CPU seconds of all its
processes from the moment when Ray is up, their private memory (anonymous pages; the object store is shared memory), and
the driver's. The answers (counts and sums) must be the same.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

GROUP = "select k, sum(v) as s, max(w) as m, min(v) as l, count(*) as c from facts group by k"
QUERIES = {
    "group by": f"select count(*) as n, sum(s) as s, sum(m) as m from ({GROUP})",
    "join": "select count(*) as n, sum(s) as s, max(c) as m from (select category, sum(v) as s, count(*) as c "
    "from facts join dim on facts.k = dim.k group by category)",
}
ENGINES = ("ours-files", "ours-objects", "daft", "daft-flight", "raydata")


def make_data(folder: Path, rows: int) -> None:
    """Facts in 20 files, a dimension of a quarter as many rows in 5, Parquet without compression."""
    import duckdb

    keys = rows // 4
    with duckdb.connect() as made:
        made.execute("set threads = 2")
        for number in range(20):
            start, count = number * (rows // 20), rows // 20
            made.execute(
                f"""copy (select (hash(i) % {keys})::bigint as k, (hash(i + 1) % 1000000) / 1000.0::double as v,
                    (hash(i + 2) % 1000)::bigint as w, 'text ' || lpad((i % 1000000000)::varchar, 9, '0') as s
                    from range({start}, {start + count}) t(i))
                    to '{folder}/facts{number:02}.parquet' (compression uncompressed, row_group_size 122880)"""
            )
        for number in range(5):
            start, count = number * (keys // 5), keys // 5
            made.execute(
                f"""copy (select i as k, (i % 1000)::bigint as category from range({start}, {start + count}) t(i))
                    to '{folder}/dim{number}.parquet' (compression uncompressed)"""
            )


def run_ours(folder: Path, query: str, shuffle: str) -> list[Any]:
    import sqlengine

    with sqlengine.connect(backend="ray", shuffle=shuffle, spill_dir=str(folder / "spill")) as session:
        session.sql(f"create view facts as select * from '{folder}/facts*.parquet'")
        session.sql(f"create view dim as select * from '{folder}/dim*.parquet'")
        return [float(value) for value in session.sql(QUERIES[query]).fetchall()[0]]


def run_daft(folder: Path, query: str, algorithm: str) -> list[Any]:
    import daft
    from daft import col

    daft.set_runner_ray()
    daft.set_execution_config(shuffle_algorithm=algorithm)
    facts = daft.read_parquet(f"{folder}/facts*.parquet")
    if query == "group by":
        groups = facts.groupby("k").agg(
            col("v").sum().alias("s"), col("w").max().alias("m"), col("v").min().alias("l"), col("w").count().alias("c")
        )
        found = groups.agg(col("k").count().alias("n"), col("s").sum(), col("m").sum())
    else:
        joined = facts.join(daft.read_parquet(f"{folder}/dim*.parquet"), on="k")
        groups = joined.groupby("category").agg(col("v").sum().alias("s"), col("v").count().alias("c"))
        found = groups.agg(col("s").count().alias("n"), col("s").sum(), col("c").max().alias("m"))
    row = found.to_pylist()[0]
    return [float(row["n"]), float(row["s"]), float(row["m"])]


def run_raydata(folder: Path, query: str) -> list[Any]:
    import ray.data
    from ray.data.aggregate import Count, Max, Min, Sum

    ray.data.DataContext.get_current().enable_progress_bars = False
    facts = ray.data.read_parquet([str(p) for p in sorted(folder.glob("facts*.parquet"))], columns=["k", "v", "w"])
    if query == "group by":
        groups = facts.groupby("k").aggregate(
            Sum("v", alias_name="s"), Max("w", alias_name="m"), Min("v", alias_name="l"), Count(alias_name="c")
        )
        found = groups.aggregate(Count(alias_name="n"), Sum("s", alias_name="s"), Sum("m", alias_name="m"))
    else:
        dim = ray.data.read_parquet([str(p) for p in sorted(folder.glob("dim*.parquet"))])
        joined = facts.join(dim, join_type="inner", num_partitions=32, on=("k",))
        groups = joined.groupby("category").aggregate(Sum("v", alias_name="s"), Count(alias_name="c"))
        found = groups.aggregate(Count(alias_name="n"), Sum("s", alias_name="s"), Max("c", alias_name="m"))
    return [float(found["n"]), float(found["s"]), float(found["m"])]


def child(engine: str, query: str, folder: Path, store: int) -> None:
    """Prints `ready` when Ray is up, waits for a line, runs, prints the answer."""
    import ray

    ray.init(
        num_cpus=2, object_store_memory=store << 20, _memory=4 << 30,
        include_dashboard=False, log_to_driver=False, logging_level="ERROR",
    )  # fmt: skip
    ray.get([ray.remote(lambda: time.sleep(0.1)).remote() for _ in range(4)])
    print("ready", flush=True)
    sys.stdin.readline()
    started = time.monotonic()
    match engine.split("-"):
        case ["ours", shuffle]:
            found = run_ours(folder, query, shuffle)
        case ["daft", *rest]:
            found = run_daft(folder, query, "flight_shuffle" if rest else "map_reduce")
        case _:
            found = run_raydata(folder, query)
    print(json.dumps({"answer": found, "seconds": time.monotonic() - started}), flush=True)


class Watch:
    """CPU seconds of all processes below one, and the most private memory of them together, of one, of the driver."""

    def __init__(self, pid: int) -> None:
        self.root = psutil.Process(pid)
        self.cpu: dict[int, float] = {}
        self.base: dict[int, float] = {}
        self.total = self.worker = self.driver = self.driver_rss = 0
        self.stop = threading.Event()
        self.look()
        self.base = dict(self.cpu)
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def look(self) -> None:
        total = 0
        for process in [self.root, *self.root.children(recursive=True)]:
            try:
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:
                continue
            self.cpu[process.pid] = times.user + times.system
            private = memory.rss - memory.shared
            total += private
            if process.pid == self.root.pid:
                self.driver = max(self.driver, private)
                self.driver_rss = max(self.driver_rss, memory.rss)
            else:
                self.worker = max(self.worker, private)
        self.total = max(self.total, total)

    def run(self) -> None:
        while not self.stop.wait(0.1):
            self.look()

    def finish(self) -> float:
        self.stop.set()
        self.thread.join()
        self.look()
        return sum(seconds - self.base.get(pid, 0.0) for pid, seconds in self.cpu.items())


def measure(engine: str, query: str, folder: Path, store: int, timeout: float) -> dict[str, Any]:
    command = [sys.executable, __file__, "--child", engine, "--query", query]
    command += ["--folder", str(folder), "--store", str(store)]
    environment = {**os.environ, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}
    running = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    )
    assert running.stdin is not None and running.stdout is not None
    killer = threading.Timer(timeout, running.kill)
    killer.start()
    try:
        line = running.stdout.readline()
        while line and line.strip() != "ready":
            line = running.stdout.readline()
        watch = Watch(running.pid)
        running.stdin.write("go\n")
        running.stdin.flush()
        found: dict[str, Any] = {"answer": None, "seconds": float("nan")}
        for line in running.stdout:
            if line.startswith("{"):
                found = json.loads(line)
                break
        cpu = watch.finish()
    finally:
        killer.cancel()
        running.kill()
        running.wait()
        running.stdin.close()
        running.stdout.close()
    sizes = {"total": watch.total, "worker": watch.worker, "driver": watch.driver, "driver_rss": watch.driver_rss}
    return {"engine": engine, "query": query, "cpu": cpu, **found, **{k: v >> 20 for k, v in sizes.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--store", type=int, default=256, help="MiB of object store")
    parser.add_argument("--engines", default=",".join(ENGINES))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--timeout", type=float, default=600)
    parser.add_argument("--child")
    parser.add_argument("--query")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.query, options.folder, options.store)
        return
    with tempfile.TemporaryDirectory() as made:
        folder = options.folder or Path(made)
        folder.mkdir(parents=True, exist_ok=True)
        if not list(folder.glob("facts*.parquet")):
            make_data(folder, options.rows)
        lines = [
            "| query | engine | wall s | CPU s | all private MiB | largest worker MiB | driver private MiB | "
            "driver RSS MiB |",
            "|---|---|---|---|---|---|---|---|",
        ]
        print("\n".join(lines), flush=True)
        answers: dict[str, set[tuple[float, ...]]] = {}
        for query in QUERIES:
            for engine in options.engines.split(","):
                m = measure(engine, query, folder, options.store, options.timeout)
                if m["answer"] is not None:
                    answers.setdefault(query, set()).add(tuple(float(f"{value:.9g}") for value in m["answer"]))
                failed = "" if m["answer"] is not None else " (failed)"
                lines.append(
                    f"| {query} | {engine}{failed} | {m['seconds']:.1f} | {m['cpu']:.1f} | {m['total']} | "
                    f"{m['worker']} | {m['driver']} | {m['driver_rss']} |"
                )
                print(lines[-1], flush=True)
        for query, found in answers.items():
            lines.append(f"\n{query}: {'the same answer' if len(found) == 1 else f'DIFFERENT ANSWERS {found}'}")
            print(lines[-1], flush=True)
        if options.out:
            options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
