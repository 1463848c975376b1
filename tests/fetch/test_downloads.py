"""Downloads in SQL: what comes, in which order, what failures give, and what is in flight."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqlengine
from sqlengine import errors
from sqlengine.session import Session
from tests.fetch.server import Server
from tests.weight import above_weight


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2, download_backoff=0.01) as made:
        yield made
    assert not [t for t in threading.enumerate() if t.name.startswith("sqlengine-fetch")]


def rows(session: Session, query: str) -> list[tuple[Any, ...]]:
    return session.sql(query).fetchall()


def test_bodies_come_in_the_order_of_rows(session: Session, server: Server) -> None:
    found = rows(
        session,
        f"select i, octet_length(url_download('{server.url}/bytes?n=' || (i * 10) || '&wait=' || (i % 3) * 0.01)) "
        "from range(200) t(i)",
    )
    assert found == [(i, i * 10) for i in range(200)]
    assert 1 < server.most <= 100  # max_connections_per_host
    assert len(server.seen) == 200


def test_null_urls_and_conditions(session: Session, server: Server) -> None:
    session.register("u", {"url": [f"{server.url}/bytes?n=3", None], "wanted": [False, True]})
    assert rows(session, "select url_download(url) from u") == [(b"xxx",), (None,)]
    server.seen.clear()
    assert rows(session, "select case when wanted then download(url) end from u") == [(None,), (None,)]
    assert not server.seen
    assert rows(session, "select count(*) from u where wanted and octet_length(url_download(url)) > 1") == [(0,)]
    assert not server.seen


def test_failures(session: Session, server: Server) -> None:
    bad = f"{server.url}/status?code=404"
    with pytest.raises(errors.DownloadError, match="/status: status 404"):
        rows(session, f"select url_download('{bad}')")
    assert server.seen["/status?code=404"] == 1  # not worth another attempt
    assert rows(session, f"select try_url_download('{bad}'), url_download('{bad}', on_error => 'null')") == [
        (None, None)
    ]
    session.sql("set download.on_error = 'null'")
    assert rows(session, f"select url_download('{bad}')") == [(None,)]
    session.sql("reset download.on_error")
    [(result,)] = rows(session, f"select url_download('{bad}', on_error => 'struct')")
    assert (result["status"], result["error"], result["attempts"], result["body"]) == (404, "status 404", 1, None)
    [(result,)] = rows(session, f"select url_download('{server.url}/bytes?n=4', result => 'struct')")
    assert (result["status"], result["error"], result["bytes"], result["body"]) == (200, None, 4, b"xxxx")


def test_attempts_and_retry_after(session: Session, server: Server) -> None:
    assert rows(session, f"select url_download('{server.url}/status?code=503&times=2')") == [(b"ok",)]
    start = time.monotonic()
    assert rows(session, f"select url_download('{server.url}/status?code=429&times=1&after=1')") == [(b"ok",)]
    assert time.monotonic() - start >= 1
    with pytest.raises(errors.DownloadError, match=r"status 500 \(after 3 attempts\)"):
        rows(session, f"select url_download('{server.url}/status?code=500', retries => 2)")
    # A server that asks for more time than there is.
    with pytest.raises(errors.DownloadError, match="no time left"):
        rows(session, f"select url_download('{server.url}/status?code=429&after=100&x', timeout => 2)")


@pytest.mark.parametrize(
    ("path", "options", "message"),
    [
        ("stall", "stall_timeout => 0.2, retries => 1", "sent nothing for too long .after 2 attempts"),
        ("trickle", "timeout => 0.5", "took longer than 0.5 s"),
        ("short", "retries => 1", "after 2 attempts"),
        ("reset", "retries => 1", "after 2 attempts"),
        ("loop", "retries => 0", "more than 10 redirects"),
        ("bytes?n=2000", "max_bytes => '1kB'", "larger than max_bytes"),
        ("chunks?n=-1", "max_bytes => '1MB'", "larger than max_bytes"),
        ("bomb", "max_bytes => '1MB'", "larger than max_bytes"),
    ],
    ids=["stall", "trickle", "short", "reset", "loop", "large", "endless", "bomb"],
)
def test_a_hostile_server(session: Session, server: Server, path: str, options: str, message: str) -> None:
    url = f"{server.url}/{path}"
    with pytest.raises(errors.DownloadError, match=message):
        rows(session, f"select url_download('{url}', {options})")
    assert rows(session, f"select url_download('{url}', {options}, on_error => 'null')") == [(None,)]


def test_every_row_ends_as_it_should(session: Session, server: Server) -> None:
    """A mixture: each kind of row is counted exactly."""
    session.register("kinds", {
        "k": ["good", "again", "gone", "stall", "short", "chunks"],
        "path": ["bytes?n=100", "status?code=500&times=1", "status?code=404", "stall?", "short?", "chunks?n=3"],
    })  # fmt: skip
    query = f"""
        select k, count(*) n, count(r.body) bodies, count(r.error) errors from (
            select k, url_download('{server.url}/' || path || '&i=' || i, stall_timeout => 0.3, retries => 1,
                                   on_error => 'struct') r
            from kinds, range(10) t(i))
        group by k order by k"""
    assert rows(session, query) == [
        ("again", 10, 10, 0), ("chunks", 10, 10, 0), ("gone", 10, 0, 10), ("good", 10, 10, 0), ("short", 10, 0, 10),
        ("stall", 10, 0, 10),
    ]  # fmt: skip


def test_all_bad_habits_at_once() -> None:
    """A server with every bad habit: each row ends as it was asked to, in time, and is counted once."""
    server = Server()
    kinds = {
        "good": ("bytes?n=20000", 60, False), "sometimes": ("status?code=500&times=1", 20, False),
        "always": ("status?code=500", 4, True), "later": ("status?code=429&times=1&after=1", 10, False),
        "gone": ("status?code=404", 20, True), "stall": ("stall?", 3, True), "slow": ("trickle?", 3, True),
        "short": ("short?", 5, True), "reset": ("reset?", 5, True), "loop": ("loop?", 3, True),
        "endless": ("chunks?n=-1", 3, True), "bomb": ("bomb?", 3, True), "large": ("bytes?n=9000000", 3, True),
    }  # fmt: skip
    paths = [(kind, f"{path}&i={i}") for kind, (path, count, _) in kinds.items() for i in range(count)]
    options = "stall_timeout => 2, timeout => 10, retries => 2, max_bytes => '3MB', backoff => 0.05"
    begun = time.monotonic()
    try:
        with sqlengine.connect(threads=2, memory_limit=above_weight(280 << 20)) as session:
            session.register("k", {"kind": [k for k, _ in paths], "path": [p for _, p in paths]})
            query = f"""
                select kind, count(*), count(r.body), count(r.error) from (
                    select kind, url_download('{server.url}/' || path, on_error => 'struct', {options}) as r from k)
                group by kind"""
            found = {kind: counts for kind, *counts in rows(session, query)}
            assert found == {k: [n, 0, n] if bad else [n, n, 0] for k, (_, n, bad) in kinds.items()}
            nulls = f"select count(try_url_download('{server.url}/' || path, {options})), count(*) from k"
            assert rows(session, nulls) == [(90, len(paths))]
            with pytest.raises(errors.DownloadError):
                rows(session, nulls.replace("try_url", "url"))
            assert session.memory.used == 0
    finally:
        server.stop()
    assert time.monotonic() - begun < 120


def test_bodies_in_flight_are_bounded(server: Server) -> None:
    with sqlengine.connect(threads=2, memory_limit=above_weight(280 << 20)) as session:
        query = (
            f"select sum(octet_length(url_download('{server.url}/bytes?n=1000000&i=' || i, inflight_bytes => '5MB')))"
        )
        relation = session.sql(f"{query} from range(60) t(i)")
        assert relation.fetchall() == [(60_000_000,)]
        holders = session.memory
        assert holders.used == 0
    # One body that is larger than the window still arrives.
    with sqlengine.connect(threads=1, memory_limit=above_weight(280 << 20), download_inflight_bytes="1MB") as session:
        url = f"{server.url}/bytes?n=20000000"
        assert rows(session, f"select octet_length(url_download('{url}')) from range(3)") == [(20_000_000,)] * 3


def test_unknown_lengths_and_a_small_window(server: Server) -> None:
    with sqlengine.connect(threads=1, memory_limit=above_weight(280 << 20), download_inflight_bytes="2MB") as session:
        query = f"select octet_length(url_download('{server.url}/chunks?n=900&i=' || i)) from range(20) t(i)"
        assert rows(session, query) == [(900_000,)] * 20


def test_headers_ranges_redirects_and_info(session: Session, server: Server) -> None:
    assert rows(session, f"select url_download('{server.url}/bytes?n=100', range => '10-14')") == [(b"xxxxx",)]
    found = rows(session, f"select url_download('{server.url}/echo?header=X-Me', headers => map {{'X-Me': 'you'}})")
    assert found == [(b"you",)]
    secret = server.url.replace("//", "//user:secret@")
    assert rows(session, f"select url_download('{secret}/echo?header=Authorization')") == [(b"Basic dXNlcjpzZWNyZXQ=",)]
    assert rows(session, f"select url_download('{server.url}/moved?to=/bytes%3Fn%3D2')") == [(b"xx",)]
    [(info,)] = rows(session, f"select url_info('{server.url}/bytes?n=77')")
    assert (info["status"], info["size"], info["type"]) == (200, 77, "text/plain")
    [(info,)] = rows(session, f"select url_info('{server.url}/status?code=404')")
    assert (info["status"], info["error"]) == (404, "status 404")


def test_secrets_stay_out_of_messages_and_plans(session: Session, server: Server) -> None:
    url = server.url.replace("//", "//user:secret@") + "/status?code=403&token=hidden"
    with pytest.raises(errors.DownloadError) as caught:
        rows(session, f"select url_download('{url}')")
    assert "secret" not in str(caught.value)
    assert "hidden" not in str(caught.value)
    plan = session.sql("select url_download(u, headers => map {'Authorization': 'hidden'}) r from (select 'x' u)")
    assert "hidden" not in plan.explain("physical")
    assert "FetchUrls" in plan.explain("physical")


def test_other_schemes(session: Session, tmp_path: Path) -> None:
    path = tmp_path / "some file.bin"
    path.write_bytes(b"0123456789")
    assert rows(session, f"select url_download('{path}'), url_download('{path.as_uri()}', range => '-3')") == [
        (b"0123456789", b"789")
    ]
    assert rows(session, "select url_download('data:,a%20b'), url_download('data:x/y;base64,aGk=')") == [
        (b"a b", b"hi")
    ]
    with pytest.raises(errors.DownloadError, match="no such file"):
        rows(session, f"select url_download('{tmp_path}/missing')")
    with pytest.raises(errors.DownloadError, match="not a file"):
        rows(session, f"select url_download('{tmp_path}')")
    with pytest.raises(errors.DownloadError, match="scheme gopher is not allowed"):
        rows(session, "select url_download('gopher://x/y')")
    session.sql("set download.schemes = 'https'")
    with pytest.raises(errors.DownloadError, match="scheme file is not allowed"):
        rows(session, f"select url_download('{path}')")
    if os.geteuid():
        path.chmod(0)
        with pytest.raises(errors.DownloadError, match="no permission"):
            rows(session, f"select url_download('{path}', schemes => 'file')")


def test_private_networks(session: Session, server: Server) -> None:
    session.sql("set download.allow_private_networks = false")
    with pytest.raises(errors.DownloadError, match="private network"):
        rows(session, f"select url_download('{server.url}/bytes?n=1')")
    assert not server.seen


def test_stopping_early(session: Session, server: Server) -> None:
    query = f"select url_download('{server.url}/bytes?n=10&wait=0.02&i=' || i) from range(1000) t(i)"
    batches = session.sql(query, timeout=None).batches()
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert sum(server.seen.values()) < 1000
    start = time.monotonic()
    with pytest.raises(errors.QueryTimeout):
        list(session.sql(f"select url_download('{server.url}/trickle')").batches(timeout=0.5))
    assert time.monotonic() - start < 10


def test_options_are_checked(session: Session) -> None:
    with pytest.raises(errors.BindError, match="unknown option"):
        session.sql("select url_download('x', retrys => 1)")
    with pytest.raises(errors.BindError, match="must be at least 1"):
        session.sql("select url_download('x', max_connections => 0)")
    with pytest.raises(errors.BindError, match="takes a URL as text"):
        session.sql("select url_download(1)")
    with pytest.raises(errors.BindError, match="is not a range"):
        session.sql("select url_download('x', range => 'all')")


def test_parts_of_a_url(session: Session) -> None:
    [(parts,)] = rows(session, "select url_parse('https://me@example.org:81/a/b?c=d#e')")
    assert parts == {
        "scheme": "https", "username": "me", "host": "example.org", "port": 81, "path": "/a/b", "query": "c=d",
        "fragment": "e",
    }  # fmt: skip
    assert rows(session, "select url_parse('http://[broken')") == [(None,)]
