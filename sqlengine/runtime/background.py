"""Work on a thread of its own beside the thread that wants it: one call, or a stream one item ahead.

Kernels, codecs and files release the interpreter's lock, so that a sort that writes a run, or merges runs, goes on
while its input is decoded or its output encoded. Errors are raised where the result is asked for. Held: by a stream the
item that waits, and the one that is being made.
"""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class Background(Generic[T]):
    """A call that has been started; `result` waits for what it returns."""

    def __init__(self, call: Callable[[], T], name: str) -> None:
        self._call = call
        self._found: list[T] = []
        self._error: BaseException | None = None
        self._done = threading.Event()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def _run(self) -> None:
        try:
            self._found.append(self._call())
        except BaseException as error:
            # The error outlives this thread, and with it the frames it passed: what they hold is let go now.
            traceback.clear_frames(error.__traceback__)
            self._error = error
        finally:
            del self._call
            self._done.set()

    @property
    def done(self) -> bool:
        return self._done.is_set()

    def wait(self) -> None:
        """Until it has ended, in whatever way."""
        self._done.wait()

    def result(self) -> T:
        self._done.wait()
        if self._error is not None:
            raise self._error
        return self._found[0]


def ahead(stream: Iterator[T], name: str) -> Iterator[T]:
    """The items of a stream, which is pulled, and closed, on another thread."""
    changed = threading.Condition()
    ready: list[T] = []
    stopped = False

    def pull() -> None:
        try:
            for item in stream:
                with changed:
                    while ready and not stopped:
                        changed.wait()
                    if stopped:
                        return
                    ready.append(item)
                    changed.notify_all()
                del item
        finally:
            close = getattr(stream, "close", None)
            if close is not None:
                close()
            with changed:
                changed.notify_all()

    # What waits must not be notified before it waits: the thread takes the lock to tell that it has ended.
    thread = Background(pull, name)
    try:
        while True:
            with changed:
                while not ready and not thread.done:
                    changed.wait(0.1)
                if not ready:
                    thread.result()
                    return
                item = ready.pop()
                changed.notify_all()
            yield item
            del item
    finally:
        with changed:
            stopped = True
            ready.clear()
            changed.notify_all()
        thread.wait()
