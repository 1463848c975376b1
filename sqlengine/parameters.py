"""Values that people bind to a statement: Python objects, or words of the command line, as typed literals."""

from __future__ import annotations

import datetime
import re
import uuid
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pyarrow as pa

from sqlengine.errors import InterfaceError
from sqlengine.expr.nodes import Literal, literal
from sqlengine.types import canonical

Params = Sequence[Any] | Mapping[str, Any] | None


def bound_parameters(params: Params) -> dict[str, Literal]:
    """By name (in small letters) or by number from "1"."""
    if params is None:
        return {}
    if isinstance(params, Mapping):
        return {str(name).lstrip("$:").lower(): as_literal(value) for name, value in params.items()}
    if isinstance(params, str | bytes) or not isinstance(params, Sequence):
        raise InterfaceError(
            "params must be a sequence of values or a mapping of names to values", hint="for one value write [value]"
        )
    return {str(number): as_literal(value) for number, value in enumerate(params, 1)}


def as_literal(value: Any) -> Literal:
    """A Python value, or a pyarrow scalar with its own type, as SQL sees it."""
    match value:
        case Literal():
            return value
        case pa.Scalar():
            type_ = canonical(value.type)
            return Literal(type_, value.cast(type_).as_py())
        case None | bool() | int() | float() | str() | bytes() | Decimal() | datetime.date() | datetime.time():
            return literal(value)
        case bytearray() | memoryview():
            return literal(bytes(value))
        case datetime.timedelta():
            rest = value - datetime.timedelta(days=value.days)
            return Literal(
                pa.month_day_nano_interval(), pa.MonthDayNano([0, value.days, rest //
                datetime.timedelta(microseconds=1) * 1000])
            )  # fmt: skip
        case uuid.UUID():
            return literal(str(value))
        case list() | tuple() | dict():
            try:
                scalar = pa.scalar(list(value) if isinstance(value, tuple) else value)
            except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
                raise InterfaceError(f"the parameter {value!r:.60} has no SQL type: {error}") from None
            return Literal(canonical(scalar.type), scalar.as_py())
    item = getattr(value, "item", None)  # numpy and the like
    if callable(item):
        return as_literal(item())
    raise InterfaceError(
        f"a {type(value).__name__} cannot be a parameter", hint="give numbers, texts, dates, lists, or a pyarrow scalar"
    )


def from_text(word: str) -> Any:
    """A value as it is given on the command line: 5, 1.5, true, null, 'text'; anything else is a text as it stands."""
    low = word.strip().lower()
    if low in ("true", "false"):
        return low == "true"
    if low == "null":
        return None
    if re.fullmatch(r"[-+]?\d+", low):
        return int(low)
    if re.fullmatch(r"[-+]?(\d+\.\d*|\.\d+)", low):
        return Decimal(low)
    if re.fullmatch(r"[-+]?(\d+\.?\d*|\.\d+)e[-+]?\d+", low):
        return float(low)
    if len(word) >= 2 and word[0] == word[-1] == "'":
        return word[1:-1].replace("''", "'")
    return word
