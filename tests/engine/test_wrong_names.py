"""What people see for statements that parse and are wrong: names, types, clauses in the wrong place. `--update` writes
the file anew; look at the difference."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import sqlengine
from sqlengine.errors import Error
from sqlengine.session import Session

PATH = Path(__file__).with_name("wrong_names.txt")
INTERNAL = ("Traceback", "sqlglot", "Expression", "<class", "pyarrow", "object at", "AssertionError", "#")
TABLES = """
create or replace table people (id int, name varchar, born date, tags varchar[], info struct(a int));
insert into people select 1, 'Ada', '1815-12-10'::date, ['x', 'y'], {'a': 1};
create or replace table orders (id int, person_id int, amount decimal(10, 2), placed timestamp);
insert into orders values (1, 1, 9.5, '2024-01-01 10:00:00');
create or replace view people_view as select id, name from people;
"""


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=1) as made:
        made.sql(TABLES)
        yield made


def cases() -> list[tuple[str, str]]:
    found = []
    for case in PATH.read_text().rstrip("\n").split("\n====\n"):
        statement, _, shown = case.partition("\n----\n")
        found.append((statement.removesuffix("\n----"), shown.rstrip("\n")))
    return found


def shown(session: Session, statement: str) -> str:
    try:
        for relation in session.script(statement, "job.sql"):
            relation.fetchall()
    except Error as error:
        return error.render()
    finally:
        session.sql("drop macro if exists m")
    return "accepted"


def test_what_is_shown(request: pytest.FixtureRequest, session: Session) -> None:
    if request.config.getoption("--update"):
        texts = [text for text, _ in cases()]
        PATH.write_text("\n====\n".join(f"{text}\n----\n{shown(session, text)}" for text in texts) + "\n")
    found = cases()
    assert len(found) >= 150
    for statement, expected in found:
        text = shown(session, statement)
        assert text == expected
        assert text != "accepted"
        assert not any(word in text.replace(statement, "") for word in INTERNAL), text
    places = sum(text.startswith("job.sql:1:") for _, text in found)
    assert places >= 0.9 * len(found)  # errors in values come without a place
