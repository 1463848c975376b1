"""Where the memory of TPC-H queries goes: each in a fresh process, its peak RSS beside what the pool and Arrow know of.

    python -m tests.tpch.peaks FOLDER [--limit 300MB] [--threads 2] [--check] [--set name=value] [q01 q03 ...]

Per query: seconds, the kernel's VmHWM, and at the sampled moment of the largest RSS: anonymous and file-backed bytes,
what the pool had given out, what Arrow's allocator and the C heap held (beyond its bytes at start), what the C heap
had free. `--check` compares the answers with DuckDB's (in this process).
"""

from __future__ import annotations

import argparse
import ctypes
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from sqlengine.settings import parse_bytes


def status() -> dict[str, int]:
    """The sizes of /proc/self/status in bytes."""
    found = {}
    with open("/proc/self/status") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if rest.endswith("kB\n"):
                found[name] = int(rest.split()[0]) * 1024
    return found


class _Heap(ctypes.Structure):
    """glibc's struct mallinfo2."""

    _names = ("arena", "ordblks", "smblks", "hblks", "hblkhd", "usmblks", "fsmblks", "uordblks", "fordblks", "keepcost")
    _fields_ = [(name, ctypes.c_size_t) for name in _names]


def heap() -> dict[str, int]:
    """Bytes of the C heap in use (small blocks and mapped ones), and free ones that it keeps."""
    call = ctypes.CDLL(None).mallinfo2
    call.restype = _Heap
    found = call()
    return {"heap": found.uordblks + found.hblkhd, "heap_free": found.fordblks}


def child(name: str, folder: Path, settings: dict[str, Any], answer: bool) -> dict[str, Any]:
    """Run one query here and say what it took."""
    import pyarrow as pa

    import sqlengine
    from sqlengine.formats import open_source

    text = (Path(__file__).parent / "queries" / f"{name}.sql").read_text()
    with sqlengine.connect(**settings) as session:
        for path in folder.glob("*.parquet"):
            session.register_source(path.stem, open_source(str(path)))
        top: dict[str, int] = {"VmRSS": 0}
        stop = threading.Event()

        def sample() -> None:
            while not stop.wait(0.004):
                now = status()
                if now["VmRSS"] > top["VmRSS"]:
                    top.update(now, pool=session._pool.used, arrow=pa.total_allocated_bytes(), **heap())

        thread = threading.Thread(target=sample)
        start_heap = heap()["heap"]
        weight = status()["VmRSS"]
        start = time.perf_counter()
        thread.start()
        rows: list[tuple[Any, ...]] = []
        error = None
        try:
            for batch in session.sql(text).batches():
                if answer:
                    rows += zip(*(column.to_pylist() for column in batch.columns), strict=True)
        except sqlengine.Error as problem:
            error = problem.message
        seconds = time.perf_counter() - start
        stop.set()
        thread.join()
        report = {
            "seconds": seconds, "weight": weight, "hwm": status()["VmHWM"], "anon": top.get("RssAnon", 0),
            "heap": top.get("heap", 0), "heap_free": top.get("heap_free", 0), "start_heap": start_heap,
            "file": top.get("RssFile", 0), "pool": top.get("pool", 0), "arrow": top.get("arrow", 0),
            "pool_peak": session._pool.peak, "capacity": session._pool.capacity, "spilled": session._spill.written,
            "error": error, "arrow_peak": pa.default_memory_pool().max_memory(),
        }  # fmt: skip
    if answer:
        report["rows"] = repr(rows)
    return report


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*")
    parser.add_argument("--limit", default="300MB")
    parser.add_argument("--threads", default="2")
    parser.add_argument("--set", action="append", default=[])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--child", action="store_true")
    options = parser.parse_intermixed_args()
    settings = {"memory_limit": options.limit, "threads": options.threads, **dict(s.split("=", 1) for s in options.set)}
    if options.child:
        print(json.dumps(child(options.names[0], options.folder, settings, options.check)))
        return
    names = options.names or sorted(path.stem for path in (Path(__file__).parent / "queries").glob("*.sql"))
    print(
        "query  wall_s    hwm   anon   file |   pool  arrow   heap (free) | pool peak of  capacity  arrow  spilled (MB)"
    )
    over = []
    for name in names:
        kept = [part for part in sys.argv[1:] if part not in options.names and part != str(options.folder)]
        command = [sys.executable, "-m", "tests.tpch.peaks", str(options.folder), name, *kept, "--child"]
        ran = subprocess.run(command, capture_output=True, text=True)
        if ran.returncode:
            print(name, f"died ({ran.returncode}):", (ran.stderr.strip().splitlines() or ["?"])[-1])
            over.append(name)
            continue
        r = json.loads(ran.stdout.splitlines()[-1])
        mb = {key: value / 1e6 for key, value in r.items() if isinstance(value, int)}
        verdict = "OVER" if r["hwm"] > parse_bytes(options.limit) else ""
        if options.check and not r["error"]:
            verdict += "" if _right(name, options.folder, r["rows"]) else " WRONG"
        verdict += f" {r['error']}" if r["error"] else ""
        over += [name] if verdict else []
        print(
            f"{name}  {r['seconds']:7.2f} {mb['hwm']:6.0f} {mb['anon']:6.0f} {mb['file']:6.0f} | {mb['pool']:6.0f} "
            f"{mb['arrow']:6.0f} {mb['heap'] - mb['start_heap']:6.0f} {mb['heap_free']:6.0f} | "
            f"{mb['pool_peak']:9.0f} of {mb['capacity']:9.0f} {mb['arrow_peak']:7.0f} {mb['spilled']:8.0f}  {verdict}",
            flush=True,
        )
    print("all within the limit" if not over else f"not within: {' '.join(over)}")
    sys.exit(bool(over))


def _right(name: str, folder: Path, rows: str) -> bool:
    import datetime
    from decimal import Decimal

    from tests.tpch.answers import QUERIES, oracle, same_rows

    found = eval(rows, {"datetime": datetime, "Decimal": Decimal, "nan": float("nan"), "inf": float("inf")})
    return same_rows(found, oracle(QUERIES[name], folder))


if __name__ == "__main__":
    main()
