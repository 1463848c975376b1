"""Rows as lines of text are what the standard library reads back: of every type, whole and cut."""

from __future__ import annotations

import csv
import datetime
import io
import json
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from sqlengine.formats.text import csv_lines, json_lines
from sqlengine.kernels.text_lines import RAW, lines

VALUES: dict[str, Any] = {
    "i": pa.array([1, None, -128], pa.int8()),
    "u": pa.array([2**64 - 1, 0, None], pa.uint64()),
    "f": [1.0, float("nan"), 1e300],
    "g": pa.array([0.1, None, float("inf")], pa.float32()),
    "s": ['a"b\\\n\x01é,;漢', "", None],
    "l": [[1, None], [], None],
    "ls": [["x,", None], None, ["\t\"'"]],
    "st": [{"a": 1, "b": "q\n"}, None, {"a": None, "b": None}],
    "m": pa.array([[("k", 1.5)], None, []], pa.map_(pa.string(), pa.float64())),
    "d": [datetime.date(2020, 1, 1), None, datetime.date(1, 1, 1)],
    "dec": [Decimal("1.50"), None, Decimal("-0.01")],
    "bl": [b"\x00a", None, b""],
    "bo": [True, None, False],
    "n": pa.nulls(3),
    "fl": pa.array([[1, 2], None, [3, 4]], pa.list_(pa.int32(), 2)),
    "e": pa.array([{}, None, {}], pa.struct([])),
}
BATCH = pa.record_batch(VALUES)
OBJECTS = [
    {"i": 1, "u": 2**64 - 1, "f": 1.0, "g": 0.1, "s": 'a"b\\\n\x01é,;漢', "l": [1, None], "ls": ["x,", None],
     "st": {"a": 1, "b": "q\n"}, "m": {"k": 1.5}, "d": "2020-01-01", "dec": 1.5, "bl": "\\x00a", "bo": True, "n": None,
     "fl": [1, 2], "e": {}},
    {"i": None, "u": 0, "f": None, "g": None, "s": "", "l": [], "ls": None, "st": None, "m": None, "d": None,
     "dec": None, "bl": None, "bo": None, "n": None, "fl": None, "e": None},
    {"i": -128, "u": None, "f": 1e300, "g": None, "s": None, "l": None, "ls": ["\t\"'"], "st": {"a": None, "b": None},
     "m": {}, "d": "0001-01-01", "dec": -0.01, "bl": "", "bo": False, "n": None, "fl": [3, 4], "e": {}},
]  # fmt: skip


@pytest.mark.parametrize(("start", "stop"), [(0, 3), (1, 3), (2, 3), (1, 2), (0, 0)])
def test_objects_of_json(start: int, stop: int) -> None:
    batch = BATCH.slice(start, stop - start)
    assert [json.loads(line) for line in json_lines(batch).splitlines()] == OBJECTS[start:stop]
    text = json_lines(batch, b",", b"")[1:]
    assert json.loads(b"[" + text + b"]") == OBJECTS[start:stop]
    assert b'"dec":1.50' in json_lines(BATCH)


@pytest.mark.parametrize(("delimiter", "quote", "escape"), [(",", '"', '"'), (";", "'", "'"), ("\t", '"', "\\")])
@pytest.mark.parametrize("force", [False, True])
def test_cells_of_csv(delimiter: str, quote: str, escape: str, force: bool) -> None:
    batch = BATCH.select(["i", "s", "d", "l", "bo", "dec"])
    text = csv_lines(batch, delimiter, quote, escape, "", force).decode()
    doubled = escape == quote
    rows = list(
        csv.reader(
            io.StringIO(text, newline=""), delimiter=delimiter, quotechar=quote, doublequote=doubled,
            escapechar=None if doubled else escape,
        )
    )  # fmt: skip
    assert rows == [
        ["1", 'a"b\\\n\x01é,;漢', "2020-01-01", "[1, NULL]", "true", "1.50"],
        ["", "", "", "[]", "", ""],
        ["-128", "", "0001-01-01", "", "false", "-0.01"],
    ]
    assert f"{quote}{quote}" in text  # an empty text is not NULL


def test_null_texts_are_told_apart() -> None:
    batch = pa.record_batch({"s": ["NULL", None, "x"]})
    assert csv_lines(batch, null="NULL") == b'"NULL"\nNULL\nx\n'


def test_wrong_columns_are_refused() -> None:
    for column in (pa.nulls(1), pa.array([1.5]), pa.array([b"x"])):
        with pytest.raises(TypeError, match="texts and whole numbers"):
            lines([column], [RAW], [b""], 1, null=b"", after=b"")
    with pytest.raises(ValueError, match="lengths"):
        lines([pa.array([1])], [RAW], [b""], 2, null=b"", after=b"")
