"""What a worker is told when it is given an attempt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from servo.controlplane.active import ActiveRun
from servo.controlplane.mapping import Edge
from servo.controlplane.store.stored import CurrentMaterialization
from servo.types import amounts
from servo.types.dependencies import DependencyMapping
from servo.types.partition_keys import PartitionKey
from servo.types.records import Task
from servo.types.sessions import InputPartition, Lease, TaskDispatch, TaskInput

Materialized = Callable[[str], Mapping[PartitionKey, CurrentMaterialization]]
"""Answers what is materialised of an asset, by its id."""


def task_dispatch(
    active: ActiveRun, task: Task, lease: Lease, materialized: Materialized
) -> TaskDispatch:
    """Return the message that gives out an attempt.

    Args:
        active: The run.
        task: The task.
        lease: The lease for the attempt.
        materialized: What there is to read.
    """
    run, asset = active.machine.run, active.catalog.assets[task.asset_key]
    budget = asset.execution.budget
    return TaskDispatch(
        lease=lease,
        run_id=active.run_id,
        deployment_id=active.catalog.deployment_id,
        asset=asset,
        partition_key=task.partition_key,
        inputs=tuple(_input(active, edge, task, materialized) for edge in active.edges(asset.key)),
        config=active.request.config,
        trace_context=run.trace_context,
        budget=(
            amounts.least_left((budget, task.spent), (run.budget, run.spent))
            if budget or run.budget
            else {}
        ),
    )


def _input(active: ActiveRun, edge: Edge, task: Task, materialized: Materialized) -> TaskInput:
    current = materialized(active.catalog.asset_id(edge.upstream.key))
    if edge.kind is DependencyMapping.LATEST and not edge.is_constant:
        newest = edge.latest(current)
        names = edge.upstream.partitioning.dimension_names
        keys: Sequence[PartitionKey] = () if newest is None else (newest.in_order(names),)
    else:
        keys = edge.upstream_keys(task.partition_key)
    return TaskInput(
        parameter_name=edge.dependency.parameter_name,
        upstream_key=edge.upstream.key,
        partitions=tuple(_input_partition(key, current.get(key)) for key in keys),
        partitioning=edge.upstream.partitioning,
    )


def _input_partition(key: PartitionKey, made: CurrentMaterialization | None) -> InputPartition:
    if made is None:
        return InputPartition(partition_key=key)
    return InputPartition(
        partition_key=key,
        materialization_id=made.materialization_id,
        has_data=made.has_data,
        path=made.path,
    )
