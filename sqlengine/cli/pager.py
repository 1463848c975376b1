"""Results that are larger than the screen, and the last one kept for another look."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from typing import IO

import pyarrow as pa

from sqlengine.cli.render import Out
from sqlengine.relation import Relation
from sqlengine.value_text import width

_KEPT_BYTES = 4 << 20
_HELD_BYTES = 1 << 20


class Kept(Relation):
    """A relation that keeps the rows it gave, as long as they are few."""

    def __init__(self, of: Relation) -> None:
        self.__dict__.update(of.__dict__)
        self._of = of
        self._rows: list[pa.RecordBatch] | None = []

    def batches(self, *, timeout: float | None = None) -> Iterator[pa.RecordBatch]:
        self._rows, size = [], 0
        for batch in self._of.batches(timeout=timeout):
            size += batch.nbytes
            if size > _KEPT_BYTES:
                self._rows = None
            if self._rows is not None:
                self._rows.append(batch)
            yield batch

    __iter__ = batches

    def table(self) -> pa.Table | None:
        """The rows of the last run; None when they were too many to keep. Compacted, as slices hold what they are
        slices of."""
        if self._rows is None:
            return None
        return pa.Table.from_batches(self._rows, schema=self.schema).combine_chunks()


@contextlib.contextmanager
def paged(out: Out, program: str) -> Iterator[Out]:
    """What is written goes to `out` when it fits on the screen, else through the program as it comes."""
    pages = _Pages(out, program)
    try:
        yield Out(pages)  # type: ignore[arg-type]
    except BrokenPipeError:
        pass  # the reader has seen enough
    finally:
        pages.close()


class _Pages:
    """Holds a screenful back; starts the program with what comes after."""

    def __init__(self, out: Out, program: str) -> None:
        self._out = out
        self._program = program
        self._held = bytearray()
        self._process: subprocess.Popen[bytes] | None = None

    def write(self, data: bytes) -> int:
        if self._process is not None:
            self._stream().write(data)
            return len(data)
        self._held += data
        if len(self._held) > _HELD_BYTES or self._is_large():
            self._start()
        return len(data)

    def flush(self) -> None:
        if self._process is not None:
            self._stream().flush()

    def close(self) -> None:
        if self._process is not None:
            with contextlib.suppress(BrokenPipeError):
                self._stream().close()
            while True:
                try:
                    self._process.wait()
                    return
                except KeyboardInterrupt:  # meant for the program
                    continue
        self._out.write(bytes(self._held))
        self._out.flush()

    def _stream(self) -> IO[bytes]:
        assert self._process is not None and self._process.stdin is not None
        return self._process.stdin

    def _is_large(self) -> bool:
        columns, lines = shutil.get_terminal_size()
        if self._held.count(b"\n") >= lines:
            return True
        return any(width(line) > columns for line in self._held.decode("utf-8", "replace").split("\n"))

    def _start(self) -> None:
        environment = os.environ | {"LESS": os.environ.get("LESS", "-SRFX")}
        self._process = subprocess.Popen(self._program, shell=True, stdin=subprocess.PIPE, env=environment)
        self._stream().write(bytes(self._held))
        self._held.clear()
