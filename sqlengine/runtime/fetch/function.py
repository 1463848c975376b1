"""The functions that fetch, and the types of what they give."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa

INFO_TYPE = pa.struct([("status", pa.int32()), ("size", pa.int64()), ("type", pa.string()), ("url", pa.string()),
                       ("error", pa.string())])  # fmt: skip
RESULT_TYPE = pa.struct([("body", pa.binary()), ("status", pa.int32()), ("bytes", pa.int64()),
                         ("attempts", pa.int32()), ("error", pa.string()), ("url", pa.string())])  # fmt: skip


@dataclass(frozen=True)
class FetchFunction:
    """A function that fetches: `only_info` asks for the head only; `defaults` are options that its name implies."""

    name: str
    only_info: bool = False
    defaults: tuple[tuple[str, Any], ...] = ()
