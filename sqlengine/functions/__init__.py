"""The functions of SQL, one file per family; importing this registers all of them."""

from sqlengine.functions import (
    aggregates,
    arithmetic,
    comparison,
    dates,
    downloads,
    encodings,
    images,
    introspection,
    json_text,
    list_lambdas,
    list_sets,
    list_shapes,
    lists,
    maps,
    math,
    patterns,
    session_values,
    strings,
    structs,
    tables,
    time_formats,
    time_spans,
    urls,
    vectors,
    windows,
)

__all__ = [
    "aggregates", "arithmetic", "comparison", "dates", "downloads", "encodings", "images", "introspection", "json_text",
    "list_lambdas", "list_sets", "list_shapes", "lists", "maps", "math", "patterns", "session_values",
    "strings", "structs", "tables", "time_formats", "time_spans",
    "urls", "vectors", "windows",
]  # fmt: skip
