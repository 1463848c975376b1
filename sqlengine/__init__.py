"""SQL that never runs out of memory: a streaming Arrow query engine with one budget for the whole process.

>>> import sqlengine
>>> sqlengine.sql("select 1 + 1 as two").fetchall()
[(2,)]
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from os import PathLike
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sqlengine import errors
from sqlengine.runtime.allocators import prefer_jemalloc

if TYPE_CHECKING:
    from sqlengine.relation import Relation
    from sqlengine.session import Session
    from sqlengine.udf import udaf, udf

prefer_jemalloc()
__version__ = "0.1.0"
__all__ = ["__version__", "connect", "default_session", "errors", "sql", "udaf", "udf"]

_default: Session | None = None
_making = threading.Lock()


def connect(*, config: str | PathLike[str] | None = None, **settings: Any) -> Session:
    """A new session; settings as in `SHOW ALL`, such as `memory_limit="2GB"`, `threads=4`. `config`: a TOML file of
    them."""
    from sqlengine.session import Session

    return Session(config=config, **settings)


def default_session() -> Session:
    """The session of `sqlengine.sql`, made at the first use."""
    global _default
    with _making:
        if _default is None:
            _default = connect()
    return _default


def sql(
    query: str,
    params: Sequence[Any] | Mapping[str, Any] | None = None,
    *,
    tables: Mapping[str, Any] | None = None,
    capture: bool = True,
    timeout: float | None = None,
) -> Relation:
    """Run SQL in the default session; see `Session.sql`.

    >>> rows = [{"n": 1}, {"n": 2}]
    >>> sql("select sum(n) as total from rows where n > $least", {"least": 1}).fetchall()
    [(2,)]
    """
    return default_session().sql(query, params, tables=tables, capture=capture, timeout=timeout)


def __getattr__(name: str) -> Any:
    """`udf` and `udaf` are imported at their first use, so that `import sqlengine` stays light."""
    if name in ("udf", "udaf"):
        from sqlengine.udf import udaf, udf

        globals().update(udf=udf, udaf=udaf)
        return globals()[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Package(ModuleType):
    """Importing `sqlengine.sql` or `sqlengine.udf` sets an attribute of that name; ours must stay."""

    def __setattr__(self, name: str, value: object) -> None:
        if name not in ("sql", "udf") or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
