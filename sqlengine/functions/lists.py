"""Functions of lists. Most work on the flattened elements of all rows at once and put the lists together again.

`taken_apart` gives the counts of elements per row (0 for NULL) and the elements; `put_together` is its inverse.
Fixed-size lists become lists first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from sqlengine.errors import DataError
from sqlengine.expr.cast import cast_array
from sqlengine.expr.coercion import common_of, common_type
from sqlengine.expr.nodes import AggregateCall, Call, ColumnRef, Expr, Literal
from sqlengine.expr.overloads import BOOL, DOUBLE, INT, TEXT, Types, by_row, constant, is_list, takes
from sqlengine.expr.registry import NoMatch, bind_aggregate, group_aggregate, scalar
from sqlengine.functions.comparison import compare
from sqlengine.functions.moves import as_micros, column, moved
from sqlengine.kernels import intervals
from sqlengine.kernels.lists import first_hits, spans, woven
from sqlengine.kernels.sorting import SortKeys
from sqlengine.settings import Settings
from sqlengine.types import INTERVAL, sql_name

_I32 = pa.int32()


def element_type(arg: Expr) -> pa.DataType:
    """The type of the elements of a list argument (of `[]` and NULL: of an INTEGER)."""
    if pa.types.is_null(arg.type):
        return _I32
    if not is_list(arg.type):
        raise NoMatch(f"it takes a list, this is {sql_name(arg.type)}")
    return _I32 if pa.types.is_null(arg.type.value_type) else arg.type.value_type


def list_column(value: Any, rows: int) -> pa.ListArray:
    """An argument as a column of (variable-size) lists."""
    array = column(value, rows)
    if pa.types.is_fixed_size_list(array.type):
        array = array.cast(pa.list_(array.type.value_type))
    return array


def counts_of(lists: pa.ListArray) -> pa.Array:
    return pc.fill_null(pc.list_value_length(lists), 0).cast(INT)


def taken_apart(lists: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    return counts_of(lists), pc.list_flatten(lists)


def put_together(counts: pa.Array, values: pa.Array, valid: pa.Array | None, type_: pa.DataType) -> pa.ListArray:
    """Lists of so many elements each; NULL where `valid` is false."""
    ends = pc.cumulative_sum(counts).cast(_I32)
    offsets = pa.concat_arrays([pa.array([0], _I32), ends])
    # An empty bitmap in the offsets would be taken for one with NULLs.
    offsets = pa.Array.from_buffers(_I32, len(offsets), [None, offsets.buffers()[1]], 0, offsets.offset)
    mask = pc.invert(valid) if valid is not None and len(valid) and not pc.all(valid).as_py() else None
    if values.type != type_.value_type:
        values = cast_array(values, type_.value_type, False)
    return pa.ListArray.from_arrays(offsets, values, type=type_, mask=mask)


def parents_of(counts: pa.Array) -> pa.Array:
    """The row of each element."""
    rows = pa.array(range(len(counts)), INT)
    return spans(rows, counts, pa.repeat(pa.scalar(0, INT), len(counts)))


def starts_of(counts: pa.Array) -> pa.Array:
    return pc.subtract(pc.cumulative_sum(counts), counts)


def list_length(value: Any) -> Any:
    if pa.types.is_map(value.type):
        return pc.if_else(
            value.is_valid(), pc.subtract(value.offsets[1:], value.offsets[:-1]).cast(INT), pa.scalar(None, INT)
        )
    return pc.cast(pc.list_value_length(value), INT)


# making lists


def _value_types(args: Sequence[Expr]) -> Types:
    type_ = common_of(list(args)) if args else pa.null()
    if type_ is None:
        shown = ", ".join(dict.fromkeys(sql_name(a.type) for a in args))
        raise NoMatch(f"the elements have no common type: {shown}")
    if pa.types.is_null(type_):
        type_ = _I32
    return [type_] * len(args), pa.list_(type_)


@scalar("list_value", _value_types, "A list of the arguments.", category="list", aliases=("list_pack",), strict=False)
def _list_value(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if not args:
        return pa.array([[]] * rows, call.type)
    values = pa.concat_arrays([column(a, rows) for a in args])
    if len(args) > 1:
        values = values.take(woven(rows, len(args)))
    offsets = pa.array(range(0, rows * len(args) + 1, len(args)), _I32)
    return pa.ListArray.from_arrays(offsets, values, type=call.type)


def _range_types(args: Sequence[Expr]) -> Types:
    if not 1 <= len(args) <= 3:
        raise NoMatch("it takes a start, a stop and a step")
    if any(pa.types.is_timestamp(a.type) or pa.types.is_date(a.type) for a in args[:2]):
        if len(args) != 3:
            raise NoMatch("a range of times needs a step, such as INTERVAL 1 DAY")
        zone = "UTC" if any(pa.types.is_timestamp(a.type) and a.type.tz for a in args[:2]) else None
        type_ = pa.timestamp("us", zone)
        return (type_, type_, INTERVAL), pa.list_(type_)
    return [INT] * len(args), pa.list_(INT)


def _range(name: str, inclusive: int, doc: str) -> None:
    @scalar(name, _range_types, doc, category="list")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        columns = [column(a, rows) for a in args]
        if pa.types.is_timestamp(columns[0].type):
            return _times(columns, rows, bool(inclusive), call, settings)
        if len(columns) == 1:
            columns = [pa.repeat(pa.scalar(0, INT), rows), *columns]
        start, stop = columns[:2]
        step = columns[2] if len(columns) > 2 else pa.repeat(pa.scalar(1, INT), rows)
        valid = pc.and_(pc.and_(start.is_valid(), stop.is_valid()), step.is_valid())
        start, stop, step = pc.fill_null(start, 0), pc.fill_null(stop, 0), pc.fill_null(step, 1)
        valid_step = pc.not_equal(step, 0)  # a step of 0 gives no rows
        step = pc.if_else(valid_step, step, 1)
        up = pc.greater(step, 0)
        distance = pc.if_else(up, pc.subtract(stop, start), pc.subtract(start, stop))
        size = pc.abs(step)
        # How many steps fit before the stop, or up to it.
        count = pc.divide(pc.add(distance, pc.if_else(pa.scalar(bool(inclusive)), size, pc.subtract(size, 1))), size)
        count = pc.if_else(pc.or_(pc.less(distance, 0), pc.invert(valid_step)), 0, count)
        count = pc.if_else(valid, count, 0)
        total = pc.sum(count).as_py() or 0
        if total > 2**31 - 1:
            raise DataError("the lists have more than 2^31 elements", code="out_of_range", hint="use range in FROM")
        return put_together(count, spans(start, count, step), valid, call.type)


def _times(columns: list[pa.Array], rows: int, inclusive: bool, call: Call, settings: Settings) -> pa.Array:
    """Timestamps a step apart: all rows take one step after the other until none has another one before its stop."""
    start, stop, by = columns
    valid = pc.and_(pc.and_(start.is_valid(), stop.is_valid()), by.is_valid())
    size = pc.fill_null(as_micros(by), 1)
    if pc.any(pc.and_(valid, pc.equal(size, 0))).as_py():
        raise DataError("the step of a range cannot be 0", code="invalid_argument", location=call.location)
    up = pc.greater(size, 0)
    months, days, nanos = intervals.split(by)
    pieces, parents, step = [], [], 0
    active = pc.indices_nonzero(valid).cast(INT)
    while len(active):
        span = [pc.multiply_checked(p.take(active).cast(INT), step) for p in (months, days, nanos)]
        hop = intervals.make(span[0].cast(_I32), span[1].cast(_I32), span[2])
        value = moved(start.take(active), hop, 1, len(active), settings)
        end, rising = stop.take(active), up.take(active)
        before = pc.if_else(rising, pc.less(value, end), pc.greater(value, end))
        keep = pc.or_(before, pc.equal(value, end)) if inclusive else before
        active = active.filter(keep)
        pieces.append(value.filter(keep))
        parents.append(active)
        step += 1
        if step > 10_000_000:
            raise DataError("the list has too many elements", code="out_of_range", location=call.location)
    flat = pa.concat_arrays([pa.nulls(0, call.type.value_type), *pieces])
    owners = pa.concat_arrays([pa.nulls(0, INT), *parents])
    order = SortKeys([owners], [False], [False]).order() if len(owners) else pa.nulls(0, INT)
    return put_together(_counts_per_row(owners, rows), flat.take(order), valid, call.type)


_range("range", 0, "Whole numbers from start up to before stop, as a list.")
_range("generate_series", 1, "Whole numbers from start to stop, as a list.")


# elements


def _extract_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes a list and a position")
    if pa.types.is_string(args[0].type):
        return (TEXT, INT), TEXT
    type_ = element_type(args[0])
    return (args[0].type if is_list(args[0].type) else pa.list_(type_), INT), type_


@scalar("list_extract", _extract_types, "The element at a position (from 1; from the end when negative).",
        category="list", aliases=("list_element", "array_extract"))  # fmt: skip
def _list_extract(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if args[0].type == TEXT:
        return by_row(_character, args, rows, TEXT)
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    at = args[1]
    place = pc.if_else(pc.greater(at, 0), pc.subtract(at, 1), pc.if_else(pc.less(at, 0), pc.add(counts, at), -1))
    inside = pc.and_(pc.greater_equal(place, 0), pc.less(place, counts))
    return values.take(pc.if_else(inside, pc.add(starts_of(counts), place), pa.scalar(None, INT)))


def _character(text: str, at: int) -> str:
    place = at - 1 if at > 0 else len(text) + at if at < 0 else -1
    return text[place] if 0 <= place < len(text) else ""


def _slice_types(args: Sequence[Expr]) -> Types:
    if len(args) not in (3, 4):
        raise NoMatch("it takes a list, first and last position, and a step")
    type_ = args[0].type
    if not (is_list(type_) or pa.types.is_null(type_)):
        if len(args) == 4:
            raise NoMatch("a step needs a list")
        return takes(TEXT, INT, INT, gives=TEXT)(args)
    result = pa.list_(element_type(args[0]))
    return (result, *[INT] * (len(args) - 1)), result


@scalar("array_slice", _slice_types, "The elements (or characters) from a position to another.", category="list",
        aliases=("list_slice",))  # fmt: skip
def _array_slice(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if call.type == TEXT:
        return by_row(_text_slice, args, rows, TEXT)
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    low, high = column(args[1], rows), column(args[2], rows)
    step = column(args[3], rows) if len(args) == 4 else pa.repeat(pa.scalar(1, INT), rows)
    valid = pc.and_(pc.and_(lists.is_valid(), low.is_valid()), pc.and_(high.is_valid(), step.is_valid()))
    low, high, step = pc.fill_null(low, 1), pc.fill_null(high, 0), pc.fill_null(step, 1)
    # `[3:1:-1]` goes from the third element back to the first one.
    back = pc.and_(pc.less(step, 0), pc.and_(pc.greater(low, high), pc.greater(high, 0)))
    low, high = pc.if_else(back, high, low), pc.if_else(back, low, high)
    if pc.any(pc.equal(step, 0)).as_py():
        raise DataError("the step of a slice cannot be 0", code="invalid_argument")
    first = pc.if_else(
        pc.less(low, 0), pc.max_element_wise(pc.add(counts, low), 0), pc.max_element_wise(pc.subtract(low, 1), 0)
    )
    last = pc.min_element_wise(pc.if_else(pc.less(high, 0), pc.add(counts, pc.add(high, 1)), high), counts)
    span = pc.max_element_wise(pc.subtract(last, first), 0)
    size = pc.abs(step)
    taken = pc.if_else(valid, pc.divide(pc.add(span, pc.subtract(size, 1)), size), 0)
    start = pc.add(starts_of(counts), pc.if_else(pc.greater(step, 0), first, pc.subtract(last, 1)))
    return put_together(taken, values.take(spans(start, taken, step)), valid, call.type)


def _text_slice(text: str, low: int, high: int) -> str:
    first = max(0, len(text) + low) if low < 0 else max(0, low - 1)
    last = len(text) + high + 1 if high < 0 else high
    return text[first : max(first, last)]


# searching


def _search_types(gives: pa.DataType) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 2:
            raise NoMatch("it takes a list and a value")
        if gives == BOOL and pa.types.is_string(args[0].type):
            return (TEXT, TEXT), BOOL
        if gives == BOOL and pa.types.is_map(args[0].type):
            return (args[0].type, args[0].type.key_type), BOOL
        element = ColumnRef(element_type(args[0]), "")
        type_ = common_of([element, args[1]])
        if type_ is None:
            raise NoMatch(f"the list holds {sql_name(element.type)}, the value is {sql_name(args[1].type)}")
        return (pa.list_(type_), type_), gives

    return infer


def _places(args: list[Any], rows: int) -> tuple[pa.ListArray, pa.Array]:
    """The lists, and the place of the value in each, -1 where it is not."""
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    wanted = args[1]
    if not isinstance(wanted, pa.Scalar):
        wanted = wanted.take(parents_of(counts))
    if len(values) == 0:
        return lists, pa.repeat(pa.scalar(-1, INT), rows)
    return lists, first_hits(counts, pc.fill_null(compare("eq", values, wanted, len(values)), False))


@scalar("list_contains", _search_types(BOOL), "Whether a list has an element (a text a part, a map a key).",
        category="list", aliases=("contains", "list_has", "array_contains", "array_has", "map_contains"))  # fmt: skip
def _list_contains(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if args[0].type == TEXT:
        part = constant(args[1])
        if part is not None:
            return pc.match_substring(args[0], part)
        return by_row(lambda text, part: part in text, args, rows, BOOL)
    if pa.types.is_map(args[0].type):
        return by_row(lambda pairs, key: any(k == key for k, _ in pairs), args, rows, BOOL)
    lists, places = _places(args, rows)
    known = lists.is_valid() if isinstance(args[1], pa.Scalar) else pc.and_(lists.is_valid(), args[1].is_valid())
    return pc.if_else(known, pc.greater_equal(places, 0), pa.scalar(None, BOOL))


@scalar("list_position", _search_types(_I32), "The position of an element in a list, NULL if it is not there.",
        category="list", aliases=("list_indexof", "array_position", "array_indexof"))  # fmt: skip
def _list_position(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists, places = _places(args, rows)
    there = pc.and_(lists.is_valid(), pc.greater_equal(places, 0))
    return pc.if_else(there, pc.add(places, 1).cast(_I32), pa.scalar(None, _I32))


def same_lists(args: Sequence[Expr]) -> Types:
    """All arguments lists of one type; an element stands for a list of itself."""
    kinds = []
    for arg in args:
        if pa.types.is_null(arg.type):
            continue
        kinds.append(ColumnRef(element_type(arg) if is_list(arg.type) else arg.type, ""))
    type_ = common_of(list(kinds)) if kinds else _I32
    if type_ is None:
        raise NoMatch("the lists have no common type")
    result = pa.list_(type_)
    return [result if is_list(a.type) or pa.types.is_null(a.type) else type_ for a in args], result


def _lists_only(gives: pa.DataType | None) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 2:
            raise NoMatch("it takes two lists")
        for arg in args:
            element_type(arg)
        types, result = same_lists(args)
        return types, gives or result

    return infer


def joined_lists(args: list[Any], rows: int, type_: pa.DataType) -> Any:
    """Lists (and single elements) one after the other; NULL counts as empty."""
    columns = [list_column(a, rows) if is_list(a.type) else _alone(column(a, rows), type_) for a in args]
    counts = [counts_of(c) for c in columns]
    bases, base = [], 0
    pools = []
    for c, n in zip(columns, counts, strict=True):
        pools.append(pc.list_flatten(c))
        bases.append(pc.add(starts_of(n), base))
        base += len(pools[-1])
    weave = woven(rows, len(columns))
    start, count = pa.concat_arrays(bases).take(weave), pa.concat_arrays(counts).take(weave)
    places = spans(start, count, pa.repeat(pa.scalar(1, INT), len(count)))
    total = counts[0]
    for n in counts[1:]:
        total = pc.add(total, n)
    return put_together(total, pa.concat_arrays(pools).take(places), None, type_)


def _alone(values: pa.Array, type_: pa.DataType) -> pa.ListArray:
    return pa.ListArray.from_arrays(pa.array(range(len(values) + 1), _I32), values, type=type_)


def _concat_types(args: Sequence[Expr]) -> Types:
    if not args:
        raise NoMatch("it takes lists")
    for arg in args:
        element_type(arg)
    return same_lists(args)


@scalar("list_concat", _concat_types, "Lists one after the other; NULL counts as empty.", category="list",
        aliases=("list_cat", "array_concat", "array_cat"), strict=False)  # fmt: skip
def _list_concat(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return joined_lists(args, rows, call.type)


def _element_beside(first: int) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 2:
            raise NoMatch("it takes a list and an element")
        element = element_type(args[first])
        type_ = common_of([ColumnRef(element, ""), args[1 - first]])
        if type_ is None:
            raise NoMatch(f"the list holds {sql_name(element)}, the value is {sql_name(args[1 - first].type)}")
        types = [type_, type_]
        types[first] = pa.list_(type_)
        return types, pa.list_(type_)

    return infer


@scalar("list_append", _element_beside(0), "The list with an element at its end.", category="list",
        aliases=("array_append", "array_push_back"), strict=False)  # fmt: skip
def _list_append(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return joined_lists([args[0], _alone(column(args[1], rows), call.type)], rows, call.type)


@scalar("list_prepend", _element_beside(1), "The list with an element at its start.", category="list",
        aliases=("array_prepend",), strict=False)  # fmt: skip
def _list_prepend(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return joined_lists([_alone(column(args[0], rows), call.type), args[1]], rows, call.type)


@scalar("array_push_front", _element_beside(0), "The list with an element at its start.", category="list", strict=False)
def _push_front(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return joined_lists([_alone(column(args[1], rows), call.type), args[0]], rows, call.type)


def _one_list(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes one list")
    type_ = pa.list_(element_type(args[0]))
    return (type_,), type_


def _popped(name: str, front: int) -> None:
    @scalar(name, _one_list, "The list without its first or last element.", category="list")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        lists = list_column(args[0], rows)
        counts, values = taken_apart(lists)
        fewer = pc.max_element_wise(pc.subtract(counts, 1), 0)
        places = spans(pc.add(starts_of(counts), front), fewer, pa.repeat(pa.scalar(1, INT), rows))
        return put_together(fewer, values.take(places), lists.is_valid(), call.type)


_popped("array_pop_front", 1)
_popped("array_pop_back", 0)


@scalar("list_reverse", _one_list, "The elements in reverse order.", category="list", aliases=("array_reverse",))
def _list_reverse(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    last = pc.subtract(pc.add(starts_of(counts), counts), 1)
    places = spans(last, counts, pa.repeat(pa.scalar(-1, INT), rows))
    return put_together(counts, values.take(places), lists.is_valid(), call.type)


# order and sets


def _sort_types(args: Sequence[Expr]) -> Types:
    if not 1 <= len(args) <= 3:
        raise NoMatch("it takes a list, an order and the place of NULLs")
    type_ = pa.list_(element_type(args[0]))
    return (type_, *[TEXT] * (len(args) - 1)), type_


def _wanted_order(args: list[Any], settings: Settings, reverse: bool) -> tuple[bool, bool]:
    """Whether descending, and whether NULLs come first."""
    words = [str(constant(a) or "").upper() for a in args[1:]]
    default = settings.default_null_order
    if reverse:
        down = settings.default_order != "desc"
        nulls = words[0] if words else ""
    else:
        down = (words[0] if words else settings.default_order.upper()).startswith("DESC")
        nulls = words[1] if len(words) > 1 else ""
    if nulls:
        return down, nulls == "NULLS FIRST"
    by_order = "nulls_last_on_asc_first_on_desc" if down else "nulls_first_on_asc_last_on_desc"
    return down, default in ("nulls_first", by_order)


def _sorted(name: str, reverse: bool, aliases: tuple[str, ...], doc: str) -> None:
    @scalar(name, _sort_types, doc, category="list", aliases=aliases)
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        lists = list_column(args[0], rows)
        counts, values = taken_apart(lists)
        down, first = _wanted_order(args, settings, reverse)
        places = SortKeys([parents_of(counts), values], [False, down], [False, first]).order()
        return put_together(counts, values.take(places), lists.is_valid(), call.type)


_sorted("list_sort", False, ("array_sort",), "The elements in order.")
_sorted("list_reverse_sort", True, ("array_reverse_sort",), "The elements in reverse order.")


def _grade_types(args: Sequence[Expr]) -> Types:
    return _sort_types(args)[0], pa.list_(INT)


@scalar("list_grade_up", _grade_types, "Positions of the elements in order.", category="list",
        aliases=("array_grade_up", "grade_up"))  # fmt: skip
def _grade_up(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    down, first = _wanted_order(args, settings, False)
    places = SortKeys([parents_of(counts), values], [False, down], [False, first]).order().cast(INT)
    starts = starts_of(counts).take(parents_of(counts))
    return put_together(counts, pc.add(pc.subtract(places, starts), 1), lists.is_valid(), call.type)


def _without_doubles(lists: pa.ListArray) -> tuple[pa.Array, pa.Array]:
    """For each row the distinct elements that are not NULL, in the order of first places: their rows and values."""
    counts, values = taken_apart(lists)
    keep = values.is_valid()
    parents, values = parents_of(counts).filter(keep), values.filter(keep)
    if not len(values):
        return parents, values
    order_ = SortKeys([parents, values], [False, False], [False, False]).order()
    starts = SortKeys([parents.take(order_), values.take(order_)], [False] * 2, [False] * 2).starts()
    kept = pc.array_sort_indices(order_.take(starts))
    kept = order_.take(starts).take(kept)
    return parents.take(kept), values.take(kept)


def _counts_per_row(parents: pa.Array, rows: int) -> pa.Array:
    counted = pc.value_counts(parents)
    known, numbers = counted.field(0), counted.field(1)
    return pc.fill_null(numbers.take(pc.index_in(pa.array(range(rows), INT), value_set=known)), 0).cast(INT)


@scalar(
    "list_distinct", _one_list, "The elements without NULLs and doubles.", category="list", aliases=("array_distinct",)
)
def _list_distinct(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    parents, values = _without_doubles(lists)
    return put_together(_counts_per_row(parents, rows), values, lists.is_valid(), call.type)


@scalar("list_unique", lambda args: (_one_list(args)[0], pa.uint64()), "How many different elements.", category="list",
        aliases=("array_unique",))  # fmt: skip
def _list_unique(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts = _counts_per_row(_without_doubles(lists)[0], rows).cast(pa.uint64())
    return pc.if_else(lists.is_valid(), counts, pa.scalar(None, pa.uint64()))


def _known(value: Any) -> Any:
    return tuple(map(_known, value)) if isinstance(value, list) else repr(value) if isinstance(value, dict) else value


def _has_any(a: list[Any], b: list[Any]) -> bool:
    return bool({_known(x) for x in a if x is not None} & {_known(x) for x in b if x is not None})


def _has_all(a: list[Any], b: list[Any]) -> bool:
    return {_known(x) for x in b if x is not None} <= {_known(x) for x in a if x is not None}


@scalar("list_has_any", _lists_only(BOOL), "Whether two lists share an element.", category="list",
        aliases=("array_has_any",))  # fmt: skip
def _list_has_any(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_has_any, args, rows, BOOL)


@scalar("list_contained_by", _lists_only(BOOL), "Whether another list has all elements of a list.", category="list")
def _list_contained_by(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_has_all, args[::-1], rows, BOOL)


@scalar("list_has_all", _lists_only(BOOL), "Whether a list has all elements of another.", category="list",
        aliases=("array_has_all",))  # fmt: skip
def _list_has_all(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return by_row(_has_all, args, rows, BOOL)


@scalar("list_intersect", _lists_only(None), "The elements that both lists have.", category="list",
        aliases=("array_intersect",), strict=False)  # fmt: skip
def _list_intersect(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(a: list[Any] | None, b: list[Any] | None) -> list[Any] | None:
        if a is None:
            return None
        there = {_known(x) for x in b or () if x is not None}
        return list({_known(x): x for x in a if x is not None and _known(x) in there}.values())

    pairs = zip(*(column(a, rows).to_pylist() for a in args), strict=True)
    return pa.array([one(a, b) for a, b in pairs], call.type)


# shapes


def _flatten_types(args: Sequence[Expr]) -> Types:
    if (
        len(args) != 1
        or not is_list(args[0].type)
        or not (is_list(args[0].type.value_type) or pa.types.is_null(args[0].type.value_type))
    ):
        raise NoMatch("it takes a list of lists")
    inner = args[0].type.value_type
    type_ = pa.list_(inner.value_type) if is_list(inner) else pa.list_(_I32)
    return (pa.list_(type_),), type_


@scalar("flatten", _flatten_types, "The elements of the lists in a list.", category="list")
def _flatten(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    outer, inner = taken_apart(lists)
    counts = counts_of(inner)
    ends = pa.concat_arrays([pa.array([0], INT), pc.cumulative_sum(counts)])
    first = starts_of(outer)
    total = pc.subtract(ends.take(pc.add(first, outer)), ends.take(first))
    return put_together(total, pc.list_flatten(inner), lists.is_valid(), call.type)


def _zip_types(args: Sequence[Expr]) -> Types:
    lists = list(args)
    if lists and pa.types.is_boolean(lists[-1].type):
        lists = lists[:-1]
    if not lists:
        raise NoMatch("it takes lists")
    types = [a.type if is_list(a.type) else pa.list_(_I32) for a in lists]
    pair = pa.struct([pa.field(f"element{i}", element_type(a)) for i, a in enumerate(lists, 1)])
    return types + [BOOL] * (len(args) - len(lists)), pa.list_(pair)


@scalar("list_zip", _zip_types, "Elements of several lists side by side, as structs.", category="list",
        aliases=("array_zip",), strict=False)  # fmt: skip
def _list_zip(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    cut = False
    if pa.types.is_boolean(args[-1].type):
        cut, args = bool(constant(args[-1])), args[:-1]
    lists = [list_column(a, rows) for a in args]
    counts = [counts_of(c) for c in lists]
    total = pc.min_element_wise(*counts) if cut else pc.max_element_wise(*counts)
    parents = parents_of(total)
    at = spans(pa.repeat(pa.scalar(0, INT), rows), total, pa.repeat(pa.scalar(1, INT), rows))
    children = []
    for c, n in zip(lists, counts, strict=True):
        inside = pc.less(at, n.take(parents))
        places = pc.if_else(inside, pc.add(starts_of(n).take(parents), at), pa.scalar(None, INT))
        children.append(pc.list_flatten(c).take(places))
    values = pa.StructArray.from_arrays(children, fields=list(call.type.value_type))
    return put_together(total, values, None, call.type)


def _select_types(kind: pa.DataType) -> Callable[[Sequence[Expr]], Types]:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 2:
            raise NoMatch("it takes two lists")
        type_ = pa.list_(element_type(args[0]))
        return (type_, pa.list_(kind)), type_

    return infer


@scalar("list_select", _select_types(INT), "The elements at the given positions.", category="list",
        aliases=("array_select",))  # fmt: skip
def _list_select(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(items: list[Any], places: list[int | None]) -> list[Any]:
        return [items[p - 1] if p is not None and 1 <= p <= len(items) else None for p in places]

    return by_row(one, args, rows, call.type)


@scalar("list_where", _select_types(BOOL), "The elements where the second list is true.", category="list",
        aliases=("array_where",))  # fmt: skip
def _list_where(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    def one(items: list[Any], flags: list[bool | None]) -> list[Any]:
        return [items[i] if i < len(items) else None for i, keep in enumerate(flags) if keep]

    return by_row(one, args, rows, call.type)


def _resize_types(args: Sequence[Expr]) -> Types:
    if len(args) not in (2, 3):
        raise NoMatch("it takes a list, a length and what to fill with")
    type_ = element_type(args[0])
    return [pa.list_(type_), INT, type_][: len(args)], pa.list_(type_)


@scalar("list_resize", _resize_types, "The list cut or filled to a length.", category="list", aliases=("array_resize",),
        strict=False)  # fmt: skip
def _list_resize(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    columns = [column(a, rows).to_pylist() for a in args]
    fills = columns[2] if len(args) == 3 else [None] * rows
    results = []
    for items, size, fill in zip(columns[0], columns[1], fills, strict=True):
        results.append(None if items is None else (items + [fill] * ((size or 0) - len(items)))[: size or 0])
    return pa.array(results, call.type)


def _text_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes a list and what to put between")
    element_type(args[0])
    return (pa.list_(TEXT), TEXT), TEXT


@scalar("array_to_string", _text_types, "The elements as one text.", category="list", aliases=("list_to_string",))
def _array_to_string(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    between = constant(args[1])

    def one(items: list[str | None], *mark: str) -> str | None:
        found = [item for item in items if item is not None]
        # A list of nothing but NULLs has no text, as string_agg of them has none; an empty list has the empty one.
        return (mark[0] if mark else str(between)).join(found) if found or not items else None

    return by_row(one, args if between is None else args[:1], rows, TEXT)


# lambdas


def _transform_types(args: Sequence[Expr]) -> Types:
    return [a.type for a in args], pa.list_(_I32 if pa.types.is_null(args[1].type) else args[1].type)


def _places_in_lists(counts: pa.Array) -> pa.Array:
    ones = pa.repeat(pa.scalar(1, INT), len(counts))
    return spans(ones, counts, ones)


@scalar("list_transform", _transform_types, "The lambda's value for each element.", category="list",
        aliases=("list_apply", "array_transform", "array_apply", "apply"))  # fmt: skip
def _list_transform(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    made = args[1].apply([values, _places_in_lists(counts)], parents_of(counts))
    return put_together(counts, made, lists.is_valid(), call.type)


@scalar("list_filter", lambda args: ([a.type for a in args], pa.list_(element_type(args[0]))),
        "The elements for which the lambda is true.", category="list",
        aliases=("array_filter", "filter"))  # fmt: skip
def _list_filter(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    parents = parents_of(counts)
    keep = pc.fill_null(args[1].apply([values, _places_in_lists(counts)], parents), False)
    return put_together(_counts_per_row(parents.filter(keep), rows), values.filter(keep), lists.is_valid(), call.type)


@scalar("list_reduce", lambda args: ([a.type for a in args], args[1].type),
        "The lambda of the value so far and the next element.", category="list",
        aliases=("array_reduce", "reduce"))  # fmt: skip
def _list_reduce(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    starts = starts_of(counts)
    function = args[1]
    state_type = call.type
    if len(args) > 2:
        state, at = column(args[2], rows), 0
    else:
        if pc.any(pc.and_(lists.is_valid(), pc.equal(counts, 0))).as_py():
            raise DataError(
                "cannot reduce an empty list without a first value", code="invalid_argument", hint="give one"
            )
        state, at = values.take(pc.if_else(pc.greater(counts, 0), starts, pa.scalar(None, INT))), 1
        state = cast_array(state, state_type, False)
    most = pc.max(counts).as_py() or 0
    while at < most:
        active = pc.greater(counts, at)
        places = pc.indices_nonzero(active).cast(INT)
        element = values.take(pc.add(starts.take(places), at))
        number = pa.repeat(pa.scalar(at + 1, INT), len(places))
        made = function.apply([state.take(places), element, number], places)
        back = pc.if_else(active, pc.add(pc.cumulative_sum(active.cast(INT)), rows - 1), pa.array(range(rows), INT))
        state = pa.concat_arrays([state, made]).take(back)
        at += 1
    return state.take(pc.if_else(lists.is_valid(), pa.array(range(rows), INT), pa.scalar(None, INT)))


# aggregates of the elements

_PLAIN_AGGREGATES = (
    "sum", "avg", "min", "max", "count", "product", "median", "mode", "first", "last", "any_value", "stddev_samp",
    "stddev_pop", "var_samp", "var_pop", "sem", "skewness", "kurtosis", "kurtosis_pop", "mad", "bool_and", "bool_or",
    "bit_and", "bit_or", "bit_xor", "entropy", "histogram", "approx_count_distinct", "string_agg",
)  # fmt: skip


def _aggregate_call(name: str, element: pa.DataType, more: Sequence[Expr]) -> AggregateCall:
    return bind_aggregate(name, [ColumnRef(element, "element"), *more])


def _aggregate_types(args: Sequence[Expr]) -> Types:
    if len(args) < 2 or not isinstance(args[1], Literal) or not isinstance(args[1].value, str):
        raise NoMatch("it takes a list and the name of an aggregate")
    call = _aggregate_call(args[1].value, element_type(args[0]), args[2:])
    return [pa.list_(element_type(args[0])), TEXT, *(a.type for a in call.args[1:])], call.type


def aggregated(name: str, value: Any, more: Sequence[Any], rows: int) -> pa.Array:
    """An aggregate of the elements of each list; NULL for a NULL list."""
    lists = list_column(value, rows)
    counts, values = taken_apart(lists)
    constants = [Literal(m.type, constant(m)) for m in more]
    call = _aggregate_call(name, values.type, constants)
    if call.args[0].type != values.type:
        values = cast_array(values, call.args[0].type, False)
    extra = [pa.array([lit.value] * len(values), arg.type) for lit, arg in zip(constants, call.args[1:], strict=True)]
    result = group_aggregate(call, [values, *extra], parents_of(counts).cast(_I32), rows)
    return result.take(pc.if_else(lists.is_valid(), pa.array(range(rows), INT), pa.scalar(None, INT)))


@scalar("list_aggregate", _aggregate_types, "An aggregate, by name, of the elements.", category="list",
        aliases=("list_aggr", "aggregate", "array_aggregate", "array_aggr"))  # fmt: skip
def _list_aggregate(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    return aggregated(str(constant(args[1])), args[0], args[2:], rows)


def _named_aggregate(name: str) -> None:
    def infer(args: Sequence[Expr]) -> Types:
        if len(args) != 1:
            raise NoMatch("it takes one list")
        element = element_type(args[0])
        return (pa.list_(element),), _aggregate_call(name, element, ()).type

    @scalar(f"list_{name}", infer, f"{name} of the elements.", category="list", aliases=(f"array_{name}",))
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return aggregated(name, args[0], (), rows)


for _name in _PLAIN_AGGREGATES:
    _named_aggregate(_name)


# vectors


def _vector_types(args: Sequence[Expr]) -> Types:
    if len(args) != 2:
        raise NoMatch("it takes two lists of numbers")
    type_ = common_type(element_type(args[0]), element_type(args[1]))
    type_ = pa.float32() if type_ == pa.float32() else DOUBLE
    return (pa.list_(type_), pa.list_(type_)), type_


def _vectors(
    name: str, function: Callable[[list[float], list[float]], float | None], doc: str, more: tuple[str, ...]
) -> None:
    def one(a: list[float | None], b: list[float | None]) -> float | None:
        if len(a) != len(b):
            raise DataError(
                f"{name} takes lists of one length, these have {len(a)} and {len(b)}", code="invalid_argument"
            )
        if None in a or None in b:
            raise DataError(f"{name} takes lists without NULL", code="invalid_argument")
        return function(a, b)  # type: ignore[arg-type]

    @scalar(f"list_{name}", _vector_types, doc, category="list", aliases=(f"array_{name}", *more))
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        return by_row(one, args, rows, call.type)


def _dot(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


def _distance(a: list[float], b: list[float]) -> float:
    return float(sum((x - y) ** 2 for x, y in zip(a, b, strict=True)) ** 0.5)


def _cosine(a: list[float], b: list[float]) -> float | None:
    size = (_dot(a, a) * _dot(b, b)) ** 0.5
    return max(-1.0, min(1.0, _dot(a, b) / size)) if size else None


def _cosine_distance(a: list[float], b: list[float]) -> float | None:
    cosine = _cosine(a, b)
    return None if cosine is None else 1 - cosine


_vectors("inner_product", _dot, "Sum of products.", ("list_dot_product", "array_dot_product"))
_vectors("distance", _distance, "Euclidean distance.", ())
_vectors("cosine_similarity", _cosine, "Cosine of the angle.", ())
_vectors("cosine_distance", _cosine_distance, "1 less the cosine of the angle.", ())
_vectors("negative_inner_product", lambda a, b: -_dot(a, b), "Sum of products with the other sign.", ())
