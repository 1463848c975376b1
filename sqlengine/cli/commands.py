"""Dot-commands, for the prompt and for scripts: one function each, found by its name and listed by `.help`."""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from sqlengine.access import refuse_if_safe
from sqlengine.cli.arguments import FORMATS
from sqlengine.cli.script import DotCommand
from sqlengine.errors import InterfaceError
from sqlengine.parameters import as_literal, from_text

if TYPE_CHECKING:
    from sqlengine.cli.runner import Runner

Command = Callable[["Runner", DotCommand], None]
_COMMANDS: dict[str, Command] = {}
_USAGE: dict[str, str] = {}
ALIASES = {
    "q": "quit", "exit": "quit", "d": "describe", "dt": "tables", "df": "functions", "h": "help", "e": "edit",
    "o": "output", "x": "expanded", "timing": "timer", "i": "read", "w": "once",
}  # fmt: skip


_UNSAFE = {"shell", "cd", "edit", "udf", "output", "once", "pager"}  # not for scripts of strangers
_READ = (".read FILE", "Run a script.")  # it is put in where the line stands, before anything runs


class Leave(Exception):
    """Raised by `.quit`."""


def command(usage: str) -> Callable[[Command], Command]:
    """Register a command; `usage` shows its arguments, the docstring is its help."""

    def register(function: Command) -> Command:
        name = usage.split()[0].removeprefix(".")
        _COMMANDS[name] = function
        _USAGE[name] = usage
        return function

    return register


def run_command(runner: Runner, given: DotCommand) -> None:
    """Do what a command says; InterfaceError for one that is not there or is used wrongly."""
    _load()
    name = ALIASES.get(given.name, given.name)
    found = _COMMANDS.get(name)
    if found is None:
        close = difflib.get_close_matches(name, _COMMANDS, 1)
        hint = f"did you mean .{close[0]}?" if close else ".help lists the commands"
        raise InterfaceError(
            f"there is no command .{given.name}", code="unknown_command", hint=hint, location=given.location
        )
    if name in _UNSAFE:
        refuse_if_safe(runner.session.current, f".{name}", given.location)
    try:
        found(runner, given)
    except InterfaceError as error:
        raise InterfaceError(
            error.message, code=error.code, hint=error.hint, location=error.location or given.location
        ) from None


def _load() -> None:
    """Commands register when their files are imported."""
    importlib.import_module("sqlengine.cli.shell_commands")


def one_word(given: DotCommand, allowed: tuple[str, ...] = ()) -> str:
    usage = _USAGE[ALIASES.get(given.name, given.name)]
    if len(given.words) != 1 or (allowed and given.words[0].lower() not in allowed):
        raise InterfaceError(f"write {usage}", code="usage", hint=f"one of {', '.join(allowed)}" if allowed else None)
    return given.words[0].lower() if allowed else given.words[0]


def switch(given: DotCommand) -> bool:
    return one_word(given, ("on", "off")) == "on"


def _number(given: DotCommand) -> int:
    word = one_word(given)
    if not word.isdigit():
        raise InterfaceError(f"write {_USAGE[given.name]}", code="usage", hint="a whole number")
    return int(word)


def show_sql(runner: Runner, query: str) -> None:
    from sqlengine.cli.render import render

    render(runner.session.sql(query, capture=False), runner.out, runner.look)
    runner.out.flush()


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


@command(".help [settings|functions]")
def _help(runner: Runner, given: DotCommand) -> None:
    """These lines; or the documentation of all settings or functions, in Markdown."""
    if given.words:
        from sqlengine.reference import functions_markdown
        from sqlengine.settings import settings_markdown

        page = one_word(given, ("settings", "functions"))
        runner.out.write(settings_markdown() if page == "settings" else functions_markdown(runner.session.functions()))
        runner.out.flush()
        return
    lines = {usage: (_COMMANDS[name].__doc__ or "").strip() for name, usage in _USAGE.items()}
    lines[_READ[0]] = _READ[1]
    size = max(map(len, lines))
    for usage, text in sorted(lines.items()):
        runner.out.write(f"{usage.ljust(size)}  {text}\n")
    runner.out.flush()


@command(".quit")
def _quit(runner: Runner, given: DotCommand) -> None:
    """Leave."""
    raise Leave


@command(".tables")
def _tables(runner: Runner, given: DotCommand) -> None:
    """The tables and views of the session."""
    show_sql(runner, "show tables")


@command(".functions")
def _functions(runner: Runner, given: DotCommand) -> None:
    """All functions, with what they do."""
    show_sql(runner, "show functions")


@command(".describe TABLE")
def _describe(runner: Runner, given: DotCommand) -> None:
    """The columns of a table or file."""
    show_sql(runner, f"describe {quoted(one_word(given))}")


@command(".schema [TABLE]")
def _schema(runner: Runner, given: DotCommand) -> None:
    """Tables with their columns and types, or those of one."""
    show_sql(runner, f"describe {quoted(one_word(given))}" if given.words else "show all tables")


@command(".settings")
def _settings(runner: Runner, given: DotCommand) -> None:
    """All settings with their values."""
    show_sql(runner, "show all")


@command(".memory")
def _memory(runner: Runner, given: DotCommand) -> None:
    """The memory limit, and who holds what of it."""
    from sqlengine.settings import format_bytes

    memory = runner.session.memory
    lines = [
        f"limit {format_bytes(memory.limit)} ({memory.source}), resident {format_bytes(memory.rss)}",
        f"operators share {format_bytes(memory.capacity)}: {format_bytes(memory.used)} taken, "
        f"{format_bytes(memory.peak)} at most, {format_bytes(memory.spilled)} on disk",
    ]
    lines += [f"  {h.operator}  {format_bytes(h.bytes)}" for h in memory.holders[:10] if h.bytes]
    runner.out.write("\n".join(lines) + "\n")
    runner.out.flush()


@command(".mode FORMAT")
def _mode(runner: Runner, given: DotCommand) -> None:
    """How results are shown: box, table, markdown, line, csv, tsv, json, jsonl, none."""
    runner.look.format = one_word(given, FORMATS)


@command(".headers on|off")
def _headers(runner: Runner, given: DotCommand) -> None:
    """Whether the names of the columns are shown."""
    runner.look.header = switch(given)


@command(".nullvalue TEXT")
def _nullvalue(runner: Runner, given: DotCommand) -> None:
    """What is shown for NULL."""
    runner.look.null = one_word(given)


@command(".maxrows N")
def _maxrows(runner: Runner, given: DotCommand) -> None:
    """How many rows a box shows."""
    runner.look.max_rows = max(1, _number(given))


@command(".maxwidth N")
def _maxwidth(runner: Runner, given: DotCommand) -> None:
    """How wide a box may be; 0 for no bound."""
    runner.look.max_width = _number(given)


@command(".timer on|off")
def _timer(runner: Runner, given: DotCommand) -> None:
    """Whether the time of each statement is shown."""
    runner.timer = switch(given)


@command(".echo on|off")
def _echo(runner: Runner, given: DotCommand) -> None:
    """Whether statements are shown before they run."""
    runner.echo = switch(given)


@command(".bail on|off")
def _bail(runner: Runner, given: DotCommand) -> None:
    """Whether a script stops at the first error."""
    runner.on_error = "stop" if switch(given) else "continue"


@command(".once FILE")
def _once(runner: Runner, given: DotCommand) -> None:
    """Write the next result to a file."""
    runner.once = os.path.expanduser(one_word(given))


@command(".param NAME VALUE")
def _param(runner: Runner, given: DotCommand) -> None:
    """Set the value of $NAME: 5, 1.5, true, null, or a text."""
    if len(given.words) != 2:
        raise InterfaceError(f"write {_USAGE['param']}", code="usage")
    runner.parameters[given.words[0].lstrip("$").lower()] = as_literal(from_text(given.words[1]))


@command(".cd DIRECTORY")
def _cd(runner: Runner, given: DotCommand) -> None:
    """Change the current directory."""
    try:
        os.chdir(os.path.expanduser(one_word(given)))
    except OSError as error:
        raise InterfaceError(f"cannot change to {given.words[0]}: {error.strerror}", code="usage") from None


@command(".print TEXT")
def _print(runner: Runner, given: DotCommand) -> None:
    """Write a line to standard error."""
    print(*given.words, file=sys.stderr)


@command(".version")
def _version(runner: Runner, given: DotCommand) -> None:
    """The version."""
    from sqlengine import __version__

    runner.out.write(f"sqlengine {__version__}\n")
    runner.out.flush()


def command_names() -> list[str]:
    """The names, for completion."""
    _load()
    return sorted([*_COMMANDS, "read"])


def command_usage(name: str) -> tuple[str, str]:
    """How a command is written, and what it does; empty for one that is not there."""
    _load()
    name = ALIASES.get(name, name)
    if name == "read":
        return _READ
    found = _COMMANDS.get(name)
    return (_USAGE[name], (found.__doc__ or "").strip()) if found is not None else ("", "")
