"""From a request to a plan: selection times partitions, in topological order.

The plan is a pure function of the request, the deployment, what is materialised and the instant
that decides what is declared. Nothing here recurses over assets or partitions.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from servo import errors
from servo.controlplane.asked import MAX_TASKS, Tasks, selected_tasks, too_large
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import WHOLE, Edge, Scope
from servo.controlplane.selecting import reach
from servo.types.assets import AssetDefinition
from servo.types.dependencies import DependencyMapping
from servo.types.keys import AssetKey
from servo.types.labels import label
from servo.types.partition_keys import PartitionKey
from servo.types.partitions import StaticDimension
from servo.types.plans import Plan, PlanGate, PlannedTask
from servo.types.requests import CreateRunRequest
from servo.types.scalars import PartitionDimensionValue
from servo.types.selection import ANY_LEVEL

Materialized = Callable[[AssetKey], Collection[PartitionKey]]
"""Answers which partitions of an asset are materialised."""

_Wanted = dict[AssetKey, dict[PartitionKey, None]]

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
        servo.errors.InvalidArgumentError: A selection cannot be read, partitions are missing from
            the request, are not declared, or an upstream partition is neither materialised nor
            part of the run.
    """
    tasks = selected_tasks(request, catalog, scope)
    return plan_tasks(tasks, request, catalog, materialized, scope)


def plan_tasks(
    tasks: Tasks,
    request: CreateRunRequest,
    catalog: Catalog,
    materialized: Materialized,
    scope: Scope,
) -> Plan:
    """Put tasks into their order, with what the request adds upstream and downstream of them.

    Args:
        tasks: The partitions of each asset, which has to be one of the deployment.
        request: What is asked for.
        catalog: The deployment.
        materialized: Which partitions exist already.
        scope: What is declared.

    Raises:
        servo.errors.InvalidArgumentError: There are too many, or an upstream partition is neither
            materialised nor part of the run.
    """
    wanted: _Wanted = {key: dict.fromkeys(partitions) for key, partitions in tasks.items()}
    if request.downstream:
        _add_downstream(wanted, catalog, scope)
    if request.upstream:
        _add_upstream(wanted, catalog, scope)
    total = sum(len(keys) for keys in wanted.values())
    if total > MAX_TASKS:
        raise too_large(total)
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


# -- what is added -----------------------------------------------------------------------


def _add_downstream(wanted: _Wanted, catalog: Catalog, scope: Scope) -> None:
    reached = reach(wanted, catalog.downstream, ANY_LEVEL)
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
    reached = reach(wanted, catalog.upstream, ANY_LEVEL)
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

        wanted = sorted(self.wanted[asset.key], key=rank)
        names = asset.partitioning.dimension_names
        # A key that was asked for, or that an earlier run had, may have them in another order.
        return [key.in_order(names) for key in wanted] if len(names) > 1 else wanted

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
            + ". Materialise them first, or have the run include what is upstream",
            code="UPSTREAM_MISSING",
            context={"missing": str(sum(len(set(keys)) for keys in self.missing.values()))},
        )
