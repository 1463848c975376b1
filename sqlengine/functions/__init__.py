"""The functions of SQL, one file per family; importing this registers all of them."""

from sqlengine.functions import aggregates, dates, math, operators, strings, tables

__all__ = ["aggregates", "dates", "math", "operators", "strings", "tables"]
