"""The keeper of a node's shuffle files: an actor without a CPU that owns a folder and serves ranges of its files.

Everything a node leaves for others lies in this folder. It is gone when the keeper is, in whatever way that ends: a
small shell waits at the end of a pipe that only the keeper holds, and removes the folder when the pipe closes. The
keeper knows nothing about queries, so a lost one costs its files and no answer.

The class is made by a function, so that it travels as code: its process imports nothing of the engine and stays small.
"""

from __future__ import annotations

from typing import Any


def keeper_class() -> Any:
    """The class of the actor, to be made remote."""

    class NodeKeeper:
        def __init__(self, roots: tuple[str, ...], session: str) -> None:
            import os
            import subprocess
            import tempfile

            root = roots[0] if roots else tempfile.gettempdir()
            os.makedirs(root, exist_ok=True)
            self.folder = tempfile.mkdtemp(prefix=f"sqlengine-shuffle-{session}-", dir=root)
            script = 'exec 3<&0; ( read _ <&3; rm -rf -- "$1" ) >/dev/null 2>&1 &'
            self._pipe = subprocess.Popen(
                ["sh", "-c", script, "sh", self.folder], stdin=subprocess.PIPE, start_new_session=True, close_fds=True
            )
            self._pipe.wait()  # the waiting one is in the background, nobody's child

        def ready(self) -> tuple[str, int]:
            import os

            return self.folder, os.getpid()

        def read(self, name: str, ranges: list[tuple[int, int]]) -> bytes:
            """The bytes of some (offset, length) ranges of a file, one after the other."""
            import os

            file = os.open(os.path.join(self.folder, name), os.O_RDONLY)
            try:
                found = []
                for offset, length in ranges:
                    data = os.pread(file, length, offset)
                    while len(data) < length:
                        more = os.pread(file, length - len(data), offset + len(data))
                        if not more:
                            raise OSError(5, "the file is shorter than what was written to it")
                        data += more
                    found.append(data)
                return found[0] if len(found) == 1 else b"".join(found)
            finally:
                os.close(file)

        def drop(self, query: str) -> None:
            """Remove what a query left."""
            import os
            import shutil

            shutil.rmtree(os.path.join(self.folder, query), ignore_errors=True)

        def remove(self, name: str) -> None:
            """Remove one file, which nobody will read again."""
            import contextlib
            import os

            with contextlib.suppress(OSError):
                os.unlink(os.path.join(self.folder, name))

        def disk(self) -> tuple[int, int]:
            """Bytes of the file system of the folder: all, free."""
            import shutil

            usage = shutil.disk_usage(self.folder)
            return usage.total, usage.free

    return NodeKeeper
