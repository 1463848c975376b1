"""What a plain query does not need is not imported."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]
HEAVY = ("ray", "pandas", "polars", "PIL", "prompt_toolkit", "rich", "pygments", "urllib3")  # numpy comes with pyarrow


@pytest.mark.parametrize(
    ("code", "left_out"),
    [
        ("import sqlengine", (*HEAVY, "numpy", "sqlglot", "sqlengine.session")),
        ("import sqlengine; sqlengine.sql('select 1').fetchall()", HEAVY),
        ("from sqlengine.cli.main import main; main(['-c', 'select 1', '--no-init', '--format', 'none'])", HEAVY),
    ],
)
def test_left_out(code: str, left_out: tuple[str, ...]) -> None:
    script = f"{code}\nimport sys\nprint([name for name in {left_out!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=TOP, timeout=60)
    assert (done.stdout, done.stderr) == ("[]\n", "")
