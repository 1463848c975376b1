"""Pages of documentation, made from the registries that the engine itself uses."""

from __future__ import annotations

import pyarrow as pa

_HEADS = ("scalar", "aggregate", "window", "table")


def functions_markdown(functions: pa.Table) -> str:
    """All functions (as `SHOW FUNCTIONS` has them) in Markdown, a table for each kind."""
    rows = functions.to_pylist()
    kinds = [*_HEADS, *sorted({row["kind"] for row in rows} - set(_HEADS))]
    lines: list[str] = []
    for kind in kinds:
        found = sorted((row["name"], row["description"] or "") for row in rows if row["kind"] == kind)
        if found:
            lines += [f"## {kind.capitalize()} functions", "", "| function | meaning |", "| --- | --- |"]
            lines += [f"| `{name}` | {_cell(meaning)} |" for name, meaning in found]
            lines.append("")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
