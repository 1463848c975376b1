"""Text functions: case, length, parts, padding, joining, splitting. Patterns are in `patterns`, codes in `encodings`.

Positions and lengths count characters (code points). A function with a kernel in Arrow runs on whole columns; one
without runs once for each distinct value (`by_row`).
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.nodes import Call, Expr
from sqlengine.expr.overloads import BLOB, BOOL, DOUBLE, INT, TEXT, Types, by_row, constant, each_value, is_list, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.lists import joined_lists, list_length, same_lists
from sqlengine.functions.moves import column
from sqlengine.settings import Settings

_TEXTS = pa.list_(TEXT)


def _kernel(
    name: str, function: Callable[[Any], Any], gives: pa.DataType, doc: str, aliases: tuple[str, ...] = ()
) -> None:
    @scalar(name, takes(TEXT, gives=gives), doc, category="text", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return pc.cast(function(args[0]), gives)


_kernel("upper", pc.utf8_upper, TEXT, "In upper case.", ("ucase",))
_kernel("lower", pc.utf8_lower, TEXT, "In lower case.", ("lcase",))


@scalar("reverse", takes(TEXT, gives=TEXT), "Characters in reverse order.", category="text")
def _reverse(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if pc.all(pc.string_is_ascii(args[0])).as_py() is not False:
        return pc.utf8_reverse(args[0])
    return by_row(_reversed_text, args, rows, TEXT)


def _reversed_text(text: str) -> str:
    """Marks that combine with a letter, and what is joined to it, stay with it."""
    pieces: list[str] = []
    for c in text:
        joined = pieces and (unicodedata.combining(c) or c in "\u200d\ufe0f" or pieces[-1].endswith("\u200d"))
        if joined:
            pieces[-1] += c
        else:
            pieces.append(c)
    return "".join(reversed(pieces))


def _measured(args: Sequence[Expr]) -> Types:
    if len(args) == 2 and is_list(args[0].type):
        return (args[0].type, INT), INT
    if len(args) != 1:
        raise NoMatch("it takes one argument")
    if is_list(args[0].type) or pa.types.is_map(args[0].type):
        return (args[0].type,), INT
    return takes(TEXT, gives=INT)(args)


@scalar(
    "length", _measured, "Number of characters, or of elements.", category="text",
    aliases=("len", "char_length", "character_length", "length_grapheme", "array_length"),
)  # fmt: skip
def _length(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if len(args) == 2:
        places = pc.if_else(pc.is_valid(args[1]), 0, pa.scalar(None, INT))  # NULL where the dimension is
        if not pc.any(pc.and_(pc.is_valid(args[0]), pc.not_equal(args[1], 1))).as_py():
            return pc.add(list_length(args[0]), places)
        raise DataError("array_length knows the length of dimension 1 only", code="invalid_argument",
                        location=call.location)  # fmt: skip
    if pa.types.is_nested(args[0].type):
        return list_length(args[0])
    return pc.cast(pc.utf8_length(args[0]), INT)


def _bytes_or_text(gives: pa.DataType) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1:
            raise NoMatch("it takes one argument")
        return (BLOB if pa.types.is_binary(args[0].type) else TEXT,), gives

    return infer


@scalar("strlen", _bytes_or_text(INT), "Number of bytes.", category="text", aliases=("octet_length",))
def _strlen(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.cast(pc.binary_length(args[0]), INT)


@scalar("bit_length", _bytes_or_text(INT), "Number of bits.", category="text")
def _bit_length(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return pc.multiply(pc.cast(pc.binary_length(args[0]), INT), 8)


def _trim(name: str, chars: Callable[..., Any], cut: Callable[[str, str], str]) -> None:
    @scalar(name, takes(TEXT, TEXT, gives=TEXT, least=1), "Without the blanks (or given characters) at its ends.",
            category="text")  # fmt: skip
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        removed = " " if len(args) == 1 else constant(args[1])
        if removed is None:
            return by_row(cut, args, rows, TEXT)
        return chars(args[0], characters=removed) if removed else args[0]


_trim("trim", pc.utf8_trim, str.strip)
_trim("ltrim", pc.utf8_ltrim, str.lstrip)
_trim("rtrim", pc.utf8_rtrim, str.rstrip)


# joining


def _texts(args: Sequence[Expr]) -> Types:
    if not args:
        raise NoMatch("it takes at least one argument")
    if any(is_list(a.type) for a in args):
        return same_lists(args)
    if all(pa.types.is_binary(a.type) for a in args):
        return [BLOB] * len(args), BLOB
    return [TEXT] * len(args), TEXT


@scalar("concat_operator", _texts, "`||`: texts, blobs or lists joined; NULL if a text is NULL.", category="text",
        strict=False)  # fmt: skip
def _joined(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if is_list(call.type):
        joined = joined_lists(args, rows, call.type)
        known = [column(a, rows).is_valid() for a in args if is_list(a.type)]
        keep = functools.reduce(pc.and_, known)
        return joined.take(pc.if_else(keep, pa.array(range(rows), INT), pa.scalar(None, INT)))
    if any(isinstance(a, pa.Scalar) and not a.is_valid for a in args):
        return pa.scalar(None, call.type)
    return pc.binary_join_element_wise(*args, pa.scalar("" if call.type == TEXT else b"", call.type))


@scalar("concat", _texts, "Texts or lists joined; NULL counts as empty.", category="text", strict=False)
def _concat(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if is_list(call.type):
        return joined_lists(args, rows, call.type)
    nothing: Any = "" if call.type == TEXT else b""
    return pc.binary_join_element_wise(
        *args, pa.scalar(nothing, call.type), null_handling="replace", null_replacement=nothing
    )


def _with_separator(args: Sequence[Expr]) -> Types:
    if len(args) < 2:
        raise NoMatch("it takes what stands between, and texts")
    return [TEXT] * len(args), TEXT


@scalar("concat_ws", _with_separator, "Texts that are not NULL, joined with the first argument.", category="text",
        strict=False)  # fmt: skip
def _concat_ws(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    between, *parts = args
    return pc.binary_join_element_wise(*parts, between, null_handling="skip")


@scalar("repeat", lambda args: _repeat_types(args), "The text so many times.", category="text")
def _repeat(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    count = pc.max_element_wise(args[1], pa.scalar(0, INT), skip_nulls=False)
    if is_list(call.type):
        return by_row(lambda items, n: items * max(0, n), args, rows, call.type)
    return pc.binary_repeat(args[0], count)


def _repeat_types(args: Sequence[Expr]) -> Types:
    if len(args) == 2 and (is_list(args[0].type) or pa.types.is_binary(args[0].type)):
        return (args[0].type, INT), args[0].type
    return takes(TEXT, INT, gives=TEXT)(args)


# parts


@scalar(
    "substring", takes(TEXT, INT, INT, gives=TEXT, least=2), "Characters from a position (from 1), so many of them.",
    category="text", aliases=("substr", "substring_grapheme"),
)  # fmt: skip
def _substring(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    text, *numbers = args
    fixed = [constant(n) for n in numbers]
    if None not in fixed and fixed[0] > 0 and (len(fixed) == 1 or fixed[1] >= 0):
        start = fixed[0] - 1
        return pc.utf8_slice_codeunits(text, start, None if len(fixed) == 1 else start + fixed[1])
    return by_row(_cut, args, rows, TEXT)


def _cut(text: str, start: int, *count: int) -> str:
    first = start - 1 if start > 0 else (len(text) + start if start < 0 else -1)
    last = len(text) if not count else first + count[0]
    return text[max(0, min(first, last)) : max(0, max(first, last))]


def _edge(name: str, whole: Callable[[Any, int], Any], cut: Callable[[str, int], str], doc: str) -> None:
    @scalar(name, takes(TEXT, INT, gives=TEXT), doc, category="text", aliases=(f"{name}_grapheme",))
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        count = constant(args[1])
        return by_row(cut, args, rows, TEXT) if count is None else whole(args[0], count)


def _rightmost(text: Any, n: int) -> Any:
    if n == 0:
        return pc.utf8_slice_codeunits(text, 0, 0)
    return pc.utf8_slice_codeunits(text, -n, None)


_edge("left", lambda s, n: pc.utf8_slice_codeunits(s, 0, n), lambda s, n: s[:n],
      "The first characters (but the last n, when negative).")  # fmt: skip
_edge("right", _rightmost, lambda s, n: s[-n:] if n else "", "The last characters (but the first n, when negative).")


def _pad(name: str, kernel: Callable[..., Any], padded: Callable[[str, str], str]) -> None:
    def one(text: str, width: int, fill: str) -> str:
        short = width - len(text)
        if short <= 0:
            return text[: max(0, width)]
        if not fill:
            raise DataError(f"{name} needs a text to pad with", code="invalid_argument")
        return padded(text, (fill * (short // len(fill) + 1))[:short])

    @scalar(name, takes(TEXT, INT, TEXT, gives=TEXT), "Padded or cut to so many characters.", category="text")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        width, fill = constant(args[1]), constant(args[2])
        if width is not None and width >= 0 and fill is not None and len(fill) == 1:
            return kernel(pc.utf8_slice_codeunits(args[0], 0, width), width, fill)
        return by_row(one, args, rows, TEXT)


_pad("lpad", pc.utf8_lpad, lambda text, fill: fill + text)
_pad("rpad", pc.utf8_rpad, lambda text, fill: text + fill)


@scalar("replace", takes(TEXT, TEXT, TEXT, gives=TEXT), "Every occurrence of a text replaced.", category="text")
def _replace(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    old, new = constant(args[1]), constant(args[2])
    if old is None or new is None:
        return by_row(lambda s, a, b: s.replace(a, b) if a else s, args, rows, TEXT)
    return pc.replace_substring(args[0], old, new) if old else args[0]


@scalar(
    "overlay", takes(TEXT, TEXT, INT, INT, gives=TEXT, least=3), "Characters replaced by position.", category="text"
)
def _overlay(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(text: str, new: str, start: int, *count: int) -> str:
        end = start - 1 + (count[0] if count else len(new))
        return text[: max(0, start - 1)] + new + (text[max(0, end) :] if end >= start - 1 else "")

    return by_row(one, args, rows, TEXT)


@scalar("translate", takes(TEXT, TEXT, TEXT, gives=TEXT), "Characters replaced one by one.", category="text")
def _translate(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(text: str, old: str, new: str) -> str:
        table: dict[int, str | None] = {}
        for at, c in enumerate(old):
            table.setdefault(ord(c), new[at] if at < len(new) else None)
        return text.translate(table)

    return by_row(one, args, rows, TEXT)


@scalar("starts_with", takes(TEXT, TEXT, gives=BOOL), "Whether a text begins with another.", category="text",
        aliases=("prefix",))  # fmt: skip
def _starts_with(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    start = constant(args[1])
    return pc.starts_with(args[0], start) if start is not None else by_row(str.startswith, args, rows, BOOL)


@scalar("ends_with", takes(TEXT, TEXT, gives=BOOL), "Whether a text ends with another.", category="text",
        aliases=("suffix",))  # fmt: skip
def _ends_with(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    end = constant(args[1])
    return pc.ends_with(args[0], end) if end is not None else by_row(str.endswith, args, rows, BOOL)


@scalar("strpos", takes(TEXT, TEXT, gives=INT), "Position of a text in another, from 1; 0 if it is not there.",
        category="text", aliases=("instr", "position"))  # fmt: skip
def _strpos(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    part = constant(args[1])
    if part is not None and part.isascii() and pc.all(pc.string_is_ascii(args[0])).as_py() is not False:
        return pc.cast(pc.add(pc.find_substring(args[0], part), 1), INT)
    return by_row(lambda s, p: s.find(p) + 1, args, rows, INT)


# splitting


@scalar("string_split", takes(TEXT, TEXT, gives=_TEXTS), "The parts between a separator.", category="text",
        aliases=("split", "str_split", "string_to_array"))  # fmt: skip
def _split(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    mark = constant(args[1])
    if mark:
        return pc.split_pattern(args[0], mark)
    # Without a separator (NULL) the text is one part.
    marks = pc.fill_null(args[1], "\0") if isinstance(args[1], pa.Array) else args[1]
    return by_row(lambda s, m: s.split(m) if m else list(s), [args[0], marks], rows, _TEXTS)


@scalar("split_part", takes(TEXT, TEXT, INT, gives=TEXT), "The n-th part between a separator, or ''.", category="text")
def _split_part(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(text: str, mark: str, at: int) -> str:
        parts = text.split(mark) if mark else list(text)
        at = at - 1 if at > 0 else (len(parts) + at if at < 0 else -1)
        return parts[at] if 0 <= at < len(parts) else ""

    return by_row(one, args, rows, TEXT)


# characters and distances


def _stripped(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))


def _first_code(text: str) -> int:
    return ord(text[0]) if text else 0


def _unicode(text: str) -> int:
    return ord(text[0]) if text else -1


each_value("nfc_normalize", (TEXT,), TEXT, functools.partial(unicodedata.normalize, "NFC"),
           "Unicode's composed form.", "text")  # fmt: skip
each_value("strip_accents", (TEXT,), TEXT, _stripped, "Letters without accents.", "text")
each_value("ascii", (TEXT,), pa.int32(), _first_code, "The code point of the first character; 0 for none.", "text")
each_value("unicode", (TEXT,), pa.int32(), _unicode, "The code point of the first character; -1 for none.", "text",
           ("ord",))  # fmt: skip


@scalar("chr", takes(pa.int32(), gives=TEXT), "The character of a code point.", category="text")
def _chr(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(code: int) -> str:
        if not 0 <= code < 0x110000:
            raise DataError(f"there is no character {code}", code="out_of_range")
        return chr(code)

    return by_row(one, args, rows, TEXT)


def levenshtein(a: str, b: str) -> int:
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        diagonal, row[0] = row[0], i
        for k, y in enumerate(b, 1):
            diagonal, row[k] = row[k], min(row[k] + 1, row[k - 1] + 1, diagonal + (x != y))
    return row[-1]


def damerau_levenshtein(a: str, b: str) -> int:
    """Edits with exchanges of neighbours, of the unrestricted kind."""
    far = len(a) + len(b)
    seen: dict[str, int] = {}
    cost = [[far] * (len(b) + 2) for _ in range(len(a) + 2)]
    for i in range(len(a) + 1):
        cost[i + 1][1] = i
    for k in range(len(b) + 1):
        cost[1][k + 1] = k
    for i, x in enumerate(a, 1):
        match = 0
        for k, y in enumerate(b, 1):
            before, same = seen.get(y, 0), match
            change = int(x != y)
            if not change:
                match = k
            cost[i + 1][k + 1] = min(
                cost[i][k] + change, cost[i + 1][k] + 1, cost[i][k + 1] + 1,
                cost[before][same] + (i - before - 1) + 1 + (k - same - 1),
            )  # fmt: skip
        seen[x] = i
    return cost[-1][-1]


def _hamming(a: str, b: str) -> int:
    if len(a) != len(b):
        raise DataError(
            "hamming distance of texts of different lengths", code="invalid_argument", hint="or use levenshtein"
        )
    return sum(x != y for x, y in zip(a, b, strict=True))


def _jaccard(a: str, b: str) -> float:
    if not a or not b:
        raise DataError("jaccard of an empty text", code="invalid_argument")
    return len(set(a) & set(b)) / len(set(a) | set(b))


def _jaro(a: str, b: str) -> float:
    reach = max(max(len(a), len(b)) // 2 - 1, 0)
    used = [False] * len(b)
    first = []
    for i, x in enumerate(a):
        for k in range(max(0, i - reach), min(len(b), i + reach + 1)):
            if not used[k] and b[k] == x:
                used[k] = True
                first.append(x)
                break
    if not first:
        return 0.0
    second = [y for y, taken in zip(b, used, strict=True) if taken]
    swaps = sum(x != y for x, y in zip(first, second, strict=True)) / 2
    m = len(first)
    return (m / len(a) + m / len(b) + (m - swaps) / m) / 3


def _jaro_winkler(a: str, b: str) -> float:
    jaro = _jaro(a, b)
    common = 0
    for x, y in zip(a[:4], b[:4], strict=False):
        if x != y:
            break
        common += 1
    return jaro + common * 0.1 * (1 - jaro) if jaro > 0.7 else jaro


_PAIR = (TEXT, TEXT)
each_value("levenshtein", _PAIR, INT, levenshtein, "Fewest edits from one text to another.", "text", ("editdist3",))
each_value("damerau_levenshtein", _PAIR, INT, damerau_levenshtein, "Fewest edits, exchanges among them.", "text")
each_value("hamming", _PAIR, INT, _hamming, "Number of different characters.", "text", ("mismatches",))
each_value("jaccard", _PAIR, DOUBLE, _jaccard, "Shared characters by all characters.", "text")
for _name, _function in (("jaro_similarity", _jaro), ("jaro_winkler_similarity", _jaro_winkler)):

    def _alike(call: Call, args: list[Any], rows: int, settings: Settings, function: Any = _function) -> Any:
        def one(a: str, b: str, least: float = 0.0) -> float:
            found = float(function(a, b))
            return found if found >= least else 0.0

        return by_row(one, args, rows, DOUBLE)

    scalar(_name, takes(TEXT, TEXT, DOUBLE, gives=DOUBLE, least=2), "Similarity, 0 below the least that is wanted.",
           category="text")(_alike)  # fmt: skip
