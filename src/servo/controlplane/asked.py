"""Which partitions of which assets a request asks for."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

from servo import errors
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import WHOLE, Scope
from servo.types.assets import AssetDefinition
from servo.types.keys import AssetKey
from servo.types.partition_axes import PartitionAxis, StaticSet, TimeRange
from servo.types.partition_keys import PartitionKey
from servo.types.partition_sets import PartitionSet, validate_key
from servo.types.partitions import (
    PartitionDimension,
    PartitionStrategy,
    StaticDimension,
    TimeDimension,
)
from servo.types.requests import (
    AllPartitions,
    CreateRunRequest,
    DimensionSelection,
    PartitionProduct,
    PartitionRange,
)

Tasks = Mapping[AssetKey, Collection[PartitionKey]]
"""Partitions by asset."""

MAX_TASKS = 1_000_000
"""A plan with more tasks than this is refused: somebody forgot a range."""


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
    elif isinstance(request.partitions, PartitionProduct):
        asked = {item.dimension for item in request.partitions.dimensions if item.dimension}
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
    if isinstance(asked, PartitionProduct):
        return _Product(asked, asset, scope).partitions()
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


def _time_dimension(asset: AssetDefinition, name: str) -> TimeDimension:
    times = asset.partitioning.time_dimensions
    matching = [d for d in times if name in ("", d.name)]
    if len(matching) != 1:
        have = ", ".join(repr(d.name) for d in times) or "none"
        raise errors.InvalidArgumentError(
            f"asset {str(asset.key)!r}: a range needs one time dimension, it has {have}; "
            "name one partition, or ask for all of them",
            code="INVALID_PARTITION",
        )
    return matching[0]


def _range_partitions(
    asked: PartitionRange, asset: AssetDefinition, scope: Scope
) -> Iterable[PartitionKey]:
    dimension = _time_dimension(asset, asked.dimension)
    try:
        axis = TimeRange.between(dimension, asked.first, asked.last)
        _check_ends(axis, scope)
    except ValueError as exc:
        raise _invalid(asset, str(exc)) from exc
    if len(asset.partitioning.dimensions) == 1:
        return PartitionSet([axis])
    return scope.declared(asset).narrow(axis)


def _check_ends(axis: TimeRange, scope: Scope) -> None:
    """Check that both ends of a range are declared, alone: other dimensions are not of interest."""
    alone = PartitionStrategy([axis.dimension])
    for end in (axis.at(0), axis.at(len(axis) - 1)):
        validate_key(alone, PartitionKey({axis.name: end}), now=scope.now)


def _invalid(asset: AssetDefinition, problem: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(
        f"asset {str(asset.key)!r}: {problem}", code="INVALID_PARTITION"
    )


class _Product:
    """The partitions of one asset among the combinations that a request selects.

    Args:
        asked: What is selected of each dimension.
        asset: The asset.
        scope: What is declared.
    """

    def __init__(self, asked: PartitionProduct, asset: AssetDefinition, scope: Scope) -> None:
        self.asked = asked
        self.asset = asset
        self.scope = scope

    def partitions(self) -> Iterator[PartitionKey]:
        """Return every selected partition, each once.

        Raises:
            servo.errors.InvalidArgumentError: A dimension is missing or selected twice, a value
                cannot be read or is not declared, or there are too many.
        """
        selections = self._by_dimension()
        axes = [self._axes(item, selections) for item in self.asset.partitioning.dimensions]
        total = math.prod(sum(map(len, segments)) for segments in axes)
        if total > MAX_TASKS:
            raise too_large(total)
        # Each combination has a key, so that there are not more of them than tasks.
        combinations = itertools.product(*axes) if total else ()
        return itertools.chain.from_iterable(map(PartitionSet, combinations))

    def _by_dimension(self) -> Mapping[str, DimensionSelection]:
        names = self.asset.partitioning.dimension_names
        found: dict[str, DimensionSelection] = {}
        for selection in self.asked.dimensions:
            if not selection.dimension and not self.asset.partitioning.time_dimensions:
                continue
            name = selection.dimension or _time_dimension(self.asset, "").name
            if name in found:
                raise _invalid(self.asset, f"the dimension {name!r} is selected twice")
            if name in names:
                found[name] = selection
        return found

    def _axes(
        self, dimension: PartitionDimension, selections: Mapping[str, DimensionSelection]
    ) -> Sequence[PartitionAxis]:
        selection = selections.get(dimension.name)
        try:
            if selection is None:
                if not self.asked.others:
                    names = list(self.asset.partitioning.dimension_names)
                    raise ValueError(
                        f"missing partition dimension {dimension.name!r}: the asset has {names!r}"
                    )
                alone = PartitionStrategy([dimension])
                return PartitionSet.declared(
                    alone, now=self.scope.now, tenant_id=self.scope.tenant_id
                ).axes
            if isinstance(dimension, TimeDimension):
                return self._periods(dimension, selection)
            return [self._listed(dimension, selection)]
        except ValueError as exc:
            raise _invalid(self.asset, str(exc)) from exc

    def _listed(self, dimension: PartitionDimension, selection: DimensionSelection) -> StaticSet:
        if selection.ranges:
            raise ValueError(
                f"the dimension {dimension.name!r} has no periods, so that there is no range of it"
            )
        if not selection.values:
            raise ValueError(f"no value of the dimension {dimension.name!r} is selected")
        alone = PartitionStrategy([dimension])
        # As a set: a dimension may have 100,000 values, and 10,000 of them be asked for.
        known = frozenset(dimension.values if isinstance(dimension, StaticDimension) else ())
        for value in selection.values:
            if value not in known:
                key = PartitionKey({dimension.name: value})
                validate_key(alone, key, tenant_id=self.scope.tenant_id)
        return StaticSet(dimension.name, dict.fromkeys(selection.values))

    def _periods(
        self, dimension: TimeDimension, selection: DimensionSelection
    ) -> Sequence[TimeRange]:
        """Return the selected periods as ranges that neither touch nor overlap."""
        given = [(value, value) for value in selection.values]
        given += [(span.first, span.last) for span in selection.ranges]
        if not given:
            raise ValueError(f"no period of the dimension {dimension.name!r} is selected")
        ranges = [TimeRange.between(dimension, *ends) for ends in given]
        for axis in ranges:
            _check_ends(axis, self.scope)
        ranges.sort(key=lambda axis: axis.first)
        merged = [ranges[0]]
        for axis in ranges[1:]:
            last = merged[-1]
            if axis.first <= last.last + 1:
                merged[-1] = TimeRange(dimension, last.first, max(last.last, axis.last))
            else:
                merged.append(axis)
        return merged


def too_large(total: int) -> errors.InvalidArgumentError:
    """Return the error for a plan that would have too many tasks."""
    return errors.InvalidArgumentError(
        f"the run would have {total} tasks, more than {MAX_TASKS}; select fewer partitions",
        code="PLAN_TOO_LARGE",
    )
