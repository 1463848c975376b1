"""A chain of steps over columns: each image goes through all of them before the next one is touched.

So only one image is decoded at a time, however many there are, and of `image_resize(image_decode(x), 64, 64)` the
large pixels are never held in a column. `costs` says what each row will take, from the headers alone.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import pyarrow as pa

from sqlengine.runtime.images import picture
from sqlengine.runtime.images.picture import BadImage, Picture, Shape
from sqlengine.runtime.images.steps import Step, find_step
from sqlengine.runtime.udf.function import RowCosts
from sqlengine.runtime.udf.values import RowFailed
from sqlengine.types import IMAGE, is_image


@dataclass(frozen=True)
class ImageStep:
    """A step by its name; `lenient`: NULL where it fails (on_error => 'null')."""

    name: str
    lenient: bool = False


@dataclass(frozen=True)
class ImageProgram:
    """Callable over arrays: first the files (BLOB) or images, then the arguments of each step."""

    steps: tuple[ImageStep, ...]

    def __call__(self) -> Callable[..., pa.Array]:
        """What a worker calls; there is no state."""
        return self.run

    def _chain(self) -> list[tuple[Step, bool]]:
        return [(find_step(item.name), item.lenient) for item in self.steps]

    def run(self, *columns: pa.Array) -> pa.Array:
        """The values of the last step; RowFailed with those before it, when an image will not do."""
        chain = self._chain()
        source = columns[0]
        is_row = is_image(source.type)
        arguments = self._arguments(columns[1:], len(source))
        values: list[Any] = []
        for number, args in enumerate(arguments):
            given = source[number].as_py()
            try:
                values.append(None if given is None else _through(chain, given, is_row, args))
            except BadImage as error:
                raise RowFailed(number, error, _array(values, chain[-1][0].gives)) from None
        return _array(values, chain[-1][0].gives)

    def _arguments(self, columns: Sequence[pa.Array], rows: int) -> list[tuple[tuple[Any, ...], ...]]:
        """For each row, the arguments of each step."""
        parts = []
        start = 0
        for item in self.steps:
            stop = start + len(find_step(item.name).args)
            lists = [column.to_pylist() for column in columns[start:stop]]
            parts.append(list(zip(*lists, strict=True)) if lists else [()] * rows)
            start = stop
        return list(zip(*parts, strict=True))

    def costs(self, columns: Sequence[pa.Array]) -> RowCosts:
        """Of each row: the most that exists at one time while it is made, and what is left of it."""
        chain = self._chain()
        source = columns[0]
        working, output = [], []
        for shape, args in zip(_shapes(source), self._arguments(columns[1:], len(source)), strict=True):
            most = 0
            for (step, _), given in zip(chain, args, strict=True):
                before, shape = shape, step.shape(shape, *given)
                held = 0 if step.reads == "header" else before.bytes
                most = max(most, held + shape.bytes)
            working.append(most)
            output.append(shape.bytes)
        return RowCosts(working, output)


def _shapes(source: pa.Array) -> list[Shape]:
    if is_image(source.type):
        columns = [source.field(name).to_pylist() for name in ("width", "height", "mode")]
        valid = source.is_valid().to_pylist()
        return [
            Shape(w or 0, h or 0, picture.PIXEL_BYTES.get(mode, 4)) if ok else Shape(0, 0, 0)
            for w, h, mode, ok in zip(*columns, valid, strict=True)
        ]
    return [Shape(0, 0, 0) if not item.is_valid else picture.file_shape(item.as_py()) for item in source]


def _through(chain: list[tuple[Step, bool]], given: Any, is_row: bool, args: tuple[tuple[Any, ...], ...]) -> Any:
    value: Any = picture.of_row(given) if is_row else given
    for (step, lenient), more in zip(chain, args, strict=True):
        try:
            if isinstance(value, bytes) and step.name != "image_decode":
                value = _opened(value, step.reads != "pixels")
            value = step.apply(value, *more)
        except BadImage:
            if lenient:
                return None
            raise
        except (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError) as error:  # what Pillow raises
            if lenient:
                return None
            raise BadImage(re.sub(r" ?(at|object at) 0x[0-9a-f]+", "", str(error))) from error
    return value.row() if isinstance(value, Picture) else value


def _opened(data: bytes, lazy: bool) -> Picture:
    image = picture.open_file(data)
    return Picture(image if lazy else picture.loaded(image), (image.format or "").lower() or None, len(data))


def _array(values: list[Any], type_: pa.DataType) -> pa.Array:
    """Pixels go from Pillow's bytes into Arrow's with one copy, a single image with none."""
    if type_ == IMAGE:
        present = [v or {} for v in values]
        columns = [pa.array([v.get(f.name) for v in present], f.type) for f in list(IMAGE)[:-1]]
        pixels = _blobs([v.get("pixels") for v in present])
        mask = pa.array([v is None for v in values], pa.bool_())
        return pa.StructArray.from_arrays([*columns, pixels], fields=list(IMAGE), mask=mask)
    if type_ == pa.binary():
        return _blobs(values)
    if type_ == pa.list_(pa.uint8()):
        offsets = pa.array(accumulate((len(v or b"") for v in values), initial=0), pa.int32())
        inner = pa.Array.from_buffers(
            pa.uint8(), offsets[-1].as_py(), [None, pa.py_buffer(b"".join(filter(None, values)))]
        )
        return pa.ListArray.from_arrays(offsets, inner, mask=pa.array([v is None for v in values], pa.bool_()))
    return pa.array(values, type_)


def _blobs(values: list[bytes | None]) -> pa.Array:
    if len(values) == 1 and values[0] is not None:
        offsets = pa.py_buffer(pa.array([0, len(values[0])], pa.int32()).buffers()[1])
        return pa.Array.from_buffers(pa.binary(), 1, [None, offsets, pa.py_buffer(values[0])])
    return pa.array(values, pa.binary())
