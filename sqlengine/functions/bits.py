"""Bit strings (BIT), which travel as texts of 0 and 1: making them, reading and changing single bits."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import TEXT, Types, by_row, each_value
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.settings import Settings

_I32 = pa.int32()


def _castable(args: Sequence[Expr]) -> Types:
    t = pa.types
    type_ = args[0].type
    if len(args) != 1 or not (
        t.is_string(type_) or t.is_integer(type_) or t.is_boolean(type_) or t.is_binary(type_) or t.is_floating(type_)
        or t.is_null(type_)
    ):  # fmt: skip
        raise NoMatch("bits are made of texts, blobs and numbers")
    return (TEXT if t.is_null(type_) else type_,), TEXT


@scalar("as_bit", _castable, "CAST to BIT: the bits of a number, of bytes, or of a text of 0 and 1.", category="bit")
def _as_bit(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    type_ = args[0].type
    if pa.types.is_string(type_):
        text = args[0]
        bad = pc.invert(pc.match_substring_regex(text, "^[01]+$"))
        if pc.any(bad).as_py():
            raise DataError("cannot cast VARCHAR to BIT: it takes a text of 0 and 1", code="invalid_cast",
                            hint="TRY_CAST gives NULL instead of an error", location=call.location)  # fmt: skip
        return text
    if pa.types.is_boolean(type_):
        return pc.if_else(args[0], "00000001", "00000000")
    if pa.types.is_binary(type_):
        return by_row(lambda value: "".join(f"{b:08b}" for b in value), args, rows, TEXT)
    width = type_.bit_width
    if pa.types.is_floating(type_):
        code, whole = (">d", ">Q") if width == 64 else (">f", ">I")
        return by_row(lambda x: f"{struct.unpack(whole, struct.pack(code, x))[0]:0{width}b}", args, rows, TEXT)
    return by_row(lambda n: f"{n % 2**width:0{width}b}", args, rows, TEXT)


def _bitstring(bits: str, width: int) -> str:
    if width < len(bits) or set(bits) - {"0", "1"} or not bits:
        raise DataError(f"bitstring({bits[:40]!r}, {width}): {width} bits are too few", code="out_of_range")
    return bits.zfill(width)


def _get_bit(bits: str, at: int) -> int:
    return int(bits[_place(bits, at)])


def _set_bit(bits: str, at: int, value: int) -> str:
    if value not in (0, 1):
        raise DataError("a bit is 0 or 1", code="out_of_range")
    place = _place(bits, at)
    return f"{bits[:place]}{value}{bits[place + 1 :]}"


def _place(bits: str, at: int) -> int:
    if not 0 <= at < len(bits):
        raise DataError(f"bit {at} is out of the range 0 to {len(bits) - 1}", code="out_of_range")
    return at


each_value("bitstring", (TEXT, _I32), TEXT, _bitstring, "Bits with zeros in front up to a width.", "bit")
each_value("bit_position", (TEXT, TEXT), _I32, lambda part, bits: bits.find(part) + 1,
           "Where bits first occur in others, from 1; 0 if they do not.", "bit")  # fmt: skip
each_value("get_bit", (TEXT, _I32), _I32, _get_bit, "The bit at a place, from 0.", "bit")
each_value("set_bit", (TEXT, _I32, _I32), TEXT, _set_bit, "Bits with the one at a place, from 0, changed.", "bit")


def both(name: str, a: Any, b: Any, rows: int) -> Any:
    """`&`, `|` or xor of bits of one length."""

    def one(x: str, y: str) -> str:
        if len(x) != len(y):
            raise DataError(f"{name} takes bits of one length, these have {len(x)} and {len(y)}", code="out_of_range")
        p, q = int(x, 2), int(y, 2)
        return f"{p & q if name == 'bit_and' else p | q if name == 'bit_or' else p ^ q:0{len(x)}b}"

    return by_row(one, [a, b], rows, TEXT)


def shifted(bits: Any, by: Any, left: bool, rows: int) -> Any:
    """Bits moved within their length."""

    def one(text: str, n: int) -> str:
        n = min(max(n, 0), len(text))
        return text[n:] + "0" * n if left else "0" * n + text[: len(text) - n]

    return by_row(one, [bits, by], rows, TEXT)


def turned(bits: Any) -> Any:
    return pc.replace_substring(pc.replace_substring(pc.replace_substring(bits, "0", "x"), "1", "0"), "x", "1")
