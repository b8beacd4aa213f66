"""Which partitions of which assets a request asks for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from servo import errors
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import WHOLE, Scope
from servo.types.assets import AssetDefinition
from servo.types.keys import AssetKey
from servo.types.partition_axes import TimeRange
from servo.types.partition_keys import PartitionKey
from servo.types.partition_sets import PartitionSet, validate_key
from servo.types.partitions import TimeDimension
from servo.types.requests import AllPartitions, CreateRunRequest, PartitionRange

Tasks = Mapping[AssetKey, Collection[PartitionKey]]
"""Partitions by asset."""


def selected_tasks(request: CreateRunRequest, catalog: Catalog, scope: Scope) -> Tasks:
    """Return the partitions of each asset that a request selects.

    Raises:
        servo.errors.NotFoundError: A selection names nothing.
        servo.errors.InvalidArgumentError: A selection cannot be read, or partitions are missing
            from the request or not declared.
    """
    selected = catalog.select(request.selection)
    _check_dimensions(request, selected, catalog)
    return {
        key: tuple(_selected_partitions(request, catalog.assets[key], scope)) for key in selected
    }


def _check_dimensions(
    request: CreateRunRequest, selected: Sequence[AssetKey], catalog: Catalog
) -> None:
    """Refuse a dimension that no selected asset has."""
    if isinstance(request.partitions, PartitionKey):
        asked = set(request.partitions.dimensions)
    elif isinstance(request.partitions, PartitionRange) and request.partitions.dimension:
        asked = {request.partitions.dimension}
    else:
        return
    known = {name for key in selected for name in catalog.assets[key].partitioning.dimension_names}
    if unknown := sorted(asked - known):
        have = f"they have {sorted(known)}" if known else "they are not partitioned"
        raise errors.InvalidArgumentError(
            f"none of the selected assets has the partition dimension {unknown[0]!r}; {have}",
            code="UNKNOWN_DIMENSION",
        )


def _selected_partitions(
    request: CreateRunRequest, asset: AssetDefinition, scope: Scope
) -> Iterable[PartitionKey]:
    strategy = asset.partitioning
    if not strategy.is_partitioned:
        return (WHOLE,)
    asked = request.partitions
    names = ", ".join(strategy.dimension_names)
    if isinstance(asked, AllPartitions):
        return scope.declared(asset)
    if isinstance(asked, PartitionRange):
        return _range_partitions(asked, asset, scope)
    if asked is None:
        raise errors.InvalidArgumentError(
            f"asset {str(asset.key)!r} is partitioned by {names}; say which partitions: "
            "one, a range, or all of them",
            code="PARTITION_REQUIRED",
        )
    own = {n: v for n, v in asked.dimensions.items() if n in strategy.dimension_names}
    key = PartitionKey(own)
    try:
        validate_key(strategy, key, now=scope.now, tenant_id=scope.tenant_id)
    except ValueError as exc:
        raise errors.InvalidArgumentError(
            f"asset {str(asset.key)!r}: {exc}", code="INVALID_PARTITION"
        ) from exc
    return (key,)


def _range_partitions(
    asked: PartitionRange, asset: AssetDefinition, scope: Scope
) -> Iterable[PartitionKey]:
    times = [d for d in asset.partitioning.dimensions if isinstance(d, TimeDimension)]
    matching = [d for d in times if asked.dimension in ("", d.name)]
    if len(matching) != 1:
        have = ", ".join(repr(d.name) for d in times) or "none"
        raise errors.InvalidArgumentError(
            f"asset {str(asset.key)!r}: a range needs one time dimension, it has {have}; "
            "name one partition, or ask for all of them",
            code="INVALID_PARTITION",
        )
    dimension = matching[0]
    try:
        axis = TimeRange.between(dimension, asked.first, asked.last)
        ends = (axis.at(0), axis.at(len(axis) - 1))
        # Both ends are checked alone: the other dimensions take every declared value.
        alone = type(asset.partitioning)([dimension])
        for end in ends:
            validate_key(alone, PartitionKey({dimension.name: end}), now=scope.now)
    except ValueError as exc:
        raise errors.InvalidArgumentError(
            f"asset {str(asset.key)!r}: {exc}", code="INVALID_PARTITION"
        ) from exc
    if len(asset.partitioning.dimensions) == 1:
        return PartitionSet([axis])
    return scope.declared(asset).narrow(axis)
