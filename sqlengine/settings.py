"""The one registry of settings: every knob, its type, default, and one sentence for people.

`SET k = v`, `connect(k=v)`, `SQLENGINE_K`, the configuration file and `--option k=v` all end in `Settings.with_value`.
`Settings` is frozen: a query runs with the settings it was bound with.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from sqlengine.errors import InterfaceError

_UNITS = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "tb": 10**12,
    "kib": 2**10,
    "mib": 2**20,
    "gib": 2**30,
    "tib": 2**40,
}


def parse_bytes(text: Any) -> int:
    """`'256MB'`, `'1.5 GiB'`, 1048576 -> bytes. Units are SI or binary, case-insensitive."""
    if isinstance(text, bool):
        raise ValueError("expected a size such as '256MB'")
    if isinstance(text, int | float):
        if text < 0:
            raise ValueError("a size cannot be negative")
        return int(text)
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*([a-zA-Z]*)\s*", str(text))
    if not match or match[2].lower() not in _UNITS:
        raise ValueError(f"expected a size such as '256MB' or '2GiB', got {text!r}")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def format_bytes(n: float) -> str:
    """`1288490188 -> '1.2 GiB'`; below 1 KiB in bytes."""
    value = float(n)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if abs(value) < 1024 or unit == "TiB":
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1024
    raise AssertionError


def _integer(low: int) -> Callable[[Any], int]:
    def parse(value: Any) -> int:
        if isinstance(value, bool) or not re.fullmatch(r"\s*[-+]?\d+\s*", str(value)):
            raise ValueError(f"expected a whole number, got {value!r}")
        if int(value) < low:
            raise ValueError(f"must be at least {low}")
        return int(value)

    return parse


def _seconds(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError("expected a number of seconds")
    seconds = float(value)
    if not 0 < seconds < 1e9:
        raise ValueError("must be a positive number of seconds")
    return seconds


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    match str(value).strip().lower():
        case "true" | "on" | "yes" | "1" | "t":
            return True
        case "false" | "off" | "no" | "0" | "f":
            return False
    raise ValueError(f"expected true or false, got {value!r}")


def _direction(value: Any) -> str:
    """asc or desc, also as ascending or descending."""
    word = value.lower() if isinstance(value, str) else value
    return _choice("asc", "desc")({"ascending": "asc", "descending": "desc"}.get(word, word))


def _choice(*allowed: str) -> Callable[[Any], str]:
    def parse(value: Any) -> str:
        text = str(value).strip().lower()
        if text not in allowed:
            raise ValueError(f"expected one of {', '.join(allowed)}, got {value!r}")
        return text

    return parse


def _strings(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return tuple(str(part) for part in value)


def _paths(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return tuple(part for part in value.split(os.pathsep) if part)
    return tuple(os.fspath(part) for part in value)


def _memory(value: Any) -> int:
    size = parse_bytes(value)
    if size < 1 << 20:
        raise ValueError("must be at least 1MB")
    return size


def _batch_size(value: Any) -> int:
    size = parse_bytes(value)
    if size < 1024:
        raise ValueError("must be at least 1KiB")
    return size


def _timezone(value: Any) -> str:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return str(ZoneInfo(str(value)))
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"unknown time zone {value!r}") from None


def _setting(default: Any, parse: Callable[[Any], Any], help: str, kind: str) -> Any:
    return field(default=default, metadata={"parse": parse, "help": help, "kind": kind})


@dataclass(frozen=True)
class Settings:
    """All settings with their values. Field order is the order of `SHOW ALL`. 0 means "chosen by the engine" where
    noted."""

    memory_limit: int = _setting(
        0, _memory, "Bound on the resident memory of the process tree. 0: 80 % of machine or cgroup.", "bytes"
    )
    fail_over_memory: int = _setting(
        0, parse_bytes, "A query predicted to take more resident memory is refused before it runs. 0: none is.", "bytes"
    )
    threads: int = _setting(
        0,
        _integer(1),
        "Tasks that run at the same time. 0: the processors this process may use; falls when the budget is small.",
        "integer",
    )
    batch_rows: int = _setting(131072, _integer(1), "Most rows in a batch.", "integer")
    batch_bytes: int = _setting(
        0, _batch_size, "Most bytes in a batch (one row may exceed it). 0: from the memory limit.", "bytes"
    )
    partitions: int = _setting(
        0, _integer(1), "Partitions of a hash exchange or a spilling operator. 0: from sizes and threads.", "integer"
    )
    merge_fan_in: int = _setting(0, _integer(2), "Sorted runs merged at once. 0: from the budget.", "integer")
    spill_dir: tuple[str, ...] = _setting(
        (), _paths, "Directories for spill files. Empty: the system's temporary directory.", "paths"
    )
    spill_limit: int = _setting(
        0, parse_bytes, "Most bytes of spill files at a time. 0: 90 % of the free disk.", "bytes"
    )
    spill_codec: str = _setting("lz4", _choice("lz4", "zstd", "none"), "Compression of spill files.", "text")
    history: bool = _setting(
        True,
        _boolean,
        "Remember what values of functions and downloads took, for forecasts (history.json in the state folder).",
        "boolean",
    )
    preserve_order: bool = _setting(
        True, _boolean, "Give rows in the order of the input where SQL leaves the order free.", "boolean"
    )
    backend: str = _setting(
        "local", _choice("local", "ray"), "Where queries run: threads of this process, or a Ray cluster.", "text"
    )
    ray_address: str = _setting(
        "", str, "Address of the Ray cluster. Empty: the one this process is connected to, or a new one here.", "text"
    )
    ray_task_memory: int = _setting(
        0, _memory, "Memory of one task on a cluster. 0: 90 % of a node's memory resource by its CPUs.", "bytes"
    )
    ray_py_modules: tuple[str, ...] = _setting(
        (), _paths, "Packages and folders of Python code that workers need; used when the connection is made.", "paths"
    )
    shuffle: str = _setting(
        "auto",
        _choice("auto", "files", "objects"),
        "What a stage on a cluster leaves its rows in: files of the node, or Ray objects. auto: objects if few.",
        "text",
    )
    task_attempts: int = _setting(
        4, _integer(1), "How often a task of a cluster runs in all when nodes or workers are lost.", "integer"
    )
    default_null_order: str = _setting(
        "nulls_last",
        _choice("nulls_last", "nulls_first", "nulls_first_on_asc_last_on_desc", "nulls_last_on_asc_first_on_desc"),
        "Where NULLs sort when ORDER BY does not say.",
        "text",
    )
    default_order: str = _setting("asc", _direction, "Direction when ORDER BY does not say.", "text")
    integer_division: bool = _setting(
        False, _boolean, "`/` of integers divides with truncation instead of giving a DOUBLE.", "boolean"
    )
    ieee_floating_point_ops: bool = _setting(
        True, _boolean, "Division of DOUBLEs by zero gives infinity or NaN instead of an error (or NULL).", "boolean"
    )
    error_on_division_by_zero: bool = _setting(
        True, _boolean, "`//` and `%` by zero are an error instead of NULL.", "boolean"
    )
    safe: bool = _setting(
        False,
        _boolean,
        "For SQL of strangers: reads files below root only, no writes, network, Python or environment; no way back.",
        "boolean",
    )
    root: tuple[str, ...] = _setting(
        (), _paths, "Directories below which a safe session reads files. Empty: none.", "paths"
    )
    timezone: str = _setting(
        "UTC", _timezone, "Time zone of TIMESTAMPTZ values as text and in date arithmetic.", "text"
    )
    disabled_rules: tuple[str, ...] = _setting(
        (), _strings, "Optimizer rules that are left out (for tests and diagnosis).", "texts"
    )

    download_max_connections: int = _setting(128, _integer(1), "URLs that are fetched at the same time.", "integer")
    download_max_connections_per_host: int = _setting(100, _integer(1), "Of these, at most to one host.", "integer")
    download_max_bytes: int = _setting(1 << 30, parse_bytes, "Largest body; a larger one is an error.", "bytes")
    download_inflight_bytes: int = _setting(
        0, parse_bytes, "Bodies held at a time. 0: half of what operators share.", "bytes"
    )
    download_timeout: float = _setting(300.0, _seconds, "Seconds for one URL with all its attempts.", "number")
    download_connect_timeout: float = _setting(10.0, _seconds, "Seconds to get a connection.", "number")
    download_stall_timeout: float = _setting(30.0, _seconds, "Seconds without a byte.", "number")
    download_retries: int = _setting(4, _integer(0), "Further attempts after one that failed.", "integer")
    download_backoff: float = _setting(
        0.2, _seconds, "Seconds before the second attempt, doubled each time; Retry-After is obeyed.", "number"
    )
    download_on_error: str = _setting(
        "raise", _choice("raise", "null", "struct"), "What a URL that fails gives.", "text"
    )
    download_follow_redirects: int = _setting(10, _integer(0), "Redirects that are followed.", "integer")
    download_allow_private_networks: bool = _setting(
        True, _boolean, "Whether hosts of this machine and of inner networks may be reached.", "boolean"
    )
    download_schemes: tuple[str, ...] = _setting(
        ("file", "http", "https", "s3", "gs", "gcs", "az", "abfs", "abfss", "data"),
        _strings,
        "Schemes of URLs that may be fetched.",
        "texts",
    )

    def with_value(self, name: str, value: Any) -> Settings:
        """A copy with one setting changed; the value may be text."""
        field_ = setting_field(name)
        try:
            return replace(self, **{field_.name: field_.metadata["parse"](value)})
        except (ValueError, TypeError) as error:
            raise InterfaceError(f"setting {name.lower()}: {error}", code="bad_setting_value") from None


def setting_field(name: str) -> Any:
    """The field of a setting by its name; `download.timeout` is another spelling of `download_timeout`."""
    wanted = name.lower().replace(".", "_")
    for item in fields(Settings):
        if item.name == wanted:
            return item
    close = difflib.get_close_matches(name.lower(), [f.name for f in fields(Settings)], 3)
    hint = f'did you mean "{close[0]}"?' if close else "SHOW ALL lists the settings"
    raise InterfaceError(f'unknown setting "{name}"', code="unknown_setting", hint=hint)


def initial_settings(given: Mapping[str, Any], config: str | os.PathLike[str] | None = None) -> Settings:
    """The settings of a new session: those given, then `SQLENGINE_NAME` in the environment, then the TOML file."""
    chosen = Settings()
    if config is not None:
        for name, value in read_config(config).items():
            if name == "prompt" and isinstance(value, dict):
                continue  # how the prompt behaves is not the session's business
            chosen = chosen.with_value(name, value)
    for item in fields(Settings):
        variable = f"SQLENGINE_{item.name.upper()}"
        if os.environ.get(variable):
            try:
                chosen = chosen.with_value(item.name, os.environ[variable])
            except InterfaceError as error:
                raise InterfaceError(f"{variable}: {error.message}", code=error.code) from None
    for name, value in given.items():
        if value is not None:
            chosen = chosen.with_value(name, value)
    return chosen


def read_config(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The settings in a TOML file."""
    import tomllib

    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as error:
        raise InterfaceError(
            f"cannot read the configuration {os.fspath(path)!r}: {error.strerror}", code="config_error"
        ) from None
    except tomllib.TOMLDecodeError as error:
        raise InterfaceError(f"{os.fspath(path)}: {error}", code="config_error") from None


def settings_rows(settings: Settings, memory_limit: str) -> list[dict[str, str]]:
    """Name, value, type and meaning of every setting; `memory_limit` is how that one is shown."""
    rows = []
    for item in fields(Settings):
        value = getattr(settings, item.name)
        text = {bool: str(value).lower(), tuple: ",".join(map(str, value)) if isinstance(value, tuple) else ""}
        shown = memory_limit if item.name == "memory_limit" else text.get(type(value), str(value))
        kind, meaning = item.metadata["kind"], item.metadata["help"]
        rows.append({"name": item.name, "value": shown, "description": meaning, "type": kind})
    return rows


def settings_markdown() -> str:
    """The documentation of all settings, a table in Markdown."""
    lines = ["| setting | type | default | meaning |", "| --- | --- | --- | --- |"]
    for row in settings_rows(Settings(), "0"):
        meaning = row["description"].replace("|", "\\|")
        default = f"`{row['value']}`" if row["value"] else ""
        lines.append(f"| `{row['name']}` | {row['type']} | {default} | {meaning} |")
    return "\n".join(lines) + "\n"
