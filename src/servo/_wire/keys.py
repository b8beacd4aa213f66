"""Asset keys and partition keys (``common.proto``).

Both are checked when they are made, and the same few arrive again and again: the last ones are
remembered. They are immutable, so that sharing them is safe.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from servo._gen.arco.v1 import common_pb2 as pb
from servo.types.keys import AssetKey
from servo.types.partitions import PartitionKey


def asset_key_to_proto(key: AssetKey, message: pb.AssetKey) -> None:
    """Fill in an asset key."""
    message.namespace = key.namespace
    message.name = key.name


def asset_key_from_proto(message: pb.AssetKey) -> AssetKey:
    """Read an asset key.

    Raises:
        ValueError: A part is malformed or missing.
    """
    return _asset_key(message.namespace, message.name)


def partition_key_to_proto(key: PartitionKey, message: pb.PartitionKey) -> None:
    """Fill in a partition key; the empty one is present as well."""
    if key.dimensions:
        # Keys are equal whatever the order of their dimensions; their messages are not.
        message.MergeFrom(_partition_key_message(key, _order(key)))
    else:
        message.SetInParent()


def partition_key_from_proto(message: pb.PartitionKey) -> PartitionKey:
    """Read a partition key.

    Raises:
        ValueError: A dimension's name or tagged value is malformed, or the order does not name
            exactly the dimensions.
    """
    data = message.SerializeToString(deterministic=True)
    return _partition_key(data) if data else EMPTY_KEY


EMPTY_KEY: Final = PartitionKey()

# A thousand keys of either kind take less than a megabyte.
_asset_key = lru_cache(maxsize=16_384)(AssetKey)


def _order(key: PartitionKey) -> str | None:
    """Return the names of the dimensions in their order; ``None`` where that is by name."""
    names = key.dimensions
    if len(names) < 2:
        return None
    text = ",".join(names)
    return None if text == ",".join(sorted(names)) else text


@lru_cache(maxsize=8_192)
def _partition_key_message(key: PartitionKey, order: str | None) -> pb.PartitionKey:
    return pb.PartitionKey(dimensions=key.to_proto_dict(), order=order)


@lru_cache(maxsize=8_192)
def _partition_key(data: bytes) -> PartitionKey:
    message = pb.PartitionKey.FromString(data)
    # A map has no order of its own: it comes out by a hash that differs from process to process.
    values = dict(message.dimensions)
    names = message.order.split(",") if message.HasField("order") else sorted(values)
    if sorted(names) != sorted(values):
        raise ValueError(
            f"the order {message.order!r} does not name exactly the dimensions {sorted(values)!r}"
        )
    return PartitionKey.from_proto_dict({name: values[name] for name in names})
