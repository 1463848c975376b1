"""Spill files: Arrow IPC blocks in a private directory that is gone when its process is.

Each process has one directory (mode 0700) below each of the configured ones, named after its pid and start time. Opening a
`SpillDirectory` sweeps those whose process no longer lives. A file holds many blocks; each is one IPC message that can be
read by itself, so a file serves all partitions of a buffer. Writes are bounded by `spill_limit` and by the free disk.
"""

from __future__ import annotations

import atexit
import itertools
import logging
import os
import shutil
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pyarrow as pa

from sqlengine.errors import SpillError
from sqlengine.settings import Settings, format_bytes

log = logging.getLogger("sqlengine")
_PREFIX = "sqlengine-spill-"
_FREE_DISK_SHARE = 0.9


@dataclass(frozen=True)
class Block:
    """One batch in a spill file: where it is, its rows, and its bytes in memory."""

    offset: int
    length: int
    rows: int
    bytes: int


class SpillDirectory:
    """Where one session spills. Thread-safe. `bytes` on disk now, `written` and `files` since it was opened."""

    def __init__(self, roots: tuple[Path, ...], limit: int, codec: str) -> None:
        self._roots = itertools.cycle(roots)
        self._all = roots
        self._limit = limit
        self._codec = None if codec == "none" else codec
        self._lock = threading.Lock()
        self._made: set[Path] = set()
        self._numbers = itertools.count()
        self.bytes = 0
        self.written = 0
        self.files = 0
        self.seconds = 0.0

    @classmethod
    def open(cls, settings: Settings) -> SpillDirectory:
        roots = tuple(Path(path) for path in settings.spill_dir) or (Path(tempfile.gettempdir()),)
        for root in roots:
            sweep(root)
        return cls(roots, settings.spill_limit, settings.spill_codec)

    def file(self, owner: str, schema: pa.Schema) -> SpillFile:
        """A new, empty file; raises SpillError when it cannot be made."""
        with self._lock:
            root = next(self._roots)
            number = next(self._numbers)
            self.files += 1
        folder = root / f"{_PREFIX}{os.getpid()}-{_start_time(os.getpid())}-{id(self):x}"
        try:
            if folder not in self._made:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                with self._lock:
                    self._made.add(folder)
                atexit.register(shutil.rmtree, folder, ignore_errors=True)
            return SpillFile(self, folder / f"{number}-{owner}.arrow", owner, schema, self._codec)
        except OSError as error:
            raise _failed(root, error) from error

    def take(self, n: int, path: Path) -> None:
        """Count `n` more bytes on disk, if the limit and the disk allow them."""
        with self._lock:
            if self._limit and self.bytes + n > self._limit:
                raise SpillError(
                    f"spill files reached their limit of {format_bytes(self._limit)}",
                    hint="raise spill_limit, or raise memory_limit so that less is spilled",
                )
            self.bytes += n
            self.written += n
        if not self._limit and n > shutil.disk_usage(path.parent).free * _FREE_DISK_SHARE:
            raise SpillError(f"the disk of {path.parent} is almost full", hint="set spill_dir to another disk")

    def give(self, n: int) -> None:
        with self._lock:
            self.bytes -= n

    def close(self) -> None:
        """Remove all files."""
        with self._lock:
            for folder in self._made:
                shutil.rmtree(folder, ignore_errors=True)
            self._made.clear()
            self.bytes = 0


class SpillFile:
    """Batches of one schema, appended by one thread, read by any. Removed by `delete`."""

    def __init__(self, directory: SpillDirectory, path: Path, owner: str, schema: pa.Schema, codec: str | None) -> None:
        self._directory = directory
        self.path = path
        self.owner = owner
        self.schema = schema
        self._options = pa.ipc.IpcWriteOptions(compression=codec)
        # Unbuffered by Arrow, so that what is counted is what is on disk.
        self._sink = pa.OSFile(str(path), "wb")
        self._writer = pa.ipc.new_stream(self._sink, schema, options=self._options)
        self._reader: int | None = None
        self._lock = threading.Lock()
        self.bytes = 0
        self.rows = 0
        self.seconds = 0.0

    def append(self, batch: pa.RecordBatch) -> Block:
        """Write a batch; raises SpillError when the disk is full or the limit reached."""
        start = time.perf_counter()
        try:
            before = self._sink.tell()
            self._directory.take(0, self.path)
            self._writer.write_batch(batch)
            after = self._sink.tell()
            self._directory.take(after - before, self.path)
        except OSError as error:
            raise _failed(self.path.parent, error) from error
        self.bytes += after - before
        self.rows += batch.num_rows
        self.seconds += time.perf_counter() - start
        return Block(before, after - before, batch.num_rows, batch.nbytes)

    def finish(self) -> None:
        """No more batches; logs what was written."""
        if not self._sink.closed:
            try:
                self._writer.close()
                self._sink.close()
            except OSError as error:
                raise _failed(self.path.parent, error) from error
            rate = self.bytes / self.seconds / (1 << 20) if self.seconds else 0.0
            log.info("spilled %s, 1 files, %.0f MiB/s, %s", format_bytes(self.bytes), rate, self.owner)

    def read(self, block: Block) -> pa.RecordBatch:
        """One batch back; any thread may call it, also while the file grows."""
        try:
            with self._lock:
                if self._reader is None:
                    self._reader = os.open(self.path, os.O_RDONLY)
            data = os.pread(self._reader, block.length, block.offset)
        except OSError as error:
            raise _failed(self.path.parent, error) from error
        message = pa.ipc.read_message(pa.py_buffer(data))
        return pa.ipc.read_record_batch(message, self.schema)

    def delete(self) -> None:
        try:
            self._writer.close()
            self._sink.close()
        except OSError:
            pass  # nothing of it is needed any more
        with self._lock:
            if self._reader is not None:
                os.close(self._reader)
                self._reader = None
        self.path.unlink(missing_ok=True)
        self._directory.give(self.bytes)
        self.bytes = 0


def sweep(root: Path) -> int:
    """Remove the spill directories below `root` whose process is gone; how many."""
    removed = 0
    try:
        found = list(root.glob(f"{_PREFIX}*"))
    except OSError:
        return 0
    for folder in found:
        pid, _, rest = folder.name.removeprefix(_PREFIX).partition("-")
        started = rest.partition("-")[0]
        if pid.isdigit() and _start_time(int(pid)) != started:
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _start_time(pid: int) -> str:
    """Start of a process in 1/100 s, or '' if there is none: with the pid it names a process for good."""
    try:
        return str(int(psutil.Process(pid).create_time() * 100))
    except psutil.Error:
        return ""


def _failed(where: Path, error: OSError) -> SpillError:
    return SpillError(
        f"cannot spill to {where}: {error.strerror or error}",
        hint="set spill_dir to a directory with free space that can be written, or raise memory_limit",
    )
