"""Reader options: taken one by one, checked, and what nobody took is an error with the nearest name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from sqlengine.errors import BindError
from sqlengine.types import HUGEINT

_TYPES = {
    "boolean": pa.bool_(), "bool": pa.bool_(), "tinyint": pa.int8(), "smallint": pa.int16(), "integer": pa.int32(),
    "int": pa.int32(), "bigint": pa.int64(), "utinyint": pa.uint8(), "usmallint": pa.uint16(), "uinteger": pa.uint32(),
    "ubigint": pa.uint64(), "hugeint": HUGEINT, "float": pa.float32(), "real": pa.float32(), "double": pa.float64(),
    "varchar": pa.string(), "text": pa.string(), "string": pa.string(), "blob": pa.binary(), "date": pa.date32(),
    "time": pa.time64("us"), "timestamp": pa.timestamp("us"), "datetime": pa.timestamp("us"),
    "timestamptz": pa.timestamp("us", "UTC"), "timestamp with time zone": pa.timestamp("us", "UTC"),
    "decimal": pa.decimal128(18, 3), "numeric": pa.decimal128(18, 3), "int4": pa.int32(), "int8": pa.int64(),
}  # fmt: skip


def named_type(name: Any) -> pa.DataType:
    """The type a reader option names: `'BIGINT'`, `'DECIMAL(10,2)'`."""
    if isinstance(name, pa.DataType):
        return name
    text = str(name).strip().lower()
    found = _TYPES.get(text)
    if found is not None:
        return found
    match = re.fullmatch(r"(?:decimal|numeric)\s*\(\s*(\d+)\s*(?:,\s*(\d+)\s*)?\)", text)
    if match and int(match[1]) <= 38:
        return pa.decimal128(int(match[1]), int(match[2] or 0))
    raise BindError(f"{name!r} is not a type a reader knows", code="unknown_type", hint="such as BIGINT, VARCHAR, DATE")


class ReaderOptions:
    """The named arguments of one reader call, names in any case."""

    def __init__(self, reader: str, given: Mapping[str, Any]) -> None:
        self._reader = reader
        self._left = {name.lower(): value for name, value in given.items()}
        self._asked: set[str] = set()

    def take(self, *names: str, default: Any = None) -> Any:
        """The value under any of the names (synonyms), or the default."""
        self._asked.update(names)
        found = default
        for name in names:
            if name in self._left:
                found = self._left.pop(name)
        return found

    def flag(self, *names: str, default: bool | None = False) -> Any:
        """A boolean option; the default may be None for "find out"."""
        value = self.take(*names, default=default)
        match str(value).strip().lower():
            case "true" | "1" | "on" | "yes":
                return True
            case "false" | "0" | "off" | "no":
                return False
        if value is None or value == "auto":
            return None
        raise BindError(f"{self._reader}: {names[0]} must be true or false, not {value!r}", code="bad_option")

    def number(self, *names: str, default: int, low: int = 0) -> int:
        value = self.take(*names, default=default)
        try:
            found = int(value)
        except (TypeError, ValueError):
            found = low - 1
        if found < low:
            raise BindError(f"{self._reader}: {names[0]} must be a number from {low}, not {value!r}", code="bad_option")
        return found

    def types(self, *names: str) -> dict[str, pa.DataType]:
        value = self.take(*names, default={})
        if not isinstance(value, Mapping):
            raise BindError(f"{self._reader}: {names[0]} must be a struct such as {{'a': 'BIGINT'}}", code="bad_option")
        return {str(name): named_type(type_) for name, type_ in value.items()}

    def finish(self) -> None:
        for name in self._left:
            near = difflib.get_close_matches(name, sorted(self._asked), 1)
            raise BindError(
                f"{self._reader} has no option {name!r}",
                code="unknown_option",
                hint=f'did you mean "{near[0]}"?' if near else f"it has {', '.join(sorted(self._asked))}",
            )
