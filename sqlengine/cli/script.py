"""Scripts: statements and dot-commands in order, `.read` included, all parsed before any of it runs.

A dot-command is a line that begins with a dot where a statement could begin. For the SQL parser such lines are blank,
so
that every place in the text stays what it was.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass

from sqlengine.errors import FileError, InterfaceError, Location
from sqlengine.sql.parse import Parsed, parse
from sqlengine.sql.source_text import Text

# What a semicolon may be inside of: texts, quoted names, comments, dollar quotes.
_WHOLE = re.compile(
    r"[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|\$(\w*)\$.*?\$\1\$", re.DOTALL
)
_COMMAND = re.compile(r"[ \t]*\.([A-Za-z]\w*)([^\n]*)")


@dataclass(frozen=True)
class DotCommand:
    """A line such as `.mode csv`; `words` are its arguments."""

    name: str
    words: tuple[str, ...]
    location: Location
    rest: str = ""  # the arguments as they were written


Item = Parsed | DotCommand


def _anything(path: str) -> None:
    pass


def load_text(
    text: str,
    source: str,
    folder: str = "",
    reading: tuple[str, ...] = (),
    may_read: Callable[[str], None] = _anything,
) -> list[Item]:
    """The items of a script; `folder` is what `.read` is relative to, `reading` the files that led here. `may_read`
    raises FileError for a file that `.read` may not open."""
    whole = Text(text.removeprefix("\ufeff"), source)
    commands = list(_commands(whole))
    blank = list(whole.sql)
    for start, end, _ in commands:
        blank[start:end] = " " * (end - start)
    statements = parse("".join(blank), source)
    placed: list[tuple[int, Item]] = [(parsed.start, parsed) for parsed in statements]
    placed += [(start, command) for start, _, command in commands]
    items: list[Item] = []
    for _, item in sorted(placed, key=lambda pair: pair[0]):
        if isinstance(item, DotCommand) and item.name in ("read", "i"):
            items += _read(item, folder, reading, may_read)
        else:
            items.append(item)
    return items


def load_file(
    path: str,
    place: Location | None = None,
    reading: tuple[str, ...] = (),
    may_read: Callable[[str], None] = _anything,
) -> list[Item]:
    """The items of a script file."""
    real = os.path.realpath(path)
    if real in reading:
        raise InterfaceError(f"{path} reads itself", code="read_cycle", location=place)
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}", code="file_not_found", location=place) from None
    except UnicodeDecodeError as error:
        raise FileError(f"{path} is not UTF-8: {error.reason} at byte {error.start}", location=place) from None
    return load_text(text, path, os.path.dirname(path), (*reading, real), may_read)


def _read(command: DotCommand, folder: str, reading: tuple[str, ...], may_read: Callable[[str], None]) -> list[Item]:
    if len(command.words) != 1:
        raise InterfaceError("write .read FILE", code="usage", location=command.location)
    path = os.path.expanduser(command.words[0])
    path = path if os.path.isabs(path) else os.path.join(folder, path)
    try:
        may_read(path)
    except FileError as error:
        error.location = command.location
        raise
    return load_file(path, command.location, reading, may_read)


def _commands(text: Text) -> list[tuple[int, int, DotCommand]]:
    """The dot-commands of a text: where they begin and end, and what they say."""
    found = []
    sql = text.sql
    at, fresh = 0, True
    while at < len(sql):
        if fresh and (at == 0 or sql[at - 1] == "\n"):
            line = _COMMAND.match(sql, at)
            if line is not None:
                found.append((line.start(), line.end(), dot_command(line[1], line[2], text, line.start(1) - 1)))
                at = line.end()
                continue
        piece = _WHOLE.match(sql, at)
        if piece is not None:
            fresh = fresh and piece[0].startswith(("--", "/*"))
            at = piece.end()
        else:
            fresh = sql[at] == ";" or (fresh and sql[at].isspace()) or (at < 2 and sql.startswith("#!"))
            at += 1
            if at == 2 and sql.startswith("#!"):
                at = sql.find("\n") if "\n" in sql else len(sql)
    return found


def dot_command(name: str, rest: str, text: Text, start: int) -> DotCommand:
    location = text.location(start, start + len(name) + 1)
    try:
        words = tuple(shlex.split(rest))
    except ValueError as error:
        raise InterfaceError(f".{name}: {error}".lower(), code="usage", location=location) from None
    return DotCommand(name.lower(), words, location, rest.strip())


def is_complete(text: str) -> bool:
    """Whether what was typed can run: it is blank, a dot-command, or ends with a semicolon outside of everything."""
    if not text.strip() or _COMMAND.fullmatch(text.strip()) or re.fullmatch(r"\\[^\n]+", text.strip()):
        return True
    at, ended = 0, False
    while at < len(text):
        piece = _WHOLE.match(text, at)
        if piece is not None:
            ended = ended and piece[0].startswith(("--", "/*"))
            at = piece.end()
            continue
        if not text[at].isspace():
            ended = text[at] == ";"
        at += 1
    return ended
