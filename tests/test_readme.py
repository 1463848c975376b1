"""What the README shows is what happens: its Python runs as a doctest, its console blocks print what they say."""

from __future__ import annotations

import doctest
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
TEXT = (TOP / "README.md").read_text()
CONSOLE = re.findall(r"```console\n\$ (.*?)\n(.*?)```", TEXT, re.S)


def test_python(tmp_path: Path) -> None:
    """In a process of its own: one of pytest may weigh more than the limits of the examples."""
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.S))
    assert doctest.DocTestParser().get_examples(blocks)
    (tmp_path / "readme.txt").write_text(blocks)
    done = subprocess.run(
        [sys.executable, "-m", "doctest", str(tmp_path / "readme.txt")],
        cwd=TOP, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


@pytest.mark.parametrize(("command", "output"), CONSOLE, ids=range(len(CONSOLE)))
def test_console(command: str, output: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "sqlengine"
    done = subprocess.run(
        [sys.executable, "-m", "sqlengine", *arguments], cwd=TOP, capture_output=True, text=True, timeout=60
    )
    assert done.stdout + done.stderr == output
