"""Which partitions of an upstream asset a partition needs."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import Final

from servo.types._frozen import check_type, set_field
from servo.types.calendar import TimeGranularity
from servo.types.keys import AssetKey

__all__ = [
    "AssetDependency",
    "DependencyMapping",
    "PartitionMapping",
    "all_partitions",
    "latest",
    "window",
]


class DependencyMapping(StrEnum):
    """How partitions of the upstream follow from a partition of the asset."""

    IDENTITY = "identity"
    ALL = "all"
    LATEST = "latest"
    WINDOW = "window"


@dataclass(frozen=True, slots=True)
class PartitionMapping:
    """What ``window``, ``latest`` and ``all_partitions`` return, for use in ``Annotated``.

    Attributes:
        kind: The mapping.
        start: First period of a window, counted from one's own, usually negative.
        end: Last period of a window, inclusive.
        unit: Granularity that the window was counted in, or ``None`` for any.
    """

    kind: DependencyMapping = DependencyMapping.IDENTITY
    _: KW_ONLY
    start: int = 0
    end: int = 0
    unit: TimeGranularity | None = None

    def __post_init__(self) -> None:
        set_field(self, "kind", DependencyMapping(self.kind))
        _check_window(self.kind, self.start, self.end)


def window(
    start: int | None = None,
    end: int | None = None,
    *,
    hours: int | None = None,
    days: int | None = None,
    weeks: int | None = None,
    months: int | None = None,
    years: int | None = None,
) -> PartitionMapping:
    """Depend on the periods around one's own.

    Args:
        start: First period, counted from one's own: ``-6`` is six periods earlier.
        end: Last period, inclusive; zero, one's own, by default.
        hours: Length of a window that ends with one's own hour, instead of ``start``.
        days: The same in days: ``window(days=7)`` is ``window(start=-6, end=0)``, and is
            refused on a dimension that is not daily.
        weeks: The same in weeks.
        months: The same in months.
        years: The same in years.

    Raises:
        TypeError: A number is no integer; neither ``start`` nor a length is given, or both.
        ValueError: A length is not positive, or the window ends before it starts.
    """
    lengths = {
        TimeGranularity.HOUR: hours,
        TimeGranularity.DAY: days,
        TimeGranularity.WEEK: weeks,
        TimeGranularity.MONTH: months,
        TimeGranularity.YEAR: years,
    }
    given = [(unit, length) for unit, length in lengths.items() if length is not None]
    if not given:
        if start is None:
            raise TypeError("window() needs start=, such as start=-6, or a length, such as days=7")
        return PartitionMapping(DependencyMapping.WINDOW, start=start, end=end or 0)
    if len(given) > 1 or start is not None or end is not None:
        raise TypeError(
            "window() takes either start= and end=, or exactly one of hours=, days=, "
            "weeks=, months= and years="
        )
    unit, length = given[0]
    if type(length) is not int:
        raise TypeError(f"window({unit}s={length!r}): the length must be an integer")
    if length < 1:
        raise ValueError(f"window({unit}s={length!r}): the length must be at least 1")
    return PartitionMapping(DependencyMapping.WINDOW, start=1 - length, end=0, unit=unit)


def latest() -> PartitionMapping:
    """Depend on the greatest partition that is materialised or part of the same run."""
    return PartitionMapping(DependencyMapping.LATEST)


def all_partitions() -> PartitionMapping:
    """Depend on every declared partition."""
    return PartitionMapping(DependencyMapping.ALL)


@dataclass(frozen=True, slots=True)
class AssetDependency:
    """One upstream of an asset.

    The unit of a window is a check on how it was written: ``window(days=7)`` reads the same
    partitions as ``window(start=-6, end=0)`` and is refused on a dimension that is not daily. Once
    the assets of a project have been checked it says nothing more, so it is no part of the
    contract, and two dependencies that differ in nothing else are equal.

    Attributes:
        upstream_key: The asset that is read.
        parameter_name: Function parameter that receives it.
        mapping: How partitions correspond.
        window_start: First period of a window, counted from one's own; zero otherwise.
        window_end: Last period of a window, inclusive; zero otherwise.
        window_unit: Granularity that the window was counted in, or ``None`` for any; neither
            compared nor sent.
        require_quality: Whether an upstream partition whose checks failed blocks the asset.
    """

    upstream_key: AssetKey
    _: KW_ONLY
    parameter_name: str = ""
    mapping: DependencyMapping = DependencyMapping.IDENTITY
    window_start: int = 0
    window_end: int = 0
    window_unit: TimeGranularity | None = field(default=None, compare=False)
    require_quality: bool = True

    def __post_init__(self) -> None:
        check_type(self.upstream_key, AssetKey, "upstream_key")
        set_field(self, "mapping", DependencyMapping(self.mapping))
        _check_window(self.mapping, self.window_start, self.window_end)

    @property
    def partition_mapping(self) -> PartitionMapping:
        """The mapping together with its window."""
        return PartitionMapping(
            self.mapping, start=self.window_start, end=self.window_end, unit=self.window_unit
        )


def _check_window(kind: DependencyMapping, start: object, end: object) -> None:
    if type(start) is not int or type(end) is not int:
        raise TypeError(f"a window is counted in integers, got start={start!r}, end={end!r}")
    if end < start:
        raise ValueError(f"the window ends before it starts: start={start}, end={end}")
    if kind is not DependencyMapping.WINDOW and (start or end):
        raise ValueError(f"start and end belong to a window, not to the mapping {str(kind)!r}")


IDENTITY: Final = PartitionMapping()
"""The mapping of a dependency that names none."""
