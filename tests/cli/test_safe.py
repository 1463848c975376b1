"""SQL of strangers: what a safe session refuses, and what it still does."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest

import sqlengine
from sqlengine.cli.main import main
from sqlengine.errors import Error
from sqlengine.session import Session


@pytest.fixture(scope="module")
def top(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("safe")
    (top / "in").mkdir()
    (top / "in" / "rows.csv").write_text("a,b\n1,x\n2,y\n")
    (top / "in2").mkdir()
    (top / "in2" / "secret.csv").write_text("password\nabc\n")
    (top / "in" / "away.txt").symlink_to(top / "in2" / "secret.csv")
    (top / "f.py").write_text("import sqlengine\n@sqlengine.udf\ndef f(x: int) -> int:\n    return x\n")
    return top


@pytest.fixture(scope="module")
def session(top: Path) -> Iterator[Session]:
    with sqlengine.connect(safe=True, root=str(top / "in")) as made:
        yield made


REFUSED = [
    "from '{top}/in2/secret.csv'",
    "from '{top}/in/../in2/secret.csv'",
    "from read_text('{top}/in/away.txt')",
    "from read_text('{top}/in/*.txt')",
    "from read_blob(['{top}/in/rows.csv', '{top}/in2/secret.csv'])",
    "from glob('{top}/*/secret.csv')",
    "from glob('{top}/in/../in2/*')",
    "from parquet_metadata('{top}/in2/secret.csv')",
    "describe '{top}/in2/secret.csv'",
    "create view v as from '{top}/in2/secret.csv'",
    "copy (select 1) to '{top}/in/out.csv'",
    "copy t from '{top}/in2/secret.csv'",
    "select getenv('HOME')",
    "load '{top}/f.py'",
    "create function f language python as '{top}/f.py:f'",
    "set threads = 1",
    "set safe = false",
    "reset root",
    "set udf.f.timeout = 3",
    "explain (spill_dir '/tmp') select 1",
]


@pytest.mark.parametrize("query", REFUSED)
def test_refused(session: Session, top: Path, query: str) -> None:
    session.sql("create or replace table t(a text)")
    with pytest.raises(Error) as caught:
        session.sql(query.format(top=top)).fetchall()
    assert caught.value.code == "not_allowed", caught.value
    assert "abc" not in str(caught.value)
    assert sorted(path.name for path in (top / "in").iterdir()) == ["away.txt", "rows.csv"]


@pytest.mark.parametrize("url", ["file:///etc/hostname", "/etc/hostname", "http://127.0.0.1:9/", "s3://bucket/key"])
@pytest.mark.parametrize("option", ["", ", schemes => ['file', 'http', 's3']"])
def test_no_download(session: Session, url: str, option: str) -> None:
    with pytest.raises(Error, match="is not allowed"):
        session.sql(f"select url_download('{url}'{option})").fetchall()


def test_the_rest_works(session: Session, top: Path) -> None:
    assert session.sql(f"select sum(a) from '{top}/in/*.csv'").fetchall() == [(3,)]
    assert session.sql(f"select count(*) from glob('{top}/in/r*')").fetchall() == [(1,)]
    session.sql(f"create or replace table t as from '{top}/in/rows.csv'")
    session.sql("set variable x = 3")
    assert session.sql("select getvariable('x') + count(*) from t").fetchall() == [(5,)]
    assert session.sql("select url_download('data:,a')").fetchall() == [(b"a",)]
    assert session.sql("explain memory (memory_limit '300MB') from t").fetchall()


def test_variables_of_the_caller_are_not_seen(session: Session) -> None:
    mine = [{"password": "abc"}]
    with pytest.raises(Error, match="mine"):
        session.sql("from mine")
    assert session.sql("from given", tables={"given": mine}).fetchall() == [("abc",)]


@pytest.mark.parametrize(
    "line",
    [".shell true", ".cd /", ".edit", ".udf f.py", ".output o.csv", ".once o.csv", ".pager cat", ".set threads 1",
     ".read {top}/in2/secret.csv"],
)  # fmt: skip
def test_refused_commands(top: Path, line: str, capsys: pytest.CaptureFixture[str]) -> None:
    code = main(["--safe", "--root", str(top / "in"), "--no-init", "-c", "select 1;\n" + line.format(top=top)])
    shown = capsys.readouterr().err
    assert code == 1
    assert "error[not_allowed]" in shown and shown.startswith("<command>:2:1"), shown


def test_who_starts_it_may_do_more(top: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"n\n5\n")))
    script = tmp_path / "s.sql"
    script.write_text("select f(n) as n from read_csv('-')")
    out = tmp_path / "o.csv"
    assert main(["--safe", "--no-init", "--udf", str(top / "f.py"), "-o", str(out), str(script)]) == 0
    assert out.read_text() == "n\n5\n"
