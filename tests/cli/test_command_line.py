"""The command line as people use it: a process with a standard output, a standard error and an exit code."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

TOP = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "sqlengine"]
LONG = "select count(*) from range(300000) a(i), range(300000) b(i) where a.i + b.i = 3"


@pytest.fixture(autouse=True)
def nobody_elses_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", str(TOP))


def run(*args: str, stdin: str = "", cwd: Path = TOP) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *args], input=stdin, capture_output=True, text=True, cwd=cwd, timeout=60)


# Results


def test_a_command_gives_csv_on_a_pipe() -> None:
    done = run("-c", "select 1 as a, null as b, '' as c, 'x,y' as d")
    assert (done.returncode, done.stdout, done.stderr) == (0, 'a,b,c,d\n1,,"","x,y"\n', "")


FORMATS = {
    "box": (
        "┌─────────┬─────────┐\n│       n │ s       │\n│ integer │ varchar │\n├─────────┼─────────┤\n"
        "│       1 │ a|b     │\n│      22 │ NULL    │\n└─────────┴─────────┘\n2 rows\n"
    ),
    "table": (
        "+---------+---------+\n|       n | s       |\n| integer | varchar |\n+---------+---------+\n"
        "|       1 | a|b     |\n|      22 | NULL    |\n+---------+---------+\n2 rows\n"
    ),
    "markdown": "|   n | s    |\n| --: | ---- |\n|   1 | a\\|b |\n|  22 |      |\n",
    "line": "-[ 1 ]-\nn = 1\ns = a|b\n-[ 2 ]-\nn = 22\ns = NULL\n",
    "csv": "n,s\n1,a|b\n22,\n",
    "tsv": "n\ts\n1\ta|b\n22\t\n",
    "json": '[{"n":1,"s":"a|b"},\n {"n":22,"s":null}]\n',
    "jsonl": '{"n":1,"s":"a|b"}\n{"n":22,"s":null}\n',
    "none": "",
}  # fmt: skip
TWO = "select * from (values (1, 'a|b'), (22, null)) t(n, s)"


@pytest.mark.parametrize("name", FORMATS)
def test_formats(name: str) -> None:
    done = run("--format", name, "-c", TWO)
    assert (done.returncode, done.stdout, done.stderr) == (0, FORMATS[name], "")


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_binary_formats_go_through_a_pipe(name: str, tmp_path: Path) -> None:
    raw = subprocess.run(
        [*COMMAND, "--format", name, "-c", "select i, 'text ' || i as s from range(50000) r(i)"],
        capture_output=True, cwd=TOP, timeout=60, check=True,
    ).stdout  # fmt: skip
    path = tmp_path / "x"
    path.write_bytes(raw)
    table = pq.read_table(path) if name == "parquet" else ipc.open_stream(raw).read_all()
    assert table.num_rows == 50000
    assert table.column("s")[49999].as_py() == "text 49999"


def test_what_is_shown_can_be_chosen() -> None:
    assert run("-t", "-c", TWO).stdout == "1,a|b\n22,\n"
    assert run("--no-header", "--null-string", "-", "-c", TWO).stdout == "1,a|b\n22,-\n"
    assert run("-x", "-c", "select 1 as a").stdout == "-[ 1 ]-\na = 1\n"
    cut = run("--format", "box", "--max-rows", "3", "-c", "select * from range(100) t(i)").stdout
    assert [line.strip("│ ") for line in cut.splitlines()[4:9]] == ["0", "1", "·", "99", cut.splitlines()[8]]
    assert cut.endswith("100 rows (97 not shown)\n")


def test_values_that_would_spoil_the_screen_are_escaped() -> None:
    done = run("--format", "box", "-t", "-c", "select chr(27) || '[31m' || chr(10) as a, 'a漢' as b")
    assert "\x1b" not in done.stdout
    assert "│ \\x1b[31m\\n │ a漢 │" in done.stdout


@pytest.mark.parametrize(
    ("choice", "shown"), [("all", "a\n1\nb\n2\nc\n3\n"), ("last", "c\n3\n"), ("2", "b\n2\n"), ("4", "")]
)
def test_which_results_are_shown(choice: str, shown: str) -> None:
    done = run("--result", choice, "-c", "select 1 as a; set threads = 1; select 2 as b; select 3 as c")
    assert done.stdout == shown
    assert done.returncode == (2 if choice == "4" else 0)


# Input


def test_standard_input_is_a_script() -> None:
    assert run(stdin="select 1; select 2;").stdout == "1\n1\n2\n2\n"
    assert run("-f", "-", stdin="select 3").stdout == "3\n3\n"


def test_inputs_run_in_their_order_in_one_session(tmp_path: Path) -> None:
    (tmp_path / "b.sql").write_text("insert into t values (2);")
    done = run(
        "-c", "create table t(a int)", "-f", str(tmp_path / "b.sql"), "-c", "insert into t values (3)",
        "-c", "select sum(a) as s from t",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "s\n5\n")


def test_the_example_runs() -> None:
    done = run("examples/orders.sql")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("country,orders,revenue,mean_price\nPortugal,4226,9595450.74,")


SCRIPT = """\
#!/usr/bin/env sqlengine
-- a comment; with a semicolon
.headers off
select ';' as semi, $$a;b$$ as d; /* ; */ select 2
;
.mode json
select 'it''s;' as three;
  .nullvalue -
.read sub/inner.sql
select null as n;
"""


def test_scripts_with_commands_comments_and_included_files(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "s.sql").write_bytes(b"\xef\xbb\xbf" + SCRIPT.replace("#!", "--").encode())
    (tmp_path / "sub" / "inner.sql").write_text(".mode csv\n.read deeper.sql\nselect 'inner'")
    (tmp_path / "sub" / "deeper.sql").write_text("select 'deeper'")
    done = run(str(tmp_path / "s.sql"))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == ';,a;b\n2\n[{"three":"it\'s;"}]\ndeeper\ninner\n-\n'
    (tmp_path / "s.sql").write_text(SCRIPT)
    assert run(str(tmp_path / "s.sql")).stdout == done.stdout


def test_a_later_mistake_runs_nothing_at_all(tmp_path: Path) -> None:
    for text in ("select 1; select from where", "select 1;\n.read nope.sql", "select 1;\n.read s.sql"):
        (tmp_path / "s.sql").write_text(text)
        done = run(str(tmp_path / "s.sql"))
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith(f"{tmp_path}/s.sql:"), done.stderr
    (tmp_path / "s.sql").write_text("select 1")
    assert run(str(tmp_path / "s.sql"), "-c", "select ,").stdout == ""


def test_variables_are_typed_values_and_never_text() -> None:
    done = run(
        "-v", "n=5", "-v", "d=1.5", "-v", "b=true", "-v", "z=null", "-v", "q='5'", "-v", "s=x'; drop table t",
        "--format", "jsonl", "-c", "select $n + 1 as n, $d as d, $b as b, :z as z, $q || '' as q, $s as s",
    )  # fmt: skip
    assert json.loads(done.stdout) == {"n": 6, "d": 1.5, "b": True, "z": None, "q": "5", "s": "x'; drop table t"}
    assert run("-v", "n=3", "-c", "select count(*) as c from range($n)").stdout == "c\n3\n"
    missing = run("-c", "select $n")
    assert missing.returncode == 1
    assert missing.stderr.startswith("<command>:1:8: error[parameter_missing]")


# Errors and exit codes


def test_errors_have_a_place_and_no_traceback() -> None:
    done = run("-c", "select a from range(3) t(b)")
    assert done.returncode == 1
    assert done.stderr.startswith("<command>:1:8: error[column_not_found]")
    assert "Traceback" not in done.stderr


def test_errors_as_json() -> None:
    done = run("--error-format", "json", "-c", "select 1;\nselect 2 frm t")
    assert json.loads(done.stderr) == {
        "code": "syntax_error", "message": 'unexpected "frm"', "file": "<command>", "line": 2, "col": 10, "end": 13,
        "hint": "did you mean FROM?",
    }  # fmt: skip


def test_exit_codes(tmp_path: Path) -> None:
    assert run("no_such_file.sql").returncode == 2
    assert run("--option", "thread=1", "-c", "select 1").returncode == 2
    assert run("--nonsense").returncode == 2
    assert run("--config", "/nope.toml", "-c", "select 1").returncode == 2
    assert run("-c", "set thread = 1").returncode == 1
    assert run("-c", "select 'x'::int").returncode == 1
    assert run("-m", "2MB", "-c", "select 1").returncode == 5
    assert run("--timeout", "0.3", "-c", LONG).returncode == 4


def test_stop_or_go_on_after_an_error() -> None:
    script = "select 1 as a; select nope; select 2 as b; select 'x'::int; select 3 as c"
    stopped = run("-c", script)
    assert (stopped.returncode, stopped.stdout) == (1, "a\n1\n")
    assert stopped.stderr.count("error[") == 1
    went_on = run("--on-error", "continue", "-c", script)
    assert (went_on.returncode, went_on.stdout) == (1, "a\n1\nb\n2\nc\n3\n")
    assert went_on.stderr.count("error[") == 2
    assert run("-c", ".bail off\n" + script).stderr.count("error[") == 2


def test_wrong_commands_have_a_place_and_a_hint() -> None:
    done = run("-c", "select 1;\n.mod csv")
    assert done.returncode == 1
    assert done.stderr == (
        "<command>:2:1: error[unknown_command]: there is no command .mod\n  2 | .mod csv\n    | ^^^^\n"
        "hint: did you mean .mode?\n"
    )
    assert run("-c", ".mode nonsense").returncode == 1
    assert run("-c", ".mode").stderr.startswith("<command>:1:1: error[usage]: write .mode FORMAT")


def test_a_closed_pipe_is_141_and_silent() -> None:
    process = subprocess.Popen(
        [*COMMAND, "-c", "select * from range(3000000)"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=TOP
    )
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == b"range\n"
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_a_full_disk_is_an_error() -> None:
    done = subprocess.run(f"{' '.join(COMMAND)} -c 'select 1' > /dev/full", shell=True, capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("error[output_error]: cannot write the output: No space left")
    assert done.stderr.count("\n") == 1


def test_ctrl_c_ends_with_130_and_leaves_no_spill(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [*COMMAND, "--spill-dir", str(tmp_path), "-o", str(tmp_path / "o.csv"), "-c", LONG],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=TOP, text=True,
    )  # fmt: skip
    while psutil.Process(process.pid).num_threads() < 4:  # until the query runs
        time.sleep(0.05)
    time.sleep(0.3)
    os.kill(process.pid, signal.SIGINT)
    _, stderr = process.communicate(timeout=30)
    assert (process.returncode, stderr) == (130, "interrupted\n")
    assert not list(tmp_path.iterdir())


# Files


def test_output_files_are_complete_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "o.parquet"
    assert run("-o", str(path), "-c", "select 1 as a").returncode == 0
    assert pq.read_table(path).to_pylist() == [{"a": 1}]
    failed = run("-o", str(tmp_path / "x.csv"), "-c", "select 1; select 'x'::int")
    assert failed.returncode == 1
    assert [p.name for p in tmp_path.iterdir()] == ["o.parquet"]
    assert run("-o", str(tmp_path / "no" / "x.csv"), "-c", "select 1").returncode == 1
    assert run("-c", f".once {tmp_path / 'once.csv'}\nselect 1 as a; select 2 as b").stdout == "b\n2\n"
    assert (tmp_path / "once.csv").read_text() == "a\n1\n"


def test_configuration_and_init(tmp_path: Path) -> None:
    folder = tmp_path / "config" / "sqlengine"
    folder.mkdir(parents=True)
    (folder / "config.toml").write_text("batch_rows = 77\n")
    show = "select current_setting('batch_rows') as b"
    assert run("-c", show).stdout == "b\n77\n"
    assert run("--no-init", "-c", show).stdout == "b\n131072\n"
    assert run("--option", "batch_rows=5", "-c", show).stdout == "b\n5\n"
    (tmp_path / "init.sql").write_text("create table t as select 8 as n")
    assert run("--init", str(tmp_path / "init.sql"), "-c", "from t").stdout == "n\n8\n"


def test_stats_are_one_line() -> None:
    done = run("--stats", "-c", "select * from range(42); set threads = 1")
    found = json.loads(done.stderr)
    assert (found["status"], found["statements"], found["rows"], found["spilled"]) == ("ok", 2, 42, 0)
    assert found["peak_rss"] > 1 << 20
    assert json.loads(run("--stats", "-q", "-c", "select nope").stderr.splitlines()[-1])["status"] == "error"


def test_echo_goes_to_standard_error() -> None:
    done = run("--echo", "-c", "select 1 as a;  select\n 2 as b")
    assert (done.stdout, done.stderr) == ("a\n1\nb\n2\n", "select 1 as a;\nselect\n 2 as b;\n")


def test_help_and_version_are_light() -> None:
    code = (
        "import sys; from sqlengine.cli.main import main\ntry: main([%r])\nexcept SystemExit: pass\n"
        "print([m for m in ('pyarrow', 'sqlglot', 'prompt_toolkit') if m in sys.modules])"
    )
    for option in ("--version", "--help"):
        done = subprocess.run([sys.executable, "-c", code % option], capture_output=True, text=True, cwd=TOP)
        assert done.stdout.splitlines()[-1] == "[]"
    assert "exit codes" in run("--help").stdout


def test_large_results_stream_with_bounded_memory() -> None:
    done = subprocess.run(
        [*COMMAND, "-m", "300MB", "--stats", "-c", "select i, i * 2 as j, 'row ' || i as s from range(3000000) r(i)"],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, cwd=TOP, timeout=60,
    )  # fmt: skip
    found = json.loads(done.stderr)
    assert found["rows"] == 3000000
    assert found["peak_rss"] < 300_000_000


def test_a_dry_run_shows_what_queries_would_take(tmp_path: Path) -> None:
    script = "create table t as select range as i from range(1000);\n.shell touch ran\nselect * from t order by i"
    done = run("--dry-run", cwd=tmp_path, stdin=script)
    assert done.returncode == 0 and not (tmp_path / "ran").exists()
    assert done.stdout.startswith("<stdin>:1:1: fits: predicted peak ") and "\n<stdin>:3:1: fits" in done.stdout
    assert "ExternalSort" in done.stdout
    lines = run("--dry-run", "--json", "--fail-over-memory", "1MB", "-c", "select 1; select 2")
    assert lines.returncode == 5
    assert [json.loads(line)["allowed"] for line in lines.stdout.splitlines()] == [False, False]
    wrong = run("--dry-run", "-c", "select 1; select nam")
    assert wrong.returncode == 1 and "column_not_found" in wrong.stderr


def test_a_query_over_the_memory_that_may_be_predicted_does_not_run() -> None:
    done = run("--fail-over-memory", "1MB", "-c", "select 1")
    assert done.returncode == 5 and done.stdout == "" and "error[over_memory]" in done.stderr
