"""Whether the partitions of an upstream follow from those of the asset that reads it."""

from __future__ import annotations

from collections.abc import Iterator

from servo.types import (
    AssetDependency,
    DependencyMapping,
    PartitionDimension,
    PartitionStrategy,
    StaticDimension,
    TimeDimension,
)

_WAYS_OUT = (
    "read all of it with all_partitions() or the newest with latest(), as in "
    "Annotated[..., AssetIn[...], all_partitions()]"
)


def mapping_problem(
    dependency: AssetDependency, own: PartitionStrategy, upstream: PartitionStrategy
) -> str | None:
    """Say why a dependency's mapping is impossible.

    Args:
        dependency: The dependency.
        own: Partitioning of the asset that reads.
        upstream: Partitioning of the asset that is read.

    Returns:
        A clause that goes on after a colon, or ``None`` when the mapping is fine.
    """
    match dependency.mapping:
        case DependencyMapping.LATEST:
            return None
        case DependencyMapping.ALL:
            return next(_open_dimensions(upstream), None)
        case DependencyMapping.WINDOW:
            return _window_problem(dependency, own, upstream)
        case DependencyMapping.IDENTITY:
            if not upstream.dimensions:
                return None
            return next(_identity_problems(own, upstream.dimensions), None)


def _open_dimensions(upstream: PartitionStrategy) -> Iterator[str]:
    for one in upstream.time_dimensions:
        if one.start is None:
            yield (
                f"all_partitions() means every declared partition, and its dimension "
                f"{one.name!r} has no first one; give that dimension a start="
            )


def _identity_problems(
    own: PartitionStrategy, dimensions: tuple[PartitionDimension, ...]
) -> Iterator[str]:
    mine = {one.name: one for one in own.dimensions}
    for one in dimensions:
        match = mine.get(one.name)
        if match is None:
            has = f"has only {', '.join(map(repr, mine))}" if mine else "is not partitioned"
            yield (
                f"the upstream is partitioned by {one.name!r} and this asset {has}; {_WAYS_OUT}, "
                f"or partition this asset by {one.name!r} too"
            )
        elif match.kind is not one.kind:
            yield (
                f"the dimension {one.name!r} is {one.kind} there and {match.kind} here, so no "
                f"value of one is a value of the other; {_WAYS_OUT}, or rename one of the two"
            )
        elif (
            isinstance(one, StaticDimension)
            and isinstance(match, StaticDimension)
            and not set(one.values).intersection(match.values)
        ):
            yield f"the dimension {one.name!r} has no value that both declare; {_WAYS_OUT}"


def _window_problem(
    dependency: AssetDependency, own: PartitionStrategy, upstream: PartitionStrategy
) -> str | None:
    times = upstream.time_dimensions
    if len(times) != 1:
        return (
            f"window() needs exactly one time dimension in the upstream, which has "
            f"{len(times) or 'none'}; use all_partitions() or latest()"
        )
    there = times[0]
    here = next((one for one in own.dimensions if one.name == there.name), None)
    if not isinstance(here, TimeDimension):
        return (
            f"window() counts from one's own {there.name!r}, and this asset has no time "
            f"dimension of that name; partition it by {there.name!r}, or use all_partitions() or "
            f"latest()"
        )
    if here.granularity is not there.granularity:
        return (
            f"window() counts periods of one length, and {there.name!r} is by "
            f"{there.granularity} there and by {here.granularity} here; leave out the window to "
            f"read the periods that correspond, or use all_partitions()"
        )
    unit = dependency.window_unit
    if unit is not None and unit is not here.granularity:
        return (
            f"window({unit}s=...) does not fit the dimension {there.name!r}, which is by "
            f"{there.granularity}; write window({there.granularity}s=...) or window(start=...)"
        )
    rest = tuple(one for one in upstream.dimensions if one is not there)
    return next(_identity_problems(own, rest), None)
