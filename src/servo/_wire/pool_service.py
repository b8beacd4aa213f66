"""Pools, and requests and responses of their service (``pool.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import pool_pb2 as pb
from servo.types.pools import (
    ListPoolsRequest,
    ListPoolsResponse,
    Pool,
    SetPoolRequest,
    SetPoolResponse,
)


def pool_to_proto(pool: Pool, message: pb.Pool) -> None:
    """Fill in a pool."""
    message.name = pool.name
    message.slots = pool.slots
    message.used = pool.used
    message.waiting = pool.waiting


def pool_from_proto(message: pb.Pool) -> Pool:
    """Read a pool."""
    return Pool(name=message.name, slots=message.slots, used=message.used, waiting=message.waiting)


def list_pools_request_to_proto(_request: ListPoolsRequest, _message: pb.ListPoolsRequest) -> None:
    """Fill in nothing: there is one list."""


def list_pools_request_from_proto(_message: pb.ListPoolsRequest) -> ListPoolsRequest:
    """Read nothing: there is one list."""
    return ListPoolsRequest()


def list_pools_response_to_proto(
    response: ListPoolsResponse, message: pb.ListPoolsResponse
) -> None:
    """Fill in the pools."""
    for pool in response.pools:
        pool_to_proto(pool, message.pools.add())


def list_pools_response_from_proto(message: pb.ListPoolsResponse) -> ListPoolsResponse:
    """Read the pools."""
    return ListPoolsResponse(pools=tuple([pool_from_proto(pool) for pool in message.pools]))


def set_pool_request_to_proto(request: SetPoolRequest, message: pb.SetPoolRequest) -> None:
    """Fill in which size a pool is given."""
    message.name = request.name
    if request.slots is not None:
        message.slots = request.slots


def set_pool_request_from_proto(message: pb.SetPoolRequest) -> SetPoolRequest:
    """Read which size a pool is given.

    Raises:
        ValueError: The name is malformed, or the size is negative.
    """
    return SetPoolRequest(
        name=message.name, slots=message.slots if message.HasField("slots") else None
    )


def set_pool_response_to_proto(response: SetPoolResponse, message: pb.SetPoolResponse) -> None:
    """Fill in the pool as it is now."""
    pool_to_proto(response.pool, message.pool)


def set_pool_response_from_proto(message: pb.SetPoolResponse) -> SetPoolResponse:
    """Read the pool as it is now."""
    return SetPoolResponse(pool=pool_from_proto(message.pool))
