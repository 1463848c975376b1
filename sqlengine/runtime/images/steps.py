"""What can be done with one image. A step takes what the step before it made, and its own arguments."""

from __future__ import annotations

import io
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from sqlengine.runtime.images import picture
from sqlengine.runtime.images.picture import BadImage, Picture, Shape
from sqlengine.types import IMAGE

INFO = pa.struct([("width", pa.int32()), ("height", pa.int32()), ("mode", pa.string()), ("format", pa.string()),
                  ("size", pa.int64())])  # fmt: skip
_SMALL = Shape(1, 1, 64)
_LARGEST_SIDE = 65_500


@dataclass(frozen=True)
class Step:
    """`args`: the arguments after the image; `defaults`: of the last of them. `apply(image, *args)` does it;
    `shape(shape, *args)` is what the result takes, from the shape of the image alone. `reads`: pixels, or of a file
    that is given as such: file (it decodes as much as it needs), header."""

    name: str
    gives: pa.DataType
    apply: Callable[..., Any]
    shape: Callable[..., Shape]
    doc: str
    args: tuple[tuple[str, pa.DataType], ...] = ()
    defaults: tuple[Any, ...] = ()
    aliases: tuple[str, ...] = ()
    reads: str = "pixels"


_steps: dict[str, Step] = {}
TEXT, WHOLE = pa.string(), pa.int32()


def step(
    name: str, gives: pa.DataType, doc: str, shape: Callable[..., Shape], *, args: tuple[tuple[str, Any], ...] = (),
    defaults: tuple[Any, ...] = (), aliases: tuple[str, ...] = (), reads: str = "pixels",
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:  # fmt: skip
    def register(apply: Callable[..., Any]) -> Callable[..., Any]:
        _steps[name] = Step(name, gives, apply, shape, doc, args, defaults, aliases, reads)
        return apply

    return register


def find_step(name: str) -> Step:
    return _steps[name]


def all_steps() -> list[Step]:
    return list(_steps.values())


def _same(shape: Shape, *args: Any) -> Shape:
    return shape


def _in_mode(shape: Shape, mode: str, *rest: Any) -> Shape:
    return shape if not mode else Shape(shape.width, shape.height, picture.PIXEL_BYTES.get(mode, 4))


def _sized(shape: Shape, width: int, height: int, *rest: Any) -> Shape:
    return Shape(max(0, width or 0), max(0, height or 0), shape.pixel_bytes)


def _value(shape: Shape, *args: Any) -> Shape:
    return _SMALL


# The first step of every program that starts from a file. `max_pixels` and `mode` are arguments like others.
@step(
    "image_decode", IMAGE, "The pixels of an encoded image (JPEG, PNG, WebP, GIF, ...).", _in_mode,
    args=(("mode", TEXT), ("max_pixels", pa.int64())), defaults=("", picture.MOST_PIXELS), aliases=("decode_image",),
)  # fmt: skip
def _decode(data: bytes, mode: str, most_pixels: int) -> Picture:
    found = picture.decoded(data, most_pixels)
    return found if not mode else Picture(_converted(found.image, mode), found.format, found.size)


@step("image_encode", pa.binary(), "The image as a file: jpeg, png, webp, gif, bmp, tiff.", _same,
      args=(("format", TEXT), ("quality", WHOLE)), defaults=("png", 0), aliases=("encode_image",))  # fmt: skip
def _encode(image: Picture, format: str, quality: int) -> bytes:
    name = {"jpg": "jpeg", "tif": "tiff"}.get(format.lower(), format.lower())
    if name not in ("jpeg", "png", "webp", "gif", "bmp", "tiff"):
        raise BadImage(f"no format {format!r}; one of jpeg, png, webp, gif, bmp, tiff")
    pixels = picture.plain(image.image)
    if name == "jpeg" and pixels.mode not in ("L", "RGB"):
        pixels = pixels.convert("L" if pixels.mode in ("LA", "I;16", "I", "F") else "RGB")
    out = io.BytesIO()
    pixels.save(out, name, **({"quality": quality} if quality else {}))
    return out.getvalue()


@step("image_resize", IMAGE, "Scaled to width x height; filter nearest, box, bilinear, bicubic, lanczos.", _sized,
      args=(("width", WHOLE), ("height", WHOLE), ("filter", TEXT)), defaults=("bilinear",),
      aliases=("resize", "resize_image"))  # fmt: skip
def _resize(image: Picture, width: int, height: int, filter: str) -> Picture:
    from PIL.Image import Resampling

    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise BadImage(f"cannot be resized to {width}x{height}")
    try:
        chosen = Resampling[filter.upper()]
    except KeyError:
        raise BadImage(f"no filter {filter!r}; one of nearest, box, bilinear, bicubic, lanczos") from None
    return Picture(picture.plain(image.image).resize((width, height), chosen))


@step("image_thumbnail", IMAGE, "Scaled to fit width x height, never up, with its proportions. Fast for JPEG files.",
      _sized, args=(("width", WHOLE), ("height", WHOLE)), aliases=("thumbnail",), reads="file")  # fmt: skip
def _thumbnail(image: Picture, width: int, height: int) -> Picture:
    if not (0 < width <= _LARGEST_SIDE and 0 < height <= _LARGEST_SIDE):
        raise BadImage(f"no thumbnail of {width}x{height}")
    made = picture.plain(image.image)  # of a JPEG not decoded yet: only as much of it as is needed
    made.thumbnail((width, height))
    return Picture(made)


@step("image_crop", IMAGE, "The part of width x height whose top left corner is at x, y.",
      lambda shape, x, y, width, height: _sized(shape, width, height),
      args=(("x", WHOLE), ("y", WHOLE), ("width", WHOLE), ("height", WHOLE)), 
      aliases=("crop", "crop_image"))  # fmt: skip
def _crop(image: Picture, x: int, y: int, width: int, height: int) -> Picture:
    wide, high = image.image.size
    if width <= 0 or height <= 0 or x < 0 or y < 0 or x + width > wide or y + height > high:
        raise BadImage(f"{width}x{height} at {x},{y} is not inside {wide}x{high}")
    return Picture(image.image.crop((x, y, x + width, y + height)))


@step("image_to_mode", IMAGE, "In another mode: L (grey), LA, RGB, RGBA, I;16, I, F.", _in_mode,
      args=(("mode", TEXT),), aliases=("convert_image",))  # fmt: skip
def _to_mode(image: Picture, mode: str) -> Picture:
    changed = _converted(image.image, mode)
    return image if changed is image.image else Picture(changed)


def _converted(image: Any, mode: str) -> Any:
    if mode not in picture.PIXEL_BYTES:
        raise BadImage(f"no mode {mode!r}; one of {', '.join(picture.PIXEL_BYTES)}")
    pixels = picture.plain(image)
    return pixels if pixels.mode == mode else pixels.convert(mode)


@step("image_hash", pa.uint64(), "64 bits that are alike for alike images: kind difference, average or perceptual; "
      "compare with bit_count(xor(a, b)).", _value, args=(("kind", TEXT),), defaults=("difference",))  # fmt: skip
def _hash(image: Picture, kind: str) -> int:
    if kind not in _HASHES:
        raise BadImage(f"no kind of hash {kind!r}; one of {', '.join(_HASHES)}")
    bits = 0
    for bit in _HASHES[kind](picture.plain(image.image).convert("L")):
        bits = bits << 1 | bool(bit)
    return bits


def _difference(grey: Any) -> list[bool]:
    """Each of 8x8 places against its right neighbour (dHash)."""
    cells = grey.resize((9, 8)).tobytes()
    return [cells[9 * y + x] < cells[9 * y + x + 1] for y in range(8) for x in range(8)]


def _average(grey: Any) -> list[bool]:
    cells = grey.resize((8, 8)).tobytes()
    return [cell > sum(cells) / 64 for cell in cells]


def _perceptual(grey: Any) -> list[bool]:
    """The lowest 8x8 frequencies of 32x32 places against their median (pHash)."""
    cells = grey.resize((32, 32)).tobytes()
    table = _cosines()
    rows = [[sum(c * v for c, v in zip(wave, cells[32 * y : 32 * y + 32], strict=True)) for wave in table]
            for y in range(32)]  # fmt: skip
    low = [sum(wave[y] * rows[y][x] for y in range(32)) for wave in table for x in range(8)]
    middle = statistics.median(low[1:])
    return [value > middle for value in low]


def _cosines() -> list[list[float]]:
    if not _COSINES:
        import math

        _COSINES.extend([[math.cos(math.pi * k * (2 * i + 1) / 64) for i in range(32)] for k in range(8)])
    return _COSINES


_COSINES: list[list[float]] = []
_HASHES = {"difference": _difference, "average": _average, "perceptual": _perceptual}


@step("image_mean", pa.list_(pa.float64()), "The mean of each channel.", _value, aliases=("mean_colour", "mean_color"))
def _mean(image: Picture) -> list[float]:
    from PIL import ImageStat

    return list(ImageStat.Stat(picture.plain(image.image)).mean)


@step("image_info", INFO, "Width, height, mode, format and bytes, from the header of a file alone.", _value,
      reads="header")  # fmt: skip
def _info(image: Picture) -> dict[str, Any]:
    pixels = image.image
    mode = pixels.mode
    return {"width": pixels.width, "height": pixels.height, "mode": mode, "format": image.format, "size": image.size}


@step("image_pixels", pa.list_(pa.uint8()), "The bytes of the pixels as a list, row by row, channels side by side.",
      _same)  # fmt: skip
def _pixels(image: Picture) -> bytes:
    return bytes(picture.plain(image.image).tobytes())
