"""TPC-H data of a scale, made once per run of the tests."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tpch.answers import QUERIES, Rows, oracle


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A function from a scale factor to the folder with its Parquet files."""
    made: dict[str, Path] = {}

    def make(scale: str) -> Path:
        if scale not in made:
            path = tmp_path_factory.mktemp("tpch")
            tool = Path(sys.executable).parent / "tpchgen-cli"
            subprocess.run([tool, "parquet", "-s", scale, f"--output-dir={path}"], check=True, capture_output=True)
            made[scale] = path
        return made[scale]

    return make


@pytest.fixture(scope="session")
def expected_of(folder_of: Callable[[str], Path]) -> Callable[[str, str], Rows]:
    """A function from scale and query to the oracle's rows."""
    known: dict[tuple[str, str], Rows] = {}

    def answer(scale: str, name: str) -> Rows:
        if (scale, name) not in known:
            known[scale, name] = oracle(QUERIES[name], folder_of(scale))
        return known[scale, name]

    return answer
