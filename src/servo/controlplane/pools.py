"""The verbs of pools: what bounds how many attempts use something at once."""

from __future__ import annotations

from servo.controlplane.caller import Caller
from servo.controlplane.plane import Plane
from servo.types.pools import (
    ListPoolsRequest,
    ListPoolsResponse,
    SetPoolRequest,
    SetPoolResponse,
)


class Pools:
    """The RPCs of ``PoolService``.

    Args:
        plane: What they act on.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    async def list_pools(self, caller: Caller, request: ListPoolsRequest) -> ListPoolsResponse:
        """Return the pools, by name."""
        del request
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        return ListPoolsResponse(pools=workspace.pools())

    async def set_pool(self, caller: Caller, request: SetPoolRequest) -> SetPoolResponse:
        """Give a pool a size, or remove it; removing one that is not there changes nothing."""
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        pool = workspace.set_pool(request.name, request.slots)
        await workspace.journal.durable()
        return SetPoolResponse(pool=pool)
