"""The names of our functions beside those of DuckDB: `python -m tests.functions.coverage` prints it.

Out of scope are functions of storage, catalog, extensions and internals, and those that SQL reaches by an operator.
"""

from __future__ import annotations

import re

import duckdb

from sqlengine.expr.registry import function_names
from sqlengine.sql.built_in_macros import built_in_names
from sqlengine.sql.special_calls import SPECIAL_CALLS

KINDS = ("scalar", "aggregate", "macro")
OUT_OF_SCOPE = re.compile(
    r"__|(icu_)?collate_|icu_sort_key|pg_|has_\w+_privilege|inet_|st_|vertex_extract|variant_|map_to_pg_oid|"
    r"map_type_id_to_pg_oid|(col|obj|shobj)_description|format_pg_type|get_block_size|current_(connection|query|transaction)_id|"
    r"txid_current|(next|curr|set)val$|write_log|parse_duckdb_log_message|json_(de)?serialize_|json_copy_strftime|"
    r"stats$|vector_type|index_key|\w+_byte_comparable|to_aggregate_state|combine|finalize$|in_search_path|sleep_ms|"
    r"create_sort_key|remap_struct"
)


def names(kind: str, documented: bool = False) -> list[str]:
    """The names of DuckDB's pure functions of a kind (scalar, aggregate, macro) that are in scope; `documented`: only
    those with an example in its documentation."""
    condition = "AND len(examples) > 0" if documented else ""
    rows = duckdb.connect().execute(
        f"SELECT DISTINCT function_name FROM duckdb_functions() WHERE function_type = $1 {condition} ORDER BY 1", [kind]
    ).fetchall()  # fmt: skip
    return [name for (name,) in rows if re.fullmatch(r"[a-z]\w*", name) and not OUT_OF_SCOPE.match(name)]


def known_names() -> frozenset[str]:
    more = ("current_setting", "getvariable")  # values that are put in before binding
    return frozenset({*function_names(), *built_in_names(), *SPECIAL_CALLS, *more})


def shared_names(kind: str) -> list[str]:
    ours = known_names()
    return [name for name in names(kind) if name.lower() in ours]


def missing(kind: str, documented: bool = False) -> list[str]:
    ours = known_names()
    return [name for name in names(kind, documented) if name.lower() not in ours]


def share(kind: str, documented: bool = False) -> float:
    return 1 - len(missing(kind, documented)) / len(names(kind, documented))


def main() -> None:
    for kind in KINDS:
        print(f"{kind}: {share(kind):.1%} of {len(names(kind))} names; missing: {' '.join(missing(kind)) or 'none'}")
    for kind in KINDS[:2]:
        print(f"{kind} with examples in the documentation: {share(kind, True):.1%} of {len(names(kind, True))} names")


if __name__ == "__main__":
    main()
