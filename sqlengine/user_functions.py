"""The functions that a user gave a session: by decorator, from files and modules, with their options."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from sqlengine.errors import FileError, InterfaceError
from sqlengine.expr.registry import find_aggregate, find_lifted, find_scalar
from sqlengine.runtime.udf.function import UdfOptions, UserFunction
from sqlengine.udf import Function, define

PLUGINS = "sqlengine.udfs"  # the group of entry points


class UserFunctions:
    """By lower-case name. A built-in function is never shadowed."""

    def __init__(self) -> None:
        self._functions: dict[str, UserFunction] = {}

    def add(self, target: Callable[..., Any], name: str | None = None, **settings: Any) -> UserFunction:
        """Register a decorated function, or define one from a plain callable and settings."""
        if isinstance(target, Function):
            definition = target.definition
            kinds = {key: settings.pop(key) for key in ("returns", "args", "kind") if key in settings}
            if kinds:
                definition = define(target._target, name=definition.name, **kinds)
            definition = replace(definition, options=definition.options.with_values(settings))
        else:
            definition = define(target, settings.pop("kind", "row"), name=name, **settings)
        if name is not None:
            definition = replace(definition, name=name.lower())
        if _is_built_in(definition.name):
            raise InterfaceError(
                f"{definition.name}() is built in",
                code="function_exists",
                hint="register it under another name: name='...'",
            )
        self._functions[definition.name] = definition
        return definition

    def copy(self) -> UserFunctions:
        made = UserFunctions()
        made._functions = dict(self._functions)
        return made

    def find(self, name: str) -> UserFunction | None:
        return self._functions.get(name.lower())

    def all(self) -> list[UserFunction]:
        return [self._functions[name] for name in sorted(self._functions)]

    def set_option(self, setting: str, value: Any) -> None:
        """Change an option of a registered function, `udf.NAME.OPTION`; None gives the default back."""
        _, _, rest = setting.partition(".")
        name, _, option = rest.rpartition(".")
        self.change(name, {option.lower(): value})

    def change(self, name: str, values: dict[str, Any]) -> None:
        """Change options of a registered function, all or none; None gives a default back."""
        function = self._known(name)
        known = {item.name for item in fields(UdfOptions)}
        back = {key: getattr(UdfOptions(), key) for key, value in values.items() if value is None and key in known}
        given = {key: value for key, value in values.items() if key not in back}
        options = replace(function.options, **back).with_values(given)
        self._functions[function.name] = replace(function, options=options)

    def rename(self, name: str, new_name: str) -> None:
        function = self._known(name)
        if new_name.lower() in self._functions or _is_built_in(new_name):
            raise InterfaceError(f"function {new_name} exists already", code="function_exists")
        del self._functions[function.name]
        self._functions[new_name.lower()] = replace(function, name=new_name.lower())

    def remove(self, name: str) -> bool:
        """Whether there was one of that name."""
        return self._functions.pop(name.lower(), None) is not None

    def _known(self, name: str) -> UserFunction:
        function = self._functions.get(name.lower())
        if function is None:
            known = ", ".join(sorted(self._functions)) or "none is registered"
            raise InterfaceError(
                f'there is no user function "{name}"', code="function_not_found", hint=f"user functions: {known}"
            )
        return function

    def create(self, name: str, source: str, options: dict[str, Any], over: bool) -> None:
        """CREATE FUNCTION: `source` is `file.py:function` or `module:function`; types from its hints, or given as
        options `returns` and `args`."""
        if name.lower() in self._functions and not over:
            raise InterfaceError(
                f"function {name} exists already", code="function_exists", hint="CREATE OR REPLACE FUNCTION replaces it"
            )
        self.add(_offered(source), name, **options)

    def load(self, place: str) -> list[str]:
        """Register what a file (`udfs/text.py`, `text.py:name`), a module (`package.module:name`) or an installed
        plugin (the name of an entry point of the group `sqlengine.udfs`) offers; their names."""
        place = _plugin(place) or place
        if ":" in place[2:]:
            return [self.add(_offered(place)).name]
        offered = _functions_of(_module(place))
        if not offered:
            raise InterfaceError(f"{place} has no function made with @udf", code="function_not_found")
        return [self.add(value).name for value in offered.values()]


def _is_built_in(name: str) -> bool:
    return any(find(name.lower()) is not None for find in (find_scalar, find_aggregate, find_lifted))


def _plugin(name: str) -> str | None:
    """What an entry point of that name stands for: `package.module` or `package.module:name`."""
    if not name.replace("-", "_").replace(".", "_").isidentifier():
        return None
    for found in entry_points(group=PLUGINS):
        if found.name == name:
            return found.value
    return None


def _offered(place: str) -> Callable[..., Any]:
    """The function that `file.py:name` or `module:name` names."""
    path, _, wanted = place.rpartition(":")
    if not path:
        raise InterfaceError(f"{place!r} names no function", hint="write 'file.py:function' or 'module:function'")
    module = _module(path)
    found = vars(module).get(wanted)
    if not callable(found):
        names = ", ".join(sorted(_functions_of(module))) or "nothing"
        raise InterfaceError(f"{path} has no function {wanted}", code="function_not_found", hint=f"it offers {names}")
    function: Callable[..., Any] = found
    return function


def _functions_of(module: Any) -> dict[str, Function]:
    return {key: value for key, value in vars(module).items() if isinstance(value, Function)}


def _module(path: str) -> Any:
    return _import_file(Path(path)) if path.endswith(".py") else _import_module(path)


def _import_file(path: Path) -> Any:
    if not path.is_file():
        raise FileError(f"no file {path}", code="file_not_found", hint="the path is relative to the current directory")
    # A name of its own, so that workers find the module again and two files of the same name do not meet.
    name = f"sqlengine_udf_{path.stem}_{abs(hash(str(path.resolve()))):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise InterfaceError(f"{path} cannot be loaded: {type(error).__name__}: {error}", code="udf_load") from error
    _send_by_value(module)
    return module


def _send_by_value(module: Any) -> None:
    """A worker process cannot import a file by its made-up name: its functions are sent as code."""
    import cloudpickle

    cloudpickle.register_pickle_by_value(module)


def _import_module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        plugins = ", ".join(sorted(found.name for found in entry_points(group=PLUGINS)))
        raise InterfaceError(
            f"module {name} cannot be imported: {error}",
            code="udf_load",
            hint="a file ends in .py" + (f"; installed plugins: {plugins}" if plugins else ""),
        ) from error
