"""A control plane for a test, in the process of the test."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from servo import errors

if TYPE_CHECKING:
    from servo.client import AsyncClient, Client

__all__ = ["LocalPlane", "local_plane"]

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 30.0


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
    ``materialize`` runs an asset without either. One that is never left, as in a notebook, ends
    with the process.

    Raises:
        servo.errors.DeadlineError: It did not start or stop in time.
        servo.errors.ServoError: It cannot be started.
    """
    serving = _Serving()
    # A thread that is no daemon would keep the process of a notebook from ending; a daemon alone
    # would be cut off in the middle of a write, and its directory would stay.
    atexit.register(serving.end)
    try:
        yield serving.begin()
    finally:
        atexit.unregister(serving.end)
        serving.end()


class _Serving:
    """A control plane on a thread, with its directory."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="servo-plane-"))
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._started: Future[LocalPlane] = Future()
        self._thread = threading.Thread(target=self._run, name="servo-local-plane", daemon=True)

    def begin(self) -> LocalPlane:
        self._thread.start()
        try:
            return self._started.result(_START_SECONDS)
        except TimeoutError:
            raise errors.DeadlineError(
                f"the local control plane has not started within {_START_SECONDS:g} s; "
                f"the machine may be overloaded, or its disk very slow"
            ) from None

    def end(self) -> None:
        if os.getpid() != self._process:
            return  # a forked child that ends: the control plane is its parent's
        if self._thread.is_alive():
            with contextlib.suppress(RuntimeError):  # it is ending already
                self._loop.call_soon_threadsafe(self._stop.set)
            self._thread.join(_STOP_SECONDS)
        shutil.rmtree(self._folder, ignore_errors=True)
        if self._thread.is_alive():
            raise errors.DeadlineError(
                f"the local control plane has not stopped within {_STOP_SECONDS:g} s; "
                f"it ends with the process"
            )

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        key = secrets.token_urlsafe(32)
        try:
            from servo.controlplane.serve import ControlPlane, ControlPlaneConfig

            plane = ControlPlane(
                ControlPlaneConfig(database=self._folder / "servo.db", api_key=key)
            )
            grpc_url = await plane.start()
        except BaseException as exc:
            self._started.set_exception(exc)
            return
        try:
            self._started.set_result(
                LocalPlane(grpc_url=grpc_url, http_url=plane.http_url, api_key=key)
            )
            await self._stop.wait()
        finally:
            await plane.stop()
