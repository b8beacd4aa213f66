"""Every verb of the control plane, one method for each RPC, on façade types.

`rpc` calls them with who is calling; nothing here knows of gRPC.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from servo import errors
from servo._version import __version__
from servo.controlplane.access import Access
from servo.controlplane.assets import Assets
from servo.controlplane.caller import Caller
from servo.controlplane.deployments import Deployments
from servo.controlplane.events import Events
from servo.controlplane.keys import KeyRing
from servo.controlplane.logs import Logs
from servo.controlplane.pace import WatchLimits
from servo.controlplane.plane import Plane
from servo.controlplane.pools import Pools
from servo.controlplane.runs import Runs
from servo.controlplane.workspace import Workspace
from servo.types.requests import GetServerInfoRequest, GetServerInfoResponse
from servo.types.sessions import (
    PROTOCOL_VERSION,
    OpenSessionRequest,
    OpenSessionResponse,
    ServerWelcome,
    WorkerHello,
)

CAPABILITIES = ("cancel", "logs", "metrics", "progress")
"""What the control plane can do beyond giving out tasks."""


class Service(Deployments, Runs, Events, Assets, Logs, Pools, Access):
    """Every RPC of the contract: those of seven nouns, the server's own and the workers'.

    Args:
        plane: What they act on.
        keys: Who may call them.
        watch_limits: How slow those who watch may be.
    """

    def __init__(self, plane: Plane, keys: KeyRing, watch_limits: WatchLimits) -> None:
        Events.__init__(self, plane, watch_limits)
        Access.__init__(self, keys)

    async def get_server_info(
        self, caller: Caller, request: GetServerInfoRequest
    ) -> GetServerInfoResponse:
        """Say who is there, and what the caller's workspace is doing."""
        del request
        workers, active_runs = self.plane.activity(caller.tenant_id, caller.workspace_id)
        return GetServerInfoResponse(
            servo_version=__version__,
            protocol_version=PROTOCOL_VERSION,
            store_id=self.plane.store.store_id,
            ready=not self.plane.is_stopping,
            workers=workers,
            active_runs=active_runs,
        )

    async def open_session(
        self, caller: Caller, requests: AsyncIterator[OpenSessionRequest]
    ) -> AsyncIterator[OpenSessionResponse]:
        """Hold the session of a worker until one side ends it.

        Raises:
            servo.errors.InvalidArgumentError: The session does not begin with a hello.
            servo.errors.ConfigurationError: The worker speaks no version known here.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        first = await anext(aiter(requests), None)
        if first is None or not first.messages or not isinstance(first.messages[0], WorkerHello):
            raise errors.InvalidArgumentError("a worker's session begins with a hello")
        hello = first.messages[0]
        session = workspace.connect(hello, self._welcome(workspace, hello))

        async def receive() -> None:
            try:
                for message in first.messages[1:]:
                    workspace.receive(session, message)
                workspace.dispatch()
                async for request in requests:
                    for message in request.messages:
                        workspace.receive(session, message)
                    workspace.dispatch()
            finally:
                session.close()

        reading = asyncio.create_task(receive())
        try:
            async for response in session.responses():
                yield response
        finally:
            reading.cancel()
            workspace.disconnect(session)
            await asyncio.wait([reading])
        if not reading.cancelled() and (problem := reading.exception()):
            raise problem

    def _welcome(self, workspace: Workspace, hello: WorkerHello) -> ServerWelcome:
        if hello.protocol_version < 1:
            raise errors.ConfigurationError(
                f"the worker speaks protocol {hello.protocol_version}, this control plane "
                f"{PROTOCOL_VERSION}; upgrade the worker",
                code="PROTOCOL_VERSION",
            )
        return ServerWelcome(
            # A newer worker is told what is known here and adapts.
            protocol_version=min(hello.protocol_version, PROTOCOL_VERSION),
            capabilities=tuple(sorted(set(CAPABILITIES) & set(hello.capabilities))),
            heartbeat_interval=workspace.lease_length / 3,
            lease_length=workspace.lease_length,
            store_id=workspace.store.store_id,
            tenant_id=workspace.tenant_id,
            workspace_id=workspace.workspace_id,
            servo_version=__version__,
        )
