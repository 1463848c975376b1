"""Every exception that sqlengine raises, with the DB-API (PEP 249) class each one belongs to.

    Error                                   base of all
    ├── InterfaceError                      the API was used wrongly (closed session, bad option)
    └── DatabaseError
        ├── ProgrammingError                the SQL text is wrong
        │   ├── ParseError                  it does not parse
        │   └── BindError                   it parses, but a name, type or clause is wrong
        ├── NotSupportedError               correct SQL that this engine does not run (yet)
        ├── DataError                       a value does not fit: cast, overflow, division by zero
        │   └── FormatError                 a file does not hold what it should
        ├── OperationalError                the run could not go on
        │   ├── MemoryLimitError            (also a MemoryError) even the smallest plan does not fit the budget
        │   ├── SpillError                  the spill directory is full, over its limit, gone or read-only
        │   ├── QueryTimeout                (also a TimeoutError)
        │   ├── Interrupted                 cancelled by the user
        │   ├── FileError                   missing file, no permission
        │   ├── BackendError                a backend cannot start or lost its workers
        │   ├── UDFError                    a user function failed
        │   └── DownloadError               a URL could not be fetched
        └── InternalError                   a bug in sqlengine

An error has a stable `code` (snake case, what tools match on), a message, an optional place in the SQL text and an
optional hint. `render()` gives the form that every interface prints.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Location:
    """A range in a SQL text: 1-based `line` and `col`, exclusive `end` column on the same line, and the line itself."""

    line: int
    col: int
    end: int
    text: str = ""
    source: str = "<command>"


class Error(Exception):
    """Base of all errors of sqlengine."""

    code = "error"

    def __init__(
        self, message: str, *, code: str | None = None, hint: str | None = None, location: Location | None = None
    ) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.location = location
        if code is not None:
            self.code = code

    def __str__(self) -> str:
        return self.render()

    def render(self) -> str:
        """The message as people see it: `file:line:col: error[code]: message`, the line, a caret and a hint."""
        head = f"error[{self.code}]: {self.message}"
        if self.location is None:
            return head + (f"\nhint: {self.hint}" if self.hint else "")
        where = self.location
        number = str(where.line)
        before = where.text[: where.col - 1]
        # Tabs stay tabs in the caret line so that the caret stands under the right character.
        pad = "".join("\t" if c == "\t" else " " for c in before)
        lines = [
            f"{where.source}:{where.line}:{where.col}: {head}",
            f"  {number} | {where.text}",
            f"  {' ' * len(number)} | {pad}{'^' * max(1, where.end - where.col)}",
        ]
        if self.hint:
            lines.append(f"hint: {self.hint}")
        return "\n".join(lines)


class InterfaceError(Error):
    code = "interface_error"


class DatabaseError(Error):
    code = "database_error"


class ProgrammingError(DatabaseError):
    code = "programming_error"


class ParseError(ProgrammingError):
    code = "syntax_error"


class BindError(ProgrammingError):
    code = "bind_error"


class NotSupportedError(DatabaseError):
    code = "not_supported"


class DataError(DatabaseError):
    code = "data_error"


class FormatError(DataError):
    code = "format_error"


class OperationalError(DatabaseError):
    code = "operational_error"


class MemoryLimitError(OperationalError, MemoryError):
    code = "memory_limit"


class SpillError(OperationalError):
    code = "spill_limit"


class QueryTimeout(OperationalError, TimeoutError):
    code = "timeout"


class Interrupted(OperationalError):
    code = "interrupted"


class FileError(OperationalError):
    code = "file_error"


class BackendError(OperationalError):
    code = "backend_error"


class UDFError(OperationalError):
    code = "udf_error"


class DownloadError(OperationalError):
    code = "download_error"


class InternalError(DatabaseError):
    code = "internal_error"
