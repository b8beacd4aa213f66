"""A control plane in this process: the store, the verbs and the gRPC server together."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import grpc.aio

from servo import errors
from servo.client.transport import SERVER_OPTIONS
from servo.controlplane.plane import Plane
from servo.controlplane.rpc import Router
from servo.controlplane.service import Service
from servo.controlplane.store.sqlite import SqliteStore


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneConfig:
    """How a control plane is set up.

    Attributes:
        database: The SQLite file; made when it does not exist.
        api_key: What callers have to present.
        listen: Host and port; port 0 takes a free one. Only loopback: there is no TLS here.
        lease_length: How long a lease lasts without a heartbeat.
        cancel_grace: How long a cancelled attempt may take to end by itself.
    """

    database: Path
    api_key: str
    listen: str = "127.0.0.1:0"
    lease_length: timedelta = timedelta(seconds=30)
    cancel_grace: timedelta = timedelta(seconds=10)


class ControlPlane:
    """A control plane that others reach over gRPC.

    Args:
        config: How it is set up.
    """

    def __init__(self, config: ControlPlaneConfig) -> None:
        self._config = config
        self._store: SqliteStore | None = None
        self._plane: Plane | None = None
        self._server: grpc.aio.Server | None = None

    @property
    def store(self) -> SqliteStore:
        """The store of a control plane that was started."""
        if self._store is None:
            raise RuntimeError("the control plane was not started")
        return self._store

    @property
    def active_runs(self) -> int:
        """The number of runs that have not ended."""
        return self._plane.active_runs if self._plane else 0

    @property
    def active_workspaces(self) -> tuple[tuple[str, str], ...]:
        """Tenant and workspace of those that have runs that have not ended."""
        return self._plane.active_workspaces if self._plane else ()

    @property
    def connected_workers(self) -> int:
        """The number of workers that hold a session."""
        return self._plane.connected_workers if self._plane else 0

    async def start(self) -> str:
        """Go on with what had not ended and serve; return the URL.

        Raises:
            servo.errors.ConfigurationError: The database is in use or too new, or the address
                is not on loopback.
            servo.errors.FilesystemError: The database cannot be opened.
            servo.errors.UnavailableError: The address cannot be listened on.
        """
        config = self._config
        host = config.listen.rpartition(":")[0]
        if host not in ("127.0.0.1", "localhost", "[::1]"):
            raise errors.ConfigurationError(
                f"cannot listen on {config.listen!r}: without TLS the control plane listens on "
                "loopback only (127.0.0.1, localhost or [::1])",
                code="LISTEN_NOT_LOOPBACK",
            )
        self._store = SqliteStore(config.database)
        plane = self._plane = Plane(
            self._store, lease_length=config.lease_length, cancel_grace=config.cancel_grace
        )
        self._server = grpc.aio.server(options=SERVER_OPTIONS)
        self._server.add_generic_rpc_handlers((Router(Service(plane), config.api_key),))
        try:
            port = self._server.add_insecure_port(config.listen)
        except RuntimeError as exc:
            self._store.close()
            raise errors.UnavailableError(
                f"cannot listen on {config.listen!r}: {exc}", code="LISTEN_FAILED"
            ) from exc
        await plane.start()
        await self._server.start()
        return f"grpc://{host}:{port}"

    async def stop(self) -> None:
        """Record what is under way and stop serving; runs go on at the next start."""
        if self._plane is not None:
            await self._plane.stop()
        if self._server is not None:
            await self._server.stop(grace=1)
        if self._store is not None:
            self._store.close()
        self._plane = self._server = self._store = None
