"""Patterns: LIKE, ILIKE, GLOB, SIMILAR TO and regular expressions (RE2's language, through Arrow).

Constant patterns run as kernels on whole columns. Patterns that vary by row run per distinct pair through Python's
`re`, whose language is close enough to RE2's for what both accept.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr, Literal
from sqlengine.expr.overloads import BOOL, INT, TEXT, Types, by_row, constant, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.settings import Settings

_TEXTS = pa.list_(TEXT)
_SPECIAL = frozenset("\\.+*?()|[]{}^$")


@functools.lru_cache(maxsize=256)
def like_regex(pattern: str, escape: str = "") -> str:
    """The regular expression of a LIKE pattern, for all of the text."""
    if len(escape) > 1:
        raise DataError("the ESCAPE of LIKE must be one character", code="invalid_escape")
    out, at = [], 0
    while at < len(pattern):
        c = pattern[at]
        if escape and c == escape:
            at += 1
            if at == len(pattern):
                raise DataError("the LIKE pattern ends with its escape character", code="invalid_escape")
            out.append(_plain(pattern[at]))
        else:
            out.append(".*" if c == "%" else "." if c == "_" else _plain(c))
        at += 1
    return "".join(out)


def _plain(c: str) -> str:
    return "\\" + c if c in _SPECIAL else c


@functools.lru_cache(maxsize=256)
def glob_regex(pattern: str) -> str:
    """The regular expression of a GLOB pattern: `*`, `?`, `[a-z]`, `[!a]`, backslash before a character as it is."""
    out, at = [], 0
    while at < len(pattern):
        c = pattern[at]
        if c == "\\" and at + 1 < len(pattern):
            at += 1
            out.append(_plain(pattern[at]))
        elif c == "[" and (end := pattern.find("]", at + 2)) > 0:
            inside = pattern[at + 1 : end].replace("\\", "\\\\")
            out.append("[" + ("^" + inside[1:] if inside[0] in "!^" else inside) + "]")
            at = end
        else:
            out.append(".*" if c == "*" else "." if c == "?" else _plain(c))
        at += 1
    return "".join(out)


def _like(name: str, ignore_case: bool) -> None:
    @scalar(name, takes(TEXT, TEXT, TEXT, gives=BOOL, least=2), "Pattern match: % any text, _ any character.",
            category="pattern", aliases=(f"{name}_escape",))  # fmt: skip
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        pattern, escape = constant(args[1]), constant(args[2]) if len(args) == 3 else ""
        if pattern is None or escape is None:
            return by_row(functools.partial(_matches_like, ignore_case), args, rows, BOOL)
        if escape or "\\" in pattern:
            flags = "(?is)" if ignore_case else "(?s)"
            return pc.match_substring_regex(args[0], f"{flags}\\A(?:{like_regex(pattern, escape)})\\z")
        if not ignore_case and pattern.count("%") > 1 and _infixes(pattern) is not None:
            return _contains_in_order(args[0], _infixes(pattern) or ())
        return pc.match_like(args[0], pattern, ignore_case=ignore_case)


def _infixes(pattern: str) -> tuple[str, ...] | None:
    """The parts of `%a%b%`; None for patterns of another kind."""
    if "_" in pattern or not (pattern.startswith("%") and pattern.endswith("%")):
        return None
    parts = tuple(part for part in pattern.split("%") if part)
    return parts if len(parts) == 2 else None


def _contains_in_order(text: Any, parts: tuple[str, ...]) -> Any:
    """Whether a text contains the two parts in this order: few rows have the first, only those are looked at again."""
    first = pc.match_substring(text, parts[0])
    if isinstance(first, pa.Scalar) or not isinstance(text, pa.Array):
        return pc.match_like(text, "%" + "%".join(parts) + "%")
    hits = pc.fill_null(first, False)
    if not pc.any(hits).as_py():
        return first
    found = pc.match_like(text.filter(hits), "%" + "%".join(parts) + "%")
    return pc.replace_with_mask(first, hits, found)


def _matches_like(ignore_case: bool, text: str, pattern: str, escape: str = "") -> bool:
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    return re.fullmatch(like_regex(pattern, escape), text, flags) is not None


_like("like", False)
_like("ilike", True)
for _name in ("like", "ilike"):

    def _not_like(call: Call, args: list[Any], rows: int, settings: Settings, name: str = _name) -> Any:
        return by_row(lambda *texts: not _matches_like(name == "ilike", *texts), args, rows, BOOL)

    scalar(f"not_{_name}_escape", takes(TEXT, TEXT, TEXT, gives=BOOL), "NOT of a pattern match.",
           category="pattern")(_not_like)  # fmt: skip


@scalar(
    "glob", takes(TEXT, TEXT, gives=BOOL), "Match like file names: * any text, ? any character.", category="pattern"
)
def _glob(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    pattern = constant(args[1])
    if pattern is None:
        return by_row(lambda s, p: re.fullmatch(glob_regex(p), s, re.DOTALL) is not None, args, rows, BOOL)
    return _checked(pc.match_substring_regex, args[0], f"(?s)\\A(?:{glob_regex(pattern)})\\z")


# regular expressions


def _checked(function: Callable[..., Any], text: Any, pattern: str, **more: Any) -> Any:
    try:
        return function(text, pattern=pattern, **more)
    except pa.ArrowInvalid as error:
        reason = str(error).splitlines()[0].removeprefix("Invalid regular expression: ")[:120]
        raise DataError(f"the regular expression is wrong: {reason}", code="invalid_regex") from None


def _prefix(options: str) -> str:
    """Inline flags for option letters; `g` is not a flag of the pattern."""
    flags = ""
    for letter in options:
        match letter:
            case "i" | "s":
                flags += letter
            case "m" | "n" | "p":
                flags += "m"
            case "c" | "g" | "l":
                pass
            case _:
                raise DataError(
                    f"unknown option {letter!r} of a regular expression",
                    code="invalid_regex",
                    hint="one of c, i, l, s, m, g",
                )
    return f"(?{flags})" if flags else ""


def _full(pattern: str, options: str) -> str:
    body = re.escape(pattern) if "l" in options else pattern
    return _prefix(options) + body


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern.replace(r"\z", r"\Z"))
    except re.error as error:
        raise DataError(f"the regular expression is wrong: {error}", code="invalid_regex") from None


def _options(args: list[Any], at: int) -> str:
    if len(args) <= at:
        return ""
    return str(constant(args[at]) or "")


def _regexp_match(name: str, whole: bool, doc: str) -> None:
    @scalar(name, takes(TEXT, TEXT, TEXT, gives=BOOL, least=2), doc, category="pattern")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        pattern, options = constant(args[1]), _options(args, 2)

        def full(text: str) -> str:
            return _prefix(options) + (rf"\A(?:{_full(text, options)})\z" if whole else _full(text, options))

        if pattern is None:
            return by_row(lambda s, p, *_: _compiled(full(p)).search(s) is not None, args[:2], rows, BOOL)
        return _checked(pc.match_substring_regex, args[0], full(pattern))


_regexp_match("regexp_matches", False, "Whether a regular expression matches somewhere.")
_regexp_match("regexp_full_match", True, "Whether a regular expression matches all of the text.")


@scalar("regexp_replace", takes(TEXT, TEXT, TEXT, TEXT, gives=TEXT, least=3),
        "The first match (all with option g) replaced; \\1 is the first group.", category="pattern")  # fmt: skip
def _regexp_replace(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    pattern, new, options = constant(args[1]), constant(args[2]), _options(args, 3)
    if pattern is None or new is None:

        def one(text: str, pattern: str, new: str, *_: str) -> str:
            return _compiled(_full(pattern, options)).sub(new, text, 0 if "g" in options else 1)

        return by_row(one, args[:3], rows, TEXT)
    most = None if "g" in options else 1
    return _checked(
        pc.replace_substring_regex, args[0], _full(pattern, options), replacement=new, max_replacements=most
    )


@functools.lru_cache(maxsize=256)
def name_groups(pattern: str) -> tuple[str, int]:
    """The pattern with its groups named `g1`, `g2`, ... (Arrow extracts named groups only), and how many there are."""
    out, at, count, inside = [], 0, 0, False
    while at < len(pattern):
        c = pattern[at]
        if c == "\\":
            out.append(pattern[at : at + 2])
            at += 2
            continue
        if c == "[" and not inside:
            inside = True
        elif c == "]" and inside:
            inside = False
        named = re.match(r"\(\?P?<(?![=!])[^>]*>", pattern[at:]) if c == "(" and not inside else None
        if named or (c == "(" and not inside and pattern[at + 1 : at + 2] != "?"):
            count += 1
            out.append(f"(?P<g{count}>")
            at += len(named[0]) if named else 1
            continue
        out.append(c)
        at += 1
    return "".join(out), count


def _extract_types(args: Sequence[Expr]) -> Types:
    if not 2 <= len(args) <= 4:
        raise NoMatch("it takes a text, a pattern, a group (or a list of names) and options")
    if len(args) > 2 and pa.types.is_list(args[2].type):
        names = _group_names(args[2])
        return [TEXT, TEXT, args[2].type, TEXT][: len(args)], pa.struct([(n, TEXT) for n in names])
    return [TEXT, TEXT, INT, TEXT][: len(args)], TEXT


def _group_names(arg: Expr) -> list[str]:
    values = arg.args if isinstance(arg, Call) and arg.name == "list_value" else ()
    names = [v.value for v in values if isinstance(v, Literal) and isinstance(v.value, str)]
    if not names or len(names) != len(values):
        raise NoMatch("the names of groups must be a list of constants")
    return names


@scalar(
    "regexp_extract", _extract_types, "The part that matches, or a group of it; '' for no match.", category="pattern"
)
def _regexp_extract(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    pattern, options = constant(args[1]), _options(args, 3)
    structs = pa.types.is_struct(call.type)
    group = 0 if len(args) == 2 or structs else constant(args[2])
    if pattern is None or group is None or not isinstance(args[0], pa.Array):
        if structs:
            raise DataError("the pattern must be constant when groups have names", code="invalid_regex")

        def one(text: str, pattern: str, at: int = 0, *_: str) -> str:
            found = _compiled(_full(pattern, options)).search(text)
            return (found[at] or "") if found and at <= (found.re.groups) else ""

        return by_row(one, args[:3], rows, TEXT)
    named, groups = name_groups(_full(pattern, options))
    if not structs and not 0 <= group <= groups:
        raise DataError(f"the pattern has {groups} groups, there is no group {group}", code="invalid_regex")
    if structs and call.type.num_fields > groups:
        raise DataError(f"the pattern has {groups} groups, {call.type.num_fields} are named", code="invalid_regex")
    found = _checked(pc.extract_regex, args[0], f"(?P<g0>{named})")
    valid = args[0].is_valid()

    def column(number: int) -> Any:
        return pc.if_else(valid, pc.fill_null(pc.struct_field(found, f"g{number}"), ""), pa.scalar(None, TEXT))

    if structs:
        columns = [column(i + 1) for i in range(call.type.num_fields)]
        return pa.StructArray.from_arrays(columns, fields=list(call.type), mask=pc.invert(valid))
    return column(group)


@scalar("regexp_extract_all", takes(TEXT, TEXT, INT, TEXT, gives=_TEXTS, least=2), "All matches, or a group of each.",
        category="pattern")  # fmt: skip
def _regexp_extract_all(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    options = _options(args, 3)

    def one(text: str, pattern: str, group: int = 0) -> list[str]:
        if group < 0:
            return []
        compiled = _compiled(_full(pattern, options))
        if group > compiled.groups:
            raise DataError(f"the pattern has no group {group}", code="invalid_argument", location=call.location)
        return [found[group] or "" for found in compiled.finditer(text)]

    return by_row(one, args[:3], rows, _TEXTS)


@scalar("string_split_regex", takes(TEXT, TEXT, TEXT, gives=_TEXTS, least=2), "The parts between matches.",
        category="pattern", aliases=("regexp_split_to_array", "str_split_regex"))  # fmt: skip
def _split_regex(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    pattern, options = constant(args[1]), _options(args, 2)
    args = [args[0], pc.fill_null(args[1], "(?!)")]  # without a pattern (NULL) the text is one part
    if not pattern:

        def one(text: str, pattern: str) -> list[str]:
            return _compiled(_full(pattern, options)).split(text) if pattern else list(text)

        return by_row(one, args[:2], rows, _TEXTS)
    return _checked(pc.split_pattern_regex, args[0], _full(pattern, options))


@scalar("regexp_escape", takes(TEXT, gives=TEXT), "The text as a pattern that matches it.", category="pattern")
def _regexp_escape(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(lambda s: re.sub(r"([^A-Za-z0-9_\x80-\U0010ffff])", r"\\\1", s), args, rows, TEXT)
