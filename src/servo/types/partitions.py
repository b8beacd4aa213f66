"""How an asset is partitioned: its dimensions, in the order in which they are declared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import ClassVar, TypeAlias

from servo.types import calendar
from servo.types._frozen import check_name, set_field, text_tuple
from servo.types.calendar import TimeGranularity
from servo.types.partition_keys import PartitionKey
from servo.types.scalars import PartitionDimensionValue

__all__ = [
    "DailyPartition",
    "DimensionKind",
    "HourlyPartition",
    "MonthlyPartition",
    "PartitionDimension",
    "PartitionDimensionValue",
    "PartitionKey",
    "PartitionStrategy",
    "StaticDimension",
    "TenantDimension",
    "TimeDimension",
    "TimeGranularity",
    "WeeklyPartition",
    "YearlyPartition",
]


class DimensionKind(StrEnum):
    """What the values of a dimension are."""

    TIME = "time"
    STATIC = "static"
    TENANT = "tenant"


@dataclass(frozen=True, slots=True, eq=False)
class TimeDimension:
    """A dimension whose values are periods of time.

    Two dimensions are equal when their fields are, whichever class made them.

    Attributes:
        name: Dimension name; matches ``^[a-z][a-z0-9_]*$``.
        granularity: Length of the periods.
        start: First declared period, in ISO form (``2013-01-01``, hours
            ``2013-01-01T00:00:00Z``). A ``date`` or ``datetime`` is accepted. An hour without an
            offset is local time of ``timezone``, and is kept in UTC. ``None`` means that there is
            no first one.
        end: Last declared period, inclusive; written like ``start``. ``None`` means the last
            complete one.
        timezone: IANA zone that decides when a period is complete, what a day is, and which
            instant a time without an offset means.

    Raises:
        TypeError: A bound is neither text nor a date.
        ValueError: A bound is no period boundary, the range is empty, or the zone unknown.
    """

    name: str
    granularity: TimeGranularity
    start: str | None = field(default=None, kw_only=True)
    end: str | None = field(default=None, kw_only=True)
    timezone: str = field(default="UTC", kw_only=True)

    kind: ClassVar[DimensionKind] = DimensionKind.TIME

    def __post_init__(self) -> None:
        check_name(self.name, "dimension name")
        set_field(self, "granularity", _granularity(self.granularity))
        if not isinstance(self.timezone, str):
            raise TypeError(
                f"dimension {self.name!r}: timezone must be an IANA name, got {self.timezone!r}"
            )
        if self.timezone != "UTC":
            calendar.zone(self.timezone)
        first = self._bound("start", self.start)
        last = self._bound("end", self.end)
        if first is not None and last is not None and last < first:
            raise ValueError(
                f"dimension {self.name!r}: end {self.end!r} lies before start {self.start!r}"
            )

    def period(self, value: str | date) -> int:
        """Return the index of the period that starts at ``value`` (see ``servo.types.calendar``).

        Args:
            value: ISO text, a date or a datetime. An hour without an offset is local time of the
                dimension's zone; a date is, for hours, the zone's midnight.

        Raises:
            ValueError: It starts no period, or is an hour that the zone's clocks skip or repeat.
        """
        if isinstance(value, str):
            return calendar.parse_period(self.granularity, value, self.timezone)
        return calendar.local_period_index(self.granularity, value, self.timezone)

    def _bound(self, which: str, value: object) -> int | None:
        if value is None:
            return None
        if not isinstance(value, str | date):
            raise TypeError(
                f"dimension {self.name!r}: {which} must be ISO text, a date or a datetime, "
                f"got {value!r}"
            )
        try:
            index = self.period(value)
        except ValueError as exc:
            raise ValueError(f"dimension {self.name!r}: {which} {value!r}: {exc}") from exc
        set_field(self, which, calendar.period_text(self.granularity, index))
        return index

    @property
    def first_period(self) -> int | None:
        """Index of the first declared period (see ``servo.types.calendar``)."""
        return None if self.start is None else calendar.parse_period(self.granularity, self.start)

    @property
    def last_period(self) -> int | None:
        """Index of the last declared period, or ``None`` when the range is open."""
        return None if self.end is None else calendar.parse_period(self.granularity, self.end)

    def _identity(self) -> tuple[object, ...]:
        return (self.name, self.granularity, self.start, self.end, self.timezone)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TimeDimension):
            return NotImplemented
        return self._identity() == other._identity()

    def __hash__(self) -> int:
        return hash(self._identity())


class _Periods(TimeDimension):
    """A time dimension whose class says its granularity."""

    __slots__ = ()

    _granularity: ClassVar[TimeGranularity]

    def __init__(
        self,
        name: str = "date",
        start: str | date | datetime | None = None,
        end: str | date | datetime | None = None,
        timezone: str = "UTC",
        *,
        granularity: TimeGranularity | None = None,
    ) -> None:
        # dataclasses.replace() passes every field, so the fixed one is accepted as well.
        if granularity not in (None, self._granularity):
            raise ValueError(
                f"{type(self).__name__} has the granularity {str(self._granularity)!r}, not "
                f"{str(granularity)!r}; use TimeDimension"
            )
        super().__init__(
            name,
            self._granularity,
            start=start,  # type: ignore[arg-type]  # __post_init__ makes it ISO text
            end=end,  # type: ignore[arg-type]  # __post_init__ makes it ISO text
            timezone=timezone,
        )


class HourlyPartition(_Periods):
    """One partition for each hour; values are the UTC instants at which hours start.

    Hours lie on the grid of UTC. ``start`` and ``end`` without an offset are local time of
    ``timezone``, as a partition that is asked for by name is; an hour that the clocks of the zone
    skip or repeat is refused, and the message spells the two instants that may be meant.
    """

    __slots__ = ()
    _granularity = TimeGranularity.HOUR


class DailyPartition(_Periods):
    """One partition for each day; values are dates."""

    __slots__ = ()
    _granularity = TimeGranularity.DAY


class WeeklyPartition(_Periods):
    """One partition for each week; values are Mondays."""

    __slots__ = ()
    _granularity = TimeGranularity.WEEK


class MonthlyPartition(_Periods):
    """One partition for each month; values are the first days of months."""

    __slots__ = ()
    _granularity = TimeGranularity.MONTH


class YearlyPartition(_Periods):
    """One partition for each year; values are the first days of years."""

    __slots__ = ()
    _granularity = TimeGranularity.YEAR


@dataclass(frozen=True, slots=True)
class StaticDimension:
    """A dimension with a fixed list of text values.

    Attributes:
        name: Dimension name.
        values: Every value, at least one, each once; their order is the partitions' order.

    Raises:
        TypeError: A value is no string.
        ValueError: There is no value, or one is given twice or is no Unicode text.
    """

    name: str
    values: tuple[str, ...]

    kind: ClassVar[DimensionKind] = DimensionKind.STATIC

    def __init__(self, name: str, values: Iterable[str]) -> None:
        check_name(name, "dimension name")
        items = text_tuple(values, f"values of dimension {name!r}")
        if not items:
            raise ValueError(f"dimension {name!r} has no values; a static dimension needs one")
        if len(set(items)) != len(items):
            twice = next(item for item in items if items.count(item) > 1)
            raise ValueError(f"dimension {name!r} has the value {twice!r} more than once")
        PartitionKey(dict.fromkeys(["v"], "".join(items)))
        set_field(self, "name", name)
        set_field(self, "values", items)

    def alike(self) -> tuple[str, str] | None:
        """Return the first two values that differ in upper and lower case only, if there are any.

        They share a directory on a file system that does not tell them apart.
        """
        seen: dict[str, str] = {}
        for value in self.values:
            other = seen.setdefault(value.casefold(), value)
            if other is not value:
                return other, value
        return None


@dataclass(frozen=True, slots=True)
class TenantDimension:
    """A dimension whose one value is the tenant that a run belongs to.

    Attributes:
        name: Dimension name.
    """

    name: str = "tenant"

    kind: ClassVar[DimensionKind] = DimensionKind.TENANT

    def __post_init__(self) -> None:
        check_name(self.name, "dimension name")


PartitionDimension: TypeAlias = TimeDimension | StaticDimension | TenantDimension
"""Any dimension; usable with ``isinstance``."""


@dataclass(frozen=True, slots=True)
class PartitionStrategy:
    """All dimensions of an asset; none means that it is not partitioned.

    Attributes:
        dimensions: Dimensions in declared order, each name once.

    Raises:
        TypeError: An item is no dimension.
        ValueError: A name is used twice.
    """

    dimensions: tuple[PartitionDimension, ...]

    def __init__(self, dimensions: Iterable[PartitionDimension] = ()) -> None:
        given: object = dimensions
        if isinstance(given, PartitionDimension) or not isinstance(given, Iterable):
            raise TypeError(
                f"dimensions must be an iterable of dimensions, got {dimensions!r}; "
                f"write dimensions=[...]"
            )
        items = tuple(given)
        names = set()
        for item in items:
            if not isinstance(item, PartitionDimension):
                raise TypeError(
                    f"{item!r} is no partition dimension; use DailyPartition, StaticDimension, "
                    f"TenantDimension or another TimeDimension"
                )
            if item.name in names:
                raise ValueError(f"the dimension name {item.name!r} is used more than once")
            names.add(item.name)
        set_field(self, "dimensions", items)

    @property
    def is_partitioned(self) -> bool:
        """Whether there is any dimension."""
        return bool(self.dimensions)

    @property
    def dimension_names(self) -> tuple[str, ...]:
        """Names in declared order."""
        return tuple(dimension.name for dimension in self.dimensions)

    @property
    def time_dimensions(self) -> tuple[TimeDimension, ...]:
        """The dimensions that are periods of time, in declared order."""
        return tuple(item for item in self.dimensions if isinstance(item, TimeDimension))

    def dimension(self, name: str) -> PartitionDimension:
        """Return the dimension of that name.

        Raises:
            KeyError: There is none; the message lists the names there are.
        """
        for item in self.dimensions:
            if item.name == name:
                return item
        raise KeyError(f"no dimension {name!r}; this strategy has {list(self.dimension_names)!r}")


def _granularity(value: object) -> TimeGranularity:
    try:
        return TimeGranularity(value)  # type: ignore[arg-type]  # checked by the enum itself
    except ValueError as exc:
        allowed = ", ".join(repr(str(item)) for item in TimeGranularity)
        raise ValueError(f"Invalid granularity {value!r}: expected one of {allowed}") from exc
