"""Workers: who calls a user function: a thread, or a process that gets batches over a pipe.

A worker process has a ceiling on its resident memory, watched while it works: over it, or over its time, or gone, it is
killed with everything it started, the call is a `Failure`, and a new process serves the next one. Between calls a
process that has crept up to its ceiling is replaced.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import inspect
import io
import linecache
import mmap
import os
import pickle
import queue
import re
import select
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Protocol

import pyarrow as pa

from sqlengine.errors import UDFError
from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.udf import child
from sqlengine.runtime.udf.calls import Caller, Failure, Outcome
from sqlengine.runtime.udf.function import ROW, UserFunction
from sqlengine.runtime.udf.values import is_wide
from sqlengine.settings import format_bytes

# What a worker weighs before it does anything: the interpreter and pyarrow.
WORKER_WEIGHT = 72 << 20
# What it may take for itself at first when the function does not say, besides its batches; how much more it is given at
# a time as long as the budget allows, and in all.
WORKER_MEMORY = 12 << 20
_CREEP = 8 << 20
_MORE, MOST_WORKER_MEMORY = 8 << 20, 256 << 20
_POLL = 0.02
_LONG_POLL = 0.1
_PIPE = 1 << 20
_LENGTH = struct.Struct("<Q")
_PAGE = os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else 4096
_DYNAMIC = "<dynamic-code>"
_spawning = threading.Lock()


class Worker(Protocol):
    def submit(self, args: Sequence[pa.Array], rows: int, most_bytes: int) -> None:
        """Begin a call; one at a time."""

    def ready(self) -> bool:
        """Whether `result` would not wait."""

    def result(self) -> Outcome: ...
    def close(self) -> None: ...


class Abandoned(BaseException):
    """Raised inside a function of the user that nobody waits for any more."""


class ThreadWorker:
    """Calls in a thread of its own, so that whoever waits can stop waiting: a call that takes too long, or whose query
    was cancelled, is left to itself (at its next line of Python it ends)."""

    def __init__(self, function: UserFunction, cancel: Cancel) -> None:
        self._function = function
        self._cancel = cancel
        self._thread: _CallThread | None = None
        self._busy = False
        self._deadline: float | None = None

    def submit(self, args: Sequence[pa.Array], rows: int, most_bytes: int) -> None:
        if self._thread is None:
            self._thread = _CallThread(self._function)
        timeout = self._function.options.timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._busy = True
        self._thread.requests.put((args, rows, most_bytes))

    def ready(self) -> bool:
        return self._thread is None or not self._thread.answers.empty()

    def result(self) -> Outcome:
        assert self._thread is not None
        answer: Outcome | BaseException | None = None
        while answer is None:
            try:
                answer = self._thread.answers.get(timeout=_POLL if self._deadline is not None else _LONG_POLL)
            except queue.Empty:
                self._cancel.check()
                if self._deadline is not None and time.monotonic() > self._deadline:
                    row = self._thread.progress[0]
                    self.close()
                    message = f"ran longer than {self._function.options.timeout:g} s"
                    return Outcome(None, 0, Failure("timeout", message, row if row >= 0 else None))
        self._busy = False
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is None:
            return
        if self._busy:
            thread.abandon()
        self._busy = False
        thread.requests.put(None)


class _CallThread(threading.Thread):
    """Calls for a `ThreadWorker`; a daemon, as nothing in this process can end a call that sleeps in C."""

    def __init__(self, function: UserFunction) -> None:
        super().__init__(name=f"sqlengine-udf-{function.name}", daemon=True)
        self.requests: queue.SimpleQueue[tuple[Sequence[pa.Array], int, int] | None] = queue.SimpleQueue()
        self.answers: queue.SimpleQueue[Outcome | BaseException] = queue.SimpleQueue()
        self.progress = memoryview(bytearray(_LENGTH.size)).cast("q")
        self._caller = Caller(function)
        self._watched = function.kind == ROW and function.options.timeout is not None
        self.start()

    def run(self) -> None:
        with contextlib.suppress(Abandoned):
            while (request := self.requests.get()) is not None:
                self.progress[0] = -1
                try:
                    answer: Outcome | BaseException = self._caller.call(
                        *request, self.progress if self._watched else None
                    )
                except Abandoned:
                    return
                except BaseException as error:
                    answer = error
                del request
                self.answers.put(answer)
                del answer

    def abandon(self) -> None:
        if self.ident is not None:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self.ident), ctypes.py_object(Abandoned))


class ProcessWorker:
    """One worker process, started at its first call and again after each one that it did not survive.

    `ceiling`: bytes resident at first; `more` asks the budget for so many; `most`: all that the budget has.
    """

    def __init__(
        self, function: UserFunction, cancel: Cancel, ceiling: int, more: Callable[[int], bool], most: int
    ) -> None:
        self._function = function
        self._room = function.options.memory or min(most, MOST_WORKER_MEMORY)
        self._cancel = cancel
        self._ceiling = ceiling
        self._settled = 0  # resident after its first call
        self._more = more
        self._process: subprocess.Popen[bytes] | None = None
        self._deadline: float | None = None
        self._careful = function.kind == ROW and is_wide(function.returns)
        self._lost: Failure | None = None

    def submit(self, args: Sequence[pa.Array], rows: int, most_bytes: int) -> None:
        if self._process is not None and self._has_crept():
            self.close()
        if self._process is None:
            self._start()
        # A batch of no columns would lose its number of rows: the first column counts them.
        count = pa.nulls(rows)
        batch = pa.RecordBatch.from_arrays([count, *args], [f"a{i}" for i in range(len(args) + 1)])
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, batch.schema) as writer:
            writer.write_batch(batch)
        timeout = self._function.options.timeout
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._lost = None
        try:
            wanted = most_bytes + (child.CAREFUL if self._careful else 0)
            self._progress[0] = -1
            child.send(self._requests, _LENGTH.pack(wanted), memoryview(sink.getvalue()))
        except (BrokenPipeError, OSError):
            self._lost = self._gone()

    def ready(self) -> bool:
        return self._lost is not None or bool(select.select([self._answers], [], [], 0)[0])

    def result(self) -> Outcome:
        failure = self._lost or self._wait()
        answer = None if failure is not None else child.receive(self._answers)
        if failure is None and answer is None:
            failure = self._gone()
        if failure is not None:
            row = self._progress[0]
            self.close()
            # Without the row, the next process is asked to say where it is.
            self._careful = self._function.kind == ROW
            return Outcome(None, 0, replace(failure, row=row) if row >= 0 else failure)
        assert answer is not None
        self._settled = self._settled or self._resident()
        view = memoryview(answer)
        (length,) = _LENGTH.unpack(view[: _LENGTH.size])
        start = _LENGTH.size + length
        done, kept = pickle.loads(view[_LENGTH.size : start])
        values = None
        if len(view) > start:
            batch = next(iter(pa.ipc.open_stream(pa.py_buffer(view[start:]))))
            values = batch.column(0)
        if kept is not None:
            return Outcome(None, done, replace(kept, trace=self._placed(kept.trace), after=values))
        return Outcome(values, done)

    def _placed(self, trace: str) -> str:
        """The traceback with the user's file: code that was sent by value does not know it any more."""
        make = self._function.make
        try:
            path = inspect.getsourcefile(make if inspect.isclass(make) else inspect.unwrap(make()))
        except TypeError:
            path = None
        if path is None or _DYNAMIC not in trace:
            return trace

        def line(found: re.Match[str]) -> str:
            text = linecache.getline(path, int(found[1])).strip()
            return f'File "{path}", line {found[1]}, in {found[2]}' + (f"\n    {text}" if text else "")

        return re.sub(rf'File "{_DYNAMIC}", line (\d+), in (\S+)', line, trace)

    def _wait(self) -> Failure | None:
        """Until the answer begins; the worker is stopped if it takes too much memory or time."""
        assert self._process is not None
        while not select.select([self._answers], [], [], _POLL)[0]:
            self._cancel.check()
            if self._deadline is not None and time.monotonic() > self._deadline:
                return Failure("timeout", f"ran longer than {self._function.options.timeout:g} s")
            while self._resident() > self._ceiling and self._raised():
                pass
            if self._resident() > self._ceiling:
                return Failure("memory", f"its worker grew over {format_bytes(self._ceiling)}")
            if self._process.poll() is not None:
                return self._gone()
        return None

    def _has_crept(self) -> bool:
        """Whether it is near its ceiling, and not because that is what it took from the start."""
        resident = self._resident()
        if resident <= 0.9 * self._ceiling or self._raised():
            return False
        return resident > self._settled + _CREEP

    def _raised(self) -> bool:
        """A higher ceiling, unless the function says what it takes or the budget has no more."""
        if self._function.options.memory is not None or self._ceiling >= WORKER_WEIGHT + MOST_WORKER_MEMORY:
            return False
        if not self._more(_MORE):
            return False
        self._ceiling += _MORE
        return True

    def _gone(self) -> Failure:
        assert self._process is not None
        try:
            code = self._process.wait(1)
        except subprocess.TimeoutExpired:
            code = 0
        if code < 0:
            names = {s.value: s.name for s in signal.Signals}
            return Failure("crash", f"its worker process was ended by {names.get(-code, f'signal {-code}')}")
        return Failure("crash", f"its worker process left with exit code {code}")

    def _resident(self) -> int:
        assert self._process is not None
        try:
            with open(f"/proc/{self._process.pid}/statm", "rb") as file:
                return int(file.read().split()[1]) * _PAGE
        except (OSError, IndexError):
            return 0

    def _start(self) -> None:
        import cloudpickle

        try:
            function = cloudpickle.dumps(self._function)
        except Exception as error:
            raise UDFError(
                f"{self._function.name}() cannot be sent to a worker process: {error}",
                code="udf_not_portable",
                hint="it refers to something that belongs to this process; use isolate = 'thread'",
            ) from error
        with _spawning:  # so that no other child inherits the ends meant for this one
            request_read, request_write = os.pipe()
            answer_read, answer_write = os.pipe()
            environment = dict(os.environ)
            top = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))
            environment["PYTHONPATH"] = os.pathsep.join(filter(None, [top, environment.get("PYTHONPATH", "")]))
            environment.setdefault("MALLOC_ARENA_MAX", "2")
            self._shared = tempfile.TemporaryFile()  # noqa: SIM115  closed with the worker
            self._shared.truncate(_LENGTH.size)
            self._progress = memoryview(mmap.mmap(self._shared.fileno(), _LENGTH.size)).cast("q")
            ends = (request_read, answer_write, self._shared.fileno())
            self._process = subprocess.Popen(
                [sys.executable, "-m", "sqlengine.runtime.udf.child", *map(str, ends)],
                stdin=subprocess.DEVNULL,
                pass_fds=ends,
                env=environment,
                start_new_session=True,  # an interrupt at the terminal is the parent's alone; the group can be killed
            )
            os.close(request_read)
            os.close(answer_write)
            self._settled = 0
        for end in (request_write, answer_read):
            _widen(end)
        self._requests = os.fdopen(request_write, "wb")
        self._answers = _Answers(answer_read)
        child.send(self._requests, pickle.dumps((function, sys.path, self._room)))
        started, self._deadline = self._deadline, None
        failure = self._wait() or (None if child.receive(self._answers) else self._gone())
        self._deadline = started
        if failure is not None:
            self.close()
            raise UDFError(
                f"{self._function.name}(): {failure.message} while it loaded the function",
                code="udf_worker",
                hint="its own messages are on standard error; a module that it imports may be missing",
            )

    def close(self) -> None:
        """Kill the process and all that it started."""
        process, self._process = self._process, None
        if process is None:
            return
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            process.kill()
        process.wait()
        for pipe in (self._requests, self._answers, self._shared):
            with contextlib.suppress(OSError):
                pipe.close()


def _widen(pipe: int) -> None:
    """A larger buffer in the kernel, so that a batch takes few switches between the two processes."""
    if hasattr(fcntl, "F_SETPIPE_SZ"):
        with contextlib.suppress(OSError):  # above what the system allows one user
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)


class _Answers:
    """The reading end of a pipe, unbuffered so that `select` sees all that is left. `read(n)` gives n bytes, fewer only
    when the other side is gone."""

    def __init__(self, end: int) -> None:
        self._raw = io.FileIO(end, "r")

    def fileno(self) -> int:
        return self._raw.fileno()

    def read(self, size: int) -> bytearray:
        buffer = bytearray(size)
        view = memoryview(buffer)
        got = 0
        while got < size:
            n = self._raw.readinto(view[got:])
            if not n:
                return buffer[:got]
            got += n
        return buffer

    def close(self) -> None:
        self._raw.close()
