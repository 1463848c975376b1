"""Codes of texts and blobs: digests, hexadecimal, binary, base64, URLs; `format` and `printf`."""

from __future__ import annotations

import base64
import binascii
import decimal
import hashlib
import re
import string
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import BLOB, DOUBLE, INT, TEXT, Types, by_row, each_value, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.kernels.hashing import hash_columns
from sqlengine.settings import Settings
from sqlengine.types import HUGEINT


def _text_or_blob(gives: pa.DataType) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1:
            raise NoMatch("it takes one argument")
        return (BLOB if pa.types.is_binary(args[0].type) else TEXT,), gives

    return infer


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


def _digest(name: str, function: Callable[[bytes], Any]) -> None:
    @scalar(name, _text_or_blob(TEXT), f"The {name} digest, in hexadecimal.", category="encoding")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return by_row(lambda value: function(_raw(value)).hexdigest(), args, rows, TEXT)


def _half(name: str, last: bool, doc: str) -> None:
    """Eight bytes of the md5 digest as a number; bytes count from the least one, as in DuckDB."""

    @scalar(name, _text_or_blob(pa.uint64()), doc, category="encoding")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        def one(value: str | bytes) -> int:
            digest = hashlib.md5(_raw(value), usedforsecurity=False).digest()
            return int.from_bytes(digest[:8] if last else digest[8:], "little")

        return by_row(one, args, rows, pa.uint64())


_half("md5_number_upper", True, "The upper half of the md5 digest, as a number.")
_half("md5_number_lower", False, "The lower half of the md5 digest, as a number.")
for _name in ("md5", "sha1", "sha256"):
    _digest(_name, getattr(hashlib, _name))


def _hexable(args: Sequence[Expr]) -> Types:
    t = pa.types
    if len(args) == 1 and args[0].type == HUGEINT:
        return (HUGEINT,), TEXT
    if len(args) == 1 and (t.is_integer(args[0].type) or t.is_binary(args[0].type)):
        return (args[0].type if t.is_binary(args[0].type) or args[0].type == pa.uint64() else INT,), TEXT
    return takes(TEXT, gives=TEXT)(args)


def _digits(value: int | decimal.Decimal | str | bytes, base: str, width: int) -> str:
    if isinstance(value, int):
        return format(value % 2**64, base)
    if isinstance(value, decimal.Decimal):
        return format(int(value) % 2**128, base)
    return "".join(format(b, f"0{width}{base}") for b in _raw(value))


@scalar("hex", _hexable, "Hexadecimal digits of a number or of bytes.", category="encoding", aliases=("to_hex",))
def _hex(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda value: _digits(value, "X", 2), args, rows, TEXT)


@scalar("bin", _hexable, "Binary digits of a number or of bytes.", category="encoding", aliases=("to_binary",))
def _bin(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda value: _digits(value, "b", 8), args, rows, TEXT)


def _unhexed(text: str) -> bytes:
    try:
        return bytes.fromhex(text if len(text) % 2 == 0 else "0" + text)
    except ValueError:
        raise DataError(f"not hexadecimal: {text[:40]!r}", code="invalid_argument") from None


def _unbinned(text: str) -> bytes:
    if set(text) - {"0", "1"}:
        raise DataError(f"not binary digits: {text[:40]!r}", code="invalid_argument")
    padded = text.zfill(-(-len(text) // 8) * 8)
    return bytes(int(padded[at : at + 8], 2) for at in range(0, len(padded), 8))


def _unbased(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise DataError(f"not base64: {text[:40]!r}", code="invalid_argument") from None


each_value("unhex", (TEXT,), BLOB, _unhexed, "Bytes of hexadecimal digits.", "encoding", ("from_hex",))
each_value("unbin", (TEXT,), BLOB, _unbinned, "Bytes of binary digits.", "encoding", ("from_binary",))
each_value("from_base64", (TEXT,), BLOB, _unbased, "Bytes of base64.", "encoding")
each_value("url_encode", (TEXT,), TEXT, lambda s: urllib.parse.quote(s, safe="-_.~"), "Text for a URL.", "encoding")
each_value("url_decode", (TEXT,), TEXT, urllib.parse.unquote, "Text from a URL.", "encoding")


@scalar("base64", _text_or_blob(TEXT), "Base64 of bytes.", category="encoding", aliases=("to_base64",))
def _base64(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda value: base64.b64encode(_raw(value)).decode(), args, rows, TEXT)


@scalar("encode", takes(TEXT, gives=BLOB), "The bytes (UTF-8) of a text.", category="encoding")
def _encode(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.cast(args[0], BLOB)


@scalar("decode", takes(BLOB, gives=TEXT), "The text of bytes (UTF-8).", category="encoding")
def _decode(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    try:
        return pc.cast(args[0], TEXT)
    except pa.ArrowInvalid:
        raise DataError("the bytes are not UTF-8", code="invalid_argument") from None


@scalar("hash", lambda args: ([a.type for a in args], pa.uint64()), "A number that is the same for equal values.",
        category="encoding", strict=False)  # fmt: skip
def _hash(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if not args:
        raise DataError("hash needs an argument", code="invalid_argument")
    columns = [a if isinstance(a, pa.Array) else pa.array([a.as_py()] * rows, a.type) for a in args]
    return hash_columns(columns)


# formatting


def _formatted_types(args: Sequence[Expr]) -> Types:
    if not args:
        raise NoMatch("it takes a format and values")
    t = pa.types
    types = [TEXT]
    for arg in args[1:]:
        if t.is_integer(arg.type) or t.is_boolean(arg.type):
            types.append(arg.type)
        elif t.is_floating(arg.type) or t.is_decimal(arg.type):
            types.append(DOUBLE)
        else:
            types.append(TEXT)
    return types, TEXT


def _format(form: str, *values: Any) -> str:
    shown = [str(v).lower() if isinstance(v, bool) else v for v in values]
    try:
        pieces = []
        auto = 0
        for literal, name, spec, _ in string.Formatter().parse(form):
            pieces.append(literal)
            if name is None:
                continue
            at = int(name) if name else auto
            auto += not name
            value = shown[at]
            spec = spec or ""
            grouped = re.fullmatch(r"'(.)'|t(.)", spec)
            if grouped:
                pieces.append(f"{value:,}".replace(",", grouped[1] or grouped[2]))
            elif isinstance(value, float) and not spec:
                pieces.append(repr(value))
            else:
                pieces.append(format(value, spec.replace("'", "")))
        return "".join(pieces)
    except (ValueError, IndexError, TypeError, OverflowError) as error:
        raise DataError(f"format {form[:60]!r}: {error}", code="invalid_format") from None


_DIRECTIVE = re.compile(r"%(?:%|([-+ 0#,_']*)(\d+|\*)?(?:\.(\d+))?(?:hh?|ll?|[zjtL])?([diuoxXeEfFgGscb]))")


def _printf(form: str, *values: Any) -> str:
    items = iter(values)

    def one(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        try:
            wide = str(int(next(items))) if match[2] == "*" else match[2] or ""
            value = next(items)
        except StopIteration:
            raise DataError(f"printf {form[:60]!r} has more directives than values", code="invalid_format") from None
        flags, width, digits, kind = match[1], wide, match[3], match[4]
        group = next((f for f in flags if f in ",_'"), "")
        plain = "".join(f for f in flags if f not in ",_'")
        point = f".{digits}" if digits is not None else ""
        try:
            if kind in "diu" and group:
                text = f"{int(value):,}".replace(",", "," if group == "'" else group)
                return text.rjust(int(width or 0))
            if kind in "xXo":
                value = int(value) % 2**64
            if kind == "o" and "#" in plain:
                return f"0{value:o}".rjust(int(width or 0))
            if kind in "di":
                return f"%{plain}{width}{point}d" % int(value)
            if kind == "b":
                return format(int(value), "b").rjust(int(width or 0))
            if isinstance(value, bool):
                value = str(value).lower() if kind == "s" else int(value)
            return str(f"%{plain}{width}{point}{'d' if kind == 'u' else kind}" % value)
        except (TypeError, ValueError) as error:
            raise DataError(f"printf {form[:60]!r}: {error}", code="invalid_format") from None

    return _DIRECTIVE.sub(one, form)


@scalar("format", _formatted_types, "A text with {} replaced by values.", category="text", aliases=())
def _format_rows(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_format, args, rows, TEXT)


@scalar("printf", _formatted_types, "A text with %d, %s, %.2f replaced by values.", category="text")
def _printf_rows(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_printf, args, rows, TEXT)


def _sized(n: int, base: int, units: Sequence[str]) -> str:
    size = abs(n)
    if size < base:
        return f"{n} byte{'' if size == 1 else 's'}"
    power = 0
    amount = float(size)
    while amount >= base and power < len(units):
        amount /= base
        power += 1
    # DuckDB cuts, it does not round.
    return f"{'-' if n < 0 else ''}{int(size * 10 // base**power) / 10:.1f} {units[power - 1]}"


each_value(
    "format_bytes", (INT,), TEXT, lambda n: _sized(n, 1024, ("KiB", "MiB", "GiB", "TiB", "PiB")),
    "Bytes for people, in powers of 1024.", "text", ("formatreadablesize",),
)  # fmt: skip
each_value(
    "formatreadabledecimalsize", (INT,), TEXT, lambda n: _sized(n, 1000, ("kB", "MB", "GB", "TB", "PB")),
    "Bytes for people, in powers of 1000.", "text",
)  # fmt: skip


_SIZES = {
    "": 1, "b": 1, "byte": 1, "bytes": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgtp", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgtp", 1)},
}  # fmt: skip


def _unformatted(text: str) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]+)\s*", text)
    if found is None or found[2].lower() not in _SIZES:
        raise DataError(f"cannot read {text[:40]!r} as a number of bytes", code="invalid_argument",
                        hint="such as '16 KiB' or '1.5GB'")  # fmt: skip
    return int(float(found[1]) * _SIZES[found[2].lower()])


each_value("parse_formatted_bytes", (TEXT,), pa.uint64(), _unformatted, "The bytes of a size such as '16 KiB'.", "text")


def _bar(x: float, low: float, high: float, width: float = 80.0) -> str:
    if not 1 <= width <= 1000:
        raise DataError("a bar is 1 to 1000 characters wide", code="out_of_range")
    if x != x or low != low or high != high or x <= low:
        share = 0.0
    else:
        share = width if x >= high else (x - low) / (high - low) * width
    eighths = int(share * 8)
    whole, rest = divmod(eighths, 8)
    text = "█" * whole + (" ▏▎▍▌▋▊▉"[rest] if rest else "")
    return text.ljust(int(width))


@scalar(
    "bar", takes(DOUBLE, DOUBLE, DOUBLE, DOUBLE, gives=TEXT, least=3), "A bar drawn with characters.", category="text"
)
def _bars(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_bar, args, rows, TEXT)


def _to_base(number: int, base: int, least: int = 0) -> str:
    if not 2 <= base <= 36 or number < 0:
        raise DataError("to_base takes a number from 0 and a base from 2 to 36", code="invalid_argument")
    digits = ""
    while number:
        number, rest = divmod(number, base)
        digits = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"[rest] + digits
    return (digits or "0").rjust(least, "0")


@scalar(
    "to_base", takes(INT, INT, INT, gives=TEXT, least=2), "Digits of a number in another base.", category="encoding"
)
def _bases(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_to_base, args, rows, TEXT)
