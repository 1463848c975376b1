"""The 22 TPC-H queries at the scales that matter: SF 0.1 and SF 1 as they come, and SF 1 in a process of 300 MB."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tpch.answers import QUERIES, Rows, ours, same_rows

TOP = Path(__file__).parents[2]
LIMIT = 300_000_000


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["0.1", "1"])
@pytest.mark.parametrize("name", QUERIES)
def test_answer(
    name: str, scale: str, folder_of: Callable[[str], Path], expected_of: Callable[[str, str], Rows]
) -> None:
    assert same_rows(ours(QUERIES[name], folder_of(scale), threads=2), expected_of(scale, name))


@pytest.mark.slow
@pytest.mark.parametrize("name", QUERIES)
def test_a_process_of_300_megabytes(
    name: str, tmp_path: Path, folder_of: Callable[[str], Path], expected_of: Callable[[str, str], Rows]
) -> None:
    """The answer is right and the process was never larger than its limit, by the kernel's own count."""
    result = tmp_path / "result"
    command = [sys.executable, "-m", "tests.tpch.child", name, str(folder_of("1")), str(LIMIT), str(result)]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    peak, rows = pickle.loads(result.read_bytes())
    assert same_rows(rows, expected_of("1", name))
    assert peak <= LIMIT
