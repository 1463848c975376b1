"""Functions on URLs as text. Fetching them is an operator's work (`operators.fetch_urls`)."""

from __future__ import annotations

import urllib.parse
from typing import Any

import pyarrow as pa

from sqlengine.expr.nodes import Call
from sqlengine.expr.overloads import TEXT, takes
from sqlengine.expr.registry import scalar
from sqlengine.settings import Settings

URL_TYPE = pa.struct(
    [(name, pa.string()) for name in ("scheme", "username", "host")]
    + [("port", pa.int32())]
    + [(name, pa.string()) for name in ("path", "query", "fragment")]
)


@scalar("url_parse", takes(TEXT, gives=URL_TYPE), "Parts of a URL; NULL when it is malformed.", category="url")
def _url_parse(call: Call, args: list[Any], rows: int, settings: Settings) -> Any:
    """Once for each distinct URL."""
    encoded = args[0].dictionary_encode()
    parts = pa.array([_parts(text) for text in encoded.dictionary.to_pylist()], URL_TYPE)
    return parts.take(encoded.indices)


def _parts(text: str) -> dict[str, Any] | None:
    try:
        found = urllib.parse.urlsplit(text)
        port = found.port
    except ValueError:
        return None
    return {
        "scheme": found.scheme or None,
        "username": found.username,
        "host": found.hostname,
        "port": port,
        "path": found.path,
        "query": found.query or None,
        "fragment": found.fragment or None,
    }
