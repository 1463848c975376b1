"""One TPC-H query in a process of its own: `python -m tests.tpch.child QUERY FOLDER LIMIT RESULT`.

RESULT gets a pickle of the most bytes that were ever resident and of the rows.
"""

from __future__ import annotations

import pickle
import sys
from pathlib import Path

import sqlengine
from sqlengine.formats import open_source
from tests.tpch.queries import QUERIES, TABLES


def peak_resident() -> int:
    """VmHWM of this process in bytes, where /proc has it."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def main(name: str, folder: str, limit: str, result: str) -> None:
    with sqlengine.connect(memory_limit=int(limit), threads=2) as session:
        for table in TABLES:
            session.register_source(table, open_source(str(Path(folder) / f"{table}.parquet")))
        rows = session.sql(QUERIES[name]).fetchall()
    Path(result).write_bytes(pickle.dumps((peak_resident(), rows)))


if __name__ == "__main__":
    main(*sys.argv[1:])
