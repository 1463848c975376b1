"""The tables of the memory suite, made once by DuckDB from formulas: the same bytes of content everywhere.

`facts` and `dims` have 6 M rows at scale 1 and agree in `k`, a permutation of the row numbers; `wide` has 1000 texts of
1 MB that do not compress, `lists` 4 M list items beside texts of 2 KB, `long_lists` one gigabyte of numbers in lists.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import duckdb

_ROWS = 6_000_000
_MIX = 2_654_435_761  # odd, so multiplying by it permutes the numbers below a power of two


def _facts(rows: int) -> str:
    return f"""
        select i as id, (i * 7919) % {rows} as k, (hash(i) % 10)::int as g10, (hash(i + 1) % {max(1, rows // 6)})::int
            as g1m, (hash(i + 2) % 1000000)::bigint as n, (hash(i + 3) % 1000000007) / 1024.0 as v,
            concat('name-', hash(i + 4)) as s, (case when hash(i + 5) % 10 < 9 then 1 else i end)::bigint as skew,
            timestamp '2020-01-01' + to_seconds(i * 5) as ts
        from range({rows}) r(i)"""


def _dims(rows: int) -> str:
    return f"""
        select (i * {_MIX}) % {rows} as k, (hash(i + 6) % 1000000)::bigint as w, concat('name-', hash(i * 2 + 4)) as s,
            (case when hash(i + 7) % 10 < 9 then 1 else i end)::bigint as skew, (hash(i + 8) % 10)::int as g10,
            timestamp '2020-01-01' + to_seconds(i * 5 + 2) as ts
        from range({rows}) r(i)"""


def _wide(rows: int) -> str:
    return f"""
        select i as id, (i * 389) % {rows} as k,
            (select string_agg(hash(i * 100000 + j)::varchar, '' order by j) from range(52000) t(j)) as body
        from range({rows}) r(i)"""


def _lists(rows: int, items: int, text: int) -> str:
    return f"""
        select i as id, list_transform(range({items}), lambda j: (hash(i * {items} + j) % 1000000)::bigint) as items,
            repeat(concat(hash(i), '-'), {text // 20}) as body
        from range({rows}) r(i)"""


def make(scale: float, folder: Path) -> Mapping[str, str]:
    """Paths of the Parquet files by table; what is not there yet is made."""
    rows = int(_ROWS * scale)
    definitions = {
        "facts": (_facts(rows), 122_880),
        "dims": (_dims(rows), 122_880),
        "wide": (_wide(int(1000 * scale)), 100),
        "lists": (_lists(int(40_000 * scale), 100, 2000), 8192),
        "long_lists": (_lists(int(62_500 * scale), 2000, 20), 8192),
    }
    place = folder / f"memory-{scale:g}"
    place.mkdir(parents=True, exist_ok=True)
    paths = {name: place / f"{name}.parquet" for name in definitions}
    for name, (query, group) in definitions.items():
        if not paths[name].exists():
            partial = paths[name].with_suffix(".partial")
            with duckdb.connect(config={"threads": 2}) as connection:
                connection.execute(f"copy ({query}) to '{partial}' (format parquet, row_group_size {group})")
            partial.replace(paths[name])
    return {name: str(path) for name, path in paths.items()}
