"""Several control planes on one PostgreSQL database, in this process or each in its own."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from plane_kit import KEY, Caller
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig

ROOT = Path(__file__).resolve().parents[1]


@asynccontextmanager
async def planes(url: str, count: int, **options: Any) -> AsyncIterator[list[ControlPlane]]:
    """Serve control planes on one database; the first one schedules."""
    async with AsyncExitStack() as stack:
        served = []
        for _ in range(count):
            plane = ControlPlane(ControlPlaneConfig(database=url, api_key=KEY, **options))
            await plane.start()
            stack.push_async_callback(plane.stop)
            served.append(plane)
        yield served


@asynccontextmanager
async def callers(*served: ControlPlane, **options: Any) -> AsyncIterator[list[Caller]]:
    """Call each control plane."""
    found = [Caller(plane.grpc_url, **options) for plane in served]
    try:
        yield found
    finally:
        for one in found:
            await one.channel.close()


def execute(test: Callable[[str], Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let pytest call an ``async def`` test that takes a database."""

    @functools.wraps(test)
    def run(url: str) -> None:
        asyncio.run(asyncio.wait_for(test(url), 60))

    del run.__wrapped__  # type: ignore[attr-defined]  # pytest would look at its signature
    return run


def say(url: str, query: str, *values: object) -> Any:
    """Say something to the database, beside the control planes."""
    with psycopg.connect(url, autocommit=True) as connection:
        found = connection.execute(query.encode(), values)
        return found.fetchall() if found.description else None


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is true."""
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.02)


class Process:
    """A control plane in a process of its own."""

    def __init__(self, url: str, folder: Path, name: str) -> None:
        self.log = folder / f"{name}.log"
        environ = os.environ | {
            "SERVO_API_KEY": KEY,
            "SERVO_DATABASE_URL": url,
            "SERVO_LEASE_SECONDS": "5",
            "PYTHONPATH": str(ROOT / "src"),
        }
        self._log_file = self.log.open("w")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "servo.controlplane"],
            stdout=subprocess.PIPE,
            stderr=self._log_file,
            env=environ,
            cwd=folder,
            text=True,
        )
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.http_url = self.process.stdout.readline().strip()
        assert self.url, self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    @property
    def schedules(self) -> bool:
        """Whether it says that it schedules."""
        lines = [line for line in self.log.read_text().splitlines() if "schedule" in line]
        return bool(lines) and "schedules now" in lines[-1]

    def close(self) -> None:
        """End it, in whatever state it is."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()
        self._log_file.close()


@contextmanager
def processes(url: str, folder: Path, count: int) -> Iterator[list[Process]]:
    """Start control planes on one database; the first one schedules."""
    started: list[Process] = []
    try:
        for number in range(count):
            started.append(Process(url, folder, f"plane{number}"))
        yield started
    finally:
        for one in started:
            one.close()
