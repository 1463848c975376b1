from collections.abc import Sequence
from typing import Any

def hash_columns(columns: Sequence[Any]) -> Any: ...
