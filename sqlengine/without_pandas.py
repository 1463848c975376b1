"""Arrow without pandas, until somebody imports pandas.

The first `pa.array` or `pa.scalar` of a process imports pandas where it is installed, only to ask whether its argument
is a Series: 45 MB and half a second that a query has no use for. Here Arrow is told once that there is none; when
pandas is imported after all, by whoever works with it, Arrow learns of it in the same moment.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

import pyarrow as pa

_NAME = "pandas"
_lock = threading.Lock()
_done = False


def leave_pandas_out() -> None:
    """Cheap, and done once per process; nothing where pandas was imported before."""
    global _done
    with _lock:
        if _done or _NAME in sys.modules or getattr(pa.lib, "_pandas_api", None) is None:
            return
        _done = True
        watch = _Watch(threading.get_ident())
        sys.meta_path.insert(0, watch)
        pa.array([0])  # asks for pandas, here and now
        watch.hides_from = None


class _Watch(MetaPathFinder):
    """While `hides_from` is a thread, pandas does not exist for it. After that, whoever imports it tells Arrow."""

    def __init__(self, hides_from: int | None) -> None:
        self.hides_from = hides_from

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname != _NAME:
            return None
        if self.hides_from == threading.get_ident():
            raise ModuleNotFoundError(f"No module named {_NAME!r}", name=_NAME)
        if self.hides_from is None and self in sys.meta_path:
            sys.meta_path.remove(self)
        spec = importlib.util.find_spec(_NAME)
        if spec is not None and spec.loader is not None:
            spec.loader = _TellArrow(spec.loader)
        return spec


class _TellArrow(Loader):
    def __init__(self, loader: Loader) -> None:
        self._loader = loader

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._loader.exec_module(module)
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        _ = pa.lib._pandas_api.pd
