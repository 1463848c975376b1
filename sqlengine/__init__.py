"""SQL that never runs out of memory: a streaming Arrow query engine with one budget for the whole process.

>>> import sqlengine
>>> sqlengine.sql("select 1 + 1 as two").fetchall()
[(2,)]
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
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
logging.getLogger(__name__).addHandler(logging.NullHandler())
__version__ = "0.1.0"
__all__ = ["__version__", "connect", "default_session", "errors", "sql", "udaf", "udf"]

_default: Session | None = None
_making = threading.Lock()


def connect(
    *,
    memory_limit: int | str | None = None,
    threads: int | None = None,
    spill_dir: str | PathLike[str] | Sequence[str] | None = None,
    spill_limit: int | str | None = None,
    backend: str | None = None,
    ray_address: str | None = None,
    config: str | PathLike[str] | None = None,
    **settings: Any,
) -> Session:
    """A new session with a budget of its own.

    Parameters
    ----------
    memory_limit : size such as "2GB", optional
        Bound on the resident memory of the process and its children; 80 % of the machine or cgroup by default.
    threads : int, optional
        Tasks at the same time.
    spill_dir : path or paths, optional
        Where spill files go.
    spill_limit : size, optional
        Most bytes of them.
    backend : 'local' or 'ray', optional
    ray_address : str, optional
        The cluster to join.
    config : path, optional
        A TOML file with settings; the environment (`SQLENGINE_THREADS=2`) comes before it, arguments before both.
    **settings
        Any other setting, as in `SHOW ALL`.

    Examples
    --------
    >>> with connect(memory_limit="500MB", threads=2) as session:
    ...     session.sql("select 40 + 2 as n").fetchall()
    [(42,)]
    """
    from sqlengine.session import Session

    settings |= {
        "memory_limit": memory_limit, "threads": threads, "spill_dir": spill_dir, "spill_limit": spill_limit,
        "backend": backend, "ray_address": ray_address,
    }  # fmt: skip
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
    udfs: Sequence[Callable[..., Any]] | Mapping[str, Callable[..., Any]] | None = None,
    capture: bool = True,
    timeout: float | None = None,
) -> Relation:
    """Run SQL in the default session; see `Session.sql`.

    Examples
    --------
    >>> rows = [{"n": 1}, {"n": 2}]
    >>> sql("select sum(n) as total from rows where n > $least", {"least": 1}).fetchall()
    [(2,)]
    """
    return default_session().sql(query, params, tables=tables, udfs=udfs, capture=capture, timeout=timeout)


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext sqlengine`: the magics `%sql` and `%%sql`, and progress of long queries."""
    from sqlengine.cli.notebook import load

    load(shell)


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
