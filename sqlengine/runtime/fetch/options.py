"""Options of downloads: from `SET download.NAME = value`, each overridden by a named argument of the call."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlengine.errors import InterfaceError
from sqlengine.settings import Settings, setting_field

PREFIX = "download_"
# Of one call only: they say what it asks for and what it gives.
_PER_CALL = ("headers", "range", "result")


@dataclass(frozen=True)
class FetchOptions:
    """Sizes in bytes, times in seconds.

    `max_bytes` bounds one body; `inflight_bytes` all bodies at a time (0: from the budget). `timeout` is for one URL
    with all its attempts, `stall_timeout` for silence between two pieces. `on_error`: raise, null (NULL for the row) or
    struct (the result is a struct, what went wrong is in its fields).
    """

    max_connections: int = 128
    max_connections_per_host: int = 100
    max_bytes: int = 1 << 30
    inflight_bytes: int = 0
    timeout: float = 300.0
    connect_timeout: float = 10.0
    stall_timeout: float = 30.0
    retries: int = 4
    backoff: float = 0.2
    on_error: str = "raise"
    follow_redirects: int = 10
    allow_private_networks: bool = True
    schemes: tuple[str, ...] = ("file", "http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "data")
    headers: tuple[tuple[str, str], ...] = ()
    range: str | None = None
    result: str = "blob"

    @classmethod
    def of(cls, settings: Settings, given: Mapping[str, Any]) -> FetchOptions:
        """The session's options with those of one call."""
        values = {
            item.name: getattr(settings, PREFIX + item.name) for item in fields(cls) if item.name not in _PER_CALL
        }
        options = cls(**values)
        for name, value in given.items():
            options = options.with_value(name, value)
        return replace(options, schemes=("data",)) if settings.safe else options

    def with_value(self, name: str, value: Any) -> FetchOptions:
        """One option changed; raises InterfaceError for an unknown name or a value that will not do."""
        try:
            match name:
                case "headers":
                    return replace(self, headers=_headers(value))
                case "range":
                    return replace(self, range=None if value is None else _range(str(value)))
                case "result":
                    if value not in ("blob", "struct"):
                        raise ValueError("one of blob, struct")
                    return replace(self, result=value)
            if name not in {item.name for item in fields(self)}:
                listed = ", ".join(item.name for item in fields(self))
                raise InterfaceError(
                    f'unknown option "{name}" of a download', code="unknown_setting", hint=f"the options are {listed}"
                )
            return replace(self, **{name: setting_field(PREFIX + name).metadata["parse"](value)})
        except (ValueError, TypeError) as error:
            raise InterfaceError(f"option {name} of a download: {error}", code="bad_setting_value") from None

    @property
    def gives_struct(self) -> bool:
        return self.result == "struct" or self.on_error == "struct"


def _headers(value: Any) -> tuple[tuple[str, str], ...]:
    """Of a map or struct, or of its text as JSON."""
    if isinstance(value, str):
        value = json.loads(value)
    pairs = value.items() if isinstance(value, Mapping) else value
    return tuple((str(name), str(text)) for name, text in pairs)


def _range(text: str) -> str:
    """`0-99`, `100-`, `-50` as the value of a Range header."""
    first, dash, last = text.removeprefix("bytes=").partition("-")
    if dash != "-" or not (first + last) or not (first + last).isdigit():
        raise ValueError(f"{text!r} is not a range such as '0-1023'")
    return f"bytes={first}-{last}"
