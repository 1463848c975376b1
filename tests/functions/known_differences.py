"""Functions that give something else here than in DuckDB, each with the reason."""

from __future__ import annotations

_CLOCK = "the time at which the statement began"
_RANDOM = "random"
_BITS = "BIT travels as text: its bytes are not known"
_LEAST = "-2^63 is minus infinity here"
_ORDER = "DuckDB's order of the elements is that of its hash table; here the first places count"

KNOWN: dict[str, str] = {
    "array_distinct": _ORDER,
    "list_distinct": _ORDER,
    "array_intersect": _ORDER,
    "list_intersect": _ORDER,
    "bit_length": _BITS,
    "octet_length": _BITS,
    "current_localtime": _CLOCK,
    "current_localtimestamp": _CLOCK,
    "get_current_time": _CLOCK,
    "get_current_timestamp": _CLOCK,
    "now": _CLOCK,
    "transaction_timestamp": _CLOCK,
    "random": _RANDOM,
    "uuid": _RANDOM,
    "uuidv4": _RANDOM,
    "uuidv7": _RANDOM,
    "gen_random_uuid": _RANDOM,
    "setseed": _RANDOM,
    "hash": "another hash function",
    "make_timestamp": _LEAST,
    "make_timestamp_ns": _LEAST,
    "make_timestamptz": _LEAST,
    "to_microseconds": "intervals count nanoseconds, whose range is smaller",
    "version": "the version of this engine",
    "yearweek": "the sign of years before Christ",
}
