"""One URL, with its attempts: what came of it is a `Fetched`, also when it failed.

HTTP goes through urllib3: of urllib3, aiohttp and obstore it took the same time for 2,000 bodies of 2 KB at 50 ms
latency over 64 connections (2.1-2.4 s, 2.3 s, 2.0 s) and for bodies of 4 MB, with the least memory (30, 39, 41 MB
resident), and its blocking calls fit threads that wait for room. Object stores go through Arrow's file systems.
"""

from __future__ import annotations

import base64
import ipaddress
import random
import socket
import time
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.fs as pafs

from sqlengine.runtime.cancel import Cancel
from sqlengine.runtime.fetch.options import FetchOptions
from sqlengine.runtime.fetch.window import Dropped, Hosts

_PIECE = 256 << 10
AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_MOVED = frozenset({301, 302, 303, 307, 308})
_STORES = frozenset({"s3", "gs", "gcs", "az", "abfs", "abfss"})


@dataclass
class Fetched:
    """`body` is None when `error` says why not. `size`: bytes of the body, or what the server says it has."""

    body: bytes | bytearray | None = None
    status: int | None = None
    size: int | None = None
    attempts: int = 0
    error: str | None = None
    url: str = ""  # the one that answered, after redirects
    type: str | None = None


class Refused(Exception):
    """An attempt failed. `again`: another one may help, after `wait` seconds where the server says so."""

    def __init__(self, message: str, again: bool, status: int | None = None, wait: float | None = None) -> None:
        super().__init__(message)
        self.again = again
        self.status = status
        self.wait = wait


class Room(Protocol):
    """The bytes of one body in a window."""

    def grow(self, size: int) -> None:
        """Called before `size` more bytes are held; waits for them."""

    def forget(self) -> None:
        """What was read is given up."""

    def is_first(self) -> bool:
        """Whether everybody waits for this one."""


def shown(url: str) -> str:
    """A URL for messages: without credentials, query and fragment, where secrets are."""
    try:
        parts = urllib.parse.urlsplit(url)
    except ValueError:
        return "a malformed URL"
    if parts.scheme == "data":
        return url[:30] + ("…" if len(url) > 30 else "")
    host = parts.netloc.rpartition("@")[2]
    text = urllib.parse.urlunsplit((parts.scheme, host, parts.path, "", ""))
    return text if len(text) <= 200 else text[:200] + "…"


class Fetcher:
    """Fetches with one set of options; thread-safe."""

    def __init__(self, options: FetchOptions, hosts: Hosts, cancel: Cancel) -> None:
        self._options = options
        self._hosts = hosts
        self._cancel = cancel
        self._http: Any = None
        self._pools: dict[tuple[str, str], Any] = {}
        self._stores: dict[tuple[str, str], Any] = {}

    def fetch(self, url: str, room: Room, only_info: bool = False) -> Fetched:
        """The body (or, with `only_info`, what is known of it); errors of the URL are in the result."""
        deadline = time.monotonic() + self._options.timeout
        result = Fetched(url=url)
        while True:
            result.attempts += 1
            try:
                return self._attempt(url, room, deadline, only_info, result)
            except Refused as refused:
                room.forget()
                result.error, result.status = str(refused), refused.status
                if not refused.again or result.attempts > self._options.retries:
                    return result
                wait = self._options.backoff * 2 ** (result.attempts - 1) * random.uniform(0.75, 1.25)
                wait = max(wait, refused.wait or 0.0)
            if time.monotonic() + wait >= deadline:
                result.error = f"{result.error} (no time left for another attempt)"
                return result
            self._cancel.wait(wait)

    def _attempt(self, url: str, room: Room, deadline: float, only_info: bool, result: Fetched) -> Fetched:
        scheme = urllib.parse.urlsplit(url).scheme.lower() if ":" in url else ""
        scheme = scheme if len(scheme) > 1 else "file"  # a plain path, or a drive letter
        if scheme not in self._options.schemes:
            raise Refused(f"scheme {scheme} is not allowed (download.schemes)", False)
        result.error = None
        match scheme:
            case "http" | "https":
                return self._over_http(url, room, deadline, only_info, result)
            case "data":
                return self._from_data(url, room, result)
            case "file":
                path = urllib.parse.unquote(urllib.parse.urlsplit(url).path) if url.startswith("file:") else url
                return self._from_store(pafs.LocalFileSystem(), path, room, deadline, only_info, result)
            case _:
                store, path = self._store(url)
                return self._from_store(store, path, room, deadline, only_info, result)

    def _from_data(self, url: str, room: Room, result: Fetched) -> Fetched:
        head, comma, data = url.partition(",")
        if not comma:
            raise Refused("a data: URL needs a comma before its data", False)
        self._sized(len(data))
        room.grow(len(data))
        try:
            body = base64.b64decode(data) if head.endswith(";base64") else urllib.parse.unquote_to_bytes(data)
        except ValueError as error:
            raise Refused(f"the data of a data: URL is broken: {error}", False) from None
        result.body, result.size = body, len(body)
        result.type = head[5:].partition(";")[0] or "text/plain"
        return result

    def _sized(self, size: int) -> None:
        if size > self._options.max_bytes:
            raise Refused(f"larger than max_bytes, {self._options.max_bytes} bytes", False)

    def _store(self, url: str) -> tuple[Any, str]:
        parts = urllib.parse.urlsplit(url)
        key = (parts.scheme, parts.netloc)
        store, path = store_of(url)
        return self._stores.setdefault(key, store), path

    def _from_store(
        self, store: Any, path: str, room: Room, deadline: float, only_info: bool, result: Fetched
    ) -> Fetched:
        try:
            info = store.get_file_info(path)
            if info.type == pafs.FileType.NotFound:
                raise Refused("no such file", False, 404)
            if info.type != pafs.FileType.File:
                raise Refused("not a file", False)
            result.size = int(info.size)
            if only_info:
                return result
            start, length = self._part(result.size)
            self._sized(length)
            room.grow(length)
            body = bytearray(length)
            view, got = memoryview(body), 0
            with store.open_input_file(path) as file:
                file.seek(start)
                while got < length:
                    self._cancel.check()
                    if time.monotonic() > deadline:
                        raise Refused(f"took longer than {self._options.timeout:g} s", False)
                    n = file.readinto(view[got : got + _PIECE])
                    if not n:
                        raise Refused(f"ended after {got} of {length} bytes", True)
                    got += n
        except PermissionError:
            raise Refused("no permission to read it", False, 403) from None
        except OSError as error:
            raise Refused(f"{type(error).__name__}: {error}", not isinstance(error, FileNotFoundError)) from None
        result.body, result.size = body, length
        return result

    def _part(self, size: int) -> tuple[int, int]:
        """First byte and number of bytes of the range that is asked for."""
        if self._options.range is None:
            return 0, size
        first, _, last = self._options.range.removeprefix("bytes=").partition("-")
        if not first:
            length = min(size, int(last))
            return size - length, length
        start = min(size, int(first))
        stop = min(size, int(last) + 1) if last else size
        return start, max(0, stop - start)

    # HTTP

    def _pool(self) -> Any:
        if self._http is None:
            import urllib3

            self._http = urllib3.PoolManager(
                num_pools=64,
                maxsize=self._options.max_connections,
                timeout=urllib3.Timeout(connect=self._options.connect_timeout, read=self._options.stall_timeout),
                retries=False,
            )
        return self._http

    def _pool_of(self, parts: urllib.parse.SplitResult, host: str) -> Any:
        """The connections to a host; kept here, as looking them up costs as much as a request."""
        found = self._pools.get((parts.scheme, host))
        if found is None:
            made = self._pool().connection_from_host(parts.hostname, parts.port, parts.scheme)
            found = self._pools.setdefault((parts.scheme, host), made)
        return found

    def _over_http(self, url: str, room: Room, deadline: float, only_info: bool, result: Fetched) -> Fetched:
        import urllib3

        # The engine counts bytes as they come: a body that arrives packed is still bounded, but costs twice.
        headers = {"Accept-Encoding": "identity", "User-Agent": "sqlengine", **dict(self._options.headers)}
        if self._options.range is not None:
            headers["Range"] = self._options.range
        method = "HEAD" if only_info else "GET"
        for _ in range(self._options.follow_redirects + 1):
            parts = urllib.parse.urlsplit(url)
            if parts.scheme not in ("http", "https") or parts.scheme not in self._options.schemes:
                raise Refused(f"redirected to scheme {parts.scheme or 'none'}, which is not allowed", False)
            check_network(parts.hostname or "", self._options)
            auth = credentials(parts)
            host = parts.netloc.rpartition("@")[2]
            target = urllib.parse.urlunsplit((parts.scheme, host, *parts[2:4], ""))
            with self._hosts.connection(host, self._cancel, room.is_first):
                try:
                    response = self._pool_of(parts, host).urlopen(
                        method, _request_target(parts), headers={**headers, **auth}, redirect=False, retries=False,
                        assert_same_host=False, preload_content=False,
                    )  # fmt: skip
                except urllib3.exceptions.SSLError as error:
                    raise Refused(f"its certificate is not trusted: {error}", False) from None
                except (urllib3.exceptions.LocationValueError, ValueError):
                    raise Refused("the URL is malformed", False) from None
                except (urllib3.exceptions.HTTPError, OSError) as error:
                    raise Refused(reason(error), True) from None
                try:
                    moved = response.status in _MOVED and response.headers.get("Location")
                    if not moved:
                        result.url, result.status = target, response.status
                        result.type = response.headers.get("Content-Type")
                        return self._answer(response, room, deadline, only_info, result)
                finally:
                    self._done(response)
            following = urllib.parse.urljoin(url, moved)
            if urllib.parse.urlsplit(following).netloc != parts.netloc:
                headers = {k: v for k, v in headers.items() if k.lower() not in ("authorization", "cookie")}
            url = following
        raise Refused(f"more than {self._options.follow_redirects} redirects", False)

    def _done(self, response: Any) -> None:
        """Keep the connection if the body is at its end; a body that was left is not waited for."""
        if response.length_remaining == 0:
            response.drain_conn()  # also an empty body has to be read
            response.release_conn()
        elif response.closed:
            response.release_conn()
        else:
            response.close()

    def _answer(self, response: Any, room: Room, deadline: float, only_info: bool, result: Fetched) -> Fetched:
        status = response.status
        announced = response.headers.get("Content-Length")
        packed = (response.headers.get("Content-Encoding") or "identity").lower() != "identity"
        length = int(announced) if announced is not None and announced.isdigit() else None
        if status >= 400:
            wait = retry_after(response.headers.get("Retry-After"))
            raise Refused(f"status {status}", status in AGAIN, status, wait)
        if only_info:
            result.size = length
            return result
        pieces = self._pieces(response, deadline, status)
        if length is not None and not packed:
            self._sized(length)
            room.grow(length)
            body = _filled(length, pieces, status)
        else:
            body = bytearray()
            for piece in pieces:
                room.grow(len(piece))
                body += piece
                self._sized(len(body))
        result.body, result.size = body, len(body)
        return result

    def _pieces(self, response: Any, deadline: float, status: int) -> Iterator[bytes]:
        import urllib3

        while True:
            self._cancel.check()
            if time.monotonic() > deadline:
                raise Refused(f"took longer than {self._options.timeout:g} s", False, status)
            try:
                piece = response.read1(_PIECE, decode_content=True)
            except urllib3.exceptions.DecodeError as error:
                raise Refused(f"its encoding is broken: {error}", False, status) from None
            except (urllib3.exceptions.HTTPError, OSError) as error:
                raise Refused(reason(error), True, status) from None
            if not piece:
                return
            yield piece

    def close(self) -> None:
        if self._http is not None:
            self._http.clear()


def _request_target(parts: urllib.parse.SplitResult) -> str:
    """The path and query of a URL, as a request names them."""
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def store_of(url: str) -> tuple[Any, str]:
    """Arrow's file system of an object store, and the path in it."""
    try:
        store, path = pafs.FileSystem.from_uri(url)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise Refused(f"{urllib.parse.urlsplit(url).scheme}: {error}", False) from None
    return store, path


def check_network(host: str, options: FetchOptions) -> None:
    """With download.allow_private_networks = false: no host that resolves to this machine or an inner network."""
    if options.allow_private_networks:
        return
    try:
        found = {item[4][0] for item in socket.getaddrinfo(host, None)}
    except OSError as error:
        raise Refused(f"its host is not found: {error}", True) from None
    for address in found:
        if not ipaddress.ip_address(str(address).partition("%")[0]).is_global:
            raise Refused("its host is in a private network (download.allow_private_networks)", False)


def _filled(length: int, pieces: Iterator[bytes], status: int) -> bytearray:
    """A body of known length; made at once, so that it is never moved while it grows."""
    body = bytearray(length)
    got = 0
    with memoryview(body) as view:
        for piece in pieces:
            view[got : got + len(piece)] = piece
            got += len(piece)
    if got != length:
        raise Refused(f"ended after {got} of {length} bytes", True, status)
    return body


def credentials(parts: urllib.parse.SplitResult) -> dict[str, str]:
    if parts.username is None:
        return {}
    pair = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
    return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode()}


def retry_after(text: str | None) -> float | None:
    """Seconds, given as a number or a date."""
    if not text:
        return None
    if text.strip().isdigit():
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def reason(error: BaseException) -> str:
    """What went wrong, in words; the text of urllib3's own errors holds the URL, which may hold secrets."""
    names = {
        "ConnectTimeoutError": "no connection in time",
        "ReadTimeoutError": "it sent nothing for too long",
        "NewConnectionError": "no connection",
        "NameResolutionError": "its host is not found",
        "IncompleteRead": "the body ended too early",
        "ProtocolError": "the connection broke",
        "ConnectionResetError": "the connection was reset",
    }
    return names.get(type(error).__name__, type(error).__name__)


__all__ = ["Dropped", "Fetched", "Fetcher", "shown"]
