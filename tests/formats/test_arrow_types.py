"""Rows in memory of every Arrow type come in the engine's types, with the same values, however they are cut."""

from __future__ import annotations

import datetime as dt
import decimal
import uuid

import pyarrow as pa
import pytest

import sqlengine
from sqlengine.errors import NotSupportedError
from sqlengine.formats.base import ReadLimits
from sqlengine.formats.memory import memory_source

KEY = uuid.UUID(int=5)
CASES = {
    "null": (pa.nulls(3), [None] * 3, pa.null()),
    "extension": (pa.ExtensionArray.from_storage(pa.opaque(pa.int64(), "a", "b"), pa.array([1, None, 3])), [1, None, 3],
                  pa.int64()),
    "uuid": (pa.array([KEY.bytes, None, KEY.bytes], pa.uuid()), [str(KEY), None, str(KEY)], pa.string()),
    "json": (pa.array(["1", None, "2"], pa.json_()), ["1", None, "2"], pa.string()),
    "half": (pa.array([1.0, None, 2.0], pa.float16()), [1.0, None, 2.0], pa.float32()),
    "decimal32": (pa.array([1, None, 2], pa.decimal32(5, 1)), [1, None, 2], pa.decimal128(5, 1)),
    "decimal256": (pa.array([decimal.Decimal("1.5"), None, 2], pa.decimal256(30, 2)), [decimal.Decimal("1.5"), None, 2],
                   pa.decimal128(30, 2)),
    "list_view": (pa.array([[1], None, [2, 3]], pa.list_view(pa.int32())), [[1], None, [2, 3]], pa.list_(pa.int32())),
    "large_list": (pa.array([["a"], None, []], pa.large_list(pa.large_string())), [["a"], None, []],
                   pa.list_(pa.string())),
    "list_of_uuid": (pa.ListArray.from_arrays([0, None, 1, 1], pa.array([KEY.bytes], pa.uuid())),
                     [[str(KEY)], None, []], pa.list_(pa.string())),
    "struct": (pa.array([{"a": "x"}, None, {"a": None}], pa.struct([("a", pa.string_view())])),
               [{"a": "x"}, None, {"a": None}], pa.struct([("a", pa.string())])),
    "duration": (pa.array([dt.timedelta(seconds=5), None, dt.timedelta(days=1)], pa.duration("ms")),
                 [(0, 0, 5 * 10**9), None, (0, 0, 86400 * 10**9)], pa.month_day_nano_interval()),
    "time32": (pa.array([dt.time(1, 2, 3), None, dt.time(0)], pa.time32("s")), [dt.time(1, 2, 3), None, dt.time(0)],
               pa.time64("us")),
    "instant": (pa.array([0, None, 1], pa.timestamp("s", "Europe/Berlin")),
                [dt.datetime(1970, 1, 1, tzinfo=dt.UTC), None, dt.datetime(1970, 1, 1, 0, 0, 1, tzinfo=dt.UTC)],
                pa.timestamp("us", "UTC")),
    "date64": (pa.array([dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)], pa.date64()),
               [dt.date(2020, 1, 1), None, dt.date(2021, 1, 1)], pa.date32()),
    "dictionary": (pa.array(["a", None, "b"]).dictionary_encode(), ["a", None, "b"], pa.string()),
    "dictionary_of_numbers": (pa.array([7, None, 8]).dictionary_encode(), [7, None, 8], pa.int64()),
    "run_end": (pa.RunEndEncodedArray.from_arrays([2, 3], pa.array(["x", None])), ["x", "x", None], pa.string()),
    "fixed_binary": (pa.array([b"ab", None, b"cd"], pa.binary(2)), [b"ab", None, b"cd"], pa.binary()),
    "binary_view": (pa.array([b"ab", None, b"cd"], pa.binary_view()), [b"ab", None, b"cd"], pa.binary()),
    "string_view": (pa.array(["ab", None, "cd"], pa.string_view()), ["ab", None, "cd"], pa.string()),
    "large_binary": (pa.array([b"ab", None, b"cd"], pa.large_binary()), [b"ab", None, b"cd"], pa.binary()),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_values_and_type(name: str) -> None:
    array, values, type_ = CASES[name]
    source = memory_source(pa.table({"x": array}))
    assert source.schema.field("x").type == type_
    for rows in (1, 2, 100):
        found = [
            value
            for split in source.splits(["x"], [])
            for batch in source.read(split, ["x"], [], ReadLimits(rows))
            for value in batch.column("x").to_pylist()
        ]
        assert found == values
    session = sqlengine.connect()
    session.register("t", pa.table({"x": array, "i": [1, 2, 3]}))
    assert session.sql("select x from t where i > 1 order by i").to_arrow().column(0).to_pylist() == values[1:]


def test_what_cannot_be_read_is_named() -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    for array in (union, pa.array([1], pa.decimal256(60, 2))):
        with pytest.raises(NotSupportedError, match="column 'x'"):
            memory_source(pa.table({"x": array})).schema  # noqa: B018
