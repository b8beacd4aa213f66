"""What the frozen value types share: read-only mappings and checks of field values."""

from __future__ import annotations

import re
from collections.abc import (
    ItemsView,
    Iterable,
    Iterator,
    KeysView,
    Mapping,
    ValuesView,
)
from typing import Any, Final, TypeVar

K = TypeVar("K")
V_co = TypeVar("V_co", covariant=True)
T = TypeVar("T")

NAME_PATTERN: Final = r"^[a-z][a-z0-9_]*$"
"""Pattern of namespaces, asset names and dimension names; matched in full."""

_is_name = re.compile(r"[a-z][a-z0-9_]*", re.ASCII).fullmatch


class FrozenMap(Mapping[K, V_co]):
    """A mapping that cannot be changed and, unlike ``MappingProxyType``, hashes and pickles."""

    __slots__ = ("_data",)

    _data: dict[K, V_co]

    def __init__(self, items: Mapping[K, V_co] | Iterable[tuple[K, V_co]] = ()) -> None:
        object.__setattr__(self, "_data", dict(items))

    def __getitem__(self, key: K) -> V_co:
        return self._data[key]

    def __contains__(self, key: object) -> bool:
        return key in self._data

    def __iter__(self) -> Iterator[K]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)

    # The inherited views go through __getitem__ for each entry; the dict's own do not.
    def keys(self) -> KeysView[K]:
        return self._data.keys()

    def values(self) -> ValuesView[V_co]:
        return self._data.values()

    def items(self) -> ItemsView[K, V_co]:
        return self._data.items()

    def __eq__(self, other: object) -> bool:
        if isinstance(other, FrozenMap):
            return self._data == other._data
        if isinstance(other, Mapping):
            return self._data == dict(other)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(frozenset(self._data.items()))

    def __repr__(self) -> str:
        return repr(self._data)

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"cannot set {name!r}: the mapping is read-only")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"cannot delete {name!r}: the mapping is read-only")

    def __reduce__(self) -> tuple[type[FrozenMap[K, V_co]], tuple[dict[K, V_co]]]:
        return type(self), (self._data,)

    def __copy__(self) -> FrozenMap[K, V_co]:
        return self

    def __deepcopy__(self, memo: object) -> FrozenMap[K, V_co]:
        return self


EMPTY_MAP: Final[FrozenMap[Any, Any]] = FrozenMap()


def set_field(instance: object, name: str, value: object) -> None:
    """Assign a field of a frozen dataclass from its own ``__post_init__``."""
    object.__setattr__(instance, name, value)


def check_name(value: object, what: str) -> str:
    """Return ``value`` if it is a well-formed name.

    Args:
        value: Candidate.
        what: What it names, for the message, such as ``"dimension name"``.

    Raises:
        TypeError: It is no string.
        ValueError: It does not match ``^[a-z][a-z0-9_]*$`` in full.
    """
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a string, got {value!r} of type {type(value).__name__}")
    if _is_name(value) is None:
        raise ValueError(f"Invalid {what} {value!r}: it must match {NAME_PATTERN}")
    return value


def check_unicode(value: str, what: str) -> str:
    """Return ``value`` if it can be written as UTF-8.

    Raises:
        ValueError: It has a lone surrogate, as names of files have that are no UTF-8.
    """
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as exc:
            raise ValueError(
                f"{what} is no Unicode text: {value!r} has the lone surrogate "
                f"{value[exc.start]!r}; use value.encode('utf-8', 'replace').decode()"
            ) from None
    return value


def text_map(value: object, what: str) -> Mapping[str, str]:
    """Return a read-only copy of a mapping from text to text.

    Raises:
        TypeError: It is no mapping, or a key or value is no string.
        ValueError: A key or value is no Unicode text.
    """
    if not value and isinstance(value, Mapping):
        return EMPTY_MAP
    if type(value) is FrozenMap:
        return value
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must be a mapping of strings, got {value!r}")
    for key, item in value.items():
        if not isinstance(key, str) or not isinstance(item, str):
            raise TypeError(
                f"{what} must map strings to strings, got {key!r}: {item!r}; convert it with str()"
            )
        check_unicode(key, f"a key of {what}")
        check_unicode(item, f"{what}[{key!r}]")
    return FrozenMap(value)


def text_tuple(value: object, what: str) -> tuple[str, ...]:
    """Return an iterable of strings as a tuple.

    Raises:
        TypeError: It is one string, no iterable, or has an item that is no string.
        ValueError: An item is no Unicode text.
    """
    if isinstance(value, str):
        raise TypeError(
            f"{what} must be several strings, got the one string {value!r}; write [{value!r}]"
        )
    if not isinstance(value, Iterable):
        raise TypeError(f"{what} must be an iterable of strings, got {value!r}")
    items = tuple(value)
    for item in items:
        if not isinstance(item, str):
            raise TypeError(f"{what} must contain strings only, got {item!r}")
        check_unicode(item, what)
    return items


def typed_tuple(value: object, item_type: type[T], what: str) -> tuple[T, ...]:
    """Return an iterable of ``item_type`` as a tuple.

    Raises:
        TypeError: It is no iterable, or has an item of another type.
    """
    if not isinstance(value, Iterable):
        raise TypeError(f"{what} must be an iterable of {item_type.__name__}, got {value!r}")
    items = tuple(value)
    for item in items:
        if not isinstance(item, item_type):
            raise TypeError(f"{what} must contain {item_type.__name__} only, got {item!r}")
    return items


def check_int(value: object, what: str, *, minimum: int) -> int:
    """Return ``value`` if it is an integer of at least ``minimum``.

    Raises:
        TypeError: It is no integer (``bool`` is none).
        ValueError: It is smaller than ``minimum``.
    """
    if type(value) is not int:
        raise TypeError(f"{what} must be an integer, got {value!r}")
    if value < minimum:
        raise ValueError(f"{what} must be at least {minimum}, got {value!r}")
    return value


def check_type(value: object, expected: type[T], what: str) -> T:
    """Return ``value`` if it is an instance of ``expected``.

    Raises:
        TypeError: It is not; the message names both types.
    """
    if not isinstance(value, expected):
        raise TypeError(f"{what} must be {expected.__name__}, got {value!r}")
    return value
