"""`url_upload`: files that appear whole, PUT with attempts, and errors without secrets."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sqlengine
from sqlengine import errors
from sqlengine.session import Session
from tests.fetch.server import Server


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.stop()


@pytest.fixture
def session() -> Iterator[Session]:
    with sqlengine.connect(threads=2) as made:
        made.sql("set download.backoff = 0.01")
        yield made


def rows(session: Session, query: str, *params: Any) -> list[tuple[Any, ...]]:
    return session.sql(query, params).fetchall()


def test_files(session: Session, tmp_path: Path) -> None:
    session.register("t", {"n": [1, 2, None], "body": [b"one", b"two", b"none"]})
    folder = str(tmp_path / "new")
    made = rows(session, "select url_upload(body, $1 || '/' || n || '.txt') from t order by n nulls last", folder)
    assert made == [(f"{folder}/1.txt",), (f"{folder}/2.txt",), (None,)]
    assert sorted(os.listdir(folder)) == ["1.txt", "2.txt"]
    assert rows(session, "select url_download(url_upload('again'::blob, $1))", f"file://{folder}/1.txt") == [
        (b"again",)
    ]
    name = hashlib.sha256(b"two").hexdigest()
    assert rows(session, "select url_upload('two'::blob, $1)", folder + "/") == [(f"{folder}/{name}",)]
    (tmp_path / "taken").mkdir()
    with pytest.raises(errors.DownloadError, match="IsADirectoryError"):
        rows(session, "select url_upload('x'::blob, $1)", str(tmp_path / "taken"))
    assert sorted(os.listdir(tmp_path)) == ["new", "taken"]  # nothing half


def test_put(session: Session, server: Server) -> None:
    url = server.url.replace("//", "//user:secret@") + "/put/a?token=hidden"
    assert rows(session, "select url_upload('body'::blob, $1, headers => {'X-Kind': 'test'}) = $1", url) == [(True,)]
    assert server.stored["/put/a?token=hidden"] == (b"body", "test")
    assert rows(session, "select url_upload('x'::blob, $1) = $1", server.url + "/put/flaky") == [(True,)]
    assert server.seen["/put/flaky"] == 3
    with pytest.raises(errors.DownloadError, match="status 404") as caught:
        rows(session, "select url_upload('x'::blob, $1)", url.replace("/put/a", "/none"))
    assert "secret" not in str(caught.value) and "hidden" not in str(caught.value)
    query = "select url_upload('x'::blob, $1, on_error => 'null')"
    assert rows(session, query, server.url + "/none") == [(None,)]


def test_what_is_refused(session: Session) -> None:
    with pytest.raises(errors.DownloadError, match="scheme ftp is not allowed"):
        rows(session, "select url_upload('x'::blob, 'ftp://host/file')")
    for call, message in (
        ("url_upload('x'::blob)", "takes bytes and a target"),
        ("url_upload('text', 'a')", "takes a BLOB, this is VARCHAR"),
        ("url_upload('x'::blob, 5)", "is INTEGER, not text"),
        ("url_upload('x'::blob, 'a', speed => 5)", 'unknown option "speed"'),
    ):
        with pytest.raises(errors.BindError, match=message):
            session.sql(f"select {call}")
    names = {f["name"] for f in session.functions().to_pylist()}
    assert {"url_upload", "url_download", "try_url_download", "url_info", "url_parse", "image_decode"} <= names
