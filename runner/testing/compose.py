"""Classes put together from roles, so that an object has exactly the methods of the roles it offers."""

from __future__ import annotations

from typing import TypeVar

T = TypeVar("T")


def compose(base: type[T], roles: tuple[type, ...]) -> type[T]:
    """`base` with the methods of `roles`, so that `isinstance(x, Renames)` tells whether it renames."""
    if not roles:
        return base
    composed: type[T] = type(base.__name__, (*roles, base), {"__slots__": ()})
    return composed
