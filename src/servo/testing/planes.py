"""A control plane for a test, in the process of the test."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from servo.client import AsyncClient, Client

__all__ = ["LocalPlane", "local_plane"]

_START_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalPlane:
    """A control plane that serves on this machine.

    Attributes:
        grpc_url: Where it is reached, ``grpc://127.0.0.1:PORT``.
        http_url: The same over HTTP.
        api_key: The key that it asks for.
    """

    grpc_url: str
    http_url: str
    api_key: str = field(repr=False)

    def client(self, **options: Any) -> Client:
        """Make a client for it; close it before the control plane is gone.

        Args:
            options: Arguments of `servo.client.Client`.
        """
        from servo.client import Client

        return Client(**{"url": self.grpc_url, "api_key": self.api_key, **options})

    def async_client(self, **options: Any) -> AsyncClient:
        """Make a client for asyncio.

        Args:
            options: Arguments of `servo.client.AsyncClient`.
        """
        from servo.client import AsyncClient

        return AsyncClient(**{"url": self.grpc_url, "api_key": self.api_key, **options})


@contextmanager
def local_plane() -> Iterator[LocalPlane]:
    """Serve a control plane of one's own while a block runs, on a thread, and leave nothing.

    It is a whole one, with a database on disk; what it lacks is a worker, so runs stay pending.
    ``materialize`` runs an asset without either.

    Raises:
        servo.errors.ServoError: It cannot be started.
    """
    from servo.controlplane.serve import ControlPlane, ControlPlaneConfig

    loop = asyncio.new_event_loop()
    stop = asyncio.Event()
    started = threading.Event()
    found: list[LocalPlane | BaseException] = []

    async def serve(folder: Path) -> None:
        key = secrets.token_urlsafe(32)
        plane = ControlPlane(ControlPlaneConfig(database=folder / "servo.db", api_key=key))
        try:
            grpc_url = await plane.start()
            found.append(LocalPlane(grpc_url=grpc_url, http_url=plane.http_url, api_key=key))
        except BaseException as exc:
            found.append(exc)
            return
        finally:
            started.set()
        try:
            await stop.wait()
        finally:
            await plane.stop()

    with tempfile.TemporaryDirectory(prefix="servo-plane-") as folder:
        thread = threading.Thread(
            target=loop.run_until_complete, args=(serve(Path(folder)),), name="servo-local-plane"
        )
        thread.start()
        try:
            started.wait(_START_SECONDS)
            plane = found[0]
            if isinstance(plane, BaseException):
                raise plane
            yield plane
        finally:
            loop.call_soon_threadsafe(stop.set)
            thread.join()
            loop.close()
