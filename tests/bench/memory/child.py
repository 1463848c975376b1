"""What runs in the measured process: a request as JSON on the standard input, what happened as JSON on the output."""

from __future__ import annotations

import importlib
import json
import os
import sys
import time
from dataclasses import replace

from tests.bench.measure import cpu_seconds, high_water
from tests.bench.memory.engines import WRITERS, CannotRun, Request
from tests.bench.memory.workloads import WORKLOADS


def main() -> None:
    told = json.load(sys.stdin)
    workload = WORKLOADS[told["workload"]]
    if told["oracle"] and workload.oracle is not None:
        workload = replace(workload, sql=workload.oracle, udf=False)
    request = Request(workload, told["tables"], told["output"], told["threads"], told["limit"])
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: request.threads])
    writer = WRITERS[told["engine"]]
    for module in writer.modules:
        importlib.import_module(module)
    error, unable = None, False
    wall, cpu = time.perf_counter(), cpu_seconds()
    try:
        writer.write(request)
    except BaseException as problem:  # some engines panic with exceptions that are not Exceptions
        unable = isinstance(problem, CannotRun)
        error = f"{type(problem).__name__}: {' '.join(str(problem).split())}"[:400]
    wall, cpu = time.perf_counter() - wall, cpu_seconds() - cpu
    print(json.dumps({"wall": wall, "cpu": cpu, "peak": high_water(), "error": error, "unable": unable}))


if __name__ == "__main__":
    main()
