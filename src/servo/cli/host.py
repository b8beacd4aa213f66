"""The process that hosts a project's control plane: ``python -m servo.cli.host --project DIR``.

Nobody starts it by hand. A command that needs a control plane starts one in the background, and
it leaves as soon as no command is attached and no run is active; ``servo dev`` is the same host
in the foreground. See ``docs/adr/0010-embedded-host.md``.
"""

from __future__ import annotations

import asyncio
import contextlib
import faulthandler
import os
import secrets
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from servo import errors
from servo.cli._connect import HOST_LOST_RACE
from servo.cli._state import HostKind, ServerFile, StateFiles
from servo.cli._worker_process import WorkerProcess

if TYPE_CHECKING:
    from servo.controlplane.serve import ControlPlane
    from servo.manifest.project import Project

_LOCK_PATIENCE: Final = 1.0
_LOCK_RETRY: Final = 0.02
_TICK: Final = 0.1
_STOP_PATIENCE: Final = 10.0


class AlreadyHostedError(errors.ConfigurationError):
    """Another process hosts the project's control plane.

    Attributes:
        kind: Why that process runs, where it says so.
        pid: The process, 0 where it does not say so.
    """

    default_code = "ALREADY_HOSTED"

    def __init__(self, message: str, *, kind: HostKind | None = None, pid: int = 0) -> None:
        super().__init__(message)
        self.kind = kind
        self.pid = pid


class Host:
    """A control plane and its worker, for one project.

    Args:
        project: The project.
        kind: Why the host runs; a background host ends by itself.
        eager_worker: Start the worker at once instead of with the first run.
    """

    def __init__(self, project: Project, kind: HostKind, *, eager_worker: bool = False) -> None:
        self._project = project
        self._kind = kind
        self._eager_worker = eager_worker
        self._files = StateFiles(project.state_dir)
        self._lock = self._files.host_lock()
        self._clients = self._files.clients_lock()
        self._plane: ControlPlane | None = None
        self._workers: dict[tuple[str, str], WorkerProcess] = {}
        self.server: ServerFile | None = None
        self.stopping = asyncio.Event()

    def claim(self, *, patience: float = _LOCK_PATIENCE) -> None:
        """Become the project's host.

        Args:
            patience: How long to wait for the lock, seconds. A command that looks whether there
                is a host holds it for a moment.

        Raises:
            AlreadyHostedError: Another process is.
        """
        deadline = time.monotonic() + patience
        while not self._lock.acquire():
            if time.monotonic() > deadline:
                kind, pid = self._lock.read_owner() or (None, 0)
                raise AlreadyHostedError(
                    f"another process (pid {pid or 'unknown'}) hosts the control plane of "
                    f"{str(self._project.root)!r}",
                    kind=kind,
                    pid=pid,
                )
            time.sleep(_LOCK_RETRY)
        self._lock.write_owner(self._kind)

    async def start(self) -> ServerFile:
        """Start the control plane and publish its address; `claim` came before.

        Raises:
            ConfigurationError: The control plane cannot start, for example because its database
                is in use or newer than this version of Servo.
        """
        before = ServerFile.read(self._files.server)
        self._files.server.unlink(missing_ok=True)
        self.server = await self._serve_instead_of(before)
        self.server.write(self._files.server)
        if self._eager_worker:
            settings = self._project.settings
            await self._ensure_worker(settings.tenant_id, settings.workspace_id)
        return self.server

    async def _serve_instead_of(self, before: ServerFile | None) -> ServerFile:
        """Take the address and the key of a host that was killed, or else new ones.

        Whoever talked to it, commands and workers alike, finds this one in its place.
        """
        if before is not None and not before.is_alive:
            try:
                return await self._serve_at(
                    before.api_key, listen=_address(before.grpc_url), http=_address(before.http_url)
                )
            except errors.UnavailableError:
                pass  # somebody else listens there now
        return await self._serve_at(secrets.token_urlsafe(32))

    async def _serve_at(
        self, key: str, *, listen: str = "127.0.0.1:0", http: str = ""
    ) -> ServerFile:
        from datetime import timedelta

        from servo.controlplane.serve import ControlPlane, ControlPlaneConfig

        settings = self._project.settings
        self._plane = ControlPlane(
            ControlPlaneConfig(
                database=self._files.database,
                api_key=key,
                listen=listen,
                http_listen=http,
                lease_length=timedelta(seconds=settings.lease_seconds),
                cancel_grace=timedelta(seconds=settings.cancel_grace_seconds),
            )
        )
        url = await self._plane.start()
        return ServerFile(grpc_url=url, http_url=self._plane.http_url, api_key=key, pid=os.getpid())

    async def _ensure_worker(self, tenant_id: str, workspace_id: str) -> None:
        # A session belongs to one workspace, so each one that has work gets a worker.
        worker = self._workers.get((tenant_id, workspace_id))
        if worker is None:
            assert self.server is not None
            worker = WorkerProcess(
                self._project,
                url=self.server.grpc_url,
                api_key=self.server.api_key,
                tenant_id=tenant_id,
                workspace_id=workspace_id,
            )
            self._workers[tenant_id, workspace_id] = worker
        await worker.ensure()

    @property
    def active_runs(self) -> int:
        """The number of runs that have not ended."""
        return 0 if self._plane is None else self._plane.active_runs

    def reload_workers(self) -> None:
        """Let the workers import the project's code anew, after their current attempts."""
        for worker in self._workers.values():
            worker.reload()

    async def serve(self) -> None:
        """Serve until `stopping` is set or, in the background, nobody needs the host any more."""
        assert self._plane is not None
        while not self.stopping.is_set():
            if not self._files.directory.exists():
                return
            wanted = {*self._plane.active_workspaces, *self._workers}
            for tenant_id, workspace_id in wanted:
                await self._ensure_worker(tenant_id, workspace_id)
            if self._kind is HostKind.BACKGROUND and self._leave():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), _TICK)

    def _leave(self) -> bool:
        # Kept when taken: whoever comes now waits for the end of this process (see _state).
        if not self._clients.acquire():
            return False
        if self.active_runs:
            self._clients.release()
            return False
        return True

    async def close(self) -> None:
        """Withdraw the address, stop the worker and the control plane, release the project."""
        if self.server is not None and ServerFile.read(self._files.server) == self.server:
            self._files.server.unlink(missing_ok=True)
        _exit_at_the_latest(_STOP_PATIENCE)
        await asyncio.gather(*(worker.stop() for worker in self._workers.values()))
        if self._plane is not None:
            await self._plane.stop()
        self._lock.release()


def _address(url: str) -> str:
    return url.partition("://")[2]


def _exit_at_the_latest(seconds: float) -> None:
    # A command may be waiting for the locks of this process; it must not wait for ever. All
    # that is acknowledged is durable, so nothing is lost by leaving in the middle.
    def leave() -> None:
        faulthandler.dump_traceback()
        os.write(2, f"the host did not stop within {seconds:.0f} s and was ended\n".encode())
        os._exit(errors.UnavailableError("").exit_code)

    timer = threading.Timer(seconds, leave)
    timer.daemon = True
    timer.start()


async def run_host(host: Host) -> None:
    """Start a claimed host, serve, and clean up whatever happens."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stopping.set)
    try:
        await host.start()
        await host.serve()
    finally:
        await host.close()


@click.command()
@click.option("--project", "root", type=click.Path(path_type=Path), required=True)
@click.option("--with-worker", is_flag=True, help="Start the worker at once.")
def serve(root: Path, with_worker: bool) -> int:
    """Host the control plane of one project until nobody needs it."""
    from servo.config.logs import configure_logging
    from servo.manifest.project import Project

    project = Project.load(root)
    configure_logging(project.settings)
    host = Host(project, HostKind.BACKGROUND, eager_worker=with_worker)
    try:
        host.claim()
    except AlreadyHostedError:
        return HOST_LOST_RACE
    asyncio.run(run_host(host))
    return 0


if __name__ == "__main__":
    from servo.cli.main import invoke

    sys.exit(invoke(sys.argv[1:], serve, "servo-host"))
