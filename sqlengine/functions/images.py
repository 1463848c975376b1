"""The functions of images. They run as operators (`operators.call_udf`): batches are cut by decoded bytes.

A call on a call becomes one program (`fused`), so that only the last result is ever held in a column.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from typing import Any

import pyarrow as pa

from sqlengine.errors import InterfaceError, NotSupportedError
from sqlengine.expr.coercion import cast_to
from sqlengine.expr.nodes import Expr, LiftedCall, Literal
from sqlengine.expr.overloads import accepts
from sqlengine.expr.registry import LiftedFunction, lifted_function
from sqlengine.runtime.images.program import ImageProgram, ImageStep
from sqlengine.runtime.images.steps import Step, all_steps
from sqlengine.runtime.udf.function import ARROW, UdfOptions, UserFunction
from sqlengine.settings import Settings
from sqlengine.types import is_image, sql_name

# Bytes of a value before any was seen.
_WIDTHS = {"image_decode": float(3 << 20), "image_encode": float(64 << 10), "image_pixels": float(256 << 10)}
_WIDTHS |= {name: float(256 << 10) for name in ("image_resize", "image_thumbnail", "image_crop", "image_to_mode")}


def _binder(step: Step) -> Callable[[list[Expr], dict[str, Any], Settings], Expr]:
    def bind(args: list[Expr], named: dict[str, Any], settings: Settings) -> Expr:
        if find_spec("PIL") is None:
            raise NotSupportedError(
                f"{step.name}() needs Pillow, which is not installed",
                code="missing_extra",
                hint="pip install 'sqlengine[image]'",
            )
        options = {name: value for name, value in named.items() if name not in {known for known, _ in step.args}}
        lenient = options.pop("on_error", "raise") == "null"
        UdfOptions().with_values({**options, "on_error": named.get("on_error", "raise")})
        if "log" in (named.get("on_error"), options.get("isolate")):
            raise NotSupportedError(f"on_error => 'log' of {step.name}()", hint="on_error => 'null'")
        given = (_image(step, args), *_arguments(step, args, named))
        function = _function((ImageStep(step.name, lenient),), step.gives)
        return LiftedCall(step.gives, function.name, given, function, tuple(sorted(options.items())))

    return bind


def _function(steps: tuple[ImageStep, ...], gives: pa.DataType) -> UserFunction:
    program = ImageProgram(steps)
    # The name tells programs apart.
    name = ".".join(item.name + ("?" if item.lenient else "") for item in steps)
    return UserFunction(
        name, ARROW, program, None, gives, costs=program.costs, parallel=True, width=_WIDTHS.get(steps[-1].name, 32.0)
    )


def _image(step: Step, args: list[Expr]) -> Expr:
    if not args:
        raise InterfaceError(f"{step.name}() takes an image", code="argument_count")
    first = args[0]
    if pa.types.is_null(first.type):
        return cast_to(first, pa.binary())
    wanted = "a BLOB" if step.name == "image_decode" else "an IMAGE, or a BLOB with an image file"
    if not pa.types.is_binary(first.type) and not (is_image(first.type) and step.name != "image_decode"):
        raise InterfaceError(f"{step.name}() takes {wanted}, this is {sql_name(first.type)}", code="type_mismatch")
    return first


def _arguments(step: Step, args: list[Expr], named: dict[str, Any]) -> list[Expr]:
    """All arguments after the image: by place, by name, or their defaults."""
    rest = args[1:]
    least = len(step.args) - len(step.defaults)
    if len(rest) > len(step.args):
        raise InterfaceError(
            f"{step.name}() takes at most {len(step.args) + 1} arguments, this call has {len(args)}",
            code="argument_count",
        )
    made = []
    for place, (name, type_) in enumerate(step.args):
        if place < len(rest):
            if not accepts(rest[place], type_):
                raise InterfaceError(
                    f"{name} of {step.name}() is {sql_name(rest[place].type)}, it wants {sql_name(type_)}",
                    code="type_mismatch",
                )
            made.append(cast_to(rest[place], type_))
        elif name in named:
            made.append(_constant(step, name, type_, named[name]))
        elif place >= least:
            made.append(Literal(type_, step.defaults[place - least]))
        else:
            shown = ", ".join(known for known, _ in step.args)
            raise InterfaceError(f"{step.name}() wants {name}: image, {shown}", code="argument_count")
    return made


def _constant(step: Step, name: str, type_: pa.DataType, value: Any) -> Literal:
    try:
        return Literal(type_, pa.scalar(value, type_).as_py())
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError):
        raise InterfaceError(f"{name} => {value!r} of {step.name}() is not {sql_name(type_)}") from None


def fused(outer: LiftedCall) -> LiftedCall:
    """A call of an image function on the result of another one as one call; any other call as it is."""
    inner = outer.args[0] if outer.args else None
    if not isinstance(inner, LiftedCall) or outer.options != inner.options:
        return outer
    programs = [call.function.make if isinstance(call.function, UserFunction) else None for call in (inner, outer)]
    first, second = programs
    if not isinstance(first, ImageProgram) or not isinstance(second, ImageProgram):
        return outer
    # What is made of the result of an earlier encoding starts from a file again.
    function = _function((*first.steps, *second.steps), outer.type)
    return replace(outer, name=function.name, args=(*inner.args, *outer.args[1:]), function=function)


for _step in all_steps():
    lifted_function(LiftedFunction(_step.name, _binder(_step), "image", _step.doc, _step.aliases))
