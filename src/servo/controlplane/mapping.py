"""Which upstream partitions one partition reads: the mappings of an edge, evaluated.

The same code answers when a run is planned and when a task is given out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any

from servo import errors
from servo.types import calendar
from servo.types.assets import AssetDefinition
from servo.types.calendar import TimeGranularity
from servo.types.dependencies import AssetDependency, DependencyMapping
from servo.types.labels import pair_text
from servo.types.partition_axes import PartitionAxis, StaticSet, TimeRange
from servo.types.partition_keys import PartitionKey
from servo.types.partition_sets import PartitionSet
from servo.types.partitions import (
    PartitionDimension,
    PartitionStrategy,
    StaticDimension,
    TimeDimension,
)
from servo.types.scalars import PartitionDimensionValue

WHOLE = PartitionKey()
"""The only partition of an asset that is not partitioned."""


class Scope:
    """What "declared" means right now: the instant and the tenant.

    Args:
        now: Aware instant; open-ended ranges end with the last period complete by then.
        tenant_id: The only value of tenant dimensions.
    """

    def __init__(self, now: datetime, tenant_id: str) -> None:
        self.now = now
        self.tenant_id = tenant_id
        self._declared: dict[PartitionStrategy, PartitionSet] = {}

    def declared(self, asset: AssetDefinition) -> PartitionSet:
        """Return every declared partition of an asset.

        Raises:
            servo.errors.InvalidArgumentError: They cannot be listed; the message says why.
        """
        strategy = asset.partitioning
        found = self._declared.get(strategy)
        if found is None:
            try:
                found = PartitionSet.declared(strategy, now=self.now, tenant_id=self.tenant_id)
            except ValueError as exc:
                raise errors.InvalidArgumentError(f"asset {str(asset.key)!r}: {exc}") from exc
            self._declared[strategy] = found
        return found


class Edge:
    """One dependency between two assets.

    Args:
        dependency: The dependency.
        upstream: The asset that is read.
        downstream: The asset that reads.
        scope: What is declared.
    """

    def __init__(
        self,
        dependency: AssetDependency,
        upstream: AssetDefinition,
        downstream: AssetDefinition,
        scope: Scope,
    ) -> None:
        self.dependency = dependency
        self.upstream = upstream
        self.downstream = downstream
        self.scope = scope
        self._same = upstream.partitioning == downstream.partitioning
        self._all: tuple[PartitionKey, ...] | None = None
        self._ranges: dict[str, tuple[int | None, int]] = {}

    @property
    def kind(self) -> DependencyMapping:
        """The mapping."""
        return self.dependency.mapping

    @property
    def is_constant(self) -> bool:
        """Whether every downstream partition reads the same upstream partitions."""
        return self.kind is DependencyMapping.ALL or not self.upstream.partitioning.is_partitioned

    def candidates(self) -> tuple[PartitionKey, ...]:
        """Return every declared upstream partition, in order."""
        if self._all is None:
            self._all = tuple(self.scope.declared(self.upstream))
        return self._all

    def latest(self, available: Iterable[PartitionKey]) -> PartitionKey | None:
        """Return the greatest of some upstream partitions; `None` when there is none.

        Time decides before other dimensions do; among static values the one declared last is
        the greatest, and values that are no longer declared do not count.
        """
        best: tuple[list[Any], PartitionKey] | None = None
        for key in available:
            rank = self._rank(key)
            if rank is not None and (best is None or rank > best[0]):
                best = (rank, key)
        return best[1] if best else None

    def _rank(self, key: PartitionKey) -> list[Any] | None:
        times: list[Any] = []
        others: list[Any] = []
        for dimension in self.upstream.partitioning.dimensions:
            value = key.dimensions.get(dimension.name)
            if value is None:
                return None
            if isinstance(dimension, TimeDimension):
                times.append(value)
            elif isinstance(dimension, StaticDimension):
                if value not in dimension.values:
                    return None
                others.append(dimension.values.index(str(value)))
        return times + others

    def upstream_keys(self, key: PartitionKey) -> Sequence[PartitionKey]:
        """Return the upstream partitions that a downstream partition reads, in order.

        Not for ``latest``, which depends on what is materialised.

        Raises:
            servo.errors.InvalidArgumentError: A partition that is needed is not declared.
        """
        if not self.upstream.partitioning.is_partitioned:
            return (WHOLE,)
        if self.kind is DependencyMapping.ALL:
            return self.candidates()
        if self.kind is DependencyMapping.IDENTITY and self._same:
            return (key,)
        return tuple(PartitionSet(self._axes(key)))

    def _axes(self, key: PartitionKey) -> Iterable[PartitionAxis]:
        windowed = self.kind is DependencyMapping.WINDOW
        for dimension in self.upstream.partitioning.dimensions:
            value = key.dimensions.get(dimension.name)
            if isinstance(dimension, TimeDimension):
                own = self.downstream.partitioning.dimension(dimension.name)
                yield self._time_axis(dimension, own, value, windowed)
                windowed = False
            elif isinstance(dimension, StaticDimension):
                if not isinstance(value, str) or value not in dimension.values:
                    raise self._undeclared(dimension.name, value)
                yield StaticSet(dimension.name, (value,))
            else:
                yield StaticSet(dimension.name, (self.scope.tenant_id,))

    def _time_axis(
        self,
        dimension: TimeDimension,
        own: PartitionDimension,
        value: PartitionDimensionValue,
        windowed: bool,
    ) -> TimeRange:
        if not isinstance(own, TimeDimension) or not isinstance(value, date):
            raise self._undeclared(dimension.name, value)
        index = calendar.period_index(own.granularity, value)
        first, last = index, index
        if windowed:
            first += self.dependency.window_start
            last += self.dependency.window_end
        if own.granularity is not dimension.granularity:
            first, last = _overlap(own, dimension, first, last)
        low, high = self._declared_range(dimension)
        clipped = TimeRange(
            dimension,
            first if low is None else max(first, low),
            min(last, high),
        )
        if not windowed and len(clipped) == 0:
            raise self._undeclared(dimension.name, value)
        return clipped

    def _declared_range(self, dimension: TimeDimension) -> tuple[int | None, int]:
        found = self._ranges.get(dimension.name)
        if found is None:
            last = dimension.last_period
            if last is None:
                last = calendar.last_complete_period(
                    dimension.granularity, dimension.timezone, self.scope.now
                )
            found = self._ranges[dimension.name] = (dimension.first_period, last)
        return found

    def _undeclared(self, name: str, value: PartitionDimensionValue) -> errors.InvalidArgumentError:
        where = pair_text(name, value)
        return errors.InvalidArgumentError(
            f"asset {str(self.downstream.key)!r} reads {str(self.upstream.key)!r} at "
            f"{where}, which {str(self.upstream.key)!r} does not declare",
            code="PARTITION_NOT_DECLARED",
        )


def _overlap(own: TimeDimension, other: TimeDimension, first: int, last: int) -> tuple[int, int]:
    """Return the range of the other dimension's periods that share time with one's own."""
    zone = other.timezone if own.granularity is TimeGranularity.HOUR else own.timezone
    low = calendar.overlapping_periods(own.granularity, first, other.granularity, zone)
    high = calendar.overlapping_periods(own.granularity, last, other.granularity, zone)
    return (low[0], high[-1]) if low and high else (0, -1)
