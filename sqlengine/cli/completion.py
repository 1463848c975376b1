"""What can be typed next at the prompt: names that fit the place, from the session as it is.

1. A line that begins with a dot: commands, then their arguments (formats, on and off, files, tables).
2. Inside a quoted text: files of the directory typed so far.
3. After SET, RESET or SHOW: settings; behind a setting's name, its values.
4. After FROM, JOIN, INTO and the like: tables and views, then functions that give tables.
5. After `name.`: columns of the table or alias of that name.
6. Anywhere else: columns of the tables in FROM, functions, keywords, tables.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

from sqlengine.catalog import View
from sqlengine.cli.arguments import FORMATS
from sqlengine.cli.commands import command_names, command_usage
from sqlengine.cli.highlight import KEYWORDS, pieces
from sqlengine.errors import Error
from sqlengine.expr.registry import AggregateFunction, TableFunction, WindowFunction, all_functions
from sqlengine.formats import READERS
from sqlengine.settings import Settings
from sqlengine.types import sql_name

if TYPE_CHECKING:
    from sqlengine.session import Session

_TABLE_WORDS = {"FROM", "JOIN", "INTO", "UPDATE", "TABLE", "DESCRIBE", "SUMMARIZE", "VIEW", "COPY"}
_SETTING_WORDS = {"SET", "RESET", "SHOW"}
_PLAIN = re.compile(r"[a-z_][a-z0-9_]*")


@dataclass(frozen=True)
class Suggestion:
    """`text` replaces the last `length` characters; `meaning` stands beside it."""

    text: str
    length: int
    meaning: str = ""


def suggestions(session: Session, before: str, after: str = "") -> list[Suggestion]:
    """What fits behind `before` (the text up to the cursor), the best first; `after` is the rest of the statement."""
    return list(dict.fromkeys(_suggestions(session, before, after)))


def _suggestions(session: Session, before: str, after: str) -> Iterator[Suggestion]:
    line = before.lstrip()
    if line.startswith((".", "\\")) and "\n" not in line:
        yield from _command(session, line)
        return
    kinds = [(kind, text.strip()) for kind, text in pieces(before) if kind != "comment" and text.strip()]
    if kinds and kinds[-1][0] == "string" and _is_open(kinds[-1][1]):
        yield from _files(kinds[-1][1][1:])
        return
    found = re.search(r'(?:("?)([A-Za-z_]\w*)\1\.)?("?[A-Za-z_]\w*|"?)$', before)
    typed = found[3] if found else ""
    words = [text.upper() for _, text in kinds]
    if typed and words:
        words.pop()
    last = words[-1] if words else ""
    tables = _tables_of(session, before.rsplit(";", 1)[-1] + after.split(";", 1)[0])
    if found and found[2]:
        for name, kind in tables.get(found[2].lower(), []):
            yield from _match(_quoted(name), typed, kind)
        return
    if last in _SETTING_WORDS and len(words) <= 2:
        yield from _settings(session, typed)
        return
    if len(words) >= 2 and words[0] == "SET" and (last == "=" or (last == "TO")):
        yield from _values(words[1].lower(), typed)
        return
    if last in _TABLE_WORDS:
        yield from _table_names(session, typed)
        for name in READERS:
            yield from _match(name, typed, "reads files", "(")
        for entry in all_functions():
            if isinstance(entry, TableFunction):
                yield from _match(entry.name, typed, entry.doc, "(")
        if last != "FROM" or not typed:
            return
    for columns in tables.values():
        for name, kind in columns:
            yield from _match(_quoted(name), typed, kind)
    if not typed:
        return
    yield from _functions(session, typed)
    for word in sorted(KEYWORDS):
        yield from _match(word if typed.isupper() else word.lower(), typed, "")
    yield from _table_names(session, typed)


def _match(text: str, typed: str, meaning: str, end: str = "") -> Iterator[Suggestion]:
    if text.lower().lstrip('"').startswith(typed.lower().lstrip('"')) and text != typed:
        yield Suggestion(text + end, len(typed), meaning.split(". ")[0][:60])


def _quoted(name: str) -> str:
    return name if _PLAIN.fullmatch(name) else '"' + name.replace('"', '""') + '"'


def _is_open(text: str) -> bool:
    return text.startswith("'") and (len(text) == 1 or text.count("'") % 2 == 1)


def _command(session: Session, line: str) -> Iterator[Suggestion]:
    name, *rest = line.split(" ")
    if not rest:
        for known in command_names():
            yield from _match("." + known, "." + name[1:], command_usage(known)[1])
        return
    typed = rest[-1]
    usage = command_usage(name[1:])[0]
    if "FORMAT" in usage:
        choices = [(each, "") for each in FORMATS]
    elif "on|off" in usage:
        choices = [("on", ""), ("off", "")]
    elif "FILE" in usage or "DIRECTORY" in usage:
        yield from _files(typed)
        return
    elif "SETTING" in usage and len(rest) == 1:
        yield from _settings(session, typed)
        return
    elif "TABLE" in usage:
        yield from _table_names(session, typed)
        return
    else:
        choices = []
    for word, meaning in choices:
        yield from _match(word, typed, meaning)


def _files(typed: str) -> Iterator[Suggestion]:
    folder, start = os.path.split(typed)
    try:
        found = sorted(os.scandir(os.path.expanduser(folder) or "."), key=lambda entry: entry.name)
    except OSError:
        return
    for entry in found:
        if entry.name.startswith(start) and (start.startswith(".") or not entry.name.startswith(".")):
            yield Suggestion(entry.name + ("/" if entry.is_dir() else ""), len(start), "")


def _settings(session: Session, typed: str) -> Iterator[Suggestion]:
    for item in fields(Settings):
        yield from _match(item.name, typed, item.metadata["help"])


def _values(name: str, typed: str) -> Iterator[Suggestion]:
    item = next((each for each in fields(Settings) if each.name == name), None)
    if item is None:
        return
    if item.metadata["kind"] == "boolean":
        choices = ["true", "false"]
    else:
        try:  # a choice says in its error what it allows
            item.metadata["parse"]("\0")
            return
        except (ValueError, TypeError) as error:
            allowed = re.match(r"expected one of ([\w, ]+), got", str(error))
            choices = [f"'{word}'" for word in allowed[1].split(", ")] if allowed else []
    for word in choices:
        yield from _match(word, typed, "")


def _functions(session: Session, typed: str) -> Iterator[Suggestion]:
    for user in session.user_functions.all():
        yield from _match(user.name, typed, user.summary, "(")
    for macro in session.catalog.macros():
        yield from _match(macro.name, typed, "macro", "(")
    for entry in all_functions():
        if isinstance(entry, TableFunction) or not entry.name.isidentifier():
            continue
        kind = {AggregateFunction: "aggregate: ", WindowFunction: "window: "}.get(type(entry), "")
        yield from _match(entry.name, typed, kind + entry.doc, "(")


def _table_names(session: Session, typed: str) -> Iterator[Suggestion]:
    for entry in session.catalog.entries():
        yield from _match(_quoted(entry.name), typed, "view" if isinstance(entry, View) else "table")


_FROM = re.compile(
    r"""\b(?:from|join|update|into)\s+('(?:[^']|'')+'|"(?:[^"]|"")+"|[a-z_]\w*)(?:\s+(?:as\s+)?("?[a-z_]\w*"?))?""",
    re.IGNORECASE,
)


def _tables_of(session: Session, statement: str) -> dict[str, list[tuple[str, str]]]:
    """Columns with their types, by alias or name, of the tables that a statement reads: also of files it names."""
    found: dict[str, list[tuple[str, str]]] = {}
    for match in _FROM.finditer(statement):
        name, alias = match[1], (match[2] or "").strip('"')
        if alias.upper() in KEYWORDS:
            alias = ""
        entry = None if name.startswith("'") else session.catalog.find(name.strip('"'))
        if entry is not None:
            schema = entry.schema if isinstance(entry, View) else entry.source.schema
        elif name.startswith("'"):
            try:
                schema = session.sql(f"from {name}", capture=False).schema
            except Error:
                continue
        else:
            continue
        columns = [(field.name, sql_name(field.type).lower()) for field in schema]
        found[(alias or os.path.splitext(os.path.basename(name.strip("'\"")))[0]).lower()] = columns
    return found
