"""A worker: the session, the pool and the log buffer, joined."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from servo._version import __version__
from servo.client import Tls
from servo.client.transport import Address
from servo.types.ids import WorkerId
from servo.worker.connection import Doorbell, Endpoint, hold
from servo.worker.log_buffer import ATTEMPT_BYTES, MAX_BYTES, LogBuffer
from servo.worker.pool import Pool
from servo.worker.runner_process import RunnerCommand
from servo.worker.session import Identity, Session

__all__ = ["Worker", "WorkerConfig"]

_FLUSH_SECONDS: Final = 0.05
_SETTLE_POLL_SECONDS: Final = 0.02
_END_SECONDS: Final = 10.0
_EVICTION_SECONDS: Final = 2.0
"""How long a worker that ends its attempts by force waits for that to be recorded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerConfig:
    """What a worker is told.

    Attributes:
        url: The control plane, ``grpc://HOST:PORT``, or ``grpcs://`` for TLS.
        api_key: The key for it, or what returns it for each session, such as a `TokenFile`; may be
            empty.
        tls: Whom to trust, and who the worker is.
        project: The project's root.
        import_roots: Directories from which user modules are imported.
        data_root: Where data lies; ``.servo/data`` in the project when left out, which is right
            for the workspace ``default`` only.
        slots: Attempts at once; one for each core when left out.
        tenant_id: Tenant that the worker serves.
        workspace_id: Workspace that the worker serves.
        code_version_id: The version of the user code that it announces.
        settle_timeout: How long a worker that was asked to stop waits, once its attempts have
            ended, for the control plane to confirm their results.
        drain_timeout: How long a worker that was asked to stop lets its attempts go on; then they
            are ended by force and recorded as ``evicted``. ``None`` for as long as they take.
        attempt_log_bytes: What the log of one attempt holds: its text, and 32 bytes for each line.
            Further lines are counted in it instead of kept, and the attempt goes on.
        log_buffer_bytes: Memory that lines may take which the control plane has not confirmed;
            what exceeds it is counted in the log instead of kept.
        runner_starts: How often a process for user code is started, with growing pauses, when it
            dies before it can take an attempt; then the worker gives up.
    """

    url: str
    api_key: str | Callable[[], str] = ""
    tls: Tls = field(default_factory=Tls)
    project: Path
    import_roots: tuple[Path, ...] = ()
    data_root: Path | None = None
    slots: int = 0
    tenant_id: str = "default"
    workspace_id: str = "default"
    code_version_id: str = ""
    settle_timeout: timedelta = timedelta(seconds=10)
    drain_timeout: timedelta | None = None
    attempt_log_bytes: int = ATTEMPT_BYTES
    log_buffer_bytes: int = MAX_BYTES
    runner_starts: int = 5


class Worker:
    """Executes attempts for a control plane until it is told to stop.

    No user code runs in this process, so nothing that user code does can delay a heartbeat.

    Args:
        config: What it is told.

    Raises:
        ConfigurationError: The address of the control plane makes no sense, or the key would be
            sent there in plain text.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        Address.parse(config.url)  # and of gRPC, which a client could do without
        self._endpoint = Endpoint(
            url=config.url,
            api_key=config.api_key,
            tenant_id=config.tenant_id,
            workspace_id=config.workspace_id,
            tls=config.tls,
        )
        self._endpoint.client()  # what is wrong with these, it says
        self._session: Session | None = None
        self._pool: Pool | None = None
        self._stopped = asyncio.Event()
        self._draining = False
        self._settling: asyncio.Task[None] | None = None
        self._evicting: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Work until `drain` or `kill`.

        Raises:
            ServoError: The control plane refuses the worker for good, or the processes that run
                user code cannot be started.
        """
        config = self._config
        loop = asyncio.get_running_loop()
        wake = Doorbell()
        slots = config.slots or os.cpu_count() or 1
        identity = Identity(
            worker_id=WorkerId.generate(),
            servo_version=__version__,
            code_version_id=config.code_version_id,
            slots=slots,
            host_name=socket.gethostname(),
            process_id=os.getpid(),
        )
        session = Session(identity, wake.ring)

        def flush_soon() -> None:
            loop.call_later(_FLUSH_SECONDS, logs.flush)

        logs = LogBuffer(
            session.post,
            flush_soon,
            max_bytes=config.log_buffer_bytes,
            attempt_bytes=config.attempt_log_bytes,
        )
        command = RunnerCommand(
            project=config.project,
            data_root=config.data_root or config.project / ".servo" / "data",
            import_roots=config.import_roots or (config.project,),
        )
        pool = Pool(
            slots=slots,
            command=command,
            logs=logs,
            report=session.post,
            starts=self._config.runner_starts,
        )
        session.attach(pool, logs)
        self._session, self._pool = session, pool
        if self._draining:
            return
        await self._serve(pool.run(), hold(session, self._endpoint, wake))

    async def _serve(self, *parts: Coroutine[Any, Any, None]) -> None:
        tasks = [asyncio.create_task(part) for part in parts]
        stopped: asyncio.Task[Any] = asyncio.create_task(self._stopped.wait())
        try:
            await asyncio.wait([*tasks, stopped], return_when=asyncio.FIRST_COMPLETED)
            if not stopped.done():
                for task in tasks:
                    if task.done():
                        _reraise(task)
            # What runs was ended; its processes are given a moment to be gone.
            if self._pool is not None:
                self._pool.close()
            await asyncio.wait([tasks[0]], timeout=_END_SECONDS)
        finally:
            for task in (*tasks, stopped):
                task.cancel()
            await asyncio.gather(*tasks, stopped, return_exceptions=True)

    def drain(self) -> None:
        """Finish the attempts that run, give back those that wait, and make `run` return."""
        if self._draining:
            return
        self._draining = True
        if self._session is None:
            return
        self._session.drain()
        self._settling = asyncio.create_task(self._settle(self._session))
        if self._config.drain_timeout is not None:
            seconds = self._config.drain_timeout.total_seconds()
            asyncio.get_running_loop().call_later(
                seconds, self._evict, f"the worker was told to stop and waited {seconds:g} s for it"
            )

    def kill(self) -> None:
        """End the attempts that run, by force, and make `run` return once that is recorded.

        Called again it makes `run` return at once.
        """
        self._draining = True
        if self._session is None or self._evicting is not None:
            self._stopped.set()
        else:
            self._evict("the worker was told to stop at once")

    def _evict(self, reason: str) -> None:
        if self._session is not None and self._evicting is None:
            self._session.drain()
            self._session.pool.evict(reason)
            self._evicting = asyncio.create_task(self._leave(self._session))

    def reload(self) -> None:
        """Have changed user code loaded: fresh processes for the attempts to come."""
        if self._pool is not None:
            self._pool.restart()

    def handle_signals(self) -> None:
        """Make the first SIGTERM or SIGINT drain, the second one kill, and SIGHUP reload."""
        loop = asyncio.get_running_loop()

        def stop() -> None:
            if self._draining:
                self.kill()
            else:
                self.drain()

        loop.add_signal_handler(signal.SIGTERM, stop)
        loop.add_signal_handler(signal.SIGINT, stop)
        loop.add_signal_handler(signal.SIGHUP, self.reload)

    async def _settle(self, session: Session) -> None:
        await session.pool.wait_idle()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._config.settle_timeout.total_seconds()):
                while not session.is_settled:
                    await asyncio.sleep(_SETTLE_POLL_SECONDS)
        self._stopped.set()

    async def _leave(self, session: Session) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_EVICTION_SECONDS):
                await session.pool.wait_idle()
                while session.is_connected and not session.is_settled:
                    await asyncio.sleep(_SETTLE_POLL_SECONDS)
        self._stopped.set()


def _reraise(task: asyncio.Task[None]) -> None:
    error = task.exception()
    # The pool's slots form a group; the first error says it all.
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    if error is not None:
        raise error
