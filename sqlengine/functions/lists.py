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
from sqlengine.expr.coercion import common_of
from sqlengine.expr.nodes import Call, ColumnRef, Expr
from sqlengine.expr.overloads import BOOL, INT, TEXT, Types, by_row, constant, is_list, takes
from sqlengine.expr.registry import NoMatch, scalar
from sqlengine.functions.comparison import compare
from sqlengine.functions.moves import as_micros, column, moved
from sqlengine.kernels.lists import first_hits, spans, woven
from sqlengine.kernels.sorting import SortKeys
from sqlengine.settings import Settings
from sqlengine.types import INTERVAL, sql_name

I32 = pa.int32()


def element_type(arg: Expr) -> pa.DataType:
    """The type of the elements of a list argument (of `[]` and NULL: of an INTEGER)."""
    if pa.types.is_null(arg.type):
        return I32
    if not is_list(arg.type):
        raise NoMatch(f"it takes a list, this is {sql_name(arg.type)}")
    return I32 if pa.types.is_null(arg.type.value_type) else arg.type.value_type


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
    ends = pc.cumulative_sum(counts).cast(I32)
    offsets = pa.concat_arrays([pa.array([0], I32), ends])
    # An empty bitmap in the offsets would be taken for one with NULLs.
    offsets = pa.Array.from_buffers(I32, len(offsets), [None, offsets.buffers()[1]], 0, offsets.offset)
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


def counts_per_row(parents: pa.Array, rows: int) -> pa.Array:
    counted = pc.value_counts(parents)
    known, numbers = counted.field(0), counted.field(1)
    return pc.fill_null(numbers.take(pc.index_in(pa.array(range(rows), INT), value_set=known)), 0).cast(INT)


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
        type_ = I32
    return [type_] * len(args), pa.list_(type_)


@scalar("list_value", _value_types, "A list of the arguments.", category="list",
        aliases=("list_pack", "unpivot_list"), strict=False)  # fmt: skip
def _list_value(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    if not args:
        return pa.array([[]] * rows, call.type)
    values = pa.concat_arrays([column(a, rows) for a in args])
    if len(args) > 1:
        values = values.take(woven(rows, len(args)))
    offsets = pa.array(range(0, rows * len(args) + 1, len(args)), I32)
    return pa.ListArray.from_arrays(offsets, values, type=call.type)


def _array_types(args: Sequence[Expr]) -> Types:
    if not args:
        raise NoMatch("an array has at least one element")
    types, result = _value_types(args)
    return types, pa.list_(result.value_type, len(args))


@scalar("array_value", _array_types, "An array (a list of fixed size) of the arguments.", category="list", strict=False)
def _array_value(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    values = pa.concat_arrays([column(a, rows) for a in args]).take(woven(rows, len(args)))
    return pa.FixedSizeListArray.from_arrays(values, type=call.type)


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
    pieces, parents, step = [], [], 0
    active = pc.indices_nonzero(valid).cast(INT)
    value = start.take(active)
    while len(active):
        end, rising = stop.take(active), up.take(active)
        before = pc.if_else(rising, pc.less(value, end), pc.greater(value, end))
        keep = pc.or_(before, pc.equal(value, end)) if inclusive else before
        active, value = active.filter(keep), value.filter(keep)
        pieces.append(value)
        parents.append(active)
        # From where the last step came to: after a short month the days of later ones are as early.
        value = moved(value, by.take(active), 1, len(active), settings)
        step += 1
        if step > 10_000_000:
            raise DataError("the list has too many elements", code="out_of_range", location=call.location)
    flat = pa.concat_arrays([pa.nulls(0, call.type.value_type), *pieces])
    owners = pa.concat_arrays([pa.nulls(0, INT), *parents])
    order = SortKeys([owners], [False], [False]).order() if len(owners) else pa.nulls(0, INT)
    return put_together(counts_per_row(owners, rows), flat.take(order), valid, call.type)


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


@scalar("list_position", _search_types(I32), "The position of an element in a list, NULL if it is not there.",
        category="list", aliases=("list_indexof", "array_position", "array_indexof"))  # fmt: skip
def _list_position(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists, places = _places(args, rows)
    there = pc.and_(lists.is_valid(), pc.greater_equal(places, 0))
    return pc.if_else(there, pc.add(places, 1).cast(I32), pa.scalar(None, I32))


def same_lists(args: Sequence[Expr]) -> Types:
    """All arguments lists of one type; an element stands for a list of itself."""
    kinds = []
    for arg in args:
        if pa.types.is_null(arg.type):
            continue
        kinds.append(ColumnRef(element_type(arg) if is_list(arg.type) else arg.type, ""))
    type_ = common_of(list(kinds)) if kinds else I32
    if type_ is None:
        raise NoMatch("the lists have no common type")
    result = pa.list_(type_)
    return [result if is_list(a.type) or pa.types.is_null(a.type) else type_ for a in args], result


def lists_only(gives: pa.DataType | None) -> Callable[[Sequence[Expr]], Types]:
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
    return pa.ListArray.from_arrays(pa.array(range(len(values) + 1), I32), values, type=type_)


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


def one_list(args: Sequence[Expr]) -> Types:
    if len(args) != 1:
        raise NoMatch("it takes one list")
    type_ = pa.list_(element_type(args[0]))
    return (type_,), type_


def _popped(name: str, front: int) -> None:
    @scalar(name, one_list, "The list without its first or last element.", category="list")
    def run(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
        lists = list_column(args[0], rows)
        counts, values = taken_apart(lists)
        fewer = pc.max_element_wise(pc.subtract(counts, 1), 0)
        places = spans(pc.add(starts_of(counts), front), fewer, pa.repeat(pa.scalar(1, INT), rows))
        return put_together(fewer, values.take(places), lists.is_valid(), call.type)


_popped("array_pop_front", 1)
_popped("array_pop_back", 0)


@scalar("list_reverse", one_list, "The elements in reverse order.", category="list", aliases=("array_reverse",))
def _list_reverse(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    lists = list_column(args[0], rows)
    counts, values = taken_apart(lists)
    last = pc.subtract(pc.add(starts_of(counts), counts), 1)
    places = spans(last, counts, pa.repeat(pa.scalar(-1, INT), rows))
    return put_together(counts, values.take(places), lists.is_valid(), call.type)
