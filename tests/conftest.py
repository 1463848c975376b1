"""Options of the test run."""

from __future__ import annotations

import os

import pytest

# What the user's own queries have seen is no matter of tests, and the other way round.
os.environ.setdefault("SQLENGINE_HISTORY", "false")


def pytest_addoption(parser: pytest.Parser) -> None:
    ways = ("default", "floor", "batch1", "batch7", "rules-off", "threads1", "threads4")
    parser.addoption("--matrix", choices=ways, help="run all .test files in this way only")
    parser.addoption("--update", action="store_true", help="fill the answers of .test files from DuckDB")
    parser.addoption("--functions", action="store_true", help="compare every function for all types of arguments")
    count = int(os.environ.get("SQLENGINE_FUZZ", "2000"))
    parser.addoption("--fuzz", type=int, default=count, help="number of random queries compared with DuckDB")
