"""A SQL text and the places in it that errors point to."""

from __future__ import annotations

import bisect
import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from sqlengine.errors import Location

_NEAR = 50  # nodes: every one of a deep tree asks for its place


@dataclass(frozen=True)
class Text:
    """A SQL text and where it came from, for error locations."""

    sql: str
    source: str = "<command>"

    def location(self, start: int, end: int) -> Location:
        """Of the characters from `start` up to `end` (offsets)."""
        line = bisect.bisect_right(self._lines, start)
        begin = self._lines[line - 1]
        stop = self.sql.find("\n", begin)
        text = (self.sql[begin:] if stop < 0 else self.sql[begin:stop]).rstrip("\r")
        col = start - begin + 1
        return Location(line, col, min(col + max(1, end - start), len(text) + 1), text, self.source)

    @cached_property
    def _lines(self) -> list[int]:
        """Where each line begins."""
        return [0, *(match.end() for match in re.finditer("\n", self.sql))]

    def of(self, node: Any) -> Location | None:
        """Of the first token below a sqlglot node that knows its place, if that is near."""
        for found in itertools.islice(node.walk(), _NEAR):
            if "start" in found.meta:
                return self.location(found.meta["start"], found.meta["end"] + 1)
        return None
