"""`url_upload`: the bytes of a row to a file, an object store, or by PUT to a server; gives the URL where they are.

A file appears whole or not at all (written beside its place and renamed). A target that ends in `/` gets a name from
the content, so that the same bytes have the same name.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import tempfile
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlengine.errors import DownloadError
from sqlengine.runtime.fetch.body import (
    AGAIN,
    Refused,
    check_network,
    credentials,
    reason,
    retry_after,
    shown,
    store_of,
)
from sqlengine.runtime.fetch.options import FetchOptions

_PIECE = 1 << 20


@dataclass(frozen=True)
class Upload:
    """Makes what a worker calls, with connections of its own."""

    options: FetchOptions

    def __call__(self) -> Callable[[bytes, str], str]:
        return _Uploader(self.options).upload


class _Uploader:
    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._http: Any = None

    def upload(self, data: bytes, target: str) -> str:
        """The URL under which the bytes are now."""
        if target.endswith("/"):
            target += hashlib.sha256(data).hexdigest()
        deadline = time.monotonic() + self._options.timeout
        attempts = 0
        while True:
            attempts += 1
            try:
                self._attempt(data, target, deadline)
                return target
            except Refused as refused:
                wait = self._options.backoff * 2 ** (attempts - 1) * random.uniform(0.75, 1.25)
                wait = max(wait, refused.wait or 0.0)
                if not refused.again or attempts > self._options.retries or time.monotonic() + wait >= deadline:
                    times = "" if attempts == 1 else f" (after {attempts} attempts)"
                    raise DownloadError(f"{shown(target)}: {refused}{times}", code="upload_error") from None
            time.sleep(wait)

    def _attempt(self, data: bytes, target: str, deadline: float) -> None:
        scheme = urllib.parse.urlsplit(target).scheme.lower() if ":" in target else ""
        scheme = scheme if len(scheme) > 1 else "file"
        if scheme not in self._options.schemes or scheme == "data":
            raise Refused(f"scheme {scheme} is not allowed (download.schemes)", False)
        match scheme:
            case "http" | "https":
                self._put(data, target, deadline)
            case "file":
                path = (
                    urllib.parse.unquote(urllib.parse.urlsplit(target).path) if target.startswith("file:") else target
                )
                _write_file(data, path)
            case _:
                store, path = store_of(target)
                try:
                    with store.open_output_stream(path) as out:
                        for start in range(0, len(data), _PIECE):
                            out.write(memoryview(data)[start : start + _PIECE])
                except OSError as error:
                    raise Refused(f"{type(error).__name__}: {error}", not isinstance(error, PermissionError)) from None

    def _put(self, data: bytes, target: str, deadline: float) -> None:
        import urllib3

        parts = urllib.parse.urlsplit(target)
        check_network(parts.hostname or "", self._options)
        if self._http is None:
            self._http = urllib3.PoolManager(retries=False)
        left = max(0.1, deadline - time.monotonic())
        timeout = urllib3.Timeout(
            connect=min(left, self._options.connect_timeout), read=min(left, self._options.stall_timeout)
        )
        headers = {"User-Agent": "sqlengine", "Content-Type": "application/octet-stream", **dict(self._options.headers)}
        plain = urllib.parse.urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], *parts[2:4], ""))
        try:
            response = self._http.request(
                "PUT", plain, body=data, headers={**headers, **credentials(parts)}, redirect=False, timeout=timeout
            )
        except urllib3.exceptions.SSLError as error:
            raise Refused(f"its certificate is not trusted: {error}", False) from None
        except urllib3.exceptions.LocationParseError:
            raise Refused("the URL is malformed", False) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Refused(reason(error), True) from None
        if not 200 <= response.status < 300:
            wait = retry_after(response.headers.get("Retry-After"))
            raise Refused(f"status {response.status}", response.status in AGAIN, response.status, wait)


def _write_file(data: bytes, path: str) -> None:
    """Into a new file in the same directory, which then takes the name."""
    try:
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        handle, part = tempfile.mkstemp(prefix=".upload-", dir=os.path.dirname(path) or ".")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(part, 0o666 & ~_umask())
            os.replace(part, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(part)
            raise
    except OSError as error:
        raise Refused(f"{type(error).__name__}: {error.strerror or error}", False) from None


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
