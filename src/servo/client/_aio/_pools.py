"""Pools: how many attempts may use something at once."""

from __future__ import annotations

from collections.abc import AsyncIterator

from servo._wire import methods
from servo.client._aio._calls import Calls
from servo.types.pools import ListPoolsRequest, Pool, SetPoolRequest


class AsyncPools:
    """The pools of a workspace. Use it as ``client.pools``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def list(self) -> AsyncIterator[Pool]:
        """Read the pools, by name: their slots, how many are taken, how many tasks wait."""
        for pool in (await self._calls.unary(methods.LIST_POOLS, ListPoolsRequest())).pools:
            yield pool

    async def set(self, name: str, slots: int) -> Pool:
        """Give a pool a size; what is being executed goes on, also above a smaller one.

        Args:
            name: The pool; made when it does not exist.
            slots: How many slots it has; 0 holds everything that needs it.

        Raises:
            PermissionDeniedError: The caller may not start runs either.
            ValueError: The name is malformed, or the size is negative.
        """
        request = SetPoolRequest(name=name, slots=slots)
        return (await self._calls.unary(methods.SET_POOL, request)).pool

    async def remove(self, name: str) -> None:
        """Remove a pool: what needs it is not limited by it any more.

        Args:
            name: The pool; nothing happens where there is none of that name.

        Raises:
            PermissionDeniedError: The caller may not start runs either.
            ValueError: The name is malformed.
        """
        await self._calls.unary(methods.SET_POOL, SetPoolRequest(name=name))
