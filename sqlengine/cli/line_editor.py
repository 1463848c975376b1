"""The line editor of the prompt: entry over several lines, history, completion and colours, by prompt_toolkit.

Enter runs when the text is complete (`is_complete`), else it begins a new line with the indent of the one before;
Alt-Enter always runs. What is pasted comes as one text.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, ThreadedCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.enums import EditingMode
from prompt_toolkit.filters import completion_is_selected, has_focus
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.history import FileHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.lexers import Lexer
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from sqlengine.cli.completion import suggestions
from sqlengine.cli.highlight import pieces
from sqlengine.cli.script import is_complete
from sqlengine.expr.registry import function_names
from sqlengine.session import Session

_STYLE = Style.from_dict(
    {
        "keyword": "ansiblue bold", "string": "ansigreen", "number": "ansicyan", "comment": "ansibrightblack italic",
        "function": "ansimagenta", "parameter": "ansiyellow", "command": "ansiyellow", "name": "",
    }
)  # fmt: skip


def line_editor(session: Session, *, color: bool, vi: bool = False) -> Callable[[str, str], str]:
    """A function that reads one text: `read(prompt, default)`."""
    prompt: PromptSession[str] = PromptSession(
        history=_History(str(history_path())),
        completer=ThreadedCompleter(_Names(session)),
        complete_while_typing=True,
        auto_suggest=AutoSuggestFromHistory(),
        lexer=_Colours() if color else None,
        style=_STYLE,
        color_depth=None if color else ColorDepth.DEPTH_1_BIT,
        multiline=True,
        prompt_continuation=lambda width, line, wrapped: "-> ".rjust(width),
        key_bindings=_keys(),
        editing_mode=EditingMode.VI if vi else EditingMode.EMACS,
        enable_open_in_editor=True,
        tempfile_suffix=".sql",
        reserve_space_for_menu=6,
    )
    return lambda message, default: prompt.prompt(message, default=default)


def history_path() -> Path:
    """In the user's state directory, for the user alone; made when it is not there."""
    base = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
    path = Path(base) / "sqlengine" / "history"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(mode=0o600)
    path.chmod(0o600)
    return path


class _History(FileHistory):
    """What begins with a space is not kept."""

    def append_string(self, string: str) -> None:
        if string.strip() and not string.startswith(" "):
            super().append_string(string)


class _Names(Completer):
    def __init__(self, session: Session) -> None:
        self._session = session

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        before = document.text_before_cursor
        if not complete_event.completion_requested and not re.search(r"[\w.'/]$", before):
            return
        for found in suggestions(self._session, before, document.text_after_cursor):
            yield Completion(found.text, -found.length, display_meta=found.meaning)


class _Colours(Lexer):
    def __init__(self) -> None:
        self._functions = frozenset(function_names())

    def lex_document(self, document: Document) -> Callable[[int], StyleAndTextTuples]:
        lines: list[StyleAndTextTuples] = [[]]
        for kind, text in pieces(document.text, self._functions.__contains__):
            first, *others = text.split("\n")
            lines[-1].append((f"class:{kind}" if kind else "", first))
            for line in others:
                lines.append([(f"class:{kind}" if kind else "", line)])
        return lambda number: lines[number] if number < len(lines) else []


def _keys() -> KeyBindings:
    keys = KeyBindings()

    @keys.add("enter", filter=~completion_is_selected & has_focus("DEFAULT_BUFFER"))
    def _enter(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if is_complete(buffer.text) or buffer.text.strip().lower() in ("exit", "quit", "help"):
            buffer.validate_and_handle()
        else:
            buffer.insert_text("\n" + re.match(r"[ \t]*", buffer.document.current_line)[0])  # type: ignore[index]

    @keys.add("enter", filter=completion_is_selected)
    def _take(event: KeyPressEvent) -> None:
        event.current_buffer.complete_state = None

    @keys.add("escape", "enter")
    def _run(event: KeyPressEvent) -> None:
        event.current_buffer.validate_and_handle()

    return keys
