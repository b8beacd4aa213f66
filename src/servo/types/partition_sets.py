"""Sets of partitions as products of intervals and lists, never enumerated before they must be.

A set has one axis for each dimension, in declared order; its keys are numbered from zero with
the last axis running fastest, times ascending and static values in declared order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Self, cast

from servo.types import calendar
from servo.types._frozen import set_field
from servo.types.partition_axes import PartitionAxis, StaticSet, TimeRange
from servo.types.partition_keys import PartitionKey, _quote
from servo.types.partitions import (
    PartitionDimension,
    PartitionStrategy,
    StaticDimension,
    TimeDimension,
)
from servo.types.scalars import PartitionDimensionValue, normalize, render

__all__ = ["PartitionAxis", "PartitionSet", "StaticSet", "TimeRange", "key_of", "validate_key"]


@dataclass(frozen=True)
class PartitionSet:
    """The product of one set of values for each dimension.

    Without any axis it holds exactly the empty key: an asset that is not partitioned has one
    partition, itself.

    Attributes:
        axes: Values by dimension, in declared order.
    """

    axes: tuple[PartitionAxis, ...]

    def __init__(self, axes: Iterable[PartitionAxis] = ()) -> None:
        set_field(self, "axes", tuple(axes))

    @classmethod
    def declared(
        cls, strategy: PartitionStrategy, *, now: datetime, tenant_id: str | None = None
    ) -> Self:
        """Return every partition that a strategy declares.

        Args:
            strategy: The asset's partitioning.
            now: Aware instant; open-ended ranges end with the last period complete by then.
            tenant_id: The only value of a tenant dimension.

        Raises:
            ValueError: A time dimension has no start, or a tenant dimension meets no tenant.
        """
        return cls(_declared_axis(item, now, tenant_id) for item in strategy.dimensions)

    @cached_property
    def size(self) -> int:
        """How many keys there are, however many that is."""
        return math.prod(len(axis) for axis in self.axes)

    def __len__(self) -> int:
        return self.size

    def __bool__(self) -> bool:
        return self.size > 0

    def key_at(self, index: int) -> PartitionKey:
        """Return the key with that number.

        Raises:
            IndexError: The number is not between zero and ``size - 1``.
        """
        if not 0 <= index < self.size:
            raise IndexError(f"partition {index!r} of a set of {self.size}")
        values: dict[str, PartitionDimensionValue] = {}
        for axis in reversed(self.axes):
            index, place = divmod(index, len(axis))
            values[axis.name] = axis.at(place)
        return PartitionKey({axis.name: values[axis.name] for axis in self.axes})

    def index_of(self, key: PartitionKey) -> int:
        """Return the number of a key.

        Raises:
            ValueError: The key is not in the set.
        """
        found = self._find(key)
        if found is None:
            raise ValueError(f"{key!r} is not in the partition set")
        return found

    def __contains__(self, key: object) -> bool:
        return isinstance(key, PartitionKey) and self._find(key) is not None

    def __iter__(self) -> Iterator[PartitionKey]:
        if not self.axes:
            yield PartitionKey()
            return
        if not self.size:
            return
        yield from self._walk()

    def narrow(self, axis: PartitionAxis) -> PartitionSet:
        """Return the set with the values of one dimension replaced.

        Raises:
            ValueError: The set has no dimension of that name.
        """
        names = [item.name for item in self.axes]
        if axis.name not in names:
            raise ValueError(f"unknown dimension {axis.name!r}: the set has {names!r}")
        return PartitionSet(axis if item.name == axis.name else item for item in self.axes)

    def _find(self, key: PartitionKey) -> int | None:
        if len(key.dimensions) != len(self.axes):
            return None
        index = 0
        for axis in self.axes:
            if axis.name not in key.dimensions:
                return None
            place = axis.position(key.dimensions[axis.name])
            if place is None:
                return None
            index = index * len(axis) + place
        return index

    def _walk(self) -> Iterator[PartitionKey]:
        # An odometer, so that a set far larger than memory can be walked; the printed form of
        # each value is made once per turn of its wheel.
        names = [axis.name for axis in self.axes]
        sorted_names = sorted(names)
        values: dict[str, PartitionDimensionValue] = {}
        printed: dict[str, str] = {}
        places = [0] * len(self.axes)

        def turn(wheel: int) -> None:
            axis = self.axes[wheel]
            kind, value = normalize(axis.at(places[wheel]), axis.name)
            values[axis.name] = value
            printed[axis.name] = f'"{axis.name}":{_quote(render(kind, value))}'

        for wheel in range(len(places)):
            turn(wheel)
        while True:
            body = ",".join([printed[name] for name in sorted_names])
            yield PartitionKey._trusted(values, f"{{{body}}}")
            wheel = len(places) - 1
            while wheel >= 0 and places[wheel] + 1 == len(self.axes[wheel]):
                places[wheel] = 0
                turn(wheel)
                wheel -= 1
            if wheel < 0:
                return
            places[wheel] += 1
            turn(wheel)


def key_of(strategy: PartitionStrategy, values: Mapping[str, object]) -> PartitionKey:
    """Make the key of a partition from Python values, as the asset's dimensions understand them.

    Args:
        strategy: The asset's partitioning.
        values: Value by dimension. An hour without a zone is local time of its dimension.

    Raises:
        TypeError: A value has a type that no partition can have.
        ValueError: A value is no partition value, or an hour that its zone's clocks skip or repeat.
    """
    known = dict(values)
    for dimension in strategy.time_dimensions:
        value = known.get(dimension.name)
        if isinstance(value, datetime) and value.tzinfo is None:
            known[dimension.name] = _local(dimension, value)
    return PartitionKey(known).in_order(strategy.dimension_names)


def _local(dimension: TimeDimension, value: datetime) -> datetime:
    if dimension.granularity is not calendar.TimeGranularity.HOUR:
        return value
    try:
        return calendar.local_instant(value, dimension.timezone)
    except ValueError as exc:
        raise ValueError(f"dimension {dimension.name!r}: {exc}") from exc


def validate_key(
    strategy: PartitionStrategy,
    key: PartitionKey,
    *,
    now: datetime | None = None,
    tenant_id: str | None = None,
) -> None:
    """Check that a key belongs to a strategy.

    Args:
        strategy: The asset's partitioning.
        key: The key to check.
        now: Aware instant; when given, periods that are not complete by then are refused for
            open-ended dimensions.
        tenant_id: When given, the only value allowed for a tenant dimension.

    Raises:
        ValueError: The key has an unknown dimension, lacks one, or has a value of the wrong
            kind or outside the declared range; the message names what is allowed.
    """
    allowed = list(strategy.dimension_names)
    unknown = sorted(set(key.dimensions) - set(allowed))
    if unknown:
        raise ValueError(
            f"unknown partition dimension {unknown[0]!r}: "
            + (f"the asset has {allowed!r}" if allowed else "the asset is not partitioned")
        )
    missing = [name for name in allowed if name not in key.dimensions]
    if missing:
        raise ValueError(f"missing partition dimension {missing[0]!r}: the asset has {allowed!r}")
    for dimension in strategy.dimensions:
        _validate_value(dimension, key.dimensions[dimension.name], now, tenant_id)


def _validate_value(
    dimension: PartitionDimension,
    value: PartitionDimensionValue,
    now: datetime | None,
    tenant_id: str | None,
) -> None:
    kind, _ = normalize(value)
    if not isinstance(dimension, TimeDimension):
        expected = "string"
    else:
        hourly = dimension.granularity is calendar.TimeGranularity.HOUR
        expected = "timestamp" if hourly else "date"
    if kind != expected:
        raise ValueError(
            f"dimension {dimension.name!r} holds {expected} values, got the {kind} {value!r}"
        )
    if isinstance(dimension, TimeDimension):
        _validate_period(dimension, cast("date", value), now)  # its kind says so
    elif isinstance(dimension, StaticDimension):
        if value not in dimension.values:
            allowed = StaticSet(dimension.name, dimension.values).describe()
            raise ValueError(
                f"{value!r} is no value of dimension {dimension.name!r}: allowed are {allowed}"
            )
    elif tenant_id is not None and value != tenant_id:
        raise ValueError(
            f"dimension {dimension.name!r} belongs to the tenant {tenant_id!r}, got {value!r}"
        )


def _validate_period(dimension: TimeDimension, value: date, now: datetime | None) -> None:
    granularity = dimension.granularity
    try:
        index = calendar.period_index(granularity, value)
    except ValueError as exc:
        raise ValueError(f"dimension {dimension.name!r}: {exc}") from exc
    first, last = dimension.first_period, dimension.last_period
    if last is None and now is not None:
        last = calendar.last_complete_period(granularity, dimension.timezone, now)
    if (first is not None and index < first) or (last is not None and index > last):
        lower = "" if first is None else calendar.period_text(granularity, first)
        upper = "" if last is None else calendar.period_text(granularity, last)
        raise ValueError(
            f"{calendar.period_text(granularity, index)} lies outside the declared range "
            f"{lower}..{upper} of dimension {dimension.name!r}"
        )


def _declared_axis(
    dimension: PartitionDimension, now: datetime, tenant_id: str | None
) -> PartitionAxis:
    if isinstance(dimension, StaticDimension):
        return StaticSet(dimension.name, dimension.values)
    if isinstance(dimension, TimeDimension):
        first, last = dimension.first_period, dimension.last_period
        if first is None:
            raise ValueError(
                f"the partitions of dimension {dimension.name!r} cannot be listed because it has "
                f"no start; declare it with start=..., or name the partitions you want"
            )
        if last is None:
            last = calendar.last_complete_period(dimension.granularity, dimension.timezone, now)
        return TimeRange(dimension, first, last)
    if tenant_id is None:
        raise ValueError(f"dimension {dimension.name!r} needs a tenant, and none is given")
    return StaticSet(dimension.name, (tenant_id,))
