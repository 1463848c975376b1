"""An HTTP server with bad habits, one per path, for the tests of downloads."""

from __future__ import annotations

import contextlib
import gzip
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        name, query = parts.path.strip("/").split("/")[0], parse_qs(parts.query)
        with self.server.lock:
            self.server.seen[self.path] += 1
            self.server.running += 1
            self.server.most = max(self.server.most, self.server.running)
        try:
            getattr(self, f"give_{name}")(query)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
        finally:
            with self.server.lock:
                self.server.running -= 1

    do_HEAD = do_GET

    def do_PUT(self) -> None:
        """Stored below /put; of `flaky` the first two are refused."""
        self.server.seen[self.path] += 1
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if not self.path.startswith("/put/"):
            self._head(404, 0)
        elif self.path == "/put/flaky" and self.server.seen[self.path] < 3:
            self._head(503, 0)
        else:
            self.server.stored[self.path] = (body, self.headers.get("X-Kind"))
            self._head(201, 0)

    def _head(self, status: int, length: int | None, **headers: str) -> None:
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for key, value in headers.items():
            self.send_header(key.replace("_", "-"), value)
        self.end_headers()

    def give_bytes(self, query: Any) -> None:
        size = int(query["n"][0])
        part = self.headers.get("Range")
        body = b"x" * size
        if part:
            first, _, last = part.removeprefix("bytes=").partition("-")
            body = body[int(first) : int(last) + 1]
        time.sleep(float(query.get("wait", ["0"])[0]))
        self._head(206 if part else 200, len(body), Content_Type="text/plain")
        if self.command == "GET":
            self.wfile.write(body)

    def give_echo(self, query: Any) -> None:
        body = (self.headers.get(query["header"][0]) or "").encode()
        self._head(200, len(body))
        self.wfile.write(body)

    def give_status(self, query: Any) -> None:
        """The code for the first `times` requests, then a body."""
        if self.server.seen[self.path] <= int(query.get("times", ["1000"])[0]):
            wait = query.get("after", [])
            self._head(int(query["code"][0]), 0, **({"Retry_After": wait[0]} if wait else {}))
        else:
            self._head(200, 2)
            self.wfile.write(b"ok")

    def give_stall(self, query: Any) -> None:
        self._head(200, 100)
        self.wfile.write(b"some")
        self.wfile.flush()
        self.server.released.wait(20)
        self.close_connection = True

    def give_trickle(self, query: Any) -> None:
        self._head(200, 10_000)
        while not self.server.released.wait(0.05):
            self.wfile.write(b"x")
            self.wfile.flush()
        self.close_connection = True

    def give_short(self, query: Any) -> None:
        self._head(200, 100)
        self.wfile.write(b"too short")
        self.close_connection = True

    def give_chunks(self, query: Any) -> None:
        """No length in advance; `n` pieces of 1,000 bytes, without end when n is negative."""
        count = int(query["n"][0])
        self._head(200, None, Transfer_Encoding="chunked")
        while count and not self.server.released.is_set():
            self.wfile.write(b"3e8\r\n" + b"y" * 1000 + b"\r\n")
            count -= 1
        self.wfile.write(b"0\r\n\r\n")

    def give_loop(self, query: Any) -> None:
        self._head(302, 0, Location="/loop")

    def give_moved(self, query: Any) -> None:
        self._head(301, 0, Location=query["to"][0])

    def give_bomb(self, query: Any) -> None:
        packed = gzip.compress(bytes(50_000_000))
        self._head(200, len(packed), Content_Encoding="gzip")
        self.wfile.write(packed)

    def give_reset(self, query: Any) -> None:
        import socket
        import struct

        self._head(200, 100)
        self.wfile.write(b"half")
        self.wfile.flush()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()
        self.close_connection = True

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def finish(self) -> None:
        with contextlib.suppress(OSError, ValueError):  # reset on purpose
            super().finish()


class Server(ThreadingHTTPServer):
    """`seen` counts requests by path; `most` is the largest number at a time; `released` ends what would not end."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.seen: Counter[str] = Counter()
        self.stored: dict[str, tuple[bytes, str | None]] = {}
        self.running = self.most = 0
        self.released = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        threading.Thread(target=self.serve_forever, daemon=True, args=(0.05,)).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    def stop(self) -> None:
        self.released.set()
        self.shutdown()
        self.server_close()
