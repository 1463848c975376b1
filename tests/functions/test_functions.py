"""How much of DuckDB's functions there is, and that they give what DuckDB's give.

Every function is called once; with `--functions` for every combination of types of its arguments and on more rows
(several minutes).
"""

from __future__ import annotations

import pytest

from tests.functions.coverage import missing, share, shared_names
from tests.functions.known_differences import KNOWN
from tests.functions.sweep import FORMS, Ours, Theirs, compare, compare_aggregate, signatures

# Types that travel as another one, or values that no type here holds.
_HELD_OTHERWISE = ("BIT", "HUGEINT")


@pytest.mark.parametrize(
    ("kind", "documented", "least"),
    [("scalar", False, 0.95), ("aggregate", False, 0.95), ("macro", False, 0.95), ("scalar", True, 0.95),
     ("aggregate", True, 0.95)],
)  # fmt: skip
def test_names(kind: str, documented: bool, least: float) -> None:
    assert share(kind, documented) >= least, missing(kind, documented)


def test_scalar_functions(request: pytest.FixtureRequest) -> None:
    everything = request.config.getoption("--functions")
    ours, theirs = Ours(), Theirs()
    seen: set[str] = set()
    found = []
    for signature in signatures(theirs.connection, [n for n in shared_names("scalar") if n not in KNOWN]):
        if not everything and signature.name in seen:
            continue
        if everything and any(t in _HELD_OTHERWISE for t in signature.types):
            continue
        seen.add(signature.name)
        kinds = ("wrong", "refused")
        found += [str(d) for d in compare(signature, ours, theirs, 40 if everything else 12) if d.kind in kinds]
    assert len(seen) > 250
    assert not found, "\n".join(found)


_NAMES = ("count", "sum", "avg", "min", "max", "first", "last", "any_value", "median", "quantile_disc", "mode", "list",
          "string_agg", "histogram", "stddev_samp", "corr", "bool_and", "arg_max_null")  # fmt: skip


# Which of several values comes out is not said.
_NOT_SAID = {("last", "distinct"), ("mode", "ordered")}


@pytest.mark.parametrize("form", FORMS)
def test_aggregates(form: str, request: pytest.FixtureRequest) -> None:
    ours, theirs = Ours(), Theirs()
    seen: set[str] = set()
    found = []
    for signature in signatures(theirs.connection, _NAMES, "aggregate"):
        if signature.name in seen and not request.config.getoption("--functions"):
            continue
        seen.add(signature.name)
        if (signature.name, form) in _NOT_SAID or not signature.types:
            continue
        if any(t.endswith("]") or t.startswith(("STRUCT", "HUGEINT", "INTERVAL")) for t in signature.types):
            continue
        found += [str(d) for d in compare_aggregate(signature, ours, theirs, form) if d.kind != "type"]
    assert len(seen) == len(_NAMES)
    assert not found, "\n".join(found)
