"""Giving a worker an attempt (``worker.proto``)."""

from __future__ import annotations

from typing import Final

from servo._gen.arco.v1 import asset_pb2
from servo._gen.arco.v1 import worker_pb2 as pb
from servo._wire.assets import asset_definition_from_proto, asset_definition_to_proto
from servo._wire.keys import (
    asset_key_from_proto,
    asset_key_to_proto,
    partition_key_from_proto,
    partition_key_to_proto,
)
from servo._wire.leases import lease_from_proto, lease_to_proto
from servo._wire.partitions import partition_strategy_from_proto, partition_strategy_to_proto
from servo.types.assets import AssetDefinition
from servo.types.sessions import InputPartition, TaskDispatch, TaskInput

_REMEMBERED: Final = 10_240
"""Assets whose bytes are kept, at either end: about 5 MB. The next run gives out the same ones."""


def input_partition_to_proto(partition: InputPartition, message: pb.InputPartition) -> None:
    """Fill in one partition of an input."""
    partition_key_to_proto(partition.partition_key, message.partition_key)
    message.materialization_id = partition.materialization_id
    message.has_data = partition.has_data
    message.path = partition.path


def input_partition_from_proto(message: pb.InputPartition) -> InputPartition:
    """Read one partition of an input.

    Raises:
        ValueError: The partition key is malformed.
    """
    return InputPartition(
        partition_key=partition_key_from_proto(message.partition_key),
        materialization_id=message.materialization_id,
        has_data=message.has_data,
        path=message.path,
    )


def task_input_to_proto(task_input: TaskInput, message: pb.TaskInput) -> None:
    """Fill in one input of a task."""
    message.parameter_name = task_input.parameter_name
    asset_key_to_proto(task_input.upstream_key, message.upstream_key)
    for partition in task_input.partitions:
        input_partition_to_proto(partition, message.partitions.add())
    partition_strategy_to_proto(task_input.partitioning, message.partitioning)


def task_input_from_proto(message: pb.TaskInput) -> TaskInput:
    """Read one input of a task.

    Raises:
        InvalidArgumentError: The partitioning uses something that this version does not know.
        ValueError: A key is malformed.
    """
    return TaskInput(
        parameter_name=message.parameter_name,
        upstream_key=asset_key_from_proto(message.upstream_key),
        partitions=tuple([input_partition_from_proto(item) for item in message.partitions]),
        partitioning=partition_strategy_from_proto(message.partitioning),
    )


def task_dispatch_to_proto(dispatch: TaskDispatch, message: pb.TaskDispatch) -> None:
    """Fill in an attempt."""
    lease_to_proto(dispatch.lease, message.lease)
    message.run_id = dispatch.run_id
    message.deployment_id = dispatch.deployment_id
    message.asset.MergeFromString(_assets.encode(dispatch.asset))
    partition_key_to_proto(dispatch.partition_key, message.partition_key)
    for task_input in dispatch.inputs:
        task_input_to_proto(task_input, message.inputs.add())
    if dispatch.config:
        message.config.update(dispatch.config)
    if dispatch.trace_context:
        message.trace_context.update(dispatch.trace_context)
    if dispatch.budget:
        message.budget.update(dispatch.budget)


def task_dispatch_from_proto(message: pb.TaskDispatch) -> TaskDispatch:
    """Read an attempt.

    Raises:
        InvalidArgumentError: The asset uses something that this version does not know.
        ValueError: A key or a part of the asset is malformed.
    """
    return TaskDispatch(
        lease=lease_from_proto(message.lease),
        run_id=message.run_id,
        deployment_id=message.deployment_id,
        asset=_assets.decode(message.asset.SerializeToString(deterministic=True)),
        partition_key=partition_key_from_proto(message.partition_key),
        inputs=tuple([task_input_from_proto(item) for item in message.inputs]),
        config=dict(message.config) if message.config else {},
        trace_context=dict(message.trace_context) if message.trace_context else {},
        budget=dict(message.budget) if message.budget else {},
    )


class _KnownAssets:
    """The assets that were given out last, with their bytes.

    A definition is larger than all the rest of a dispatch. The control plane gives out the same
    ones again and again, and a worker passes each on to a process of its own as it came.
    """

    def __init__(self) -> None:
        self._by_bytes: dict[bytes, AssetDefinition] = {}
        self._by_identity: dict[int, tuple[AssetDefinition, bytes]] = {}

    def encode(self, asset: AssetDefinition) -> bytes:
        known = self._by_identity.get(id(asset))
        if known is not None:
            return known[1]
        message = asset_pb2.AssetDefinition()
        asset_definition_to_proto(asset, message)
        data = message.SerializeToString(deterministic=True)
        self._keep(asset, data)
        return data

    def decode(self, data: bytes) -> AssetDefinition:
        asset = self._by_bytes.get(data)
        if asset is None:
            asset = asset_definition_from_proto(asset_pb2.AssetDefinition.FromString(data))
            self._keep(asset, data)
            self._by_bytes[data] = asset
        return asset

    def _keep(self, asset: AssetDefinition, data: bytes) -> None:
        if len(self._by_identity) >= _REMEMBERED:
            self._by_identity.clear()
            self._by_bytes.clear()
        # Holding the asset keeps its identity from being given to another one.
        self._by_identity[id(asset)] = (asset, data)


_assets = _KnownAssets()
