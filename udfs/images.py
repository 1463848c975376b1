"""Images: thumbnails as JPEG files, a perceptual hash, and colour statistics, of BLOBs with image files.

    LOAD 'udfs/images.py';
    SELECT jpeg_thumbnail(url_download(url), 128) FROM pictures;
    SELECT a.id, b.id FROM p AS a JOIN p AS b ON a.id < b.id AND hash_distance(a.hash, b.hash) <= 6;

Needs Pillow: pip install 'sqlengine[image]'. The engine's own `image_...` functions do the same kind of work in chains
with batches cut by decoded bytes; these are examples of how to write your own.
"""

from __future__ import annotations

import io
import math
from typing import Any, TypedDict

from sqlengine import udf

_MOST_PIXELS = 90_000_000


class Colours(TypedDict):
    """Means and standard deviations of red, green and blue from 0 to 255; `brightness` of the grey image, its
    `entropy` in bits, and the most frequent colour as '#rrggbb'."""

    mean: list[float]
    deviation: list[float]
    brightness: float
    entropy: float
    dominant: str


def _opened(data: bytes) -> Any:
    try:
        from PIL import Image
    except ImportError:
        raise RuntimeError("Pillow is not installed: pip install 'sqlengine[image]'") from None
    image = Image.open(io.BytesIO(data))
    if image.width * image.height > _MOST_PIXELS:
        raise ValueError(f"{image.width}x{image.height} pixels are too many")
    return image


@udf
def jpeg_thumbnail(data: bytes, side: int = 128, quality: int = 80) -> bytes:
    """A JPEG file of the image scaled to fit into a square, upright as the camera meant it."""
    from PIL import ImageOps

    image = _opened(data)
    image.draft("RGB", (2 * side, 2 * side))  # of a JPEG decode no more than is needed
    image = ImageOps.exif_transpose(image)
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.convert("RGB").save(out, "JPEG", quality=quality)
    return out.getvalue()


@udf
def perceptual_hash(data: bytes) -> int:
    """64 bits by the lowest frequencies of the grey image (pHash), as a BIGINT; alike for alike images."""
    grey = list(_opened(data).convert("L").resize((32, 32)).tobytes())
    rows = [_low_waves(grey[32 * y : 32 * y + 32]) for y in range(32)]
    columns = [_low_waves([row[x] for row in rows]) for x in range(8)]
    cells = [columns[x][y] for y in range(8) for x in range(8)]
    middle = sorted(cells[1:])[31]
    bits = 0
    for cell in cells:
        bits = bits << 1 | (cell > middle)
    return bits - (1 << 64) if bits >> 63 else bits


_COSINES = [[math.cos(math.pi * k * (2 * i + 1) / 64) for i in range(32)] for k in range(8)]


def _low_waves(values: list[float] | list[int]) -> list[float]:
    return [sum(c * v for c, v in zip(wave, values, strict=True)) for wave in _COSINES]


@udf
def hash_distance(first: int, second: int) -> int:
    """Bits in which two hashes differ: below 8 of 64 two images are probably the same picture."""
    return ((first ^ second) & ((1 << 64) - 1)).bit_count()


@udf
def colour_statistics(data: bytes) -> Colours:
    """Means, deviations, brightness, entropy and the dominant colour."""
    from PIL import ImageStat

    image = _opened(data).convert("RGB")
    image.thumbnail((256, 256))
    found, grey = ImageStat.Stat(image), image.convert("L")
    fewer = image.quantize(16)
    _, place = max((count, index) for count, index in fewer.getcolors())
    red, green, blue = fewer.getpalette()[3 * place : 3 * place + 3]
    return {
        "mean": list(found.mean),
        "deviation": list(found.stddev),
        "brightness": ImageStat.Stat(grey).mean[0],
        "entropy": grey.entropy(),
        "dominant": f"#{red:02x}{green:02x}{blue:02x}",
    }
