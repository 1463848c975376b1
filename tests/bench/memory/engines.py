"""How each engine runs a workload and writes its answer to a Parquet file; imported in the measured process only."""

from __future__ import annotations

import hashlib
import importlib.metadata
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tests.bench.memory.workloads import Workload


@dataclass(frozen=True)
class Request:
    """A workload over Parquet files. `limit`: bytes; `output`: a file, or a folder where the engine writes one."""

    workload: Workload
    tables: Mapping[str, str]
    output: str
    threads: int
    limit: int


class CannotRun(Exception):
    """The engine has no way to say this workload: not a failure of memory."""


def widen(number: int) -> str:
    """One megabyte of text that depends on the number."""
    return hashlib.sha256(str(number).encode()).hexdigest() * (1_000_000 // 64)


def _at_once(count: int, run: Callable[[int], None]) -> None:
    """Run in so many threads; the first error of any is raised."""
    failed: list[BaseException] = []

    def one(number: int) -> None:
        try:
            run(number)
        except BaseException as problem:
            failed.append(problem)

    threads = [threading.Thread(target=one, args=(i,)) for i in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _target(request: Request, number: int) -> str:
    return request.output if number == 0 else f"{request.output}.{number}"


def _sqlengine(request: Request) -> None:
    import sqlengine
    from sqlengine.formats import open_source

    with sqlengine.connect(threads=request.threads, memory_limit=request.limit) as session:
        for name, path in request.tables.items():
            session.register_source(name, open_source(path))
        if request.workload.udf:
            session.udf(widen)
        for statement in request.workload.before:
            session.execute(statement)

        def run(number: int) -> None:
            session.sql(f"copy ({request.workload.sql}) to '{_target(request, number)}' (format parquet)").fetchall()

        _at_once(request.workload.at_once, run) if request.workload.at_once > 1 else run(0)


def _duckdb(request: Request) -> None:
    import duckdb

    config: dict[str, Any] = {"threads": request.threads, "memory_limit": f"{request.limit}B"}
    config |= {"preserve_insertion_order": request.workload.ordered, "temp_directory": f"{request.output}.spill"}
    with duckdb.connect(config=config) as connection:
        for name, path in request.tables.items():
            connection.execute(f"create view {name} as from read_parquet('{path}')")
        if request.workload.udf:
            connection.create_function("widen", widen)
        for statement in request.workload.before:
            connection.execute(statement)

        def run(number: int) -> None:
            with connection.cursor() as cursor:
                target = _target(request, number)
                cursor.execute(f"copy ({request.workload.sql}) to '{target}' (format parquet, row_group_size 20000)")

        _at_once(request.workload.at_once, run)


def _only_queries(request: Request) -> None:
    if request.workload.udf or request.workload.before or request.workload.at_once > 1:
        raise CannotRun("not written for this engine")


def _polars(request: Request) -> None:
    import polars

    _only_queries(request)
    context = polars.SQLContext({name: polars.scan_parquet(path) for name, path in request.tables.items()})
    context.execute(request.workload.sql, eager=False).sink_parquet(request.output)


def _datafusion(request: Request) -> None:
    import datafusion

    _only_queries(request)
    runtime = datafusion.RuntimeEnvBuilder().with_disk_manager_os().with_fair_spill_pool(request.limit)
    config = datafusion.SessionConfig().with_target_partitions(request.threads)
    context = datafusion.SessionContext(config, runtime)
    for name, path in request.tables.items():
        context.register_parquet(name, path)
    context.sql(f"copy ({request.workload.sql}) to '{request.output}' stored as parquet").collect()


def _daft(request: Request) -> None:
    import daft

    _only_queries(request)
    tables: dict[str, Any] = {name: daft.read_parquet(path) for name, path in request.tables.items()}
    daft.sql(request.workload.sql, **tables).write_parquet(request.output)


@dataclass(frozen=True)
class Writer:
    """`modules` are imported before the clock starts; `bounded`: the engine can be told the limit."""

    name: str
    modules: tuple[str, ...]
    write: Callable[[Request], None]
    bounded: bool

    def version(self) -> str:
        return importlib.metadata.version(self.modules[0])


WRITERS: dict[str, Writer] = {
    writer.name: writer
    for writer in (
        Writer("sqlengine", ("sqlengine", "sqlengine.session", "sqlengine.formats"), _sqlengine, True),
        Writer("duckdb", ("duckdb",), _duckdb, True),
        Writer("polars", ("polars",), _polars, False),
        Writer("datafusion", ("datafusion",), _datafusion, True),
        Writer("daft", ("daft",), _daft, False),
    )
}
