"""What a statement refers to besides tables is put in before it is bound: parameters, variables, and the bodies of
macros.

Values become `Placeholder` nodes that carry their typed literal (`value_of`); no text of a value is ever parsed. A
macro's body
gets the place of its call, so that an error in it points at the statement that people wrote.
"""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from sqlglot import exp

from sqlengine.errors import BindError, Location
from sqlengine.expr.nodes import Literal, literal, null_of
from sqlengine.settings import Settings, setting_field
from sqlengine.sql.built_in_macros import built_in_macro
from sqlengine.sql.source_text import Text
from sqlengine.sql.statements import MacroForm

_DEEPEST = 50
_VALUE = "value"


@dataclass(frozen=True)
class Macro:
    """A named expression or query with parameters; a form for each number of parameters."""

    name: str
    forms: tuple[MacroForm, ...]
    table: bool


def _none(name: str) -> None:
    return None


@dataclass(frozen=True)
class CallTime:
    """What is known when a statement is run: its parameters, the session's variables and macros."""

    parameters: Mapping[str, Literal] = field(default_factory=dict)
    variables: Mapping[str, Literal] = field(default_factory=dict)
    find_macro: Callable[[str], Macro | None] = _none
    find_table_macro: Callable[[str], Macro | None] = _none
    settings: Settings = field(default_factory=Settings)


def value_of(node: exp.Expression) -> Literal | None:
    """The value that was put into a placeholder."""
    found = node.meta.get(_VALUE)
    return found if isinstance(found, Literal) else None


def parameter_names(tree: exp.Expression) -> list[str]:
    """The names and numbers of the parameters of a query, in the order they stand."""
    return [node.name for node in tree.find_all(exp.Placeholder, bfs=False) if value_of(node) is None]


def resolve(tree: exp.Expression, known: CallTime, text: Text) -> exp.Expression:
    """The tree with values for parameters and variables, and macros replaced by their bodies."""
    return _resolve(tree.copy(), known, text, 0)


def _resolve(tree: exp.Expression, known: CallTime, text: Text, depth: int) -> exp.Expression:
    def change(node: exp.Expression) -> exp.Expression:
        match node:
            case exp.Placeholder() if value_of(node) is None:
                node.meta[_VALUE] = _parameter(node, known, text)
            case exp.Table() if isinstance(node.this, exp.Anonymous):
                table = known.find_table_macro(node.this.name)
                if table is not None:
                    return _table_call(node, table, known, text, depth)
            case exp.Anonymous() if not isinstance(node.parent, exp.Table):
                macro = known.find_macro(node.name) or built_in_macro(node.name, len(node.expressions))
                if macro is not None:
                    body = _body(macro, list(node.expressions), known, text, text.of(node), node, depth)
                    return exp.Paren(this=body)
                return _named_value(node, known, text)
        return node

    return tree.transform(change, copy=False)


def _parameter(node: exp.Placeholder, known: CallTime, text: Text) -> Literal:
    name = node.name
    found = known.parameters.get(name.lower())
    if found is not None:
        return found
    at = re.search(rf"[$:]{re.escape(name)}\b", text.sql)
    location = text.location(at.start(), at.end()) if at is not None else None
    if name.isdigit():
        count = sum(key.isdigit() for key in known.parameters)
        given = f"{count} value{'' if count == 1 else 's'} {'was' if count == 1 else 'were'} given"
        raise BindError(f"parameter ${name} has no value", code="parameter_missing", hint=given, location=location)
    close = difflib.get_close_matches(name.lower(), list(known.parameters), 1)
    hint = f'did you mean "${close[0]}"?' if close else "give it with params={...}, or -v NAME=VALUE"
    raise BindError(f'parameter "${name}" has no value', code="parameter_missing", hint=hint, location=location)


def _named_value(node: exp.Anonymous, known: CallTime, text: Text) -> exp.Expression:
    """getvariable('x'), getenv('X') and current_setting('x') as values."""
    function = node.name.lower()
    if function not in ("getvariable", "getenv", "current_setting"):
        return node
    argument = node.expressions[0] if len(node.expressions) == 1 else None
    given = value_of(argument) if argument is not None else None
    name = given.value if given is not None else argument.name if isinstance(argument, exp.Literal) else None
    if not isinstance(name, str):
        raise BindError(
            f"{function}() takes one constant text", code="no_matching_overload", location=text.of(node)
        )  # fmt: skip
    if function == "getvariable":
        value = known.variables.get(name.lower(), null_of(pa.null()))
    elif function == "getenv" and known.settings.safe:
        raise BindError("getenv() is not allowed in safe mode", code="not_allowed", location=text.of(node))
    elif function == "getenv":
        value = literal(os.environ.get(name, ""))
    else:
        value = literal(getattr(known.settings, setting_field(name).name))
    placed = exp.Placeholder(this=name)
    placed.meta[_VALUE] = value
    return placed


def _table_call(node: exp.Table, macro: Macro, known: CallTime, text: Text, depth: int) -> exp.Expression:
    body = _body(macro, list(node.this.expressions), known, text, text.of(node), node.this, depth)
    alias = node.args.get("alias") or exp.TableAlias(this=exp.to_identifier(macro.name, quoted=True))
    return exp.Subquery(this=body, alias=alias, joins=node.args.get("joins"))


def _body(
    macro: Macro,
    arguments: Sequence[exp.Expression],
    known: CallTime,
    text: Text,
    location: Location | None,
    call: exp.Expression,
    depth: int,
) -> exp.Expression:
    if depth >= _DEEPEST:
        raise BindError(f"macro {macro.name} calls itself", code="macro_recursion", location=location)
    named = {a.this.name.lower(): a.expression for a in arguments if isinstance(a, exp.PropertyEQ | exp.Kwarg)}
    plain = [a for a in arguments if not isinstance(a, exp.PropertyEQ | exp.Kwarg)]
    form = _form(macro, len(plain), named, location)
    values = dict(form.defaults) | dict(zip(form.parameters, plain, strict=False)) | named
    place = next((dict(n.meta) for n in call.walk() if "start" in n.meta), {})
    place = {key: value for key, value in place.items() if key in ("line", "col", "start", "end")}
    body = form.body.copy()
    for inner in body.walk():
        if "start" in inner.meta:
            inner.meta.update(place)

    def put(inner: exp.Expression) -> exp.Expression:
        if isinstance(inner, exp.Column) and not inner.table and inner.name.lower() in values:
            return exp.Paren(this=values[inner.name.lower()].copy())
        return inner

    return _resolve(body.transform(put, copy=False), known, text, depth + 1)


def _form(macro: Macro, count: int, named: Mapping[str, object], location: Location | None) -> MacroForm:
    for form in macro.forms:
        rest = form.parameters[count:]
        optional = {name for name, _ in form.defaults}
        if count <= len(form.parameters) and set(named) <= set(rest) and all(n in named or n in optional for n in rest):
            return form
    shapes = " or ".join(f"{macro.name}({', '.join(form.parameters)})" for form in macro.forms)
    raise BindError(
        f"macro {macro.name} does not take these arguments", code="no_matching_overload", hint=f"it is {shapes}",
        location=location,
    )  # fmt: skip
