"""`python -m tests.bench.pass_through`: Parquet to Parquet through a filter and a projection, in constant memory.

The same file is read once, and then as many times as make `--gigabytes` of rows in Arrow form; both runs are processes
of their own with the same limit. The peaks of their resident memory are to be alike.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlengine.settings import parse_bytes
from tests.bench.measure import cpu_seconds, high_water
from tests.bench.suites import tpch

_TOP = Path(__file__).parents[2]
_DATA = Path.home() / ".cache" / "sqlengine-bench"


def _child(told: dict[str, Any]) -> dict[str, Any]:
    import sqlengine

    files = ", ".join([f"'{told['file']}'"] * told["times"])
    with sqlengine.connect(threads=told["threads"], memory_limit=told["limit"]) as session:
        query = f"select *, l_quantity * l_extendedprice as x from read_parquet([{files}]) where l_partkey % 4 = 0"
        wall, cpu = time.perf_counter(), cpu_seconds()
        (rows,) = session.sql(f"copy ({query}) to '{told['output']}' (format parquet)").fetchall()[0]
        spilled = session.memory.spilled
    return {
        "rows": rows, "seconds": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu, "peak": high_water(),
        "spilled": spilled,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.pass_through", description=__doc__.split("\n")[0])
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--gigabytes", type=float, default=10.0)
    parser.add_argument("--limit", type=parse_bytes, default="256MB")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--data", type=Path, default=_DATA, help=f"where TPC-H SF 1 is, or will be (default {_DATA})")
    options = parser.parse_args(arguments)
    if options.child:
        print(json.dumps(_child(json.load(sys.stdin))))
        return 0
    from sqlengine.formats import open_source

    file = tpch(1.0, options.data).tables["lineitem"]
    source = open_source(file)
    once = source.stats(source.schema.names).bytes
    peaks = []
    for times in (1, max(2, round(options.gigabytes * 1e9 / once))):
        with tempfile.TemporaryDirectory(dir=options.data) as folder:
            told = {
                "file": file, "times": times, "limit": options.limit, "threads": options.threads,
                "output": str(Path(folder) / "out.parquet"),
            }  # fmt: skip
            done = subprocess.run(
                [sys.executable, "-m", "tests.bench.pass_through", "--child"],
                cwd=_TOP, input=json.dumps(told), stdout=subprocess.PIPE, text=True, check=True,
            )  # fmt: skip
        found = json.loads(done.stdout.strip().splitlines()[-1])
        peaks.append(found["peak"])
        print(
            f"{times * once / 1e9:.1f} GB in Arrow form, limit {options.limit / 1e6:.0f} MB: peak "
            f"{found['peak'] / 1e6:.0f} MB, {found['rows']:,} rows written, {found['seconds']:.1f} s, "
            f"cpu {found['cpu']:.1f}, spilled {found['spilled']}",
            flush=True,
        )
    return 0 if max(peaks) <= options.limit and peaks[1] <= 1.15 * peaks[0] else 1


if __name__ == "__main__":
    sys.exit(main())
