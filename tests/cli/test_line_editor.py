"""What the prompt's editor knows: completion, colours, history; and the commands of the prompt in a pseudo-terminal."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pexpect
import pytest

import sqlengine
from sqlengine.cli.completion import suggestions
from sqlengine.cli.highlight import pieces
from sqlengine.session import Session

TOP = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with sqlengine.connect() as made:
        made.sql("create table people as select 1 as person_id, 'x' as \"Full Name\"")
        made.sql("create view adults as select person_id as adult_id from people")
        made.sql("create macro twice(a) as a * 2")
        yield made


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ("select * from peo", "", "people"),
        ("select * from adu", "", "adults"),
        ("select * from read_c", "", "read_csv("),
        ("select pers", " from people", "person_id"),
        ("select p.", " from people p", "person_id"),
        ("select p.Fu", " from people as p", '"Full Name"'),
        ("select adults.adu", " from adults", "adult_id"),
        ("select sub", "", "substring("),
        ("select tw", "", "twice("),
        ("SEL", "", "SELECT"),
        ("sel", "", "select"),
        ("set memo", "", "memory_limit"),
        ("set spill_codec = ", "", "'zstd'"),
        ("set preserve_order = t", "", "true"),
        (".mo", "", ".mode"),
        (".mode mark", "", "markdown"),
        (".headers o", "", "off"),
        (".describe peo", "", "people"),
        ("select 1; select * from peo", "", "people"),
    ],
)
def test_completion(session: Session, before: str, after: str, wanted: str) -> None:
    assert wanted in [found.text for found in suggestions(session, before, after)]


def test_completion_of_files_and_their_columns(session: Session, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("wide,narrow\n1,2\n")
    (tmp_path / "folder").mkdir()
    before = f"select * from '{tmp_path}/"
    assert [found.text for found in suggestions(session, before)] == ["folder/", "rows.csv"]
    assert [found.text for found in suggestions(session, before + "ro")] == ["rows.csv"]
    columns = suggestions(session, "select na", f" from '{tmp_path}/rows.csv'")
    assert columns[0].text == "narrow"


def test_columns_of_other_tables_are_not_offered(session: Session) -> None:
    assert "person_id" not in [found.text for found in suggestions(session, "select pers", " from adults")]


def test_colours_cut_a_text_without_loss() -> None:
    text = "select sum(a) + 1.5, 'it''s', \"Na me\", $p -- end\n/* open"
    found = list(pieces(text, {"sum"}.__contains__))
    assert "".join(piece for _, piece in found) == text
    kinds = {piece: kind for kind, piece in found}
    assert kinds["select"] == "keyword" and kinds["sum"] == "function" and kinds["1.5"] == "number"
    assert kinds["'it''s'"] == "string" and kinds['"Na me"'] == "name" and kinds["$p"] == "parameter"
    assert kinds["-- end"] == "comment" and kinds["/* open"] == "comment"


def start(state: Path, *args: str, term: str = "xterm", **environment: str) -> pexpect.spawn:
    environment = os.environ | {
        "TERM": term, "PYTHONPATH": str(TOP), "XDG_STATE_HOME": str(state), "XDG_CONFIG_HOME": str(state),
        "PROMPT_TOOLKIT_NO_CPR": "1", "NO_COLOR": "1", **environment,
    }  # fmt: skip
    child = pexpect.spawn(
        sys.executable, ["-m", "sqlengine", *args], env=environment, cwd=str(state), encoding="utf-8", timeout=30,
        dimensions=(30, 120),
    )  # fmt: skip
    child.expect("sqlengine>")
    return child


def say(child: pexpect.spawn, text: str, *wanted: str) -> None:
    child.sendline(text)
    for each in wanted:
        child.expect(each)
    child.expect("sqlengine>")


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_commands_at_the_prompt(tmp_path: Path, term: str) -> None:
    editor = tmp_path / "editor"
    editor.write_text("#!/bin/sh\necho \"select 'edi' || 'ted' as e;\" > \"$1\"\n")
    editor.chmod(0o755)
    (tmp_path / "f.py").write_text("import sqlengine\n@sqlengine.udf\ndef half(x: float) -> float:\n    return x / 2\n")
    child = start(tmp_path, term=term, EDITOR=str(editor), VISUAL="")
    assert "local, memory limit" in child.before and "threads" in child.before
    say(child, ".last", "there is no last result")
    say(child, "select 20 + 1 as n;", " 21 ", r"1 row in \d.* of .*iB, spilled 0 B")
    say(child, ".last markdown", r"\|  21 \|")
    say(child, "select n * 2 as m from _;", " 42 ")
    say(child, ".explain memory", "verdict: fits")
    say(child, ".memory", "limit .*resident")
    say(child, ".udf f.py", "loaded half")
    say(child, "select half(5) as h;", r" 2\.5 ")
    say(child, ".once once.csv")
    say(child, "select 5 as five;", "1 row in")
    assert (tmp_path / "once.csv").exists()
    say(child, ".output all.csv")
    say(child, ".mode csv")
    say(child, "select 6 as six;", "1 row in")
    assert not (tmp_path / "all.csv").exists()  # not before it is complete
    say(child, ".output")
    say(child, ".shell cat all.csv; echo sh''ell", "six", "6", "shell")
    say(child, ".help", r"\.explain \[memory\|analyze\]", r"\.udf \[FILE\]")
    say(child, ".stats off")
    say(child, ".set spill_codec zstd")
    say(child, ".show spill_codec", "zstd")
    child.sendline(".edit")
    child.expect("'ted'")
    if term == "xterm":
        child.sendline("")
    child.expect("edited")
    child.expect("sqlengine>")
    child.sendline("\\q")
    child.expect(pexpect.EOF)


def test_what_is_larger_than_the_screen_goes_to_the_pager(tmp_path: Path) -> None:
    child = start(tmp_path, "--max-rows", "100", PAGER="sed s/^/paged:/")
    say(child, "select i as small from range(3) t(i);", "3 rows")
    say(child, "select i as large from range(60) t(i);", "paged:.* 59 ", "60 rows in")
    say(child, ".pager off")
    say(child, "select i as large from range(60) t(i);", r"\n│ +59 │", "60 rows in")
    child.close(force=True)


def test_history_keeps_lines_and_leaves_out_what_begins_with_a_space(tmp_path: Path) -> None:
    child = start(tmp_path)
    child.sendline("select 1 as")
    child.expect("->")
    child.sendline("one;")
    child.expect("1 row in")
    child.expect("sqlengine>")
    say(child, " select 'secret' as s;", "1 row in")
    child.close(force=True)
    child = start(tmp_path)
    say(child, ".history", "select 1 as\r\none;")
    text = (tmp_path / "sqlengine" / "history").read_text()
    assert "+select 1 as\n+one;\n" in text and "secret" not in text
    child.close(force=True)


def test_tab_completes_and_many_pasted_lines_are_one_text(tmp_path: Path) -> None:
    child = start(tmp_path)
    say(child, "create table somewhere as select 7 as lucky;", "0 rows in")
    child.send("select lucky from somewh")
    child.expect("somewhere.* table")  # the menu
    child.send("\t")
    child.expect("somewhere")
    child.send(";\r")
    child.expect(" 7 ")
    child.expect("1 row in")
    child.expect("sqlengine>")
    pasted = "select 0" + "".join(f"\n+ {n}" for n in range(200)) + ";"
    child.send(f"\x1b[200~{pasted}\x1b[201~\r")
    child.expect("19900")
    child.expect("1 row in")
    child.close(force=True)
