"""The Python interface: parameters, names of the caller, cursors, cancelling, threads, settings."""

from __future__ import annotations

import asyncio
import datetime
import doctest
import gc
import importlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import sqlengine
from sqlengine import dbapi, errors
from sqlengine.runtime.process_watch import limit_for
from sqlengine.session import Session

MODULE_ROWS = [{"m": 1}, {"m": 2}]


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        yield made


# Parameters


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (1, pa.int32()), (2**40, pa.int64()), (1.5, pa.float64()), ("x'y; drop", pa.string()), (True, pa.bool_()),
        (b"\x00\xff", pa.binary()), (Decimal("1.50"), pa.decimal128(3, 2)), (datetime.date(2024, 2, 29), pa.date32()),
        (datetime.datetime(2024, 2, 29, 1, 2, 3), pa.timestamp("us")), ([1, None, 3], pa.list_(pa.int64())),
        (pa.scalar(7, pa.int16()), pa.int16()), (None, pa.null()),
    ],
)  # fmt: skip
def test_parameters_are_typed_values(session: Session, value: Any, type_: pa.DataType) -> None:
    found = session.sql("select ? as p", [value]).to_arrow()
    expected = value.as_py() if isinstance(value, pa.Scalar) else value
    assert found.column(0).to_pylist() == [expected]
    assert found.schema.types[0] == type_


def test_named_numbered_and_repeated_parameters(session: Session) -> None:
    assert session.sql("select $a + $b, $a", {"a": 1, "b": 2}).fetchall() == [(3, 1)]
    assert session.sql("select $2, $1, $2", ["x", "y"]).fetchall() == [("y", "x", "y")]
    assert session.sql("select :n || '!'", {"n": "x"}).fetchall() == [("x!",)]
    assert session.sql("select * from range($n) limit ?", {"n": 5, "1": 2}).fetchall() == [(0,), (1,)]


@pytest.mark.parametrize(
    ("query", "params", "code"),
    [
        ("select ?", None, "parameter_missing"), ("select ?, ?", [1], "parameter_missing"),
        ("select $nam", {"name": 1}, "parameter_unused"), ("select ?", [1, 2], "parameter_unused"),
        ("select 1", "x", "interface_error"), ("select ?", [object()], "interface_error"),
    ],
)  # fmt: skip
def test_wrong_parameters(session: Session, query: str, params: Any, code: str) -> None:
    with pytest.raises(errors.Error) as caught:
        session.sql(query, params)
    assert caught.value.code == code


# Names of the caller


def test_variables_of_every_kind_are_tables(session: Session) -> None:
    arrow = pa.table({"n": [1, 2]})
    dicts = [{"n": 7}, {"n": 8}]
    columns = {"n": [9, 10]}
    relation = session.sql("select 11 as n")
    for name in ("arrow", "dicts", "columns", "relation", "ARROW"):
        assert session.sql(f"select count(*), min(n) > 0 from {name}").fetchall()[0][1] is True
    assert session.sql("select sum(a.n + r.n) from arrow a, relation r").fetchall() == [(Decimal(25),)]
    assert session.sql("select sum(m) from module_rows").fetchall() == [(3,)]
    del arrow, dicts, columns, relation


def test_polars_frames_are_tables_and_results(session: Session) -> None:
    polars = pytest.importorskip("polars", reason="polars is not installed")
    frame = polars.DataFrame({"n": [5, 6]})
    relation = session.sql("select n + 1 as m from frame")
    assert relation.pl()["m"].to_list() == [6, 7]
    assert polars.DataFrame(relation)["m"].to_list() == [6, 7]
    del frame


def test_pandas_frames_are_tables_and_results(session: Session) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = pandas.DataFrame({"n": [5, 6]})
    assert session.sql("select n + 1 as m from frame").to_pandas()["m"].tolist() == [6, 7]
    del frame


def test_the_catalog_comes_before_variables_and_ctes_before_both(session: Session) -> None:
    t = [{"n": 1}]
    assert session.sql("select n from t").fetchall() == [(1,)]
    session.register("t", pa.table({"n": [2]}))
    assert session.sql("select n from t").fetchall() == [(2,)]
    assert session.sql("with t as (select 3 as n) select n from t").fetchall() == [(3,)]
    assert session.sql("select n from t", tables={"t": [{"n": 4}]}).fetchall() == [(4,)]
    session.unregister("t")
    with pytest.raises(errors.BindError, match="does not exist"):
        session.sql("select n from t", capture=False)
    del t


def test_frames_of_methods_comprehensions_lambdas_and_coroutines(session: Session) -> None:
    rows = [{"n": 5}]

    class Asker:
        def ask(self) -> Any:
            mine = [{"n": 6}]
            assert mine
            return session.sql("select n from mine").fetchall()

    async def ask() -> Any:
        inner = [{"n": 7}]
        await asyncio.sleep(0)
        assert inner
        return session.sql("select n from inner_rows", tables={"inner_rows": inner}).fetchall()

    async def ask_frame() -> Any:
        deep = [{"n": 8}]
        await asyncio.sleep(0)
        assert deep
        return session.sql("select n from deep").fetchall()

    assert [session.sql("select n from rows").fetchall() for _ in range(2)] == [[(5,)], [(5,)]]
    assert (lambda: session.sql("select n from rows").fetchall())() == [(5,)]
    assert Asker().ask() == [(6,)]
    assert asyncio.run(ask()) == [(7,)]
    assert asyncio.run(ask_frame()) == [(8,)]
    with pytest.raises(errors.BindError):
        session.sql("select n from mine")  # another function's variable
    del rows


def test_functions_of_one_call(session: Session) -> None:
    def double(x: int) -> int:
        return x * 2

    @sqlengine.udf
    def shout(text: str) -> str:
        return text.upper()

    query = "select double(21) as n, shout('a') as s"
    assert session.sql(query, udfs=[double, shout], capture=False).fetchall() == [(42, "A")]
    assert session.sql("select twice(4)", udfs={"twice": double}).fetchall() == [(8,)]
    assert sqlengine.sql("select double(3)", udfs=[double]).fetchall() == [(6,)]
    with pytest.raises(errors.BindError, match="double"):
        session.sql("select double(21)")
    with pytest.raises(errors.BindError):
        session.sql(query, capture=False)


def test_plans_as_json(session: Session) -> None:
    relation = session.sql("select count(*) from range(10)")
    for kind in ("logical", "physical", "memory", "analyze"):
        assert isinstance(json.loads(relation.explain(kind, "json")), dict)
        assert relation.explain(kind)
    with pytest.raises(errors.InterfaceError, match="xml"):
        relation.explain("logical", "xml")


def test_the_default_session_sees_its_callers_variables() -> None:
    here = pa.table({"n": [1, 2, 3]})
    assert sqlengine.sql("select sum(n) as s from here where n > $least", {"least": 1}).to_pylist() == [{"s": 5}]
    del here


# Statements


def test_several_statements_and_the_last_relation(session: Session) -> None:
    relation = session.sql("create table t(a int); insert into t values (1), (2); select sum(a) as s from t")
    assert relation.fetchall() == [(3,)]
    with pytest.raises(errors.DataError):
        session.sql("select 'x'::int; create table u(a int)")
    assert session.tables() == ["t"]
    with pytest.raises(errors.ParseError):
        session.sql("create table u(a int); select ,")
    assert session.tables() == ["t"]


@pytest.mark.parametrize(
    "query",
    [
        "create table k(a integer references t(a))", "begin", "insert or ignore into t values (1)", "attach 'x'",
        "create index i on t(a)", "insert into t values (1) on conflict do nothing",
    ],
)  # fmt: skip
def test_what_is_not_there_says_so(session: Session, query: str) -> None:
    session.sql("create table t(a int)")
    with pytest.raises(errors.NotSupportedError) as caught:
        session.sql(query)
    assert caught.value.location is not None


def test_a_failed_change_leaves_the_table_as_it_was(session: Session) -> None:
    session.sql("create table t as select i as a from range(1000) r(i)")
    with pytest.raises(errors.DataError):
        session.sql("insert into t select case when i = 900 then 'x' else i::varchar end::int from range(1000) r(i)")
    with pytest.raises(errors.DataError):
        session.sql("update t set a = (a || 'x')::int where a = 5")
    assert session.sql("select count(*), sum(a) from t").fetchall() == [(1000, Decimal(499500))]


def test_a_running_query_keeps_what_it_saw(session: Session) -> None:
    session.sql("create table t as select i as a from range(200000) r(i)")
    stream = session.sql("from t").batches()
    first = next(stream)
    session.sql("delete from t where a >= 0")
    assert first.num_rows + sum(batch.num_rows for batch in stream) == 200000
    assert session.sql("select count(*) from t").fetchall() == [(0,)]


def test_many_small_inserts_make_few_stores(session: Session) -> None:
    session.sql("create table t(a int)")
    for number in range(100):
        session.sql("insert into t values (?)", [number])
    assert session.sql("select a from t").fetchall() == [(n,) for n in range(100)]
    assert len(session.catalog.find("t").source.stores) < 10  # type: ignore[union-attr]


def test_tables_and_results_larger_than_the_budget_spill(tmp_path: Path) -> None:
    with sqlengine.connect(threads=2, spill_dir=str(tmp_path), batch_bytes="256KiB") as session:
        session._pool.capacity = session._pool.ceiling = 12 << 20
        session.sql("create table t as select i, 'text number ' || i as s from range(600000) r(i)")
        assert session.memory.used <= 12 << 20
        assert session.memory.spilled > 1 << 20
        assert session.sql("select count(*), sum(i), min(s), max(length(s)) from t").fetchall() == [
            (600000, Decimal(179999700000), "text number 0", 18)
        ]
        kept = session.sql("select i from t where i % 2 = 0").materialize()
        assert kept.columns == ["i"]
        assert kept.to_arrow().num_rows == 300000
        assert [b.column(0)[0].as_py() for b in kept.batches()][:1] == [0]
        del kept
        session.sql("drop table t")
        gc.collect()
        assert session.memory.used == 0
        assert session.memory.spilled == 0
    assert not list(tmp_path.glob("*/*"))


def test_a_lower_memory_limit_pushes_tables_to_disk(session: Session) -> None:
    session.sql("create table t as select i, i * 2 as j from range(1000000) r(i)")
    held = session.memory.used
    assert held > 1 << 20
    session.sql(f"set memory_limit = '{limit_for(14 << 20, session._weight)}'")
    assert session.memory.capacity < 16 << 20
    assert session.memory.used <= session.memory.capacity
    assert session.sql("select sum(j) from t").fetchall() == [(Decimal(999999000000),)]


def test_copy_round_trips(session: Session, tmp_path: Path) -> None:
    session.sql(
        "create table t(a integer, b varchar, c decimal(9,2)); insert into t values (1, '007', 1.5), (2, '', null)"
    )
    for name in ("t.parquet", "t.csv", "t.json", "t.arrow", "t.csv.gz"):
        path = tmp_path / name
        assert session.sql(f"copy t to '{path}'").changed == 2
        session.sql("create or replace table u(a integer, b varchar, c decimal(9,2))")
        session.sql(f"copy u from '{path}'")
        assert session.sql("from u").fetchall() == session.sql("from t").fetchall(), name
    assert sorted(p.name for p in tmp_path.iterdir()) == ["t.arrow", "t.csv", "t.csv.gz", "t.json", "t.parquet"]
    session.sql(f"copy (select a % 2 as p, a from t) to '{tmp_path / 'parts'}' (format parquet, partition_by (p))")
    assert session.sql(f"select p, a from '{tmp_path / 'parts'}' order by a").fetchall() == [(1, 1), (0, 2)]


def test_a_failed_copy_leaves_no_file(session: Session, tmp_path: Path) -> None:
    with pytest.raises(errors.DataError):
        session.sql(f"copy (select (i || 'x')::int from range(10) r(i)) to '{tmp_path / 'x.csv'}'")
    with pytest.raises(errors.BindError, match="no option"):
        session.sql(f"copy (select 1) to '{tmp_path / 'x.csv'}' (nope 1)")
    assert not list(tmp_path.iterdir())


def test_explain_forms(session: Session) -> None:
    physical = "\n".join(row[0] for row in session.sql("explain select i from range(3) r(i) where i > 1").fetchall())
    assert "ProduceRows" in physical
    logical = "\n".join(row[0] for row in session.sql("explain logical select 1 as a").fetchall())
    assert "Project" in logical
    analyzed = "\n".join(row[0] for row in session.sql("explain analyze select count(*) from range(9)").fetchall())
    assert "9 rows" in analyzed
    text = session.sql("explain (format json) select 1").fetchall()
    assert json.loads("\n".join(row[0] for row in text))["kind"] == "physical"
    with pytest.raises(errors.BindError) as caught:
        session.sql("explain\nselect nope")
    assert caught.value.location is not None
    assert (caught.value.location.line, caught.value.location.col) == (2, 8)


def test_show_and_describe(session: Session) -> None:
    session.sql("create table t(a int not null, b varchar); create view v as from t; set variable x = 1")
    assert session.sql("show tables").fetchall() == [("t",), ("v",)]
    assert [r["kind"] for r in session.sql("show all tables").to_pylist()] == ["table", "view"]
    assert [r[:2] for r in session.sql("describe t").fetchall()] == [("a", "INTEGER"), ("b", "VARCHAR")]
    assert session.sql("describe select 1.5 as d").fetchall()[0][:2] == ("d", "DECIMAL(2,1)")
    assert session.sql("show variables").fetchall() == [("x", "1", "INTEGER")]
    assert ("sum", "aggregate") in [row[:2] for row in session.sql("show functions").fetchall()]
    session.sql("insert into t values (1, 'x'), (3, null)")
    found = session.sql("summarize t").to_pylist()
    assert [r["column_name"] for r in found] == ["a", "b"]
    assert (found[0]["min"], found[0]["max"], found[0]["avg"], found[1]["null_percentage"]) == ("1", "3", 2.0, 50.0)


# Results


def test_a_relation_in_every_form(session: Session, tmp_path: Path) -> None:
    relation = session.sql("select i as n, 'x<' || i as s from range(3) r(i)")
    assert relation.columns == ["n", "s"]
    assert relation.to_pydict() == {"n": [0, 1, 2], "s": ["x<0", "x<1", "x<2"]}
    assert pa.table(relation).num_rows == 3
    assert sum(batch.num_rows for batch in relation) == 3
    assert "x&lt;0" in relation._repr_html_()
    assert "not shown" in session.sql("select * from range(50)")._repr_html_()
    assert relation.write_parquet(tmp_path / "r.parquet", compression="zstd") == 3
    assert pq.read_table(tmp_path / "r.parquet").column("n").to_pylist() == [0, 1, 2]
    assert relation.write_csv(tmp_path / "r.csv") == 3
    assert (tmp_path / "r.csv").read_text() == "n,s\n0,x<0\n1,x<1\n2,x<2\n"
    assert relation.write_json(tmp_path / "r.json") == 3
    assert json.loads((tmp_path / "r.json").read_text().splitlines()[0]) == {"n": 0, "s": "x<0"}


def test_show_prints_a_box(session: Session, capsys: pytest.CaptureFixture[str]) -> None:
    session.sql("select 1 as a, null as b, 'ü漢' as c").show()
    assert capsys.readouterr().out == (
        '┌─────────┬────────┬─────────┐\n│       a │ b      │ c       │\n│ integer │ "null" │ varchar │\n'
        "├─────────┼────────┼─────────┤\n│       1 │ NULL   │ ü漢     │\n└─────────┴────────┴─────────┘\n1 row\n"
    )


def test_registered_relations_are_lazy(session: Session) -> None:
    session.register("r", session.sql("select i from range(4) r(i)"))
    assert session.sql("select sum(x.i + y.i) from r x join r y on x.i = y.i").fetchall() == [(Decimal(12),)]


def test_a_half_read_result_is_freed_with_its_last_reference(session: Session) -> None:
    stream = session.sql("select * from range(3000000) t(i) order by i desc").batches()
    next(stream)
    assert session._pool.used > 0
    del stream
    gc.collect()
    assert session._pool.used == 0


# DB-API


def test_the_db_api() -> None:
    assert (dbapi.apilevel, dbapi.threadsafety, dbapi.paramstyle) == ("2.0", 2, "qmark")
    with dbapi.connect(threads=1) as connection:
        cursor = connection.cursor()
        assert cursor.description is None
        cursor.execute("create table t(a int, b varchar)")
        assert cursor.description is None
        cursor.executemany("insert into t values (?, ?)", [(1, "x"), (2, "y"), (3, None)])
        assert cursor.rowcount == 3
        cursor.execute("select a, b from t where a >= ? order by a", [2])
        assert [column[0] for column in cursor.description or ()] == ["a", "b"]
        assert (cursor.description or ())[0][1] == dbapi.NUMBER
        assert (cursor.description or ())[1][1] == dbapi.STRING
        assert cursor.fetchone() == (2, "y")
        assert cursor.fetchmany(5) == [(3, None)]
        assert cursor.fetchone() is None
        assert list(cursor.execute("select * from range(3)")) == [(0,), (1,), (2,)]
        cursor.execute("insert into t values (9, 'z')")
        with pytest.raises(dbapi.ProgrammingError):
            cursor.fetchone()
        connection.commit()
        with pytest.raises(dbapi.NotSupportedError):
            connection.rollback()
        cursor.close()
        with pytest.raises(dbapi.InterfaceError):
            cursor.execute("select 1")
    with pytest.raises(dbapi.InterfaceError):
        connection.cursor()


def test_execute_gives_a_cursor(session: Session) -> None:
    assert session.execute("select $a + 1", {"a": 1}).fetchall() == [(2,)]


# Cancelling, timeouts, threads

LONG = "select count(*), sum(a.i * b.i) from range(200000) a(i), range(200000) b(i) where (a.i + b.i) % 7 = 3"


def test_interrupt_from_another_thread(session: Session) -> None:
    timer = threading.Timer(0.3, session.interrupt)
    timer.start()
    start = time.monotonic()
    with pytest.raises(errors.Interrupted):
        session.sql(LONG).fetchall()
    assert time.monotonic() - start < 3
    timer.join()
    assert session.sql("select 1").fetchall() == [(1,)]
    assert session._pool.used == 0


def test_a_timeout_ends_the_query(session: Session) -> None:
    start = time.monotonic()
    with pytest.raises(errors.QueryTimeout) as caught:
        session.sql(LONG, timeout=0.3).fetchall()
    assert isinstance(caught.value, TimeoutError)
    assert time.monotonic() - start < 3
    with pytest.raises(errors.QueryTimeout):
        session.sql(f"create table t as {LONG}", timeout=0.2)
    assert session.tables() == []


def test_ctrl_c_is_a_keyboard_interrupt_soon(tmp_path: Path) -> None:
    code = f"""
import signal, time, sqlengine
session = sqlengine.connect(threads=2, spill_dir={str(tmp_path)!r})
print("ready", flush=True)
try:
    session.sql({LONG!r}).fetchall()
except KeyboardInterrupt:
    print("interrupted", time.time(), session._pool.used, flush=True)
print(session.sql("select 1").fetchall(), flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.7)
    pressed = time.time()
    os.kill(process.pid, signal.SIGINT)
    rest, _ = process.communicate(timeout=30)
    first, second = rest.splitlines()
    word, moment, used = first.split()
    assert (word, used, second) == ("interrupted", "0", "[(1,)]")
    assert float(moment) - pressed < 3  # 0.3 s on an idle machine


def test_eight_threads_share_a_session(session: Session) -> None:
    session.sql("create table t as select i % 10 as g, i from range(20000) r(i)")
    results: list[Any] = []
    problems: list[BaseException] = []

    def work(number: int) -> None:
        try:
            for _ in range(5):
                rows = session.sql("select count(*) from t where g = ?", [number]).fetchall()
                results.append(rows)
                session.sql(f"create or replace table mine{number} as select i from t where g = {number}")
                session.sql(f"insert into mine{number} values (-1)")
        except BaseException as error:
            problems.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert results == [[(2000,)]] * 40
    assert session.sql("select count(*) from mine3").fetchall() == [(2001,)]


def test_inserts_from_many_threads_lose_nothing(session: Session) -> None:
    session.sql("create table t(a int)")
    threads = [
        threading.Thread(target=lambda: [session.sql("insert into t values (1)") for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.sql("select sum(a) from t").fetchall() == [(80,)]


# Settings


def test_settings_from_call_environment_and_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "c.toml"
    config.write_text('threads = 3\nbatch_rows = 77\nspill_codec = "zstd"\n')
    monkeypatch.setenv("SQLENGINE_BATCH_ROWS", "88")
    with sqlengine.connect(config=config, spill_codec="none") as session:
        assert (session.current.threads, session.current.batch_rows, session.current.spill_codec) == (3, 88, "none")
    monkeypatch.setenv("SQLENGINE_THREADS", "many")
    with pytest.raises(errors.InterfaceError, match="SQLENGINE_THREADS"):
        sqlengine.connect()
    monkeypatch.delenv("SQLENGINE_THREADS")
    config.write_text("thread = 3\n")
    with pytest.raises(errors.InterfaceError, match="did you mean"):
        sqlengine.connect(config=config)
    with pytest.raises(errors.InterfaceError, match="cannot read"):
        sqlengine.connect(config=tmp_path / "nope.toml")


def test_set_and_reset(session: Session) -> None:
    session.sql("set threads = 1 + 1; set default_order = desc; set preserve_order to false")
    assert (session.current.threads, session.current.default_order, session.current.preserve_order) == (
        2,
        "desc",
        False,
    )
    session.sql("reset default_order; set threads = default")
    assert (session.current.threads, session.current.default_order) == (0, "asc")
    assert session.sql("select current_setting('batch_rows')").fetchall() == [(131072,)]


def test_memory_says_who_has_what(session: Session) -> None:
    session.sql("create table t as select i from range(300000) r(i)")
    memory = session.memory
    assert memory.used >= 2_400_000
    assert memory.holders[0].operator == "table t"
    assert memory.capacity < memory.limit
    assert memory.rss > 1 << 20


def test_a_closed_session_says_so(session: Session) -> None:
    relation = session.sql("select 1")
    session.close()
    for call in (lambda: session.sql("select 1"), relation.fetchall):
        with pytest.raises(errors.InterfaceError, match="closed"):
            call()


def test_import_is_light() -> None:
    heavy = ("ray", "pandas", "PIL", "prompt_toolkit", "rich", "pyarrow", "sqlglot")
    code = f"import sys, sqlengine; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "[]\n"


def test_a_notebook_does_not_call_user_functions_to_show_a_relation(session: Session) -> None:
    called = []

    def touched(x: int) -> int:
        called.append(x)
        return x

    session.udf(touched)
    rows = "from range(3) r(i)"
    for query in (f"select touched(i) as t {rows}", f"select (select max(touched(i)) {rows}) as t"):
        shown = session.sql(query)._repr_html_()
        assert "not run yet" in shown and "<li>t BIGINT</li>" in shown
    assert called == []
    assert session.sql("select touched(i) as t from range(3) r(i)").fetchall() == [(0,), (1,), (2,)]


def test_the_page_of_functions_says_what_show_functions_says(session: Session) -> None:
    from sqlengine.reference import functions_markdown

    page = functions_markdown(session.functions())
    rows = session.sql("show functions").to_pylist()
    assert len(rows) > 400
    assert page.count("\n| `") == len(rows)
    for row in rows:
        assert row["description"], row["name"]
        meaning = row["description"].replace("|", "\\|")
        assert f"| `{row['name']}` | {meaning} |" in page
        assert f"## {row['kind'].capitalize()} functions" in page


@pytest.mark.parametrize("name", ["", ".session", ".relation", ".dbapi", ".udf", ".settings", ".errors", ".testing"])
def test_examples_in_docstrings_run(name: str) -> None:
    module = importlib.import_module("sqlengine" + name)
    found = doctest.testmod(module)
    assert found.failed == 0
    assert found.attempted > 0 or name not in ("", ".session", ".relation", ".dbapi")


def test_the_documentation_of_settings_has_all_of_them(session: Session) -> None:
    from sqlengine.settings import settings_markdown

    text = settings_markdown()
    for name in session.settings().column("name").to_pylist():
        assert f"| `{name}` |" in text
    assert "| `spill_codec` | text | `lz4` |" in text
