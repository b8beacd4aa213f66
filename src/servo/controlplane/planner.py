"""From a request to a plan: selection times partitions, in topological order.

The plan is a pure function of the request, the deployment, what is materialised and the instant
that decides what is declared. Nothing here recurses over assets or partitions.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from servo import errors
from servo.controlplane.catalog import Catalog
from servo.controlplane.machine import label
from servo.controlplane.mapping import WHOLE, Edge, Scope
from servo.types.assets import AssetDefinition
from servo.types.dependencies import DependencyMapping
from servo.types.keys import AssetKey
from servo.types.partition_axes import TimeRange
from servo.types.partition_keys import PartitionKey
from servo.types.partition_sets import PartitionSet, validate_key
from servo.types.partitions import StaticDimension, TimeDimension
from servo.types.plans import Plan, PlanGate, PlannedTask
from servo.types.requests import AllPartitions, CreateRunRequest, PartitionRange
from servo.types.scalars import PartitionDimensionValue

Materialized = Callable[[AssetKey], Collection[PartitionKey]]
"""Answers which partitions of an asset are materialised."""

_Wanted = dict[AssetKey, dict[PartitionKey, None]]

MAX_TASKS = 1_000_000
"""A plan with more tasks than this is refused: somebody forgot a range."""

_SHOWN = 5


def plan(
    request: CreateRunRequest, catalog: Catalog, materialized: Materialized, scope: Scope
) -> Plan:
    """Expand a request into tasks.

    Args:
        request: What is asked for.
        catalog: The deployment.
        materialized: Which partitions exist already.
        scope: What is declared.

    Raises:
        servo.errors.NotFoundError: A selection names nothing.
        servo.errors.InvalidArgumentError: Partitions are missing from the request, are not
            declared, or an upstream partition is neither materialised nor part of the run.
    """
    selected = catalog.select(request.selection)
    _check_dimensions(request, selected, catalog)
    wanted: _Wanted = {}
    for key in selected:
        asset = catalog.assets[key]
        wanted[key] = dict.fromkeys(_selected_partitions(request, asset, scope))
    if request.downstream:
        _add_downstream(wanted, catalog, scope)
    if request.upstream:
        _add_upstream(wanted, catalog, scope)
    total = sum(len(keys) for keys in wanted.values())
    if total > MAX_TASKS:
        raise errors.InvalidArgumentError(
            f"the run would have {total} tasks, more than {MAX_TASKS}; select fewer partitions",
            code="PLAN_TOO_LARGE",
        )
    return _Assembly(wanted, catalog, materialized, scope).assemble()


def topological(keys: Collection[AssetKey], catalog: Catalog) -> list[AssetKey]:
    """Return assets so that each comes after those it reads; ties by key."""
    members = set(keys)
    waits = {
        key: len({d.upstream_key for d in catalog.assets[key].dependencies} & members)
        for key in members
    }
    ready = [key for key, count in waits.items() if not count]
    heapq.heapify(ready)
    order: list[AssetKey] = []
    while ready:
        key = heapq.heappop(ready)
        order.append(key)
        for reader in catalog.downstream(key):
            if reader in members:
                waits[reader] -= 1
                if not waits[reader]:
                    heapq.heappush(ready, reader)
    return order


# -- which partitions ---------------------------------------------------------------------


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
            "--partition NAME=VALUE, --partitions FIRST..LAST or --all-partitions",
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
            "use --partition or --all-partitions",
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


def _add_downstream(wanted: _Wanted, catalog: Catalog, scope: Scope) -> None:
    reached = set(wanted)
    todo = deque(wanted)
    while todo:
        for reader in catalog.downstream(todo.popleft()):
            if reader not in reached:
                reached.add(reader)
                todo.append(reader)
    for key in topological(reached, catalog):
        asset = catalog.assets[key]
        keys = wanted.setdefault(key, {})
        edges = [
            (Edge(dependency, catalog.assets[dependency.upstream_key], asset, scope), affected)
            for dependency in asset.dependencies
            if (affected := wanted.get(dependency.upstream_key))
        ]
        if edges:
            keys.update(dict.fromkeys(k for k in scope.declared(asset) if _touches(edges, k)))


def _touches(edges: Iterable[tuple[Edge, Mapping[PartitionKey, None]]], key: PartitionKey) -> bool:
    for edge, affected in edges:
        if edge.is_constant or edge.kind is DependencyMapping.LATEST:
            return True
        if any(upstream in affected for upstream in edge.upstream_keys(key)):
            return True
    return False


def _add_upstream(wanted: _Wanted, catalog: Catalog, scope: Scope) -> None:
    reached = set(wanted)
    todo = deque(wanted)
    while todo:
        for dependency in catalog.assets[todo.popleft()].dependencies:
            if dependency.upstream_key not in reached:
                reached.add(dependency.upstream_key)
                todo.append(dependency.upstream_key)
    for key in reversed(topological(reached, catalog)):
        asset = catalog.assets[key]
        for dependency in asset.dependencies:
            edge = Edge(dependency, catalog.assets[dependency.upstream_key], asset, scope)
            needed = wanted.setdefault(dependency.upstream_key, {})
            if not wanted.get(key):
                continue
            if edge.kind is DependencyMapping.LATEST:
                newest = edge.latest(edge.candidates())
                needed.update({newest: None} if newest else {})
            elif edge.is_constant:
                needed.update(dict.fromkeys(edge.upstream_keys(WHOLE)))
            else:
                for own in wanted[key]:
                    needed.update(dict.fromkeys(edge.upstream_keys(own)))


# -- which tasks --------------------------------------------------------------------------


class _Assembly:
    """Turns wanted partitions into tasks that know what they wait for."""

    def __init__(
        self, wanted: _Wanted, catalog: Catalog, materialized: Materialized, scope: Scope
    ) -> None:
        self.wanted = {key: partitions for key, partitions in wanted.items() if partitions}
        self.catalog = catalog
        self.materialized = materialized
        self.scope = scope
        self.tasks: list[PlannedTask] = []
        self.gates: list[PlanGate] = []
        self.positions: dict[AssetKey, dict[PartitionKey, int]] = {}
        self.missing: dict[tuple[AssetKey, AssetKey], list[PartitionKey]] = {}

    def assemble(self) -> Plan:
        order = topological(self.wanted, self.catalog)
        numbers = {key: number for number, key in enumerate(sorted(order))}
        for key in order:
            self._add_asset(key, numbers[key])
        if self.missing:
            raise self._refusal()
        return Plan(assets=tuple(sorted(order)), tasks=tuple(self.tasks), gates=tuple(self.gates))

    def _add_asset(self, key: AssetKey, number: int) -> None:
        asset = self.catalog.assets[key]
        edges = [
            Edge(dependency, self.catalog.assets[dependency.upstream_key], asset, self.scope)
            for dependency in asset.dependencies
        ]
        constant = [edge for edge in edges if edge.is_constant]
        varying = [edge for edge in edges if not edge.is_constant]
        shared, gates = self._constant_waits(constant)
        positions = self.positions[key] = {}
        for partition in self._ordered(asset):
            waits = list(shared)
            for edge in varying:
                waits += self._waits(edge, partition)
            positions[partition] = len(self.tasks)
            self.tasks.append(
                PlannedTask(
                    asset=number,
                    partition_key=partition,
                    upstream=tuple(sorted(set(waits))),
                    gates=gates,
                )
            )

    def _ordered(self, asset: AssetDefinition) -> list[PartitionKey]:
        """Return the wanted partitions in declared order: time ascending, lists as declared."""
        ranks: dict[str, dict[PartitionDimensionValue, int]] = {
            dimension.name: {value: rank for rank, value in enumerate(dimension.values)}
            for dimension in asset.partitioning.dimensions
            if isinstance(dimension, StaticDimension)
        }

        def rank(key: PartitionKey) -> list[Any]:
            return [
                ranks[name][value] if name in ranks else value
                for name in asset.partitioning.dimension_names
                for value in [key.dimensions[name]]
            ]

        return sorted(self.wanted[asset.key], key=rank)

    def _constant_waits(self, edges: Iterable[Edge]) -> tuple[list[int], tuple[int, ...]]:
        shared: list[int] = []
        gates: list[int] = []
        for edge in edges:
            waits = self._split(edge, edge.upstream_keys(WHOLE))
            if len(waits) > 1:
                gates.append(len(self.gates))
                self.gates.append(PlanGate(tasks=tuple(sorted(waits))))
            else:
                shared += waits
        return shared, tuple(gates)

    def _waits(self, edge: Edge, partition: PartitionKey) -> list[int]:
        if edge.kind is not DependencyMapping.LATEST:
            return self._split(edge, edge.upstream_keys(partition))
        planned = self.positions.get(edge.upstream.key, {})
        newest = edge.latest([*self.materialized(edge.upstream.key), *planned])
        if newest is None:
            self._miss(edge, WHOLE)
            return []
        return [planned[newest]] if newest in planned else []

    def _split(self, edge: Edge, keys: Iterable[PartitionKey]) -> list[int]:
        """Return the tasks among some upstream partitions; the others must exist already."""
        planned = self.positions.get(edge.upstream.key, {})
        existing: Collection[PartitionKey] | None = None
        waits: list[int] = []
        for key in keys:
            position = planned.get(key)
            if position is not None:
                waits.append(position)
                continue
            if existing is None:
                existing = self.materialized(edge.upstream.key)
            if key not in existing:
                self._miss(edge, key)
        return waits

    def _miss(self, edge: Edge, key: PartitionKey) -> None:
        self.missing.setdefault((edge.upstream.key, edge.downstream.key), []).append(key)

    def _refusal(self) -> errors.InvalidArgumentError:
        lines = []
        for (upstream, downstream), keys in sorted(self.missing.items()):
            distinct = sorted(set(keys))
            shown = ", ".join(label(upstream, key) for key in distinct[:_SHOWN])
            more = f" and {len(distinct) - _SHOWN} more" if len(distinct) > _SHOWN else ""
            lines.append(f"{downstream} reads {shown}{more}")
        return errors.InvalidArgumentError(
            "some upstream partitions are neither materialised nor part of the run: "
            + "; ".join(lines)
            + ". Add --upstream to run them as well",
            code="UPSTREAM_MISSING",
            context={"missing": str(sum(len(set(keys)) for keys in self.missing.values()))},
        )
