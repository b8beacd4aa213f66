"""The values of one dimension within a partition set: an interval of periods, or a list."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Self, TypeAlias

from servo.types import calendar
from servo.types._frozen import check_name, set_field, text_tuple
from servo.types.partitions import TimeDimension
from servo.types.scalars import PartitionDimensionValue

__all__ = ["PartitionAxis", "StaticSet", "TimeRange"]

_SHOWN_VALUES: Final = 10


@dataclass(frozen=True, slots=True)
class TimeRange:
    """Consecutive periods of a time dimension.

    Attributes:
        dimension: The dimension; its own declared range plays no part here.
        first: Index of the first period (see ``servo.types.calendar``).
        last: Index of the last period, inclusive; one less than ``first`` when empty.
    """

    dimension: TimeDimension
    first: int
    last: int

    def __post_init__(self) -> None:
        if self.last < self.first - 1:
            set_field(self, "last", self.first - 1)

    @classmethod
    def between(cls, dimension: TimeDimension, first: str | date, last: str | date) -> Self:
        """Make the range from one period to another, both inclusive.

        Args:
            dimension: The dimension.
            first: First period as text, date or datetime; an hour without an offset is local
                time of the dimension's zone.
            last: Last period, likewise.

        Raises:
            ValueError: One of them is no period, or the last lies before the first.
        """
        lower, upper = (_period(dimension, value) for value in (first, last))
        if upper < lower:
            raise ValueError(
                f"dimension {dimension.name!r}: the range {first!s}..{last!s} ends before it starts"
            )
        return cls(dimension, lower, upper)

    @property
    def name(self) -> str:
        """Name of the dimension."""
        return self.dimension.name

    def __len__(self) -> int:
        return self.last - self.first + 1

    def at(self, index: int) -> PartitionDimensionValue:
        """Return the value at a position counted from zero."""
        return calendar.period_value(self.dimension.granularity, self.first + index)

    def position(self, value: object) -> int | None:
        """Return where a value stands, or ``None`` when it is not in the range."""
        kind_ok = (
            isinstance(value, datetime)
            if self.dimension.granularity is calendar.TimeGranularity.HOUR
            else isinstance(value, date) and not isinstance(value, datetime)
        )
        if not kind_ok or not isinstance(value, date):
            return None
        try:
            index = calendar.period_index(self.dimension.granularity, value)
        except ValueError:
            return None
        return index - self.first if self.first <= index <= self.last else None

    def describe(self) -> str:
        """Print the range for a message: ``2013-01-01..2013-12-31``."""
        if not len(self):
            return "no period"
        granularity = self.dimension.granularity
        ends = (calendar.period_text(granularity, end) for end in (self.first, self.last))
        return "..".join(ends)


@dataclass(frozen=True, slots=True)
class StaticSet:
    """Listed text values of a static or tenant dimension.

    Attributes:
        name: Name of the dimension.
        values: The values, in their order.
    """

    name: str
    values: tuple[str, ...]

    def __init__(self, name: str, values: Iterable[str]) -> None:
        check_name(name, "dimension name")
        set_field(self, "name", name)
        set_field(self, "values", text_tuple(values, f"values of dimension {name!r}"))

    def __len__(self) -> int:
        return len(self.values)

    def at(self, index: int) -> PartitionDimensionValue:
        """Return the value at a position counted from zero."""
        return self.values[index]

    def position(self, value: object) -> int | None:
        """Return where a value stands, or ``None`` when it is not in the list."""
        if not isinstance(value, str):
            return None
        try:
            return self.values.index(value)
        except ValueError:
            return None

    def describe(self) -> str:
        """Print the values for a message, at most ten of them."""
        shown = ", ".join(repr(value) for value in self.values[:_SHOWN_VALUES])
        return f"{shown}, …" if len(self.values) > _SHOWN_VALUES else shown


PartitionAxis: TypeAlias = TimeRange | StaticSet
"""The values of one dimension within a set."""


def _period(dimension: TimeDimension, value: str | date) -> int:
    try:
        return dimension.period(value)
    except ValueError as exc:
        raise ValueError(f"dimension {dimension.name!r}: {exc}") from exc
