"""Dot-commands of the prompt: looking again, sending results elsewhere, editing, settings, plans."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlengine.cli.arguments import FORMATS
from sqlengine.cli.commands import command, one_word, quoted, show_sql, switch
from sqlengine.cli.progress import ProgressDisplay
from sqlengine.cli.script import DotCommand
from sqlengine.errors import InterfaceError

if TYPE_CHECKING:
    from sqlengine.cli.runner import Runner

_KINDS = {"": "explain", "memory": "explain memory", "analyze": "explain analyze"}


@command(".last [FORMAT]")
def _last(runner: Runner, given: DotCommand) -> None:
    """The last result again, in another format. `_` is its name in SQL."""
    if runner.last is None:
        raise InterfaceError(
            "there is no last result, or it was too large to keep", code="no_result",
            hint="CREATE TABLE ... AS keeps a result of any size",
        )  # fmt: skip
    look = replace(runner.look, format=one_word(given, FORMATS)) if given.words else runner.look
    runner.write(runner.session.sql("from _", tables={"_": runner.last}, capture=False), look)


@command(".expanded")
def _expanded(runner: Runner, given: DotCommand) -> None:
    """Switch between one column a line and a box."""
    runner.look.format = "box" if runner.look.format == "line" else "line"


@command(".output [FILE]")
def _output(runner: Runner, given: DotCommand) -> None:
    """Write all results to a file, which is there at the next .output or at the end; without one, show them again."""
    runner.redirect(os.path.expanduser(one_word(given)) if given.words else None)


@command(".stats on|off")
def _stats(runner: Runner, given: DotCommand) -> None:
    """Whether time, memory and spilled bytes are shown after a query."""
    runner.stats = switch(given)


@command(".explain [memory|analyze]")
def _explain(runner: Runner, given: DotCommand) -> None:
    """The plan of the last statement, its memory forecast, or the plan as measured in a new run."""
    kind = one_word(given, ("memory", "analyze")) if given.words else ""
    if not runner.statement:
        raise InterfaceError("there is no statement yet", code="no_result")
    plan = runner.session.sql(f"{_KINDS[kind]} {runner.statement}", tables=runner.tables, capture=False)
    for (line,) in plan.fetchall():
        runner.out.write(line + "\n")
    runner.out.flush()


@command(".set SETTING VALUE")
def _set(runner: Runner, given: DotCommand) -> None:
    """Change a setting."""
    if len(given.words) != 2:
        raise InterfaceError("write .set SETTING VALUE", code="usage")
    runner.session.set(*given.words)


@command(".show [SETTING]")
def _show(runner: Runner, given: DotCommand) -> None:
    """How results are shown; or the value of a setting."""
    if given.words:
        show_sql(runner, f"show {quoted(one_word(given))}")
        return
    look = runner.look
    shown = {
        "mode": look.format, "headers": _on(look.header), "nullvalue": "default" if look.null is None else look.null,
        "maxrows": look.max_rows, "maxwidth": look.max_width, "timer": _on(runner.timer), "stats": _on(runner.stats),
        "echo": _on(runner.echo), "bail": _on(runner.on_error == "stop"), "pager": runner.pager or "off",
        "progress": _on(runner.progress is not None),
    }  # fmt: skip
    for name, value in shown.items():
        runner.out.write(f"{name.rjust(9)}: {value}\n")
    runner.out.flush()


def _on(value: bool) -> str:
    return "on" if value else "off"


@command(".udf [FILE]")
def _udf(runner: Runner, given: DotCommand) -> None:
    """Load functions from a Python file or module; without one, list those that are loaded."""
    if given.words:
        names = runner.session.load(one_word(given))
        runner.out.write(f"loaded {', '.join(names)}\n")
    else:
        for function in runner.session.user_functions.all():
            runner.out.write(f"{function.name}  {function.kind}  {function.summary}\n")
    runner.out.flush()


@command(".backend [local|ray]")
def _backend(runner: Runner, given: DotCommand) -> None:
    """Where queries run: threads of this process, or a Ray cluster (SET ray_address says which)."""
    from sqlengine.settings import format_bytes

    if given.words:
        runner.session.set("backend", one_word(given, ("local", "ray")))
    if runner.session.current.backend != "local":
        runner.out.write(runner.session.backend_summary() + "\n")
        runner.out.flush()
        return
    memory = runner.session.memory
    runner.out.write(f"local, threads {thread_count(runner)}, memory limit {format_bytes(memory.limit)}\n")
    runner.out.flush()


def thread_count(runner: Runner) -> int:
    """As set, or as many as there are processors for this process."""
    return runner.session.current.threads or len(os.sched_getaffinity(0))


@command(".pager on|off|PROGRAM")
def _pager(runner: Runner, given: DotCommand) -> None:
    """Whether results larger than the screen are shown through a program ($PAGER, or less)."""
    word = one_word(given)
    runner.pager = {"on": os.environ.get("PAGER") or "less", "off": None}.get(word, word)


@command(".progress on|off")
def _progress(runner: Runner, given: DotCommand) -> None:
    """Whether long queries say on standard error what they have done."""
    runner.progress = ProgressDisplay(runner.session, sys.stderr) if switch(given) else None


@command(".edit")
def _edit(runner: Runner, given: DotCommand) -> None:
    """Edit the last statement in $VISUAL or $EDITOR, for the next prompt."""
    program = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    with tempfile.NamedTemporaryFile("w+", suffix=".sql", encoding="utf-8") as file:
        file.write(runner.statement + ";\n" if runner.statement else "")
        file.flush()
        done = subprocess.run(["/bin/sh", "-c", f'{program} "$1"', "sh", file.name], check=False)
        if done.returncode:
            raise InterfaceError(f"{program} ended with {done.returncode}", code="usage", hint="set EDITOR")
        with open(file.name, encoding="utf-8") as edited:  # an editor may have put a new file in its place
            runner.draft = edited.read().rstrip()


@command(".history [N]")
def _history(runner: Runner, given: DotCommand) -> None:
    """The last N (20) texts that were typed."""
    from prompt_toolkit.history import FileHistory

    from sqlengine.cli.line_editor import history_path

    count = int(given.words[0]) if given.words and given.words[0].isdigit() else 20
    typed = list(FileHistory(str(history_path())).load_history_strings())[:count]
    runner.out.write("".join(text + "\n" for text in reversed(typed)))
    runner.out.flush()


@command(".shell COMMAND")
def _shell(runner: Runner, given: DotCommand) -> None:
    """Run a command of the system's shell."""
    runner.out.flush()
    done = subprocess.run(given.rest, shell=True, check=False)
    if done.returncode:
        print(f"exit code {done.returncode}", file=sys.stderr)
