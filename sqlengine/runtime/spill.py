"""Spill files: Arrow IPC blocks in a private directory that is gone when its process is.

Each process has one directory (mode 0700) below each of the configured ones, named after its pid and start time, in
which it holds a lock on the file `lock`. The kernel drops that lock when the process ends in whatever way, so opening a
`SpillDirectory` sweeps the directories whose lock is free. A file holds many blocks; each can be read by itself, so a
file serves all partitions of a buffer. A file whose first blocks hardly become smaller goes on without compression.
Writes are bounded by `spill_limit` and by the free disk.
"""

from __future__ import annotations

import atexit
import fcntl
import itertools
import logging
import os
import re
import shutil
import tempfile
import threading
import time
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

import psutil
import pyarrow as pa

from sqlengine.errors import SpillError
from sqlengine.runtime.events import record_event
from sqlengine.settings import Settings, format_bytes

log = logging.getLogger("sqlengine")
_PREFIX = "sqlengine-spill-"
_FREE_DISK_SHARE = 0.9  # of the free disk, where spill_limit is 0
_DISK_RESERVE = 16 << 20  # left free for everybody else, whatever spill_limit says
_TRIED_BYTES, _WORTH = 1 << 20, 0.85  # so much is compressed before it has to be smaller than this share
_UNLOCKED_AGE = 60.0  # seconds after which a directory without a lock file is not one that is just being made


@dataclass(frozen=True)
class Block:
    """One batch in a spill file: where it is, its rows, and its bytes in memory."""

    offset: int
    length: int
    rows: int
    bytes: int


@dataclass
class _Owner:
    """What one operator has spilled since it last had no file."""

    bytes: int = 0
    files: int = 0
    seconds: float = 0.0
    open: int = 0


@dataclass(frozen=True)
class SpillFileInfo:
    """One open file, for `sqlengine_spill_files()`. `bytes` on disk."""

    path: str
    owner: str
    rows: int
    bytes: int


@dataclass
class _Folder:
    """Our private directory below one root, and the descriptor that holds its lock."""

    path: Path
    lock: int
    pid: int = field(default_factory=os.getpid)

    def remove(self) -> None:
        # A forked child inherits the exit handler, but not the directory.
        if self.pid == os.getpid() and self.lock >= 0:
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self.lock)
            self.lock = -1


_live: weakref.WeakSet[SpillDirectory] = weakref.WeakSet()
_live_lock = threading.Lock()


def open_spill_directories() -> list[SpillDirectory]:
    """Those of the sessions of this process."""
    with _live_lock:
        return list(_live)


class SpillDirectory:
    """Where one session spills. Thread-safe. `bytes` on disk now; `written`, `files`, `seconds` since it was opened."""

    def __init__(self, roots: tuple[Path, ...], limit: int, codec: str) -> None:
        self._roots = itertools.cycle(roots)
        self._limit = limit
        self._codec = None if codec == "none" else codec
        self._lock = threading.Lock()
        self._folders: dict[Path, _Folder] = {}
        self._numbers = itertools.count()
        self._owners: dict[str, _Owner] = {}
        self._open: set[SpillFile] = set()
        self.bytes = 0
        self.written = 0
        self.files = 0
        self.seconds = 0.0
        with _live_lock:
            _live.add(self)

    @classmethod
    def open(cls, settings: Settings) -> SpillDirectory:
        """Sweep what dead processes left. The directories are made when the first file is, errors come then."""
        roots = tuple(Path(path) for path in settings.spill_dir) or (Path(tempfile.gettempdir()),)
        for root in roots:
            sweep(root)
        return cls(roots, settings.spill_limit, settings.spill_codec)

    def copy(self, name: str, stream: IO[bytes]) -> Path:
        """A stream as a file, for those who read it more than once."""
        with self._lock:
            root = next(self._roots)
            try:
                folder = self._folders.get(root)
                if folder is None:
                    folder = self._folders[root] = _make_folder(root)
            except OSError as error:
                raise _failed(root, error) from error
        path = folder.path / name
        try:
            with open(path, "wb") as file:
                shutil.copyfileobj(stream, file, 1 << 20)
        except OSError as error:
            raise _failed(root, error) from error
        return path

    def file(self, owner: str, schema: pa.Schema) -> SpillFile:
        """A new, empty file in the next of the directories; raises SpillError when it cannot be made."""
        with self._lock:
            root = next(self._roots)
            name = re.sub(r"[^A-Za-z0-9]+", "_", owner)
            try:
                folder = self._folders.get(root)
                if folder is None:
                    folder = self._folders[root] = _make_folder(root)
                made = SpillFile(self, folder.path / f"{next(self._numbers)}-{name}.arrow", owner, schema, self._codec)
            except OSError as error:
                raise _failed(root, error) from error
            self.files += 1
            counts = self._owners.setdefault(owner, _Owner())
            counts.files += 1
            counts.open += 1
            self._open.add(made)
            return made

    def check(self, n: int, path: Path) -> None:
        """Raise SpillError unless about `n` more bytes may be written beside `path`."""
        free = shutil.disk_usage(path.parent).free
        if n + _DISK_RESERVE > free:
            raise SpillError(
                f"the disk of {path.parent} is almost full ({format_bytes(free)} free)",
                code="spill_disk_full",
                hint="set spill_dir to another disk, or raise memory_limit so that less is spilled",
            )
        limit = self._limit or int((free + self.bytes) * _FREE_DISK_SHARE)
        if self.bytes + n > limit:
            setting = "spill_limit" if self._limit else "90 % of the free disk, as spill_limit is not set"
            raise SpillError(
                f"spill files reached their limit of {format_bytes(limit)} ({setting})",
                hint="raise spill_limit, set spill_dir to a larger disk, or raise memory_limit to spill less",
            )

    def count(self, owner: str, n: int, seconds: float) -> None:
        """`n` more bytes of `owner` are on disk, and writing them took `seconds`."""
        with self._lock:
            self.bytes += n
            self.written += n
            self.seconds += seconds
            counts = self._owners.setdefault(owner, _Owner())
            counts.bytes += n
            counts.seconds += seconds

    def release(self, file: SpillFile) -> None:
        """A file is gone. With the last one of its owner goes one line to the log: what that operator spilled."""
        with self._lock:
            if file not in self._open:
                return
            self._open.discard(file)
            self.bytes -= file.bytes
            counts = self._owners[file.owner]
            counts.open -= 1
            if counts.open:
                return
            del self._owners[file.owner]
        if counts.bytes:
            rate = counts.bytes / counts.seconds / (1 << 20) if counts.seconds else 0.0
            files = f"{counts.files} file{'s' if counts.files != 1 else ''}"
            text = f"spilled {format_bytes(counts.bytes)}, {files}, {rate:.0f} MiB/s, {file.owner}"
            log.info(text)
            record_event("spill", file.owner, counts.bytes, text)

    def listing(self) -> list[SpillFileInfo]:
        """The files there are now."""
        with self._lock:
            return [SpillFileInfo(str(f.path), f.owner, f.rows, f.bytes) for f in self._open]

    def close(self) -> None:
        """Remove all files."""
        with self._lock:
            left = list(self._open)
        for file in left:
            file.delete()
        with self._lock:
            for folder in self._folders.values():
                folder.remove()
                atexit.unregister(folder.remove)
            self._folders.clear()


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
        # Dictionaries are messages of their own that a stream writes once; a block with them is a whole stream, so that
        # it can be read by itself.
        self._whole_streams = any(_has_dictionary(column.type) for column in schema)
        self._stream = None if self._whole_streams else self._new_stream()
        self._packs = codec is not None
        self._tried = 0  # bytes before compression
        self._reader: int | None = None
        self._lock = threading.Lock()
        self.bytes = 0
        self.rows = 0
        self.seconds = 0.0

    def _new_stream(self) -> pa.RecordBatchStreamWriter:
        # A stream writes its schema with the first batch.
        self._preface = int(self.schema.serialize().size)
        return pa.ipc.new_stream(self._sink, self.schema, options=self._options)

    def append(self, batch: pa.RecordBatch) -> Block:
        """Write a batch (of a slice what it shows); raises SpillError when the disk is full or the limit reached."""
        begun = time.perf_counter()
        try:
            self._directory.check(batch.nbytes // 4, self.path)
            start = self._sink.tell()
            if self._stream is not None:
                self._stream.write_batch(batch)
                offset, self._preface = start + self._preface, 0
            else:
                with pa.ipc.new_stream(self._sink, self.schema, options=self._options) as writer:
                    writer.write_batch(batch)
                offset = start
            end = self._sink.tell()
            if not self.path.exists():
                raise FileNotFoundError(2, "the file was removed while it was being written")
        except OSError as error:
            raise _failed(self.path.parent, error) from error
        seconds = time.perf_counter() - begun
        self.bytes += end - start
        self.rows += batch.num_rows
        self.seconds += seconds
        self._directory.count(self.owner, end - start, seconds)
        self._look_at_size(batch.nbytes)
        return Block(offset, end - offset, batch.num_rows, batch.nbytes)

    def _look_at_size(self, size: int) -> None:
        """Give up compression where it does not pay."""
        if self._packs and self._tried < _TRIED_BYTES:
            self._tried += size
            if self._tried >= _TRIED_BYTES and self.bytes > _WORTH * self._tried:
                self._packs = False
                self._options = pa.ipc.IpcWriteOptions()
                if self._stream is not None:
                    self._stream = self._new_stream()

    def finish(self) -> None:
        """No more batches: gives the file descriptor back."""
        if not self._sink.closed:
            try:
                self._sink.close()
            except OSError as error:
                raise _failed(self.path.parent, error) from error

    def read(self, block: Block, columns: list[str] | None = None) -> pa.RecordBatch:
        """One batch back, or some `columns` of it; any thread may call it, also while the file grows."""
        try:
            with self._lock:
                if self._reader is None:
                    self._reader = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            data = _read_range(self._reader, block)
        except OSError as error:
            raise _failed(self.path.parent, error) from error
        if columns is None or not self._whole_streams:
            # A message alone does not take options; columns that are not wanted are decoded and dropped.
            batch = read_block(data, self.schema)
            return batch if columns is None else batch.select(columns)
        wanted = sorted(self.schema.names.index(name) for name in columns)
        options = pa.ipc.IpcReadOptions(use_threads=False, included_fields=wanted)
        return pa.ipc.open_stream(data, options=options).read_next_batch().select(columns)

    def hand_over(self, path: Path) -> None:
        """Close the file and give it to somebody else as `path`, on the same file system."""
        self.finish()
        with self._lock:
            if self._reader is not None:
                os.close(self._reader)
                self._reader = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            os.rename(self.path, path)
        except OSError as error:
            raise _failed(self.path.parent, error) from error
        self._directory.release(self)

    def delete(self) -> None:
        """Remove the file. May be called again."""
        with self._lock:
            if self._reader is not None:
                os.close(self._reader)
                self._reader = None
        try:
            self._sink.close()
            self.path.unlink(missing_ok=True)
        except OSError:
            pass  # nothing of it is needed any more, and the sweep takes what is left
        self._directory.release(self)


def sweep(root: Path) -> int:
    """Remove the spill directories below `root` whose process is gone; how many."""
    removed = 0
    try:
        found = list(root.glob(f"{_PREFIX}*"))
    except OSError:
        return 0
    for folder in found:
        if _is_orphan(folder):
            shutil.rmtree(folder, ignore_errors=True)
            removed += 1
    return removed


def _is_orphan(folder: Path) -> bool:
    try:
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        try:
            return time.time() - folder.stat().st_mtime > _UNLOCKED_AGE
        except OSError:
            return False
    except OSError:
        return False  # of another user
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return True
    except OSError:
        return False
    finally:
        os.close(lock)


def _make_folder(root: Path) -> _Folder:
    root.mkdir(parents=True, exist_ok=True)
    started = int(psutil.Process().create_time())
    folder = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-{started}-", dir=root))  # mode 0700
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        shutil.rmtree(folder, ignore_errors=True)
        raise
    made = _Folder(folder, lock)
    atexit.register(made.remove)
    return made


def read_block(data: pa.Buffer, schema: pa.Schema) -> pa.RecordBatch:
    """The batch in the bytes of one block of a file of this schema."""
    if any(_has_dictionary(column.type) for column in schema):
        return pa.ipc.open_stream(data, options=pa.ipc.IpcReadOptions(use_threads=False)).read_next_batch()
    return pa.ipc.read_record_batch(pa.ipc.read_message(data), schema)


def _read_range(descriptor: int, block: Block) -> pa.Buffer:
    data = os.pread(descriptor, block.length, block.offset)
    while len(data) < block.length:  # one call gives at most 2 GiB
        more = os.pread(descriptor, block.length - len(data), block.offset + len(data))
        if not more:
            raise OSError(5, "the file is shorter than what was written to it")
        data += more
    return pa.py_buffer(data)


def _has_dictionary(type: pa.DataType) -> bool:
    if pa.types.is_dictionary(type):
        return True
    if isinstance(type, pa.BaseExtensionType):
        return _has_dictionary(type.storage_type)
    return any(_has_dictionary(type.field(i).type) for i in range(type.num_fields))


def _failed(where: Path, error: OSError) -> SpillError:
    return SpillError(
        f"cannot spill to {where}: {error.strerror or error}",
        code="spill_disk_full" if error.errno == 28 else "spill_failed",
        hint="set spill_dir to a directory with free space that can be written, or raise memory_limit",
    )
