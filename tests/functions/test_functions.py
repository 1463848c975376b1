"""How much of DuckDB's functions there is."""

from __future__ import annotations

import pytest

from tests.functions.coverage import missing, share


@pytest.mark.parametrize(
    ("kind", "documented", "least"),
    [("scalar", False, 0.95), ("aggregate", False, 0.95), ("macro", False, 0.95), ("scalar", True, 0.95),
     ("aggregate", True, 0.95)],
)  # fmt: skip
def test_names(kind: str, documented: bool, least: float) -> None:
    assert share(kind, documented) >= least, missing(kind, documented)
