"""The worker as a child of the host: started when it is needed, gone when the host is gone."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Final

from servo.config.settings import variable, without_credentials

if TYPE_CHECKING:
    from servo.manifest.project import Project

_FIRST_PAUSE: Final = 0.5
_LAST_PAUSE: Final = 10.0
_STEADY: Final = 30.0
_STOP_PATIENCE: Final = 1.0
_MIN_SLOTS: Final = 2


class WorkerProcess:
    """One worker process; restarted with growing pauses when it ends by itself.

    Args:
        project: The project whose assets it runs.
        url: Address of the control plane.
        api_key: Key of the control plane; it travels through a pipe, so that neither the command
            line nor the environment of any process holds it.
        tenant_id: The tenant that it works for.
        workspace_id: The workspace that it works for.
    """

    def __init__(
        self, project: Project, *, url: str, api_key: str, tenant_id: str, workspace_id: str
    ) -> None:
        self._project = project
        self._url = url
        self._api_key = api_key
        self._tenant_id = tenant_id
        self._workspace_id = workspace_id
        self._process: asyncio.subprocess.Process | None = None
        self._started_at = 0.0
        self._pause = _FIRST_PAUSE

    @property
    def is_running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._process.returncode is None

    async def ensure(self) -> None:
        """Start the process unless it runs, or has just failed and waits for its pause to end."""
        if self.is_running:
            return
        if self._process is not None:
            age = time.monotonic() - self._started_at
            if age < self._pause:
                return
            self._pause = _FIRST_PAUSE if age > _STEADY else min(self._pause * 2, _LAST_PAUSE)
        await self.start()

    async def start(self) -> None:
        """Start the process."""
        settings = self._project.settings
        self._started_at = time.monotonic()
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",
            "-m",
            "servo.worker",
            "--url",
            self._url,
            "--project",
            str(self._project.root),
            "--slots",
            str(settings.worker_slots or max(os.cpu_count() or 1, _MIN_SLOTS)),
            "--data-root",
            str(self._project.data_root_of(self._tenant_id, self._workspace_id)),
            "--tenant",
            self._tenant_id,
            "--workspace",
            self._workspace_id,
            # It ends when this pipe does, so it cannot outlive the host, however that ends.
            "--exit-with-stdin",
            "--key-from-stdin",
            stdin=subprocess.PIPE,
            # A group of its own: Ctrl-C in `servo dev` reaches the host, which stops the worker.
            process_group=0,
            env=without_credentials(os.environ)
            | settings.for_children()
            | {
                variable("tenant_id"): self._tenant_id,
                variable("workspace_id"): self._workspace_id,
            },
        )
        assert self._process.stdin is not None
        self._process.stdin.write(f"{self._api_key}\n".encode())

    def reload(self) -> None:
        """Let the worker import the project's code anew, after its current attempts."""
        if self._process is not None and self.is_running:
            self._process.send_signal(signal.SIGHUP)

    async def stop(self) -> None:
        """End the process and what it executes; unfinished attempts are made again later."""
        if self._process is None or not self.is_running:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            await asyncio.wait_for(self._process.wait(), _STOP_PATIENCE)
        except TimeoutError:
            self._process.kill()
            await self._process.wait()
