"""What people see for wrong statements, as it is printed. `--update` writes the file anew; look at the difference."""

from __future__ import annotations

from pathlib import Path

import pytest

from sqlengine.errors import Error, NotSupportedError, ParseError
from sqlengine.sql.parse import parse

PATH = Path(__file__).with_name("wrong_statements.txt")
INTERNAL = ("Traceback", "sqlglot", "Token", "SENTINEL", "expressions", "<class", "None")


def cases() -> list[tuple[str, str]]:
    found = []
    for case in PATH.read_text().rstrip("\n").split("\n====\n"):
        statement, _, shown = case.partition("\n----\n")
        found.append((statement.removesuffix("\n----"), shown.rstrip("\n")))
    return found


def shown(statement: str) -> str:
    try:
        parse(statement.replace("<BOM>", "\ufeff"), "job.sql")
    except Error as error:
        assert isinstance(error, ParseError | NotSupportedError)
        assert error.location is not None
        return error.render()
    return "accepted"


def test_what_is_shown(request: pytest.FixtureRequest) -> None:
    if request.config.getoption("--update"):
        PATH.write_text("\n====\n".join(f"{text}\n----\n{shown(text)}" for text, _ in cases()) + "\n")
    found = cases()
    assert len(found) >= 150
    for statement, expected in found:
        text = shown(statement)
        assert text == expected
        assert text != "accepted"
        assert not any(word in text.replace(statement, "") for word in INTERNAL)


def test_deep_nesting_is_an_error() -> None:
    with pytest.raises(ParseError, match="deeply"):
        parse("select " + "(" * 3000 + "1" + ")" * 3000)
