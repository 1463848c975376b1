"""Imports go down the list of layers only, and the oracle stays out of the package."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

TOP = Path(__file__).parents[1]
LAYERS = [
    {"cli"},
    {
        "session", "relation", "access", "reference", "dbapi", "statement_runner", "table_changes", "summary",
        "catalog", "parameters", "caller_names", "text_box", "value_text", "dry_run", "testing",
    },
    {"backends"}, {"sql", "optimizer", "physical"}, {"plan", "operators"},
    {"functions", "formats"}, {"expr"}, {"runtime"}, {"kernels"},
    {"errors", "settings", "types", "tree", "without_pandas"},
]  # fmt: skip
LEVEL = {name: number for number, names in enumerate(LAYERS) for name in names}
SIBLINGS_ALLOWED = LAYERS[1] | LAYERS[-1]
FILES = sorted((TOP / "sqlengine").rglob("*.py"))


def room(path: Path) -> str:
    parts = path.relative_to(TOP / "sqlengine").with_suffix("").parts
    return parts[0]


def imports(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.append(node.module)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(TOP)))
def test_imports(path: Path) -> None:
    mine = room(path)
    for name in imports(path):
        first, _, rest = name.partition(".")
        assert first not in ("duckdb", "numpy", "pandas")
        assert first != "ray" or mine == "backends"
        assert first != "prompt_toolkit" or mine == "cli"
        assert first != "sqlglot" or mine == "sql"
        assert first not in ("rich", "IPython") or mine == "cli"
        target = rest.split(".")[0]
        if first == "sqlengine" and target in LEVEL and mine in LEVEL and target != mine:
            same = LEVEL[target] == LEVEL[mine]
            # The bottom exceptions: a source is known to logical scans, and types of expressions to nobody below.
            assert LEVEL[target] > LEVEL[mine] or (same and {mine, target} <= SIBLINGS_ALLOWED), (
                f"{mine} imports {target}"
            )
