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
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

import click

from servo import errors
from servo.cli import _environment
from servo.cli._connect import ASK_TO_LEAVE, HOST_LOST_RACE, database_lost
from servo.cli._environment import Environment
from servo.cli._state import HostKind, ServerFile, StateFiles
from servo.cli._worker_process import WorkerProcess
from servo.manifest import private
from servo.types.access import Role

if TYPE_CHECKING:
    from servo.controlplane.serve import ControlPlane
    from servo.manifest.project import Project

_LOCK_PATIENCE: Final = 1.0
_LOCK_RETRY: Final = 0.02
_TICK: Final = 0.1
_STOP_PATIENCE: Final = 10.0
_REASON_BYTES: Final = 4000
_FOR_ALL: Final = frozenset({"state.json"})
"""The lockfile, which is committed: what others may read of the state directory, if they get in."""


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

    Attributes:
        server: Where it serves, once it does.
        stopping: Ends `serve`.
        differences: How its environment differs from the one in which unfinished runs were asked
            for. While there are any it starts no worker: the runs wait for a host that has it, or
            for their end.

    Args:
        project: The project.
        kind: Why the host runs; a background host ends by itself.
        eager_worker: Start the worker at once instead of with the first run.
        any_environment: Go on with unfinished runs also where they were asked for in another
            environment than that of this process.
    """

    def __init__(
        self,
        project: Project,
        kind: HostKind,
        *,
        eager_worker: bool = False,
        any_environment: bool = False,
    ) -> None:
        self._project = project
        self._kind = kind
        self._eager_worker = eager_worker
        self._any_environment = any_environment
        self._facts = _environment.facts(os.environ, project)
        self._is_busy: bool | None = None
        self._settled_at = 0.0
        self._files = StateFiles(project.state_dir)
        self._lock = self._files.host_lock()
        self._clients = self._files.clients_lock()
        self._plane: ControlPlane | None = None
        self._workers: dict[tuple[str, str], WorkerProcess] = {}
        self.server: ServerFile | None = None
        self.stopping = asyncio.Event()
        self.differences: list[str] = []

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
                owner = self._lock.read_owner()
                raise AlreadyHostedError(
                    f"another process (pid {owner.pid if owner else 'unknown'}) hosts the control "
                    f"plane of {str(self._project.root)!r}",
                    kind=owner.kind if owner else None,
                    pid=owner.pid if owner else 0,
                )
            time.sleep(_LOCK_RETRY)
        self._lock.write_owner(self._kind)
        private.tighten(self._files.directory, leave=_FOR_ALL)

    async def start(self) -> ServerFile:
        """Start the control plane and publish its address; `claim` came before.

        Raises:
            ConfigurationError: The control plane cannot start, for example because its database
                is in use or newer than this version of Servo.
        """
        # It stays until the next one is written: a host that is killed meanwhile leaves the address
        # and the key to the one after it.
        before = ServerFile.read(self._files.server)
        server = await self._serve_instead_of(before)
        recorded = None if before is None or self._any_environment else before.environment
        ignored = self._project.settings.environment_ignore
        if recorded is not None and self.active_runs:
            self.differences = recorded.differences(self._facts, ignored)
            settings = self._project.settings
            self._settled_at = (
                time.monotonic() + settings.lease_seconds + settings.cancel_grace_seconds
            )
        self.server = replace(
            server,
            environment=recorded if self.differences else Environment.of(self._facts),
            waits=bool(self.differences),
            database=self._files.database_id(),
        )
        # In this order: a command that reads the address may ask at once whether this host is idle.
        self._note_business()
        self.server.write(self._files.server)
        await self._begin_work()
        return self.server

    async def _begin_work(self) -> None:
        if self._eager_worker and not self.differences:
            settings = self._project.settings
            await self._ensure_worker(settings.tenant_id, settings.workspace_id)

    async def _serve_instead_of(self, before: ServerFile | None) -> ServerFile:
        """Take the address and the key of a host that was killed, or else new ones.

        Commands and workers that talked to it find this one in its place.
        """
        # This process holds the lock, so that host has gone, whatever became of its number.
        if before is not None:
            try:
                return await self._serve_at(
                    before.api_key, listen=_address(before.grpc_url), http=_address(before.http_url)
                )
            except errors.UnavailableError:
                pass  # another program listens there now
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
            assert self._plane is not None
            # User code runs as the same user, and may find a key in a process that handles it. So
            # the worker has one that executes tasks of its workspace and nothing else.
            key = self._plane.keys.lend(
                tenant_id=tenant_id,
                workspace_id=workspace_id,
                role=Role.WORKER,
                key_id=f"worker:{tenant_id}/{workspace_id}",
            )
            worker = WorkerProcess(
                self._project,
                url=self.server.grpc_url,
                api_key=key,
                tenant_id=tenant_id,
                workspace_id=workspace_id,
            )
            self._workers[tenant_id, workspace_id] = worker
        await worker.ensure()

    @property
    def active_runs(self) -> int:
        """The number of runs that have not ended."""
        return 0 if self._plane is None else self._plane.active_runs

    @property
    def connected_workers(self) -> int:
        """The number of workers that wait for tasks or execute some."""
        return 0 if self._plane is None else self._plane.connected_workers

    @property
    def workspaces(self) -> set[tuple[str, str]]:
        """Tenant and workspace of what is served: the project's, and those that have work."""
        settings = self._project.settings
        active = () if self._plane is None else self._plane.active_workspaces
        return {(settings.tenant_id, settings.workspace_id), *self._workers, *active}

    def reload_workers(self) -> None:
        """Let the workers import the project's code anew, after their current attempts."""
        for worker in self._workers.values():
            worker.reload()

    async def serve(self) -> None:
        """Serve until `stopping` is set or, in the background, the host is not needed any more.

        Raises:
            FilesystemError: The database was removed or replaced meanwhile.
        """
        assert self._plane is not None
        while not self.stopping.is_set():
            self._check_database()
            if not self._files.directory.exists():
                return
            self._note_business()
            if self.differences and not self.active_runs:
                await self._stop_waiting()
            if not self.differences:
                for tenant_id, workspace_id in {*self._plane.active_workspaces, *self._workers}:
                    await self._ensure_worker(tenant_id, workspace_id)
            if self._kind is HostKind.BACKGROUND and self._leave():
                return
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), _TICK)

    def leave_if_idle(self) -> None:
        """Leave for a host with another environment, unless this one has work that it can do."""
        if self._kind is HostKind.BACKGROUND and (self.differences or not self.active_runs):
            self.stopping.set()

    def _check_database(self) -> None:
        """Stop when the file is not there any more: what is written to it now is lost."""
        assert self.server is not None
        if self._files.database_id() == self.server.database:
            return
        if not self._files.directory.exists() and not self.active_runs:
            return  # the project was removed, and nothing is lost that was not meant to be
        raise database_lost(self._files.database)

    def _note_business(self) -> None:
        is_busy = bool(self.active_runs)
        if is_busy is not self._is_busy:
            self._is_busy = is_busy
            self._lock.write_owner(self._kind, is_busy=is_busy)

    async def _stop_waiting(self) -> None:
        """Take up work: the runs that waited for another environment have ended."""
        assert self.server is not None
        self.differences = []
        self.server = replace(self.server, environment=Environment.of(self._facts), waits=False)
        self.server.write(self._files.server)
        await self._begin_work()

    def _leave(self) -> bool:
        # Kept when taken: a command that comes now waits for the end of this process (see _state).
        if not self._clients.acquire():
            return False
        # One that waits for another environment stays until the leases of its predecessor have
        # ended, so that a run which is cancelled meanwhile comes to its end.
        if self.active_runs and not (self.differences and time.monotonic() > self._settled_at):
            self._clients.release()
            return False
        return True

    async def close(self) -> None:
        """Withdraw the address, stop the worker and the control plane, release the project.

        Where runs are active or commands attached, the next host takes the place of this one, so
        the file stays for it.
        """
        is_ours = self.server is not None and ServerFile.read(self._files.server) == self.server
        if is_ours and not self.active_runs and self._clients.acquire():
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


async def run_host(host: Host, started: Callable[[], None] = lambda: None) -> None:
    """Start a claimed host, serve, and clean up whatever happens.

    Args:
        host: The host.
        started: Called when it serves.
    """
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stopping.set)
    loop.add_signal_handler(ASK_TO_LEAVE, host.leave_if_idle)
    try:
        await host.start()
        started()
        await host.serve()
    finally:
        await host.close()


@click.command()
@click.option("--project", "root", type=click.Path(path_type=Path), required=True)
@click.option("--with-worker", is_flag=True, help="Start the worker at once.")
@click.option("--any-environment", is_flag=True, help="Go on with runs of another environment.")
@click.option("--reason-fd", type=int, help="Where to write why the start failed.")
def serve(root: Path, with_worker: bool, any_environment: bool, reason_fd: int | None) -> int:
    """Host the control plane of one project until it is not needed any more."""
    from servo.config.logs import configure_logging
    from servo.manifest.project import Project

    # A command sends it early; what it asks for is checked when the loop runs.
    signal.signal(ASK_TO_LEAVE, signal.SIG_IGN)
    with _Reason(reason_fd) as reason:
        project = Project.load(root)
        configure_logging(project.settings)
        host = Host(
            project,
            HostKind.BACKGROUND,
            eager_worker=with_worker,
            any_environment=any_environment,
        )
        try:
            host.claim()
        except AlreadyHostedError:
            return HOST_LOST_RACE
        except OSError as exc:
            raise errors.FilesystemError(
                f"cannot write to {str(project.state_dir)!r}: {exc.strerror}"
            ) from exc
        asyncio.run(run_host(host, reason.close))
    return 0


class _Reason:
    """Tells the command that started this process why the start failed, within a block.

    Through a pipe, because on a full disk a log takes nothing.
    """

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def __enter__(self) -> Self:
        if self._descriptor is not None:
            os.set_inheritable(self._descriptor, False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if self._descriptor is not None and error is not None:
            told = (
                error
                if isinstance(error, errors.ServoError)
                else errors.ServoError(f"{type(error).__name__}: {error}")
            )
            # The exit code as well: on a full disk the process may end in another way, because it
            # cannot print the error. The command may have been killed meanwhile.
            with contextlib.suppress(OSError):
                text = f"{told.exit_code}\n{told}".encode("utf-8", "replace")
                os.write(self._descriptor, text[:_REASON_BYTES])
        self.close()

    def close(self) -> None:
        """Say nothing more: the start succeeded."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


if __name__ == "__main__":
    from servo.cli.main import invoke

    sys.exit(invoke(sys.argv[1:], serve, "servo-host"))
