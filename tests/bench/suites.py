"""What is measured: a suite is a set of named queries over files that it can make."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from tests.bench import analytics as analytics_data

TPCH_TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
_TPCH_QUERIES = Path(__file__).parents[1] / "tpch" / "queries"


@dataclass(frozen=True)
class Suite:
    name: str
    queries: Mapping[str, str]
    tables: Mapping[str, str]

    def tables_for(self, engine: str) -> Mapping[str, str]:
        """Daft refuses files whose Arrow schema has string views: it reads copies with equal row groups."""
        if engine != "daft":
            return self.tables
        return {
            name: str(_without_arrow_schema(Path(path))) if path.endswith(".parquet") else path
            for name, path in self.tables.items()
        }


def tpch(scale: float, data: Path) -> Suite:
    """The 22 queries of TPC-H; files in `data/sfSCALE`, made by tpchgen-cli if they are not there."""
    folder = data / f"sf{scale:g}"
    missing = [name for name in TPCH_TABLES if not (folder / f"{name}.parquet").exists()]
    if missing:
        folder.mkdir(parents=True, exist_ok=True)
        tool = Path(sys.executable).parent / "tpchgen-cli"
        subprocess.run([tool, "parquet", "-s", f"{scale:g}", f"--output-dir={folder}"], check=True)
    queries = {path.stem: path.read_text() for path in sorted(_TPCH_QUERIES.glob("*.sql"))}
    return Suite(f"tpch-sf{scale:g}", queries, {name: str(folder / f"{name}.parquet") for name in TPCH_TABLES})


def analytics(scale: float, data: Path) -> Suite:
    """44 queries over tables of up to 10 M rows at scale 1, some of them CSV and JSON."""
    return Suite(f"analytics-{scale:g}", analytics_data.QUERIES, analytics_data.make(scale, data))


def _without_arrow_schema(path: Path) -> Path:
    copy = path.parent / "without-arrow-schema" / path.name
    if not copy.exists():
        copy.parent.mkdir(exist_ok=True)
        partial = copy.with_suffix(".partial")
        with pq.ParquetFile(path) as file, pq.ParquetWriter(partial, file.schema_arrow, store_schema=False) as writer:
            for number in range(file.num_row_groups):
                writer.write_table(file.read_row_group(number), row_group_size=1 << 30)
        partial.replace(copy)
    return copy


SUITES = {"tpch": tpch, "analytics": analytics}
