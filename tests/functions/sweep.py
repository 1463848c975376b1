"""Each function of DuckDB, for each combination of argument types, called in both engines on ordinary and nasty values.

`python -m tests.functions.sweep [name ...]` prints what differs: `wrong` (another value), `refused` (an error here, a
value there), `lenient` (a value here, an error there), `type` (the value has another type).
"""

from __future__ import annotations

import itertools
import math
import random
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import duckdb

import sqlengine
from sqlengine.errors import BindError, Error, InternalError, NotSupportedError
from sqlengine.expr.registry import find_aggregate, find_scalar
from tests.functions.nasty_values import GENERIC, VALUES, value

MOST_ROWS = 40
# Functions that make as many values as an argument says.
GROWING = {
    "array_resize", "list_resize", "repeat", "range", "generate_series", "lpad", "rpad", "bar", "bitstring",
    "generate_subscripts", "equi_width_bins",
}  # fmt: skip
FAILED = "error"
Found = list[tuple[str, str | None]]  # type and text of each row; (FAILED, message) where the row is an error


@dataclass(frozen=True)
class Signature:
    name: str
    types: tuple[str, ...]
    aggregate: bool = False

    def __str__(self) -> str:
        return f"{self.name}({', '.join(self.types)})"


@dataclass(frozen=True)
class Difference:
    kind: str
    signature: Signature
    arguments: str
    ours: str
    theirs: str

    def __str__(self) -> str:
        return f"{self.kind:8}{self.signature}  {self.arguments}  ours: {self.ours}  DuckDB: {self.theirs}"


def signatures(connection: duckdb.DuckDBPyConnection, names: Sequence[str], kind: str = "scalar") -> list[Signature]:
    """What may be called, with the generic types of parameters replaced by types that exist."""
    rows = connection.execute(
        "SELECT DISTINCT function_name, parameter_types, varargs FROM duckdb_functions() "
        f"WHERE function_type = '{kind}' AND list_contains($1, function_name) ORDER BY ALL", [list(names)]
    ).fetchall()  # fmt: skip
    found: dict[tuple[str, tuple[str, ...]], Signature] = {}
    for name, types, more in rows:
        types = [*types, *([more] * 2 if more else [])]
        types = ["INTEGER" if t == "ANY" and name in GROWING else t for t in types]
        if not all(t in VALUES or t in GENERIC for t in types):
            continue
        entry = find_scalar(name) or find_aggregate(name)
        # Parameters of generic types get types side by side; of names of one function the first one is taken.
        for at in range(max((len(GENERIC.get(t, ())) for t in types), default=0) or 1):
            chosen = tuple(GENERIC[t][at % len(GENERIC[t])] if t in GENERIC else t for t in types)
            known = entry.name if entry is not None else name
            found.setdefault((known, chosen), Signature(name, chosen, kind == "aggregate"))
    return list(found.values())


def arguments(signature: Signature, most: int = MOST_ROWS) -> list[tuple[str, ...]]:
    """Rows of arguments, as SQL: all values of one argument, a fixed sample of the combinations of several."""
    lists = [VALUES[t] for t in signature.types]
    if signature.name in GROWING:
        lists = [
            [v for v in values if len(v) < 5 or "INT" not in t or t == "INTERVAL"]
            for t, values in zip(signature.types, lists, strict=True)
        ]
    size = math.prod(map(len, lists))
    if size <= most:
        return list(itertools.product(*lists))
    chance = random.Random(str(signature))
    rows = {tuple(chance.choice(values) for values in lists) for _ in range(4 * most)}
    return sorted(rows)[:: max(1, len(rows) // most)][:most]


class Engine:
    """One of both, asked for the texts of a call's values."""

    def texts(self, query: str) -> list[tuple[str, ...]]:
        raise NotImplementedError

    def values(self, call: str, rows: Sequence[tuple[str, ...]], types: Sequence[str]) -> Found:
        """The call for each row of arguments; halves what fails until the rows that fail stand alone."""
        try:
            return [(row[1], row[2]) for row in self.texts(_query(call, rows, types))]
        except (Error, duckdb.Error) as error:
            if len(rows) == 1:
                return [(FAILED, str(error).splitlines()[0])]
            if isinstance(error, duckdb.BinderException | BindError | NotSupportedError):
                return [(FAILED, str(error).splitlines()[0])] * len(rows)
        middle = len(rows) // 2
        return [*self.values(call, rows[:middle], types), *self.values(call, rows[middle:], types)]


class Ours(Engine):
    def __init__(self) -> None:
        self.session = sqlengine.connect()

    def texts(self, query: str) -> list[tuple[str, ...]]:
        try:
            return self.session.sql(query).fetchall()
        except Error:
            raise
        except Exception as error:
            raise InternalError(f"CRASH {type(error).__name__}: {error}") from error


class Theirs(Engine):
    def __init__(self) -> None:
        self.connection = duckdb.connect()
        self.connection.execute("SET TimeZone = 'UTC'; SET memory_limit = '1GB'; SET threads = 1")

    def texts(self, query: str) -> list[tuple[str, ...]]:
        try:
            return self.connection.execute(query).fetchall()
        except UnicodeDecodeError as error:  # it cut a character into pieces
            raise duckdb.ConversionException(str(error)) from error


def _query(call: str, rows: Sequence[tuple[str, ...]], types: Sequence[str]) -> str:
    names = ", ".join(["i", *(f"a{n}" for n in range(len(types)))])
    lines = [
        "(" + ", ".join([str(at), *(value(t, v) for t, v in zip(types, row, strict=True))]) + ")"
        for at, row in enumerate(rows)
    ]
    return (
        f"WITH v({names}) AS (VALUES {', '.join(lines)}) "
        f"SELECT i, typeof({call}), CAST({call} AS VARCHAR) FROM v ORDER BY i"
    )


def compare(signature: Signature, ours: Engine, theirs: Engine, most: int = MOST_ROWS) -> Iterator[Difference]:
    """What differs; nothing if DuckDB itself takes none of the rows."""
    rows = arguments(signature, most) or [()]
    call = f'"{signature.name}"({", ".join(f"a{n}" for n in range(len(signature.types)))})'
    wanted = theirs.values(call, rows, signature.types)
    if all(type_ == FAILED for type_, _ in wanted):
        return
    found = ours.values(call, rows, signature.types)
    for row, (our_type, mine), (their_type, other) in zip(rows, found, wanted, strict=True):
        shown = ", ".join(row)
        if our_type == FAILED and their_type == FAILED:
            continue
        if our_type == FAILED:
            yield Difference("refused", signature, shown, str(mine), str(other))
        elif their_type == FAILED:
            yield Difference("lenient", signature, shown, str(mine), str(other))
        elif mine != other and not _close(mine, other):
            yield Difference("wrong", signature, shown, repr(mine), repr(other))
    kinds = {(a, b) for (a, _), (b, _) in zip(found, wanted, strict=True) if a != b and FAILED not in (a, b)}
    for a, b in sorted(kinds):
        yield Difference("type", signature, "", a, b)


# Ways to call an aggregate: with modifiers, and over windows.
FORMS = {
    "plain": "{call}",
    "filter": "{call} FILTER (WHERE i % 2 = 0)",
    "distinct": "{name}(DISTINCT {args})",
    "ordered": "{name}({args} ORDER BY i DESC)",
    "window": "{call} OVER (PARTITION BY i % 3 ORDER BY i ROWS BETWEEN 2 PRECEDING AND 1 FOLLOWING)",
    "running": "{call} OVER (PARTITION BY i % 3 ORDER BY i)",
}


def compare_aggregate(signature: Signature, ours: Engine, theirs: Engine, form: str) -> Iterator[Difference]:
    """The aggregate over groups of nasty values, or of ordinary ones where DuckDB refuses the nasty ones."""
    args = ", ".join(f"a{n}" for n in range(len(signature.types)))
    call = FORMS[form].format(name=f'"{signature.name}"', args=args, call=f'"{signature.name}"({args})')
    lists = [VALUES[t] for t in signature.types]
    chance = random.Random(str(signature))
    if "quantile" in signature.name:
        lists[1:] = [["0.25"] if not t.endswith("[]") else ["[0.25, 0.5]"] for t in signature.types[1:]]
    elif len(lists) > 1 and signature.types[-1] == "BIGINT" and signature.name not in ("regr_count",):
        lists[-1] = ["2"]
    elif signature.name in ("stddev_samp", "corr"):
        lists = [[v for v in values if v not in ("1.7e308", "'nan'", "'infinity'", "'-infinity'")] for values in lists]
    elif signature.name in ("string_agg", "group_concat", "listagg"):
        lists[1:] = [["'|'"]] * (len(lists) - 1)
    for kind in ("nasty", "mild"):
        chosen = [v if kind == "nasty" or len(v) == 1 else v[:5] for v in lists]
        rows = [tuple(chance.choice(values) for values in chosen) for _ in range(24)]
        query = _query(call, rows, signature.types)
        if form not in ("window", "running"):
            query = query.replace("SELECT i, typeof", "SELECT i % 3, typeof")
            query = query.replace("FROM v ORDER BY i", "FROM v GROUP BY i % 3 ORDER BY 1")
        try:
            wanted = theirs.texts(query)
        except duckdb.Error:
            continue
        shown = f"{form}, {kind} {rows if len(signature.types) < 2 else ''}"
        try:
            found = ours.texts(query)
        except Error as error:
            yield Difference("refused", signature, shown, str(error).splitlines()[0], str(wanted[0][2]))
            return
        for (_, our_type, mine), (_, their_type, other) in zip(found, wanted, strict=True):
            if our_type != their_type:
                yield Difference("type", signature, form, our_type, their_type)
            if mine != other and not _close(mine, other):
                yield Difference("wrong", signature, shown, str(mine), str(other))
        return


def _close(a: str | None, b: str | None) -> bool:
    """Floating-point results that differ in the last digits."""
    if a is not None and b is not None and a.replace("-nan", "nan") == b.replace("-nan", "nan"):
        return True
    try:
        return a is not None and b is not None and math.isclose(float(a), float(b), rel_tol=1e-6)
    except ValueError:
        return False


def main(names: list[str]) -> None:
    ours, theirs = Ours(), Theirs()
    if not names:
        from tests.functions.coverage import shared_names

        names = shared_names("scalar")
    for signature in signatures(theirs.connection, names):
        per_kind: dict[str, int] = {}
        for difference in compare(signature, ours, theirs):
            per_kind[difference.kind] = per_kind.get(difference.kind, 0) + 1
            if per_kind[difference.kind] <= 3:
                print(difference, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
