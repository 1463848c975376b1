"""The functions of SQL, one file per family; importing this registers all of them."""

from sqlengine.functions import (
    aggregates,
    arithmetic,
    comparison,
    dates,
    encodings,
    introspection,
    lists,
    maps,
    math,
    patterns,
    strings,
    structs,
    tables,
    windows,
)

__all__ = [
    "aggregates", "arithmetic", "comparison", "dates", "encodings", "introspection", "lists", "maps", "math",
    "patterns", "strings", "structs", "tables", "windows",
]  # fmt: skip
