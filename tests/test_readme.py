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


def test_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(TOP)
    blocks = "\n".join(re.findall(r"```python\n(.*?)```", TEXT, re.S))
    names: dict[str, object] = {"__name__": "readme"}
    example = doctest.DocTestParser().get_doctest(blocks, names, "README", "README.md", 0)
    assert example.examples
    assert doctest.DocTestRunner(verbose=False).run(example).failed == 0


@pytest.mark.parametrize(("command", "output"), CONSOLE, ids=range(len(CONSOLE)))
def test_console(command: str, output: str) -> None:
    program, *arguments = shlex.split(command)
    assert program == "sqlengine"
    done = subprocess.run(
        [sys.executable, "-m", "sqlengine", *arguments], cwd=TOP, capture_output=True, text=True, timeout=60
    )
    assert done.stdout + done.stderr == output
