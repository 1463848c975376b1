"""A worker process for user functions: `python -m sqlengine.runtime.udf.child READ WRITE PROGRESS`.

It reads requests from one pipe and answers on another: first the function (a pickle), then one Arrow batch of arguments
at a time. Whatever the function prints goes to standard error. It ends with the pipe, on Linux also with its parent.
A message is 8 bytes of length, then that many bytes. PROGRESS is a file of 8 bytes shared with the parent: the row
that is being computed, so that the parent knows it if this process does not survive.
"""

from __future__ import annotations

import mmap
import os
import pickle
import signal
import struct
import sys
from typing import BinaryIO, Protocol

_LENGTH = struct.Struct("<Q")
_PR_SET_PDEATHSIG = 1
# Added to the bytes wanted: say row by row where the function is.
CAREFUL = 1 << 62
_SLACK = 64 << 20


def send(pipe: BinaryIO, *parts: bytes | memoryview) -> None:
    """One message of several parts."""
    pipe.write(_LENGTH.pack(sum(len(part) for part in parts)))
    for part in parts:
        pipe.write(part)
    pipe.flush()


class Readable(Protocol):
    def read(self, size: int, /) -> bytes | bytearray: ...


def receive(pipe: Readable) -> bytes | bytearray | None:
    """The next message, None when the other side is gone."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (length,) = _LENGTH.unpack(head)
    body = pipe.read(length)
    return body if len(body) == length else None


def _die_with_parent() -> None:
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _bound(room: int) -> None:
    """Let an allocation fail that would take this process far beyond its ceiling: the parent, which looks now and then,
    may come too late. Stacks of threads count too, hence the slack."""
    if sys.platform == "linux":
        import resource

        with open("/proc/self/statm", "rb") as file:
            mapped = int(file.read().split()[5]) * os.sysconf("SC_PAGE_SIZE")
        most = mapped + room + _SLACK
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        if hard == resource.RLIM_INFINITY or most < hard:
            resource.setrlimit(resource.RLIMIT_DATA, (most, hard))


def main(read_end: int, write_end: int, progress_file: int) -> None:
    _die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what an interrupt stops
    os.dup2(2, 1)
    requests, answers = os.fdopen(read_end, "rb"), os.fdopen(write_end, "wb")
    progress = memoryview(mmap.mmap(progress_file, _LENGTH.size)).cast("q")
    import cloudpickle  # noqa: F401  what was pickled by it needs it here too
    import pyarrow as pa

    from sqlengine.runtime.udf.calls import Caller, Failure

    start = receive(requests)
    if start is None:
        return
    function, path, room = pickle.loads(start)
    sys.path[:0] = [entry for entry in path if entry not in sys.path]
    caller = Caller(pickle.loads(function))
    _bound(room)
    send(answers, b"ready")
    mine = os.getpid()
    while (request := receive(requests)) is not None:
        (most_bytes,) = _LENGTH.unpack(request[: _LENGTH.size])
        careful = most_bytes >= CAREFUL
        batch = next(iter(pa.ipc.open_stream(pa.py_buffer(memoryview(request)[_LENGTH.size :]))))
        outcome = caller.call(batch.columns[1:], batch.num_rows, most_bytes % CAREFUL, progress if careful else None)
        if os.getpid() != mine:
            os._exit(0)  # the function forked, and this is the copy
        failure = outcome.failure
        values = outcome.values if failure is None else failure.after
        kept = None
        if failure is not None:
            error = _portable(failure.error)
            kept = Failure(failure.kind, failure.message, failure.row, failure.trace, error, None)
        body: bytes | memoryview = b""
        if values is not None:
            sink = pa.BufferOutputStream()
            with pa.ipc.new_stream(sink, pa.schema([pa.field("v", values.type)])) as writer:
                writer.write_batch(pa.RecordBatch.from_arrays([values], ["v"]))
            body = memoryview(sink.getvalue())
        head = pickle.dumps((outcome.done, kept))
        send(answers, _LENGTH.pack(len(head)), head, body)
        del request, batch, outcome, values, body


def _portable(error: BaseException | None) -> BaseException | None:
    """The exception, if it survives the way to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return None
    return error


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
