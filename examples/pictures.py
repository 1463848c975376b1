"""Starts a server of pictures made from numbers and runs pictures.sql against it: python examples/pictures.py

One of ten pictures is missing, and one of ten answers "try again" at first, as servers do.
"""

from __future__ import annotations

import io
import random
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from PIL import Image

import sqlengine

HERE = Path(__file__).parent
ASKED: set[int] = set()
SIZES = [(320, 240), (640, 480), (800, 600)]


def picture(number: int) -> bytes:
    """Every size shows the same twenty pictures: patches of colour."""
    chance = random.Random(number % 20)
    image = Image.new("RGB", (8, 6))
    image.putdata([(chance.randrange(256), chance.randrange(256), chance.randrange(256)) for _ in range(48)])
    out = io.BytesIO()
    image.resize(SIZES[number // 20], Image.Resampling.NEAREST).save(out, "JPEG", quality=90)
    return out.getvalue()


class Pictures(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        found = re.fullmatch(r"/(\d+)\.jpg", self.path)
        number = int(found[1]) if found else 0
        if found is None or number % 10 == 3:
            return self._answer(404, b"")
        if number % 10 == 7 and number not in ASKED:
            ASKED.add(number)
            return self._answer(503, b"")
        return self._answer(200, picture(number))

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Pictures)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with sqlengine.connect(memory_limit="300MB") as session:
        place = f"http://127.0.0.1:{server.server_address[1]}"
        for statement in filter(str.strip, (HERE / "pictures.sql").read_text().split(";\n")):
            relation = session.sql(statement, {"server": place} if "$server" in statement else None)
            if "create temp" not in statement:
                relation.show()
    server.shutdown()


if __name__ == "__main__":
    main()
