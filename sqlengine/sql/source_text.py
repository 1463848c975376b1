"""A SQL text and the places in it that errors point to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlengine.errors import Location


@dataclass(frozen=True)
class Text:
    """A SQL text and where it came from, for error locations."""

    sql: str
    source: str = "<command>"

    def location(self, start: int, end: int) -> Location:
        """Of the characters from `start` up to `end` (offsets)."""
        line = self.sql.count("\n", 0, start) + 1
        begin = self.sql.rfind("\n", 0, start) + 1
        stop = self.sql.find("\n", begin)
        text = (self.sql[begin:] if stop < 0 else self.sql[begin:stop]).rstrip("\r")
        col = start - begin + 1
        return Location(line, col, min(col + max(1, end - start), len(text) + 1), text, self.source)

    def of(self, node: Any) -> Location | None:
        """Of the first token below a sqlglot node that knows its place."""
        for found in node.walk():
            if "start" in found.meta:
                return self.location(found.meta["start"], found.meta["end"] + 1)
        return None
