from collections.abc import Sequence
from typing import Any

RAW: int
QUOTE_IF_NEEDED: int
QUOTE_ALWAYS: int
JSON_TEXT: int

def lines(
    columns: Sequence[Any],
    kinds: Sequence[int],
    before: Sequence[bytes],
    rows: int,
    *,
    null: bytes,
    after: bytes,
    quote: bytes = ...,
    escape: bytes = ...,
    special: bytes = ...,
) -> Any: ...
