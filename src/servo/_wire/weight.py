"""How much work it is to encode a value, found out in far less time than encoding takes."""

from __future__ import annotations

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any, Final

_LIGHT: Final = (str, bytes, int, float, enum.Enum, date, timedelta, type(None))
"""What is encoded in one step, however long it is."""

_MAPS: Final = (dict, types.MappingProxyType)

_fields_of: Final[dict[type, tuple[str, ...]]] = {}


def is_heavier_than(value: object, most: int) -> bool:
    """Tell whether a value of the façade has more than so many parts.

    Args:
        value: The value.
        most: The number of parts.
    """
    return parts_of(value, most) > most


def parts_of(value: object, most: int) -> int:
    """Count the parts of a value of the façade: the items of its lists and maps, at every depth.

    Args:
        value: The value.
        most: Where counting may end; what is returned is then greater.
    """
    left = most
    waiting: list[Any] = [value]
    while waiting and left >= 0:
        one = waiting.pop()
        kind = type(one)
        if kind is tuple or kind is list:
            left -= len(one)
            # Lists hold items of few types, so these are looked at instead of each item.
            if left >= 0 and any(_fields(item) != () for item in set(map(type, one))):
                waiting += one
        elif (fields := _fields_of.get(kind)) is not None:
            for name in fields:
                if inner := getattr(one, name):
                    waiting.append(inner)
        elif kind in _MAPS or isinstance(one, Mapping):
            left -= 2 * len(one)
        else:
            _fields(kind)
            waiting.append(one)
    return most - left


def _fields(kind: type) -> tuple[str, ...] | None:
    """Return the fields of a type that have to be looked at; `None` for lists and maps."""
    found = _fields_of.get(kind)
    if found is None:
        if issubclass(kind, tuple | list | Mapping):
            return None
        found = _fields_of[kind] = _heavy_fields(kind)
    return found


def _heavy_fields(kind: type) -> tuple[str, ...]:
    names: tuple[str, ...] | None = getattr(kind, "__struct_fields__", None)
    if names is None:
        if not dataclasses.is_dataclass(kind):
            return ()
        names = tuple(field.name for field in dataclasses.fields(kind))
    try:
        hints = typing.get_type_hints(kind)
    except NameError:  # a type that is imported for type checkers only
        return names
    return tuple(name for name in names if _may_be_heavy(hints.get(name)))


def _may_be_heavy(hint: Any) -> bool:
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(map(_may_be_heavy, typing.get_args(hint)))
    if not isinstance(hint, type) or typing.get_origin(hint) is not None:
        return True
    if issubclass(hint, _LIGHT):
        return False
    is_record = hasattr(hint, "__struct_fields__") or dataclasses.is_dataclass(hint)
    return not is_record or _heavy_fields(hint) != ()
