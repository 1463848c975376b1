"""The text form of every type: what CAST to VARCHAR gives."""

from __future__ import annotations

import decimal
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.expr.far_times import with_far_texts
from sqlengine.types import INTERVAL, is_image, is_tuple

_TEXT = pa.string()


def to_text(array: pa.Array, timezone: str = "UTC") -> pa.Array:
    """DuckDB's text form of each value."""
    t = pa.types
    type_ = array.type
    if t.is_floating(type_):
        return _float(array)
    if t.is_decimal(type_):
        text = array.cast(_TEXT)
        return _patched(text, pc.match_substring(text, "E"), lambda s: format(decimal.Decimal(s), "f"))
    if t.is_date(type_):
        return with_far_texts(array, lambda near: near.cast(_TEXT))
    if t.is_timestamp(type_) and type_.tz:
        return with_far_texts(array, lambda near: _zoned(near, timezone))
    if t.is_timestamp(type_):
        return with_far_texts(array, lambda near: _fraction(near.cast(_TEXT)))
    if t.is_time(type_):
        text = _fraction(array.cast(_TEXT))
        end = pc.equal(array.cast(pa.int64()), 86_400_000_000 if type_.unit == "us" else 86_400_000_000_000)
        return pc.if_else(end, "24:00:00", text) if pc.any(end).as_py() else text
    if t.is_binary(type_):
        return pa.array([None if v is None else blob_text(v) for v in array.to_pylist()], _TEXT)
    if type_ == INTERVAL:
        return pa.array([None if v is None else interval_text(*v) for v in array.to_pylist()], _TEXT)
    if t.is_map(type_):
        keys, items = _inner(array.keys, timezone), _inner(array.items, timezone)
        return _joined(array, lambda i: f"{keys[i]}={items[i]}", "{", "}")
    if t.is_list(type_) or t.is_large_list(type_):
        values = _inner(array.values, timezone)
        return _joined(array, lambda i: values[i], "[", "]")
    if t.is_fixed_size_list(type_):
        return to_text(array.cast(pa.list_(type_.value_type)), timezone)
    if is_image(type_):
        return _images(array)
    if t.is_struct(type_):
        columns = [_inner(pc.struct_field(array, i), timezone) for i in range(type_.num_fields)]
        unnamed = is_tuple(type_)
        names = ["" if unnamed else f"'{f.name}': " for f in type_]
        left, right = "()" if unnamed else "{}"
        rows = zip(*columns, strict=True) if columns else [()] * len(array)
        texts = [left + ", ".join(n + v for n, v in zip(names, row, strict=True)) + right for row in rows]
        return (
            pc.if_else(array.is_null(), pa.scalar(None, _TEXT), pa.array(texts, _TEXT))
            if array.null_count
            else pa.array(texts, _TEXT)
        )
    return array.cast(_TEXT)


def _float(array: pa.Array) -> pa.Array:
    text = array.cast(_TEXT)
    size = pc.abs(array)
    odd = pc.or_(
        pc.match_substring(text, "e"),
        pc.or_(pc.greater_equal(size, 1e15), pc.and_(pc.less(size, 1e-3), pc.greater(size, 0.0))),
    )
    whole = pc.invert(pc.match_substring_regex(text, "[.einf]"))
    text = pc.if_else(whole, pc.binary_join_element_wise(text, ".0", ""), text)
    return _patched(text, odd, lambda s: repr(float(s)))


def _patched(text: pa.Array, odd: pa.Array, change: Callable[[str], str]) -> pa.Array:
    """The texts with `change` applied where `odd` is true (few rows)."""
    odd = pc.fill_null(odd, False)
    if not pc.any(odd).as_py():
        return text
    return pc.replace_with_mask(text, odd, pa.array([change(s) for s in text.filter(odd).to_pylist()], _TEXT))


def _fraction(text: pa.Array) -> pa.Array:
    """`12:00:00.500000` as `12:00:00.5`, `12:00:00.000000` as `12:00:00`."""
    if not pc.any(pc.match_substring(text, ".")).as_py():
        return text
    return pc.replace_substring_regex(pc.replace_substring_regex(text, r"(\.\d*?)0+$", r"\1"), r"\.$", "")


def _zoned(array: pa.Array, timezone: str) -> pa.Array:
    local = pc.local_timestamp(array.cast(pa.timestamp(array.type.unit, timezone)))
    text = _fraction(local.cast(_TEXT))
    utc = pc.local_timestamp(array.cast(pa.timestamp(array.type.unit, "UTC")))
    minutes = pc.divide(pc.subtract(local, utc).cast(pa.duration("s"), safe=False).cast(pa.int64()), 60)
    known = pc.unique(minutes.drop_null())
    suffixes = pa.array([_offset(m) for m in known.to_pylist()], _TEXT)
    return pc.binary_join_element_wise(text, suffixes.take(pc.index_in(minutes, known)), "")


def _offset(minutes: int) -> str:
    hours, rest = divmod(abs(minutes), 60)
    return f"{'-' if minutes < 0 else '+'}{hours:02d}" + (f":{rest:02d}" if rest else "")


def blob_text(value: bytes) -> str:
    """Printable ASCII as it is, other bytes as `\\xHH`."""
    return "".join(chr(b) if 32 <= b <= 126 and b not in (34, 39, 92) else f"\\x{b:02X}" for b in value)


def interval_text(months: int, days: int, nanos: int) -> str:
    """`1 year 2 months 3 days 04:05:06.7`."""
    years, rest = int(months / 12), months - 12 * int(months / 12)
    parts = [
        f"{n} {unit}{'' if abs(n) == 1 else 's'}" for n, unit in ((years, "year"), (rest, "month"), (days, "day")) if n
    ]
    micros = nanos // 1000 if nanos >= 0 else -(-nanos // 1000)
    if micros or not parts:
        seconds, fraction = divmod(abs(micros), 10**6)
        clock = f"{'-' if micros < 0 else ''}{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
        parts.append(clock + (f".{fraction:06d}".rstrip("0") if fraction else ""))
    return " ".join(parts)


def _images(array: pa.Array) -> pa.Array:
    """`<image 640x480 RGB jpeg 52 KB>`: with format and size of the file it came from, else those of its pixels."""
    names = ("width", "height", "mode", "format", "size")
    columns = [pc.struct_field(array, name).to_pylist() for name in names]
    held = pc.binary_length(pc.struct_field(array, "pixels")).to_pylist()
    texts = [
        f"<image {width}x{height} {mode} {f'{format_} ' if format_ else ''}{_kilobytes(size or kept or 0)}>"
        for width, height, mode, format_, size, kept in zip(*columns, held, strict=True)
    ]
    return pc.if_else(array.is_valid(), pa.array(texts, _TEXT), pa.scalar(None, _TEXT))


def _kilobytes(size: int) -> str:
    if size < 1000:
        return f"{size} B"
    return f"{size / 1000:.0f} KB" if size < 1_000_000 else f"{size / 1_000_000:.1f} MB"


def _inner(values: pa.Array, timezone: str) -> list[str]:
    texts = to_text(values, timezone).to_pylist()
    t = pa.types
    if t.is_string(values.type) or t.is_temporal(values.type) or t.is_interval(values.type) or t.is_binary(values.type):
        return ["NULL" if s is None else _quoted(s) for s in texts]
    return ["NULL" if s is None else s for s in texts]


def _quoted(text: str) -> str:
    """Text inside a list or struct: quoted only where it would read back as something else."""
    plain = text and text.upper() != "NULL" and text.strip() == text and not any(c in "[]{}(),:='\"\\" for c in text)
    return text if plain else "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _joined(array: Any, item: Callable[[int], str], left: str, right: str) -> pa.Array:
    offsets, valid = array.offsets.to_pylist(), array.is_valid().to_pylist()
    rows = (
        left + ", ".join(item(i) for i in range(offsets[r], offsets[r + 1])) + right if ok else None
        for r, ok in enumerate(valid)
    )
    return pa.array(list(rows), _TEXT)
