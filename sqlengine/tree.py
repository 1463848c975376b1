"""Walking and rewriting the two kinds of immutable trees (logical plans and expressions).

Both kinds offer `children()` and `with_children(new)`; every rule of the optimizer is written with the functions here,
none recurses by hand.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Protocol, Self, TypeVar


class Tree(Protocol):
    """A node that knows its children and can be copied with other ones."""

    def children(self) -> tuple[Self, ...]: ...

    def with_children(self, children: tuple[Self, ...]) -> Self: ...


T = TypeVar("T", bound=Tree)
# Trees are walked recursively; frames of Python functions live on the heap, so depth is cheap.
_DEPTH = 50_000


def allow_deep_trees() -> None:
    """Let Python functions call each other as deep as trees may be."""
    if sys.getrecursionlimit() < _DEPTH:
        sys.setrecursionlimit(_DEPTH)


def walk(node: T) -> Iterator[T]:
    """The node and everything below it, parents first."""
    stack = [node]
    while stack:
        top = stack.pop()
        yield top
        stack.extend(reversed(top.children()))


def transform_up(node: T, change: Callable[[T], T]) -> T:
    """Apply `change` to every node, children first. Untouched subtrees are shared, not copied."""
    children = node.children()
    new = [transform_up(child, change) for child in children]  # no generator: its frames would be on the C stack
    if any(a is not b for a, b in zip(new, children, strict=True)):
        node = node.with_children(tuple(new))
    return change(node)


def transform_down(node: T, change: Callable[[T], T]) -> T:
    """Apply `change` to every node, parents first; goes on into what `change` returned."""
    node = change(node)
    children = node.children()
    new = [transform_down(child, change) for child in children]
    if any(a is not b for a, b in zip(new, children, strict=True)):
        node = node.with_children(tuple(new))
    return node
