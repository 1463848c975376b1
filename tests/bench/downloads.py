"""`python -m tests.bench.downloads`: bodies from a local server, small, large, and images, by every engine.

The server is a process of its own with one event loop; it waits `latency` before each answer. Its memory is not
counted. Images are made from numbers: 1,500 JPEG files of 50 to 300 KB.
"""

from __future__ import annotations

import asyncio
import io
import multiprocessing
import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import pyarrow as pa

from tests.bench.calls import THREADS, Case, Prepare, main

_BIG, _BIG_BYTES = 300, 4_000_000
_SMALL, _SMALL_BYTES = 5000, 2000
_IMAGES, _KINDS = 1500, 8
_SIDE = 64


def _jpegs() -> list[bytes]:
    """Noise over slopes, of several sizes: as large as photographs are."""
    from PIL import Image

    made = []
    for number in range(_KINDS):
        chance = random.Random(number)
        width, height = 480 + 80 * number, 360 + 60 * number
        noise = Image.frombytes("L", (width // 4, height // 4), chance.randbytes((width // 4) * (height // 4)))
        slope = Image.linear_gradient("L").resize((width, height))
        bands = [slope, noise.resize((width, height)), slope.rotate(90).resize((width, height))]
        out = io.BytesIO()
        Image.merge("RGB", bands).save(out, "JPEG", quality=80)
        made.append(out.getvalue())
    return made


def _serve(port: Connection, latency: float) -> None:
    files = _jpegs()
    big = bytes(_BIG_BYTES)

    def body(path: str) -> bytes:
        kind, _, number = path.strip("/").partition("/")
        match kind:
            case "big":
                return big
            case "image":
                return files[int(number) % len(files)]
            case _:
                return (number + " ").encode() * (_SMALL_BYTES // (len(number) + 1) + 1)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                method, path, _ = head.split(b" ", 2)
                found = body(path.decode())
                if path.startswith(b"/small"):
                    found = found[:_SMALL_BYTES]
                await asyncio.sleep(latency)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(found))
                if method == b"GET":
                    writer.write(found)
                await writer.drain()
        writer.close()

    async def run() -> None:
        server = await asyncio.start_server(answer, "127.0.0.1", 0, backlog=1024)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


_LATENCY = {"small": 0.05, "images": 0.02, "big": 0.0}


@contextmanager
def served(case: str) -> Iterator[dict[str, Any]]:
    ours, theirs = multiprocessing.get_context("spawn").Pipe()
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=_serve, args=(theirs, _LATENCY[case.split("_")[0]]), daemon=True)
    process.start()
    try:
        yield {"url": f"http://127.0.0.1:{ours.recv()}"}
    finally:
        process.kill()
        process.join()


def _urls(options: Mapping[str, Any], kind: str, count: int) -> list[str]:
    return [f"{options['url']}/{kind}/{n}" for n in range(count)]


def _ours(kind: str, count: int, query: str) -> Prepare:
    def prepare(options: Mapping[str, Any]) -> Callable[[], float]:
        import sqlengine

        session = sqlengine.connect(memory_limit=f"{options['limit']}MB", threads=THREADS)
        session.register("urls", pa.table({"url": _urls(options, kind, count)}))
        session.sql("select 1").fetchall()
        return lambda: session.sql(query).fetchall()[0][0]

    return prepare


def _daft(kind: str, count: int, measure: Callable[[Any, Any], Any], **given: Any) -> Prepare:
    def prepare(options: Mapping[str, Any]) -> Callable[[], float]:
        import daft

        frame = daft.from_pydict({"url": _urls(options, kind, count)})
        bodies = frame.select(daft.col("url").download(**given).alias("body"))
        return lambda: next(iter(measure(bodies, daft).sum("n").to_pydict().values()))[0]

    return prepare


def _bytes(bodies: Any, daft: Any) -> Any:
    return bodies.select(daft.col("body").length().alias("n"))


def _pixels(bodies: Any, daft: Any) -> Any:
    """Decode, resize, and the mean of all channels by a function over the pixels."""
    from PIL import Image, ImageStat

    def mean(image: Any) -> float:
        return round(sum(ImageStat.Stat(Image.fromarray(image)).mean) / 3)

    small = daft.col("body").decode_image(mode="RGB").resize(_SIDE, _SIDE)
    return bodies.select(small.apply(mean, return_dtype=daft.DataType.float64()).alias("n"))


def _pixels_by_function(bodies: Any, daft: Any) -> Any:
    """The same with Pillow inside one function of a row."""

    def mean(body: bytes) -> float:
        from PIL import Image, ImageStat

        image = Image.open(io.BytesIO(body)).convert("RGB").resize((_SIDE, _SIDE), Image.Resampling.BILINEAR)
        return round(sum(ImageStat.Stat(image).mean) / 3)

    return bodies.select(daft.col("body").apply(mean, return_dtype=daft.DataType.float64()).alias("n"))


def _by_hand(kind: str, count: int) -> Prepare:
    """A thread pool and urllib3, which keeps nothing: what the machine can do."""

    def prepare(options: Mapping[str, Any]) -> Callable[[], float]:
        from concurrent.futures import ThreadPoolExecutor

        import urllib3

        http = urllib3.PoolManager(maxsize=32)

        def run() -> float:
            with ThreadPoolExecutor(32) as pool:
                return sum(pool.map(lambda url: len(http.request("GET", url).data), _urls(options, kind, count)))

        return run

    return prepare


_LENGTHS = "select sum(octet_length(url_download(url))) from urls"
_MEAN = (
    f"select sum(round(list_avg(image_mean(image_resize(image_decode(url_download(url), 'RGB'), {_SIDE}, {_SIDE}))))) "
    "from urls"
)
CASES = {
    "small": Case(
        f"{_SMALL:,} bodies of {_SMALL_BYTES} bytes with 50 ms latency.",
        {
            "sqlengine": _ours("small", _SMALL, _LENGTHS),
            "daft": _daft("small", _SMALL, _bytes),
            "threads by hand": _by_hand("small", _SMALL),
        },
    ),
    "big": Case(
        f"{_BIG} bodies of {_BIG_BYTES // 1_000_000} MB.",
        {
            "sqlengine": _ours("big", _BIG, _LENGTHS),
            "daft": _daft("big", _BIG, _bytes),
            "daft, 1 connection": _daft("big", _BIG, _bytes, max_connections=1),
            "threads by hand": _by_hand("big", _BIG),
        },
    ),
    "images": Case(
        f"{_IMAGES:,} JPEG files of 50 to 300 KB with 20 ms latency: decoded, {_SIDE}x{_SIDE}, mean colour.",
        {
            "sqlengine": _ours("image", _IMAGES, _MEAN),
            "daft": _daft("image", _IMAGES, _pixels),
            "daft, a function": _daft("image", _IMAGES, _pixels_by_function),
        },
    ),
}

if __name__ == "__main__":
    main("tests.bench.downloads", "Downloads", CASES, served)
