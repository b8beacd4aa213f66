"""The client: the verbs of a control plane, grouped by noun."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from servo.client import transport
from servo.client.assets import Assets
from servo.client.calls import Invoker
from servo.client.deployments import Deployments
from servo.client.logs import Logs
from servo.client.runs import Runs
from servo.client.server import Server


class Client:
    """A connection to a control plane, for one workspace.

    Args:
        url: The control plane, ``grpc://HOST:PORT``.
        api_key: What it asks of callers.
        tenant_id: The tenant.
        workspace_id: The workspace.
        source: The kind of program that calls: ``cli``, ``worker`` or ``sdk``.
        timeout: How long a call may take, seconds; streams may take any time.

    Attributes:
        deployments: Manifests and how they came to be current.
        runs: Runs and their tasks.
        assets: Assets of the current deployment and what was made of them.
        logs: What attempts wrote.
        server: The control plane itself.

    Raises:
        servo.errors.ConfigurationError: The URL, the key or an id cannot be used.
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
        self._invoker = Invoker(url, metadata=metadata, timeout=timeout)
        self.deployments = Deployments(self._invoker)
        self.runs = Runs(self._invoker)
        self.assets = Assets(self._invoker)
        self.logs = Logs(self._invoker)
        self.server = Server(self._invoker)

    @property
    def url(self) -> str:
        """The control plane's URL."""
        return self._invoker.url

    def close(self) -> None:
        """End the calls under way and close the connection."""
        self._invoker.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
