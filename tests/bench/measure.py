"""Measuring one engine on one query: `measure` starts a process for it and watches it, `main` is what runs inside.

The clock covers opening the tables, planning, running, and the answer as an Arrow table; not the imports. CPU seconds
are user and system time of the process and the children it waited for.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from tests.bench.engines import Job, prepare
from tests.bench.fingerprint import Fingerprint, fingerprint

_ROOT = Path(__file__).parents[2]
_INTERVAL = 0.02


@dataclass(frozen=True)
class Measured:
    """`peak_rss`: largest resident memory of the process tree in bytes, that of the bare engine included."""

    wall: float
    cpu: float
    peak_rss: int
    answer: Fingerprint | None
    error: str | None = None


def measure(engine: str, job: Job, timeout: float) -> Measured:
    """Run a job in a process of its own; whatever ends it early is an error of the measurement, not of the caller."""
    payload = json.dumps({"engine": engine, "job": asdict(job) | {"tables": dict(job.tables)}})
    environment = {**os.environ, "POLARS_MAX_THREADS": str(job.threads), "DAFT_PROGRESS_BAR": "0"}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.measure"],
        cwd=_ROOT, env=environment, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(payload)
    process.stdin.close()
    process.stdin = None
    peak = watch(process, timeout)
    stdout, stderr = process.communicate()
    last = stdout.strip().splitlines()[-1:]
    if process.returncode != 0 or not last:
        reason = (
            "timeout"
            if process.returncode == -9 and peak is None
            else (stderr.strip().splitlines() or ["no output"])[-1]
        )
        return Measured(timeout if peak is None else 0.0, 0.0, peak or 0, None, f"{reason[:300]}")
    found: dict[str, Any] = json.loads(last[0])
    return Measured(
        found["wall"], found["cpu"], max(peak or 0, found["peak_rss"]), found.get("answer"), found.get("error")
    )


def watch(process: subprocess.Popen[str], timeout: float) -> int | None:
    """Largest resident memory of the tree until the process ends; None if it was killed for taking too long."""
    ends = time.monotonic() + timeout
    peak = 0
    root = psutil.Process(process.pid)
    while process.poll() is None:
        if time.monotonic() > ends:
            for child in root.children(recursive=True):
                child.kill()
            process.kill()
            process.wait()
            return None
        peak = max(peak, _tree_rss(root))
        time.sleep(_INTERVAL)
    return peak


def _tree_rss(root: psutil.Process) -> int:
    total = 0
    try:
        for process in (root, *root.children(recursive=True)):
            total += process.memory_info().rss
    except psutil.Error:
        pass
    return total


def high_water() -> int:
    """Largest resident memory of this process so far (`ru_maxrss` also counts what the parent had before the exec)."""
    for line in Path("/proc/self/status").read_text().splitlines() if Path("/proc/self/status").exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return int(psutil.Process().memory_info().rss)


def cpu_seconds() -> float:
    own, children = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime


def main() -> None:
    request = json.load(sys.stdin)
    job = Job(**request["job"])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.threads])
    engine = prepare(request["engine"])
    wall, cpu = time.perf_counter(), cpu_seconds()
    answer, error = None, None
    try:
        table = engine.run(job)
    except Exception as problem:
        table = None
        error = f"{type(problem).__name__}: {str(problem).strip().splitlines()[0] if str(problem).strip() else ''}"
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    peak = high_water()
    if table is not None:
        answer = fingerprint(table)
    print(json.dumps({"wall": wall, "cpu": cpu, "peak_rss": peak, "answer": answer, "error": error and error[:300]}))


if __name__ == "__main__":
    main()
