"""One image: from the bytes of a file or from a row of type IMAGE, and back. Pillow does the work, imported when used.

Pixels in a row are rows from the top, in one of a few modes whose bytes say all there is (no palettes): L, LA, RGB,
RGBA with 8 bits a channel, I;16, I and F with 16, 32 and 32 bits.
"""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from typing import Any

# Bytes of a pixel by mode. Other modes become one of these.
PIXEL_BYTES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4, "I;16": 2, "I": 4, "F": 4}
_BECOMES = {"1": "L", "CMYK": "RGB", "YCbCr": "RGB", "LAB": "RGB", "HSV": "RGB", "PA": "RGBA", "RGBX": "RGB"}
_BECOMES |= {"La": "LA", "RGBa": "RGBA", "I;16B": "I;16", "I;16L": "I;16", "I;16N": "I;16"}
# Pillow's own border for what it takes to be an attack.
MOST_PIXELS = 89_478_485


class BadImage(ValueError):
    """The bytes are not an image that can be decoded, or it is larger than allowed."""


@dataclass(frozen=True)
class Shape:
    """What an image will take in memory: known before it is decoded."""

    width: int
    height: int
    pixel_bytes: int

    @property
    def bytes(self) -> int:
        return self.width * self.height * self.pixel_bytes


@dataclass(frozen=True)
class Picture:
    """`image`: Pillow's. `format` and `size`: of the file whose pixels these still are, None after a change."""

    image: Any
    format: str | None = None
    size: int | None = None

    def row(self) -> dict[str, Any]:
        """As a value of type IMAGE."""
        image = plain(self.image)
        width, height = image.size
        return {
            "width": width,
            "height": height,
            "mode": image.mode,
            "format": self.format,
            "size": self.size,
            "pixels": image.tobytes(),
        }


def plain(image: Any) -> Any:
    """In one of the modes that a row may have."""
    if image.mode in PIXEL_BYTES:
        return image
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image.convert(_BECOMES.get(image.mode, "RGB"))


def open_file(data: bytes, most_pixels: int = MOST_PIXELS) -> Any:
    """Pillow's image of a file, not decoded yet: size and mode are known from its header."""
    from PIL import Image, UnidentifiedImageError

    try:
        # Its warning comes at the border that is tested below.
        warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)
        image = Image.open(io.BytesIO(data))
    except UnidentifiedImageError:
        raise BadImage(f"{len(data)} bytes are not an image of a known format") from None
    except Image.DecompressionBombError:
        raise BadImage("more than twice as many pixels as are ever decoded: a decompression bomb") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        raise BadImage(f"broken image: {error}") from None
    width, height = image.size
    if width * height > most_pixels:
        raise BadImage(f"{width}x{height} are more than {most_pixels} pixels (max_pixels)")
    return image


def decoded(data: bytes, most_pixels: int = MOST_PIXELS) -> Picture:
    """The pixels of a file's first frame."""
    image = open_file(data, most_pixels)
    return Picture(loaded(image), (image.format or "").lower() or None, len(data))


def loaded(image: Any) -> Any:
    """The image with its pixels in memory."""
    try:
        image.load()
    except (OSError, SyntaxError, ValueError, EOFError, IndexError) as error:
        raise BadImage(f"broken image: {error}") from None
    return image


def of_row(row: dict[str, Any]) -> Picture:
    """A value of type IMAGE; its pixels are not copied."""
    from PIL import Image

    mode, size = row["mode"], (row["width"], row["height"])
    pixel = PIXEL_BYTES.get(mode)
    pixels = row["pixels"]
    if pixel is None or None in size or pixels is None or len(pixels) != size[0] * size[1] * pixel:
        raise BadImage(f"its pixels do not fit {size[0]}x{size[1]} {mode}")
    return Picture(Image.frombuffer(mode, size, pixels, "raw", mode, 0, 1), row["format"], row["size"])


def file_shape(data: bytes) -> Shape:
    """From the header; of what cannot be read, nothing."""
    try:
        image = open_file(data, 1 << 40)
    except BadImage:
        return Shape(0, 0, 0)
    mode = _BECOMES.get(image.mode, "RGB") if image.mode not in PIXEL_BYTES else image.mode
    width, height = image.size
    return Shape(width, height, PIXEL_BYTES[mode])
