"""The functions of SQL, one file per family; importing this registers all of them."""

from sqlengine.functions import aggregates, arithmetic, comparison, dates, math, strings, tables, windows

__all__ = ["aggregates", "arithmetic", "comparison", "dates", "math", "strings", "tables", "windows"]
