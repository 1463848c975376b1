"""Wrong and deep SQL: whatever is typed ends in a result or in one of our own errors, soon.

`--fuzz N` also says how many mutated statements are tried: ten for each random query.
"""

from __future__ import annotations

import time

import pytest

import sqlengine
from sqlengine.errors import Error, InternalError
from sqlengine.session import Session
from sqlengine.sql.parse import parse
from sqlengine.sql.statements import SelectRows
from tests.fuzz.mutations import NESTED, mutated, nested
from tests.sqllogic.tables import arrow_tables

_SECONDS = 2.0  # of CPU


@pytest.fixture(scope="module")
def session() -> Session:
    session = sqlengine.connect(threads=1)
    for name, table in arrow_tables().items():
        session.register(name, table)
    return session


def problem(session: Session, seed: int) -> str | None:
    """What is wrong with how a mutated statement is parsed and (if it is a query) bound."""
    text = mutated(seed)
    start = time.process_time()
    try:
        for parsed in parse(text):
            if isinstance(parsed.statement, SelectRows):
                session.sql(parsed.sql)
    except InternalError as error:
        return f"seed {seed}: {error.message}\n  {text!r}"
    except Error:
        pass
    except BaseException as error:
        return f"seed {seed}: {type(error).__name__}: {error}\n  {text!r}"
    took = time.process_time() - start
    return f"seed {seed}: took {took:.1f} s\n  {text!r}" if took > _SECONDS else None


def test_mutated_statements_are_refused_with_our_errors(session: Session, request: pytest.FixtureRequest) -> None:
    count = min(20_000, 10 * int(request.config.getoption("--fuzz")))
    problems = [found for seed in range(max(2000, count)) if (found := problem(session, seed))]
    assert not problems, f"{len(problems)} statements\n" + "\n".join(problems[:20])


@pytest.mark.parametrize("depth", [50, 5000])
@pytest.mark.parametrize("kind", NESTED)
def test_deep_statements_end(session: Session, kind: str, depth: int) -> None:
    start = time.process_time()
    try:
        session.sql(nested(kind, depth)).fetchall()
    except InternalError:
        raise
    except Error as error:
        assert depth > 50 or kind in ("arrows", "dots", "brackets"), error.message
    assert time.process_time() - start < 4 * _SECONDS


def test_chains_of_conditions_are_as_long_as_you_like(session: Session) -> None:
    assert session.sql(nested("and", 10_000)).fetchall() == [(True,)]
    assert len(session.sql(nested("union all", 3000)).fetchall()) == 3000
