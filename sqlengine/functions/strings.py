"""Text functions and patterns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError, NotSupportedError
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.settings import Settings

Types = tuple[Sequence[pa.DataType], pa.DataType]
_TEXT, _INT = pa.string(), pa.int64()


def takes(*types: pa.DataType, gives: pa.DataType, least: int | None = None) -> Callable[[Sequence[Expr]], Types]:
    """Fixed argument types, the last ones optional from `least` on; other types must cast implicitly to them."""

    def infer(args: Sequence[Expr]) -> Types:
        if not (len(types) if least is None else least) <= len(args) <= len(types):
            raise NoMatch(f"it takes {len(types)} argument{'s' if len(types) != 1 else ''}")
        for arg, type_ in zip(args, types, strict=False):
            if type_ != _TEXT and pa.types.is_string(arg.type) and type(arg).__name__ != "Literal":
                raise NoMatch("cast the argument")
        return types[: len(args)], gives

    return infer


def _simple(
    name: str, function: Callable[[Any], Any], gives: pa.DataType, doc: str, aliases: tuple[str, ...] = ()
) -> None:
    @scalar(name, takes(_TEXT, gives=gives), doc, category="text", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return pc.cast(function(args[0]), gives)


_simple("upper", pc.utf8_upper, _TEXT, "In upper case.", ("ucase",))
_simple("lower", pc.utf8_lower, _TEXT, "In lower case.", ("lcase",))
_simple("length", pc.utf8_length, _INT, "Number of characters.", ("len", "char_length", "character_length"))
_simple("strlen", pc.binary_length, _INT, "Number of bytes.")
_simple("reverse", pc.utf8_reverse, _TEXT, "Characters in reverse order.")


def _trim(name: str, blank: Callable[[Any], Any], chars: Callable[..., Any]) -> None:
    @scalar(
        name,
        takes(_TEXT, _TEXT, gives=_TEXT, least=1),
        "Without the blanks (or the given characters) at its ends.",
        category="text",
    )
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        if len(args) == 1:
            return chars(args[0], characters=" ")
        return chars(args[0], characters=_constant(args[1], name))


_trim("trim", pc.utf8_trim_whitespace, pc.utf8_trim)
_trim("ltrim", pc.utf8_ltrim_whitespace, pc.utf8_ltrim)
_trim("rtrim", pc.utf8_rtrim_whitespace, pc.utf8_rtrim)


def _constant(value: Any, name: str) -> Any:
    if isinstance(value, pa.Scalar) and value.is_valid:
        return value.as_py()
    raise NotSupportedError(f"{name} with this argument not a constant")


def _concat_types(args: Sequence[Expr]) -> Types:
    if not args:
        raise NoMatch("it takes at least one argument")
    return [_TEXT] * len(args), _TEXT


@scalar("concat_operator", _concat_types, "`||`: text joined; NULL if any part is NULL.", category="text")
def _joined(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.binary_join_element_wise(*args, "")


@scalar("concat", _concat_types, "Text joined; NULL counts as empty.", category="text", strict=False)
def _concat(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.binary_join_element_wise(*args, "", null_handling="replace", null_replacement="")


@scalar(
    "substring",
    takes(_TEXT, _INT, _INT, gives=_TEXT, least=2),
    "Characters from a position (from 1), so many of them.",
    category="text",
    aliases=("substr",),
)
def _substring(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    text, *numbers = args
    if all(isinstance(n, pa.Scalar) and n.is_valid for n in numbers) and numbers[0].as_py() > 0:
        start = numbers[0].as_py() - 1
        stop = None if len(numbers) == 1 else start + max(0, numbers[1].as_py())
        return pc.utf8_slice_codeunits(text, start, stop)
    columns = [a.to_pylist() if isinstance(a, pa.Array) else [a.as_py()] * rows for a in args]
    return pa.array([_cut(*row) for row in zip(*columns, strict=True)], _TEXT)


def _cut(text: str | None, start: int | None, *count: int | None) -> str | None:
    if text is None or start is None or (count and count[0] is None):
        return None
    first = start - 1 if start > 0 else (len(text) + start if start < 0 else -1)
    last = len(text) if not count else first + (count[0] or 0)
    return text[max(0, min(first, last)) : max(0, max(first, last))]


@scalar(
    "replace",
    takes(_TEXT, _TEXT, _TEXT, gives=_TEXT),
    "Every occurrence of one text replaced by another.",
    category="text",
)
def _replace(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.replace_substring(args[0], _constant(args[1], "replace"), _constant(args[2], "replace"))


@scalar("contains", takes(_TEXT, _TEXT, gives=pa.bool_()), "Whether a text occurs in another.", category="text")
def _contains(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.match_substring(args[0], _constant(args[1], "contains"))


@scalar(
    "starts_with",
    takes(_TEXT, _TEXT, gives=pa.bool_()),
    "Whether a text begins with another.",
    category="text",
    aliases=("prefix",),
)
def _starts_with(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.starts_with(args[0], _constant(args[1], "starts_with"))


@scalar(
    "ends_with",
    takes(_TEXT, _TEXT, gives=pa.bool_()),
    "Whether a text ends with another.",
    category="text",
    aliases=("suffix",),
)
def _ends_with(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.ends_with(args[0], _constant(args[1], "ends_with"))


@scalar(
    "strpos",
    takes(_TEXT, _TEXT, gives=_INT),
    "Position of a text in another, from 1; 0 if it is not there.",
    category="text",
    aliases=("instr", "position"),
)
def _strpos(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.cast(pc.add(pc.find_substring(args[0], _constant(args[1], "strpos")), 1), _INT)


@scalar("left", takes(_TEXT, _INT, gives=_TEXT), "The first characters.", category="text")
def _left(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.utf8_slice_codeunits(args[0], 0, _constant(args[1], "left"))


@scalar("right", takes(_TEXT, _INT, gives=_TEXT), "The last characters.", category="text")
def _right(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    count = _constant(args[1], "right")
    return (
        pc.utf8_slice_codeunits(args[0], -count, None) if count > 0 else pc.utf8_slice_codeunits(args[0], -count, None)
    )


def _like(name: str, ignore_case: bool) -> None:
    @scalar(
        name,
        takes(_TEXT, _TEXT, _TEXT, gives=pa.bool_(), least=2),
        "Pattern match: % any text, _ any character.",
        category="pattern",
    )
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        pattern = args[1]
        if not isinstance(pattern, pa.Scalar):
            texts = args[0].to_pylist() if isinstance(args[0], pa.Array) else [args[0].as_py()] * rows
            pieces = [
                pc.match_like(pa.scalar(t, _TEXT), p, ignore_case=ignore_case).as_py()
                if t is not None and p is not None
                else None
                for t, p in zip(texts, pattern.to_pylist(), strict=True)
            ]
            return pa.array(pieces, pa.bool_())
        if not pattern.is_valid:
            return pa.scalar(None, pa.bool_())
        text = pattern.as_py()
        if len(args) == 3:
            text = _escaped(text, _constant(args[2], name))
        elif "\\" in text:
            text = text.replace("\\", "\\\\")  # a backslash has no meaning of its own in LIKE without ESCAPE
        return pc.match_like(args[0], text, ignore_case=ignore_case)


def _escaped(pattern: str, escape: str) -> str:
    if len(escape) != 1:
        raise DataError("the ESCAPE of LIKE must be one character", code="invalid_escape")
    return pattern.replace("\\", "\\\\").replace(escape, "\\") if escape != "\\" else pattern


_like("like", False)
_like("ilike", True)


@scalar(
    "regexp_matches",
    takes(_TEXT, _TEXT, gives=pa.bool_()),
    "Whether a regular expression (RE2) matches somewhere.",
    category="pattern",
)
def _regexp_matches(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.match_substring_regex(args[0], _constant(args[1], "regexp_matches"))
