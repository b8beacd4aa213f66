"""A real worker with real runners, for tests against a control plane that does what they say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import servo
from scripted_plane import ScriptedPlane, dispatch_of
from servo.types.logs import LogStream
from servo.types.records import Failure
from servo.types.sessions import AttemptFinished, Lease
from servo.worker import Worker, WorkerConfig

SOURCE = str(Path(servo.__file__).resolve().parents[1])


class Lab:
    """A worker, its control plane and its project."""

    def __init__(self, plane: ScriptedPlane, worker: Worker, project: Path) -> None:
        self.plane = plane
        self.worker = worker
        self.project = project

    def start(self, name: str, **options: Any) -> Lease:
        """Give an attempt of a function to the worker."""
        lease: Lease = self.plane.dispatch(dispatch_of("tables", name, **options))
        return lease

    async def run(self, name: str, **options: Any) -> tuple[Lease, AttemptFinished]:
        lease = self.start(name, **options)
        return lease, await self.plane.result(lease)

    async def failure(self, name: str, **options: Any) -> tuple[Lease, Failure]:
        lease, finished = await self.run(name, **options)
        assert isinstance(finished.outcome, Failure), finished
        return lease, finished.outcome

    async def says(self, lease: Lease, text: str) -> None:
        await self.plane.wait_for(
            lambda: text in self.plane.text(lease, LogStream.STDOUT), what=f"the output {text!r}"
        )


@contextlib.asynccontextmanager
async def lab(
    project: Path,
    code: str,
    *,
    plane: ScriptedPlane | None = None,
    slots: int = 1,
    **settings: Any,
) -> AsyncIterator[Lab]:
    """Run a worker for a project whose only module is ``code``."""
    (project / "tables.py").write_text(code)
    plane = plane or ScriptedPlane()
    url = await plane.start()
    worker = Worker(WorkerConfig(url=url, project=project, slots=slots, **settings))
    running = asyncio.create_task(worker.run())
    try:
        yield Lab(plane, worker, project)
    finally:
        worker.kill()
        await asyncio.wait_for(running, 60)
        await plane.stop()


def check(
    project: Path, code: str, test: Callable[[Lab], Awaitable[None]], **settings: Any
) -> None:
    """Run a test in a lab."""

    async def body() -> None:
        async with lab(project, code, **settings) as bench:
            await test(bench)

    asyncio.run(body())


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


async def gone(process: int) -> bool:
    deadline = time.monotonic() + 10
    while is_alive(process) and time.monotonic() < deadline:
        await asyncio.sleep(0.02)
    return not is_alive(process)


@dataclass(frozen=True)
class PlaneProcess:
    """A control plane in a process of its own.

    Attributes:
        url: Where it serves.
        process: The process.
    """

    url: str
    process: asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def plane_process(folder: Path, listen: str = "127.0.0.1:0") -> AsyncIterator[PlaneProcess]:
    """Run a control plane on the database in a folder, until it is killed.

    Args:
        folder: Where its files are; its key is that of the environment.
        listen: Where it serves.
    """
    server = folder / "server.json"
    server.unlink(missing_ok=True)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "servo.controlplane", "--database", str(folder / "servo.db"),
        "--server-file", str(server), "--listen", listen,
    )  # fmt: skip
    try:
        async with asyncio.timeout(60):
            while not server.exists():
                assert process.returncode is None, "the control plane has ended"
                await asyncio.sleep(0.02)
        yield PlaneProcess(json.loads(server.read_text())["grpcUrl"], process)
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def start_command(
    url: str, project: Path, code: str, *options: str
) -> asyncio.subprocess.Process:
    """Start ``python -m servo.worker`` for a project whose only module is ``code``."""
    (project / "pyproject.toml").write_text("[tool.servo]\npaths = ['tables.py']\n")
    (project / "tables.py").write_text(code)
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "servo.worker", "--url", url, "--project", str(project),
        "--slots", "1", *options,
        stdin=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
