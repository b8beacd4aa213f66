"""Type-tagged scalars: the values of partition dimensions, as text that keeps its type.

A one-letter tag says what the text after the colon is: ``s:`` string, ``i:`` 64-bit integer,
``b:`` bool, ``d:`` date, ``t:`` timestamp in UTC, ``n:`` null. Reading is as strict as printing:
each value has exactly one text.
"""

from __future__ import annotations

import operator
import re
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Final, Self, SupportsIndex, TypeAlias, cast

from servo.types._frozen import set_field

__all__ = ["MAX_INT64", "MIN_INT64", "PartitionDimensionValue", "ScalarKind", "ScalarValue"]

PartitionDimensionValue: TypeAlias = str | int | bool | date | datetime | None
"""What a partition dimension can hold. ``float`` is refused: it has no single text."""

MIN_INT64: Final = -(2**63)
MAX_INT64: Final = 2**63 - 1

# Type names that mean "float" without importing decimal or numpy to find out.
_FLOAT_TYPES: Final = frozenset({"float", "Decimal", "floating"})
_MAX_INT64_DIGITS: Final = 20

_is_int = re.compile(r"-?(?:0|[1-9][0-9]*)", re.ASCII).fullmatch
_is_date = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII).fullmatch
_is_timestamp = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{6}Z", re.ASCII
).fullmatch


class ScalarKind(StrEnum):
    """The type of a scalar."""

    STRING = "string"
    INT64 = "int64"
    BOOL = "bool"
    DATE = "date"
    TIMESTAMP = "timestamp"
    NULL = "null"


@dataclass(frozen=True, slots=True)
class ScalarValue:
    """A value together with its type.

    Attributes:
        kind: The type, which also decides the tag.
        value: ``str``, ``int``, ``bool``, ``date``, ``datetime`` in UTC, or ``None``.

    Raises:
        TypeError: The value has a type that no kind can hold.
        ValueError: The value is a float, is out of range, or does not fit the kind.
    """

    kind: ScalarKind
    value: PartitionDimensionValue

    def __post_init__(self) -> None:
        kind = ScalarKind(self.kind)
        found, value = normalize(self.value)
        if found is not kind:
            raise ValueError(f"{self.value!r} is a {found} value, not {kind}")
        set_field(self, "kind", kind)
        set_field(self, "value", value)

    @classmethod
    def from_value(cls, value: object, *, dimension: str = "") -> Self:
        """Wrap a Python value.

        Args:
            value: ``bool`` is looked at before ``int``, ``datetime`` before ``date``; aware
                timestamps are converted to UTC, naive ones are taken as UTC.
            dimension: Name for error messages.

        Raises:
            TypeError: The type cannot be part of a partition key.
            ValueError: A float, an integer beyond 64 bits, a lone surrogate.
        """
        kind, plain = normalize(value, dimension)
        return cls(kind, plain)

    def to_tagged_string(self) -> str:
        """Print the value with its tag, such as ``"d:2025-01-15"``."""
        return render(self.kind, self.value)

    @classmethod
    def from_tagged_string(cls, text: str) -> Self:
        """Read a value with its tag.

        Raises:
            TypeError: ``text`` is no string.
            ValueError: ``text`` is not what ``to_tagged_string`` prints for any value.
        """
        return cls(*parse(text))


def normalize(value: object, dimension: str = "") -> tuple[ScalarKind, PartitionDimensionValue]:
    """Find the kind of a Python value and reduce it to the plain type of that kind.

    Args:
        value: Any object.
        dimension: Name for error messages; may be empty.

    Raises:
        TypeError: No kind holds values of this type.
        ValueError: A float, an integer beyond 64 bits, a lone surrogate, a time out of range.
    """
    if isinstance(value, str):
        if not value.isascii():
            _refuse_surrogates(value, dimension)
        return ScalarKind.STRING, str.__str__(value)
    if value is None:
        return ScalarKind.NULL, None
    if isinstance(value, bool):
        return ScalarKind.BOOL, value
    if isinstance(value, datetime):
        return ScalarKind.TIMESTAMP, _utc(value, dimension)
    if isinstance(value, date):
        return ScalarKind.DATE, date(value.year, value.month, value.day)
    if isinstance(value, int) or _has_index(value):
        number = operator.index(cast("SupportsIndex", value))
        if not MIN_INT64 <= number <= MAX_INT64:
            raise ValueError(
                f"{_where(dimension)}{number!r} does not fit a 64-bit integer; "
                f"use a string if it is an identifier"
            )
        return ScalarKind.INT64, number
    if any(base.__name__ in _FLOAT_TYPES for base in type(value).__mro__):
        raise ValueError(
            f"{_where(dimension)}float values such as {value!r} cannot identify a partition "
            f"(they have no single text); use an int or a string"
        )
    raise TypeError(
        f"{_where(dimension)}a value of type {type(value).__name__} cannot be part of a partition "
        f"key; use str, int, bool, date, datetime or None"
    )


def render(kind: ScalarKind, value: PartitionDimensionValue) -> str:
    """Print a plain value of ``kind``, as ``normalize`` returns it, with its tag."""
    if kind is ScalarKind.STRING:
        return f"s:{value}"
    if isinstance(value, datetime):
        return f"t:{value.replace(tzinfo=None).isoformat(timespec='microseconds')}Z"
    if isinstance(value, date):
        return f"d:{value.isoformat()}"
    if kind is ScalarKind.INT64:
        return f"i:{value}"
    if kind is ScalarKind.BOOL:
        return "b:true" if value else "b:false"
    return "n:"


def parse(text: str) -> tuple[ScalarKind, PartitionDimensionValue]:
    """Read a tagged string; the exact inverse of ``render``.

    Raises:
        TypeError: ``text`` is no string.
        ValueError: ``text`` is not in canonical form.
    """
    if not isinstance(text, str):
        raise TypeError(f"a tagged scalar is read from a string, got {text!r}")
    tag, body = text[:2], text[2:]
    if tag == "s:":
        if not body.isascii():
            _refuse_surrogates(body, "")
        return ScalarKind.STRING, str.__str__(body)
    if tag == "d:" and _is_date(body):
        try:
            return ScalarKind.DATE, date.fromisoformat(body)
        except ValueError as exc:
            raise ValueError(f"Invalid tagged scalar {text!r}: {exc}") from exc
    if tag == "t:" and _is_timestamp(body):
        try:
            return ScalarKind.TIMESTAMP, datetime.fromisoformat(body[:-1]).replace(tzinfo=UTC)
        except ValueError as exc:
            raise ValueError(f"Invalid tagged scalar {text!r}: {exc}") from exc
    if tag == "i:" and len(body) <= _MAX_INT64_DIGITS and body != "-0" and _is_int(body):
        number = int(body)
        if MIN_INT64 <= number <= MAX_INT64:
            return ScalarKind.INT64, number
    if text == "b:true":
        return ScalarKind.BOOL, True
    if text == "b:false":
        return ScalarKind.BOOL, False
    if text == "n:":
        return ScalarKind.NULL, None
    raise ValueError(
        f"Invalid tagged scalar {text!r}: expected s:text, i:42, b:true, b:false, d:2025-01-15, "
        f"t:2025-01-15T10:30:00.000000Z or n:"
    )


def _where(dimension: str) -> str:
    return f"dimension {dimension!r}: " if dimension else ""


def _has_index(value: object) -> bool:
    # An array has __index__ and raises in it; that is "no integer", not an error of its own.
    if not hasattr(type(value), "__index__"):
        return False
    try:
        operator.index(cast("SupportsIndex", value))
    except TypeError:
        return False
    return True


def _refuse_surrogates(text: str, dimension: str) -> None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError as exc:
        raise ValueError(
            f"{_where(dimension)}{text!r} holds a lone surrogate at position {exc.start} and is "
            f"no Unicode text"
        ) from exc


def _utc(value: datetime, dimension: str) -> datetime:
    if not isinstance(value.year, int):
        raise ValueError(f"{_where(dimension)}{value!r} is no point in time")
    if getattr(value, "nanosecond", 0):
        raise ValueError(
            f"{_where(dimension)}{value!r} has nanoseconds; timestamps hold microseconds, "
            f"round it first"
        )
    try:
        moved = value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError as exc:
        raise ValueError(
            f"{_where(dimension)}{value!r} lies outside the years 1 to 9999 in UTC"
        ) from exc
    return datetime(
        moved.year,
        moved.month,
        moved.day,
        moved.hour,
        moved.minute,
        moved.second,
        moved.microsecond,
        tzinfo=UTC,
    )
