"""SQL that never runs out of memory: a streaming Arrow query engine with one budget for the whole process.

>>> import sqlengine
>>> sqlengine.sql("select 1 + 1 as two").fetchall()
[(2,)]
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from sqlengine import errors
from sqlengine.runtime.allocators import prefer_jemalloc

if TYPE_CHECKING:
    from sqlengine.relation import Relation
    from sqlengine.session import Session

prefer_jemalloc()
__version__ = "0.1.0"
__all__ = ["__version__", "connect", "errors", "sql"]

_default: Session | None = None


def connect(**settings: Any) -> Session:
    """A new session; settings as in `SHOW ALL`, such as `memory_limit="2GB"`, `threads=4`."""
    from sqlengine.session import Session

    return Session(**settings)


def sql(query: str) -> Relation:
    """Run SQL in the default session, made at the first call."""
    global _default
    if _default is None:
        _default = connect()
    return _default.sql(query)


class _Package(ModuleType):
    """Importing the subpackage `sqlengine.sql` sets an attribute of that name here; the function `sql` must stay."""

    def __setattr__(self, name: str, value: object) -> None:
        if name != "sql" or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
