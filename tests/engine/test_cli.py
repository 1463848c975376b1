"""The command line as people use it: a process with a standard output and an exit code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]


def run(*args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sqlengine", *args], input=stdin, capture_output=True, text=True, cwd=TOP, timeout=60
    )


def test_a_command_gives_csv_on_a_pipe() -> None:
    done = run("-c", "select 1 as a, null as b, '' as c, 'x,y' as d")
    assert (done.returncode, done.stdout, done.stderr) == (0, 'a,b,c,d\n1,,"","x,y"\n', "")


def test_standard_input_is_a_script() -> None:
    assert run(stdin="select 1; select 2;").stdout == "1\n1\n2\n2\n"


def test_the_example_runs() -> None:
    done = run("examples/orders.sql")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("country,orders,revenue,mean_price\nPortugal,4226,9595450.74,")


def test_a_later_syntax_error_runs_nothing() -> None:
    done = run("-c", "select 1; select from where")
    assert (done.returncode, done.stdout) == (1, "")


def test_errors_have_a_place_and_no_traceback() -> None:
    done = run("-c", "select a from range(3) t(b)")
    assert done.returncode == 1
    assert done.stderr.startswith("<command>:1:8: error[column_not_found]")
    assert "Traceback" not in done.stderr


def test_exit_codes() -> None:
    assert run("no_such_file.sql").returncode == 2
    assert run("--option", "thread=1", "-c", "select 1").returncode == 2
    assert run("-m", "2MB", "-c", "select 1").returncode == 5


def test_version_imports_no_arrow() -> None:
    code = "import sys; from sqlengine.cli.main import main; main(['--version']); print('pyarrow' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=TOP)
    assert done.stdout.splitlines()[-1] == "False"
