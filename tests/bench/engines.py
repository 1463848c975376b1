"""How each engine runs one SQL query over Parquet, CSV and JSON files.

An engine is imported only in the process that measures it.

Each function opens the tables, runs the query and gives the whole answer as an Arrow table.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa


@dataclass(frozen=True)
class Job:
    """One query: table names with their files, processors to use, bound on memory in bytes (None: no bound)."""

    sql: str
    tables: Mapping[str, str]
    threads: int
    memory_limit: int | None = None


@dataclass(frozen=True)
class Engine:
    """`modules` are imported before the clock starts. `bounded`: whether the engine takes a memory limit at all."""

    name: str
    modules: tuple[str, ...]
    run: Callable[[Job], pa.Table]
    bounded: bool

    def version(self) -> str:
        return importlib.metadata.version(self.modules[0])


def _sqlengine(job: Job) -> pa.Table:
    import sqlengine
    from sqlengine.formats import open_source

    with sqlengine.connect(threads=job.threads, memory_limit=job.memory_limit) as session:
        for name, path in job.tables.items():
            session.register_source(name, open_source(path))
        return session.sql(job.sql).to_arrow()


def _duckdb(job: Job) -> pa.Table:
    import duckdb

    config: dict[str, Any] = {"threads": job.threads}
    if job.memory_limit is not None:
        config["memory_limit"] = f"{job.memory_limit}B"
    with duckdb.connect(config=config) as connection:
        for name, path in job.tables.items():
            connection.execute(f"create view {name} as from '{path}'")
        return connection.execute(job.sql).to_arrow_table()


def _polars(job: Job) -> pa.Table:
    import polars

    scans: dict[str, Callable[..., Any]] = {
        ".parquet": polars.scan_parquet,
        ".csv": partial(polars.scan_csv, try_parse_dates=True),
        ".jsonl": polars.scan_ndjson,
    }
    context = polars.SQLContext({name: scans[Path(path).suffix](path) for name, path in job.tables.items()})
    return context.execute(job.sql, eager=False).collect(engine="streaming").to_arrow()


def _datafusion(job: Job) -> pa.Table:
    import datafusion

    runtime = datafusion.RuntimeEnvBuilder().with_disk_manager_os()
    if job.memory_limit is not None:
        runtime = runtime.with_fair_spill_pool(job.memory_limit)
    config = datafusion.SessionConfig().with_target_partitions(job.threads)
    context = datafusion.SessionContext(config, runtime)
    for name, path in job.tables.items():
        match Path(path).suffix:
            case ".parquet":
                context.register_parquet(name, path)
            case ".csv":
                context.register_csv(name, path)
            case _:
                context.register_json(name, path, file_extension=".jsonl")
    frame = context.sql(job.sql)
    return pa.Table.from_batches(frame.collect(), schema=frame.schema())


def _daft(job: Job) -> pa.Table:
    import daft

    reads: dict[str, Callable[[str], Any]] = {
        ".parquet": daft.read_parquet,
        ".csv": daft.read_csv,
        ".jsonl": daft.read_json,
    }
    tables: dict[str, Any] = {name: reads[Path(path).suffix](path) for name, path in job.tables.items()}
    return daft.sql(job.sql, **tables).to_arrow()


ENGINES: dict[str, Engine] = {
    engine.name: engine
    for engine in (
        # The functions are loaded at the first query; the other engines have theirs once they are imported.
        Engine(
            "sqlengine",
            ("sqlengine", "sqlengine.session", "sqlengine.formats", "sqlengine.functions"),
            _sqlengine,
            True,
        ),
        Engine("duckdb", ("duckdb",), _duckdb, True),
        Engine("polars", ("polars",), _polars, False),
        Engine("datafusion", ("datafusion",), _datafusion, True),
        Engine("daft", ("daft",), _daft, False),
    )
}


def prepare(name: str) -> Engine:
    """The engine with everything imported that it needs."""
    engine = ENGINES[name]
    for module in engine.modules:
        importlib.import_module(module)
    return engine
