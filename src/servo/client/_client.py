"""The client: a control plane as Python objects."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from servo.client import transport
from servo.client._assets import Assets
from servo.client._calls import Calls
from servo.client._deployments import Deployments
from servo.client._logs import Logs
from servo.client._runs import Runs
from servo.client._server import Server


class Client:
    """A connection to a control plane; may be used by several threads.

    It connects with the first call. Close it when done, or use it in a ``with`` statement::

        with Client("grpc://127.0.0.1:7433", api_key=key) as client:
            created = client.runs.create(["raw.*"])
            for event in client.runs.watch(created.run.run_id):
                print(event)

    Args:
        url: ``grpc://HOST:PORT``, or ``grpcs://HOST:PORT`` for TLS.
        api_key: Key of the control plane.
        tenant_id: Tenant to act for.
        workspace_id: Workspace to act in.
        source: Tool that calls, recorded by the control plane.
        timeout: Seconds that a call may take; also how long streams are opened again while the
            control plane cannot be reached.

    Attributes:
        deployments: Deploying, and what was deployed.
        runs: Starting, reading, stopping and following runs.
        assets: Assets and what was produced of them.
        logs: What attempts wrote.
        server: The control plane itself.

    Raises:
        ConfigurationError: The URL is malformed, or an identity cannot be sent.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        tenant_id: str = "default",
        workspace_id: str = "default",
        source: str = "sdk",
        timeout: float = 30.0,
    ) -> None:
        metadata = transport.call_metadata(
            api_key=api_key, tenant_id=tenant_id, workspace_id=workspace_id, source=source
        )
        self._url = url
        self._channel = transport.dial(url)
        calls = Calls(self._channel, url=url, metadata=metadata, timeout=timeout)
        self.deployments = Deployments(calls)
        self.runs = Runs(calls)
        self.assets = Assets(calls)
        self.logs = Logs(calls)
        self.server = Server(calls)

    def close(self) -> None:
        """Close the connection; calls that are under way fail."""
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._url!r})"
