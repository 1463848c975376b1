"""The texts of the 99 queries of TPC-DS, by name."""

from pathlib import Path

QUERIES = {path.stem: path.read_text() for path in sorted(Path(__file__).parent.glob("*.sql"))}
