"""Parquet files with wrong bytes, one after the other, each queried: `python -m tests.formats.flipped_parquet DIR FIRST
COUNT`. A file is read right, or with an error that the engine knows; anything else (a crash ends the process) is
printed. A program of its own, for a crash must not end the tests."""

from __future__ import annotations

import datetime as dt
import faulthandler
import random
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

import sqlengine
from sqlengine.errors import Error

ROWS = 5000
TABLE = pa.table(
    {
        "i": pa.array([None if k % 7 == 0 else k for k in range(ROWS)], pa.int32()),
        "l": pa.array(range(ROWS), pa.int64()),
        "f": [k * 0.5 for k in range(ROWS)],
        "s": [f"text {k % 100}" for k in range(ROWS)],
        "u": [f"the text of row {k}" for k in range(ROWS)],
        "d": [dt.date(2020, 1, 1) + dt.timedelta(k % 900) for k in range(ROWS)],
        "b": [k % 3 == 0 for k in range(ROWS)],
        "m": pa.array([Decimal(k) / 100 for k in range(ROWS)], pa.decimal128(12, 2)),
        "li": [[k] * (k % 4) for k in range(ROWS)],
        "ts": pa.array([k * 10**6 for k in range(ROWS)], pa.timestamp("us")),
    }
)
DELTAS = {
    "i": "DELTA_BINARY_PACKED", "l": "DELTA_BINARY_PACKED", "s": "DELTA_BYTE_ARRAY", "u": "DELTA_LENGTH_BYTE_ARRAY",
    "f": "BYTE_STREAM_SPLIT",
}  # fmt: skip
FORMS: list[dict[str, Any]] = [
    {"compression": "snappy"},
    {"compression": "none", "use_dictionary": False},
    {"compression": "zstd", "data_page_version": "2.0"},
    {"compression": "none", "data_page_size": 2000, "write_page_index": True},
    {"compression": "gzip", "use_dictionary": False, "column_encoding": DELTAS},
    {"compression": "lz4"},
]
QUERIES = (
    "select count(*), sum(i), sum(l), sum(f), max(s), max(u), max(d), count(b), sum(m), max(ts) from '{}'",
    "select count(li), max(li) from '{}'",
    "select * from '{}' where l between 1000 and 1100 and s like '%5'",
)


def flipped(data: bytes, seed: int) -> bytes:
    """Some bytes changed, more often near the end, where the footer is; now and then cut off."""
    choose = random.Random(seed)
    found = bytearray(data)
    for _ in range(choose.choice((1, 1, 2, 8))):
        low = 0 if choose.random() < 0.7 else max(0, len(found) - 6000)
        found[choose.randrange(low, len(found))] = choose.randrange(256)
    return bytes(found[: choose.randrange(len(found))] if choose.random() < 0.1 else found)


def main(folder: Path, first: int, count: int) -> int:
    faulthandler.enable()
    whole = []
    for number, form in enumerate(FORMS):
        pq.write_table(TABLE, folder / f"{number}.parquet", row_group_size=2000, **form)
        whole.append((folder / f"{number}.parquet").read_bytes())
    path, refused, wrong = folder / "flipped.parquet", 0, 0
    with sqlengine.connect(threads=1) as session:
        for seed in range(first, first + count):
            print(seed, flush=True)
            path.write_bytes(flipped(whole[seed % len(whole)], seed))
            for query in QUERIES:
                try:
                    session.sql(query.format(path)).fetchall()
                except Error:
                    refused += 1
                except Exception as error:
                    wrong += 1
                    print(f"WRONG {seed}: {type(error).__name__}: {error} in {query}", flush=True)
    print(f"{refused} of {3 * count} queries refused, {wrong} wrong")
    return wrong


if __name__ == "__main__":
    sys.exit(min(1, main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))))
