"""The texts of the queries and the names of the tables; needs neither the engine nor the oracle."""

from pathlib import Path

QUERIES = {path.stem: path.read_text() for path in sorted(Path(__file__).parent.glob("*.sql"))}
TABLES = ("customer", "lineitem", "nation", "orders", "part", "partsupp", "region", "supplier")
