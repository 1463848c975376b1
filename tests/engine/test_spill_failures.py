"""What can go wrong with the disk fails one query, cleanly, and leaves nothing; many queries spill at once."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pytest

import sqlengine
from sqlengine.errors import SpillError
from sqlengine.runtime.memory import MemoryPool
from sqlengine.session import Session

ROWS = 200_000
SORT = "select k, v, t from a order by t desc, v"
TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows() -> pa.Table:
    return pa.table(
        {
            "k": [i * 7919 % 50_021 for i in range(ROWS)],
            "v": list(range(ROWS)),
            "t": [f"text number {i * 31 % 9973}" for i in range(ROWS)],
        }
    )


def tight(rows: pa.Table, folder: Path, size: int = 3 << 20, **settings: Any) -> Session:
    session = sqlengine.connect(threads=2, batch_bytes="64KiB", spill_dir=str(folder), **settings)
    session._pool = MemoryPool(size)
    session.register("a", rows)
    return session


def usable(session: Session) -> bool:
    return session.sql("select count(*) from a").fetchall() == [(ROWS,)] and session._pool.used == 0


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*.arrow") if path.is_file()]


def test_a_full_disk(rows: pa.Table, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = shutil.disk_usage
    written = 0

    def filling(path: object) -> SimpleNamespace:
        nonlocal written
        written += 1
        return SimpleNamespace(free=real(tmp_path).free if written < 20 else 100)

    with tight(rows, tmp_path) as session:
        monkeypatch.setattr("sqlengine.runtime.spill.shutil.disk_usage", filling)
        with pytest.raises(SpillError) as raised:
            session.sql(SORT).fetchall()
        assert raised.value.code == "spill_disk_full" and str(tmp_path) in raised.value.message
        assert raised.value.hint is not None and "spill_dir" in raised.value.hint
        monkeypatch.undo()
        assert not files(tmp_path) and usable(session)
        assert len(session.sql(SORT).fetchall()) == ROWS, "there is room again"


def test_a_quota_smaller_than_what_the_query_spills(rows: pa.Table, tmp_path: Path) -> None:
    with tight(rows, tmp_path, spill_limit="500KB") as session:
        with pytest.raises(SpillError, match="limit") as raised:
            session.sql(SORT).fetchall()
        assert raised.value.code == "spill_limit" and not files(tmp_path) and usable(session)


@pytest.mark.parametrize(
    "query", [SORT, "select k, sum(v), max(t) from a group by k, t", "select distinct k, t from a"]
)
def test_the_directory_is_removed_in_mid_query(rows: pa.Table, tmp_path: Path, query: str) -> None:
    """A clean error; or, where all files are open already, as in a merge, all rows."""
    with tight(rows, tmp_path) as session:
        expected = session.sql(f"select count(*) from ({query}) q").fetchall()[0][0]
        stream = session.sql(query).batches()
        found = next(stream).num_rows
        assert files(tmp_path)
        for folder in tmp_path.iterdir():
            shutil.rmtree(folder)
        try:
            found += sum(batch.num_rows for batch in stream)
        except SpillError as error:
            assert "cannot spill to" in error.message and error.hint is not None and "spill_dir" in error.hint
        else:
            assert query == SORT and found == expected
        assert usable(session)


@pytest.mark.skipif(os.getuid() == 0, reason="root may write everywhere")
def test_the_directory_becomes_read_only(rows: pa.Table, tmp_path: Path) -> None:
    with tight(rows, tmp_path) as session:
        tmp_path.chmod(0o500)
        try:
            with pytest.raises(SpillError, match="ermission"):
                session.sql(SORT).fetchall()
        finally:
            tmp_path.chmod(0o700)
        assert usable(session)


def test_several_directories_share_the_files(rows: pa.Table, tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    with tight(rows, Path(f"{folders[0]}{os.pathsep}{folders[1]}")) as session:
        stream = session.sql(SORT).batches()
        next(stream)
        assert all(files(folder) for folder in folders)
        stream.close()
        assert not files(tmp_path)
    assert not any(folder.iterdir() for folder in folders if any(folder.iterdir()))


def test_the_log_line(rows: pa.Table, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "sqlengine"), tight(rows, tmp_path) as session:
        session.sql(SORT).fetchall()
    lines = [record.getMessage() for record in caplog.records if record.getMessage().startswith("spilled ")]
    assert len(lines) == 1
    size, count, speed, owner = lines[0].removeprefix("spilled ").split(", ")
    assert size.endswith("iB") and count.endswith((" file", " files")) and speed.endswith("MiB/s")
    assert owner == "ExternalSort"


CHILD = """
import sys, time
import pyarrow as pa, sqlengine
from sqlengine.runtime.memory import MemoryPool
session = sqlengine.connect(threads=2, batch_bytes="64KiB", spill_dir=sys.argv[1])
session._pool = MemoryPool(3 << 20)
session.register("a", pa.table({"k": list(range(300_000))}))
stream = session.sql("select k from a order by k desc").batches()
next(stream)
print("spilling", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_nothing_to_the_next_one(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", CHILD, str(tmp_path)], stdout=subprocess.PIPE, cwd=TOP)
    try:
        assert child.stdout is not None and child.stdout.readline() == b"spilling\n"
        assert files(tmp_path)
        with sqlengine.connect(spill_dir=str(tmp_path)):
            assert files(tmp_path), "its owner lives"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    assert files(tmp_path), "nobody could remove them"
    with sqlengine.connect(spill_dir=str(tmp_path)) as session:
        session.sql("select 1").fetchall()
        assert not list(tmp_path.iterdir())


QUERIES = (
    SORT,
    "select k, count(*), sum(v), max(t) from a group by k",
    "select distinct k, t from a",
    "select x.k, x.v, y.t from a x join a y on x.v = y.v",
    "select k, v, sum(v) over (partition by k order by v) from a",
)


@pytest.fixture
def expected(rows: pa.Table) -> Iterator[dict[str, Any]]:
    with sqlengine.connect(threads=2) as roomy:
        roomy.register("a", rows)
        yield {query: roomy.sql(query).fetchall() for query in QUERIES}


def test_ten_threads_spill_in_one_session(rows: pa.Table, tmp_path: Path, expected: dict[str, Any]) -> None:
    problems: list[str] = []
    with tight(rows, tmp_path, 24 << 20) as session:

        def run(number: int) -> None:
            query = QUERIES[number % len(QUERIES)]
            try:
                found = session.sql(query).fetchall()
                same = found == expected[query] if query == SORT else Counter(found) == Counter(expected[query])
                if not same:
                    problems.append(f"wrong rows: {query}")
            except Exception as error:
                problems.append(f"{query}: {error}")

        threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(10)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
            assert not thread.is_alive(), "a deadlock"
        assert not problems
        assert session._pool.used == 0 and session._pool.peak <= 24 << 20
        assert session._spill.written > 0 and not files(tmp_path)
