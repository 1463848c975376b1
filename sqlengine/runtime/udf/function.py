"""What the engine knows of a function that a user wrote: how to call it, its types, and how it is to be run.

A `UserFunction` is data: `physical` and `operators` decide from it, `runtime.udf` calls it. Its options come, each
overriding the one before, from the decorator, from `SET udf.NAME.option = value`, and from the call itself.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pyarrow as pa

from sqlengine.errors import InterfaceError
from sqlengine.settings import parse_bytes

ROW, ARROW, TABLE, AGGREGATE = "row", "arrow", "table", "aggregate"


@dataclass(frozen=True)
class UdfOptions:
    """How a function is run. None: chosen by the engine (batches from the budget and what was observed).

    `batch_rows` and `batch_bytes` bound the input *and* the output of one call of a vectorised function, and what a row
    function makes before it is handed on. `memory`: bytes that a worker may take for itself. `timeout`: seconds for a
    batch. `num_cpus`, `num_gpus`: placement on a cluster.
    """

    batch_rows: int | None = None
    batch_bytes: int | None = None
    concurrency: int | None = None
    isolate: str | None = None  # thread | process
    memory: int | None = None
    num_cpus: float | None = None
    num_gpus: float | None = None
    timeout: float | None = None
    retries: int = 0
    backoff: float = 0.1  # seconds before the first repetition, doubled each time
    on_error: str = "raise"  # raise | null | log
    nulls: str = "skip"  # skip: NULL for a NULL argument without a call | pass
    deterministic: bool = True

    def with_values(self, values: dict[str, Any]) -> UdfOptions:
        """A copy with some options changed; values may be text, as SQL gives them."""
        known = {item.name for item in fields(self)}
        parsed: dict[str, Any] = {}
        for name, value in values.items():
            if name not in known:
                raise InterfaceError(
                    f'unknown option "{name}" of a user function',
                    code="unknown_setting",
                    hint=f"the options are {', '.join(sorted(known))}",
                )
            parsed[name] = None if value is None else _parsed(name, value)
        return replace(self, **parsed)

    @property
    def in_process(self) -> bool:
        """Whether workers are processes: as asked, and where only a process can be stopped or bounded."""
        return self.isolate == "process" or (self.isolate is None and self.timeout is not None)


def _parsed(name: str, value: Any) -> Any:
    try:
        match name:
            case "batch_rows" | "concurrency" | "retries":
                number = int(value)
                if number < (0 if name == "retries" else 1):
                    raise ValueError("too small")
                return number
            case "batch_bytes" | "memory":
                return parse_bytes(value)
            case "timeout" | "backoff" | "num_cpus" | "num_gpus":
                seconds = float(value)
                if seconds < 0 or (name == "timeout" and seconds == 0):
                    raise ValueError("must be positive")
                return seconds
            case "deterministic":
                if isinstance(value, bool):
                    return value
                return {"true": True, "false": False}[str(value).lower()]
            case _:
                allowed = {"isolate": ("thread", "process"), "on_error": ("raise", "null", "log")}
                allowed["nulls"] = ("skip", "pass")
                if value not in allowed[name]:
                    raise ValueError(f"one of {', '.join(allowed[name])}")
                return value
    except (ValueError, KeyError, TypeError) as error:
        raise InterfaceError(
            f"option {name} of a user function: {value!r} will not do ({error})", code="bad_setting_value"
        ) from None


@dataclass(frozen=True)
class RowCosts:
    """Of each row of a batch, in bytes: the most that exists while it is made, and what it leaves."""

    working: list[int]
    output: list[int]


@dataclass(frozen=True)
class UserFunction:
    """A registered function. `make()` gives the callable, once per worker (a class: a new instance).

    `kind`: row (Python values to one value), arrow (arrays to an array), table (Python values to any number of rows),
    aggregate. `args`: argument types, None where any type will do. `returns`: type of the value; for `table` a struct
    gives several columns. `is_async`: the callable is a coroutine function. `costs(arguments)`: what rows will take,
    for functions that can tell before they are called. `parallel`: calls let other threads run, so that several go on
    at a time. `width`: bytes of a value, as a guess before any was seen.
    """

    name: str
    kind: str
    make: Callable[[], Callable[..., Any]] = field(compare=False)
    args: tuple[pa.DataType | None, ...] | None  # None: any number of any type
    returns: pa.DataType
    options: UdfOptions = UdfOptions()
    is_async: bool = False
    doc: str = ""
    required: int = 0  # how many arguments have no default
    costs: Callable[[Sequence[pa.Array]], RowCosts] | None = field(default=None, compare=False)
    parallel: bool = False
    width: float | None = None

    @property
    def summary(self) -> str:
        """The first line of the description, and the options that differ from the defaults."""
        changed = [
            f"{item.name}={getattr(self.options, item.name)}"
            for item in fields(self.options)
            if getattr(self.options, item.name) != item.default
        ]
        return " ".join(filter(None, [self.doc.partition("\n")[0], f"[{', '.join(changed)}]" if changed else ""]))
