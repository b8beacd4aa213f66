"""How much work it is to encode a value, found out in less time than encoding takes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Final

_TEXT_PER_PART: Final = 1024
"""Bytes of text that take about as long as one part of a message."""

_fields_of: Final[dict[type, tuple[str, ...]]] = {}


def is_heavier_than(value: object, most: int) -> bool:
    """Tell whether a value of the façade has more than so many parts.

    Parts are the values inside it, and each kilobyte of text. Looking ends when it is decided.

    Args:
        value: The value.
        most: The number of parts.
    """
    left = most
    waiting: list[Any] = [value]
    while waiting:
        one = waiting.pop()
        kind = type(one)
        if kind is str or kind is bytes:
            left -= len(one) // _TEXT_PER_PART
        elif kind is tuple or kind is list:
            left -= len(one)
            if left >= 0:
                waiting += one
        elif (fields := _fields_of.get(kind)) is not None:
            waiting += [getattr(one, name) for name in fields]
        elif isinstance(one, Mapping):
            left -= 2 * len(one)
            if left >= 0:
                waiting += one.values()
        else:
            names = _field_names(kind)
            _fields_of[kind] = names
            waiting += [getattr(one, name) for name in names]
        if left < 0:
            return True
    return False


def _field_names(kind: type) -> tuple[str, ...]:
    names: tuple[str, ...] | None = getattr(kind, "__struct_fields__", None)
    if names is not None:
        return names
    if dataclasses.is_dataclass(kind):
        return tuple(field.name for field in dataclasses.fields(kind))
    return ()
