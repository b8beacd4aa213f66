"""Canonical JSON of plain Python values."""

from __future__ import annotations

from json import JSONEncoder
from typing import Final

MAX_DEPTH: Final = 200
"""How deep lists and mappings may be nested; protobuf's own limit for JSON is 100."""
_MIN_INT64: Final = -(2**63)
_MAX_INT64: Final = 2**63 - 1

_print = JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False
).encode


def canonical_value(value: object) -> str:
    """Print a plain value as canonical JSON.

    Args:
        value: ``None``, a ``bool``, an ``int`` of 64 bits, a ``str``, or lists, tuples and
            mappings of these with ``str`` keys.

    Raises:
        TypeError: A part has another type, or a key is no string.
        ValueError: A float, an integer beyond 64 bits, a lone surrogate, or values nested deeper
            than ``MAX_DEPTH`` (or in a circle).
    """
    waiting = [(value, "value", 0)]
    while waiting:
        item, where, depth = waiting.pop()
        if isinstance(item, str):
            _check_text(item, where)
        elif item is None or isinstance(item, bool):
            pass
        elif isinstance(item, int):
            if not _MIN_INT64 <= item <= _MAX_INT64:
                raise ValueError(f"{where} is {item!r}, which does not fit 64 bits; use a string")
        elif isinstance(item, float):
            raise ValueError(
                f"{where} is the float {item!r}, which has no single text; use an int or a string"
            )
        elif depth >= MAX_DEPTH:
            raise ValueError(f"{where[:80]}... is nested deeper than {MAX_DEPTH} levels")
        elif isinstance(item, dict):
            for key, inner in item.items():
                if not isinstance(key, str):
                    raise TypeError(f"{where} has the key {key!r}, which is no string")
                _check_text(key, f"a key of {where}")
                waiting.append((inner, f"{where}[{key!r}]", depth + 1))
        elif isinstance(item, list | tuple):
            waiting.extend(
                (inner, f"{where}[{index}]", depth + 1) for index, inner in enumerate(item)
            )
        else:
            raise TypeError(
                f"{where} is {item!r} of type {type(item).__name__}; canonical JSON holds None, "
                f"bool, int, str, lists and mappings"
            )
    return _print(value)


def _check_text(text: str, where: str) -> None:
    if text.isascii():
        return
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ValueError(f"{where} holds a lone surrogate at position {exc.start}") from exc
