"""UUIDs, which travel as texts in their usual form: making them and taking them apart."""

from __future__ import annotations

import secrets
import time
import uuid
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import TEXT, Types, by_row, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.settings import Settings

_ZONED = pa.timestamp("us", "UTC")


@scalar("as_uuid", takes(TEXT, gives=TEXT), "CAST to UUID: the text in its usual form.", category="uuid")
def _as_uuid(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(text: str) -> str:
        try:
            return str(uuid.UUID(text.strip()))
        except ValueError:
            raise DataError(f"cannot cast VARCHAR {text[:40]!r} to UUID", code="invalid_cast",
                            hint="TRY_CAST gives NULL instead of an error") from None  # fmt: skip

    return by_row(one, args, rows, TEXT)


def _no_arguments(args: Sequence[Expr]) -> Types:
    if args:
        raise NoMatch("it takes no arguments")
    return [], TEXT


def _made(rows: int, version: int, start: Callable[[str], str]) -> pa.Array:
    """Random UUIDs; `start` gives the twelve digits before the version from random ones."""
    digits = secrets.token_hex(16 * rows)
    made = []
    for at in range(0, 32 * rows, 32):
        d = digits[at : at + 32]
        first = start(d[:12])
        made.append(f"{first[:8]}-{first[8:]}-{version}{d[13:16]}-{'89ab'[int(d[16], 16) % 4]}{d[17:20]}-{d[20:]}")
    return pa.array(made, TEXT)


@scalar("uuid", _no_arguments, "A random UUID for each row.", category="uuid", volatile=True,
        aliases=("gen_random_uuid", "uuidv4"))  # fmt: skip
def _uuid(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return _made(rows, 4, lambda digits: digits)


@scalar("uuidv7", _no_arguments, "A UUID that begins with the time for each row.", category="uuid", volatile=True)
def _uuidv7(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    now = f"{time.time_ns() // 1_000_000:012x}"
    return _made(rows, 7, lambda digits: now)


@scalar("uuid_extract_version", takes(TEXT, gives=pa.uint32()), "The version of a UUID.", category="uuid")
def _version(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda text: int(uuid.UUID(text).hex[12], 16), args, rows, pa.uint32())


@scalar("uuid_extract_timestamp", takes(TEXT, gives=_ZONED), "The time in a UUID of version 7.", category="uuid")
def _timestamp(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(text: str) -> int:
        value = uuid.UUID(text)
        if value.hex[12] != "7":
            raise DataError(f"{text} is no UUID of version 7, which has a time", code="invalid_argument",
                            location=call.location)  # fmt: skip
        return int(value.hex[:12], 16) * 1000

    micros = by_row(one, args, rows, pa.int64())
    return micros.cast(_ZONED)
