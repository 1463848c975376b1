"""Spill files: equality, limits, broken directories, orphans."""

import logging
import os
import signal
import stat
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from sqlengine.errors import SpillError
from sqlengine.runtime.events import memory_events
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.settings import Settings

BATCH = pa.record_batch(
    {
        "n": pa.array(range(10_000), pa.int64()),
        "t": pa.array([None if i % 7 == 0 else f"text {i}" for i in range(10_000)]),
        "l": pa.array([[i] * (i % 3) for i in range(10_000)]),
    }
)


@pytest.fixture
def settings(tmp_path):
    return replace(Settings(), spill_dir=(str(tmp_path),))


@pytest.mark.parametrize("codec", ["lz4", "zstd", "none"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_blocks_come_back_in_any_order_from_many_threads(settings, codec, dictionary):
    directory = SpillDirectory.open(replace(settings, spill_codec=codec))
    batch = BATCH
    if dictionary:
        batch = batch.set_column(1, "t", batch["t"].dictionary_encode())
    file = directory.file("Sort", batch.schema)
    pieces = [batch.slice(i * 1000, 1000) for i in range(10)]
    blocks = [file.append(piece) for piece in pieces]
    wrong = []

    def read():
        for block, piece in reversed(list(zip(blocks, pieces, strict=True))):
            if not file.read(block).equals(piece):
                wrong.append(block)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert file.read(blocks[3], ["l", "n"]).equals(pieces[3].select(["l", "n"]))
    assert file.bytes == directory.bytes == os.path.getsize(file.path)
    file.delete()
    assert directory.bytes == 0
    directory.close()


@pytest.mark.parametrize("dictionary", [False, True])
def test_what_does_not_become_smaller_is_soon_written_as_it_is(settings, dictionary):
    directory = SpillDirectory.open(settings)
    batch = pa.record_batch({"b": pa.array([os.urandom(60_000) for _ in range(10)], pa.binary())})
    if dictionary:
        batch = batch.set_column(0, "b", batch["b"].dictionary_encode())
    file = directory.file("Sort", batch.schema)
    blocks = [file.append(batch) for _ in range(6)]
    assert all(file.read(block).equals(batch) for block in blocks)
    assert blocks[0].length != blocks[-1].length
    assert file.bytes == directory.bytes
    directory.close()


def test_private_directory_gone_on_close_and_one_line_per_operator(settings, tmp_path, caplog):
    directory = SpillDirectory.open(settings)
    before = max((event.number for event in memory_events()), default=0)
    with caplog.at_level(logging.INFO, "sqlengine"):
        files = [directory.file("ExternalSort", BATCH.schema) for _ in range(3)]
        for file in files:
            file.append(BATCH)
        (folder,) = tmp_path.iterdir()
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert len(directory.listing()) == 3
        for file in files:
            file.delete()
    (record,) = caplog.records
    assert record.message.startswith("spilled ") and ", 3 files, " in record.message
    assert record.message.endswith("MiB/s, ExternalSort") and len(memory_events(before)) == 1
    directory.close()
    assert list(tmp_path.iterdir()) == []


def test_directories_take_turns(tmp_path):
    roots = [tmp_path / "a", tmp_path / "b"]
    directory = SpillDirectory.open(replace(Settings(), spill_dir=tuple(map(str, roots))))
    files = [directory.file("x", BATCH.schema) for _ in range(4)]
    assert [file.path.parent.parent.name for file in files] == ["a", "b", "a", "b"]
    directory.close()


def test_quota_stops_the_writer_and_frees_with_delete(settings):
    directory = SpillDirectory.open(replace(settings, spill_limit=100_000, spill_codec="none"))
    file = directory.file("Sort", BATCH.schema)
    with pytest.raises(SpillError, match="limit") as caught:
        for _ in range(100):
            file.append(BATCH.slice(0, 1000))
    assert "spill_limit" in caught.value.hint and directory.bytes <= 120_000
    file.delete()
    directory.file("Sort", BATCH.schema).append(BATCH.slice(0, 1000))
    directory.close()


def test_a_path_that_is_no_directory(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SpillError, match="cannot spill"):
        SpillDirectory.open(replace(Settings(), spill_dir=(str(tmp_path / "file"),))).file("x", BATCH.schema)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_directory(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(SpillError, match="cannot spill"):
        SpillDirectory.open(replace(Settings(), spill_dir=(str(tmp_path),))).file("x", BATCH.schema)


def test_directory_removed_while_spilling(settings):
    directory = SpillDirectory.open(settings)
    file = directory.file("x", BATCH.schema)
    file.append(BATCH)
    file.path.unlink()
    file.path.parent.joinpath("lock").unlink()
    file.path.parent.rmdir()
    with pytest.raises(SpillError, match="cannot spill"):
        file.append(BATCH)
    directory.close()


def test_truncated_file_is_an_error_not_wrong_rows(settings):
    directory = SpillDirectory.open(settings)
    file = directory.file("x", BATCH.schema)
    block = file.append(BATCH)
    os.truncate(file.path, block.offset + 10)
    with pytest.raises(SpillError, match="shorter"):
        file.read(block)
    directory.close()


ROOT = Path(__file__).parents[2]  # where the child finds the package
CHILD = """
import sys, time, pyarrow as pa
from dataclasses import replace
from sqlengine.runtime.spill import SpillDirectory
from sqlengine.settings import Settings
batch = pa.record_batch({"n": pa.array(range(1000))})
directory = SpillDirectory.open(replace(Settings(), spill_dir=(sys.argv[1],)))
directory.file("x", batch.schema).append(batch)
print("ready", flush=True)
if sys.argv[2] == "wait":
    time.sleep(60)
"""


def test_orphans_of_a_killed_process_are_swept_and_those_of_a_living_one_are_not(settings, tmp_path):
    command = [sys.executable, "-c", CHILD, str(tmp_path), "wait"]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    try:
        assert child.stdout.readline() == "ready\n"
        SpillDirectory.open(settings)
        assert len(list(tmp_path.iterdir())) == 1
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    assert len(list(tmp_path.iterdir())) == 1
    SpillDirectory.open(settings)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_forgets_to_close_leaves_nothing(tmp_path):
    subprocess.run([sys.executable, "-c", CHILD, str(tmp_path), "go"], check=True, stdout=subprocess.DEVNULL, cwd=ROOT)
    assert list(tmp_path.iterdir()) == []
