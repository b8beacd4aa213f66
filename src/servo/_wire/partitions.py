"""How an asset is cut into partitions (``asset.proto``)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from servo._gen.arco.v1 import asset_pb2 as pb
from servo._wire.enums import TIME_GRANULARITY
from servo.errors import InvalidArgumentError
from servo.types.partitions import (
    PartitionDimension,
    PartitionStrategy,
    StaticDimension,
    TenantDimension,
    TimeDimension,
)

UNPARTITIONED: Final = PartitionStrategy()


def partition_dimension_to_proto(
    dimension: PartitionDimension, message: pb.PartitionDimension
) -> None:
    """Fill in one dimension."""
    message.name = dimension.name
    if isinstance(dimension, TimeDimension):
        time = message.time
        time.granularity = TIME_GRANULARITY.number[dimension.granularity]
        time.timezone = dimension.timezone
        if dimension.start is not None:
            time.start = dimension.start
        if dimension.end is not None:
            time.end = dimension.end
    elif isinstance(dimension, StaticDimension):
        message.static.values.extend(dimension.values)
    else:
        message.tenant.SetInParent()


def partition_dimension_from_proto(message: pb.PartitionDimension) -> PartitionDimension:
    """Read one dimension.

    Raises:
        InvalidArgumentError: Its kind is not set, or not known to this version.
        ValueError: Its name or its parameters are malformed.
    """
    kind = message.WhichOneof("kind")
    if kind == "time":
        time = message.time
        return TimeDimension(
            message.name,
            TIME_GRANULARITY.member[time.granularity],
            start=time.start if time.HasField("start") else None,
            end=time.end if time.HasField("end") else None,
            timezone=time.timezone,
        )
    if kind == "static":
        return StaticDimension(message.name, values=message.static.values)
    if kind == "tenant":
        return TenantDimension(message.name)
    raise InvalidArgumentError(
        f"partition dimension {message.name!r} has no kind that this version of Servo knows; "
        f"upgrade this side, or send one of time, static and tenant"
    )


def partition_strategy_to_proto(strategy: PartitionStrategy, message: pb.PartitionStrategy) -> None:
    """Fill in a partitioning; one without dimensions is present as well."""
    message.SetInParent()
    for dimension in strategy.dimensions:
        partition_dimension_to_proto(dimension, message.dimensions.add())


def partition_strategy_from_proto(message: pb.PartitionStrategy) -> PartitionStrategy:
    """Read a partitioning.

    Raises:
        InvalidArgumentError: A dimension's kind is not known to this version.
        ValueError: A dimension is malformed, or two have the same name.
    """
    data = message.SerializeToString(deterministic=True)
    return _partition_strategy(data) if data else UNPARTITIONED


# Thousands of assets are partitioned alike, and reading dates and time zones is not cheap.
@lru_cache(maxsize=1_024)
def _partition_strategy(data: bytes) -> PartitionStrategy:
    dimensions = pb.PartitionStrategy.FromString(data).dimensions
    return PartitionStrategy([partition_dimension_from_proto(item) for item in dimensions])
