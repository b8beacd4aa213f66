"""A task that prints far too much hurts nobody: measured with real processes for both sides."""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest

import worker_kit
from plane_kit import KEY, Caller
from servo import _wire
from servo.types import AssetDefinition, AssetKey, CodeLocation
from servo.types.logs import LogLine, LogStream
from servo.types.requests import ReadLogsRequest
from servo.types.runs import RunState
from servo.worker.log_buffer import ATTEMPT_BYTES
from worker_kit import SOURCE

pytestmark = pytest.mark.slow

LINES = 2_000_000
LINE = (
    "a line of output, as long as those of a library in which somebody has left debugging on: x=1"
)
CODE = f"""
import time
from servo import asset

@asset
def floods(ctx):
    for _ in range({LINES}):
        print({LINE!r})

@asset
def ticks(ctx):
    print("tick")
"""
MEBIBYTE = 2**20


@dataclass(frozen=True)
class Site:
    """A control plane and a worker with two slots, each a process of its own."""

    caller: Caller
    plane: asyncio.subprocess.Process
    worker: asyncio.subprocess.Process


@contextlib.asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Run both, with the assets deployed."""
    async with worker_kit.plane_process(folder) as plane:
        caller = Caller(plane.url)
        worker = await worker_kit.start_command(plane.url, folder, CODE, "--slots", "2")
        try:
            await caller.deploy([definition("floods"), definition("ticks")])
            yield Site(caller, plane.process, worker)
        finally:
            worker.kill()
            await worker.wait()
            await caller.channel.close()


def definition(name: str) -> AssetDefinition:
    return AssetDefinition(AssetKey("default", name), code=CodeLocation("tables", name))


def peak(process: asyncio.subprocess.Process) -> int:
    """The most memory that a process has had, in bytes."""
    status = Path(f"/proc/{process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found is not None
    return int(found[1]) * 1024


async def seconds_of_a_run(caller: Caller) -> float:
    begun = time.monotonic()
    run = (await caller.create_run("default.ticks")).run
    await caller.watch(run.run_id)
    assert (await caller.get_run(run.run_id)).state is RunState.SUCCEEDED
    return time.monotonic() - begun


async def lines_of(caller: Caller, run_id: str) -> list[LogLine]:
    method = _wire.methods.READ_LOGS
    return [
        line
        async for answer in caller.stream(method, ReadLogsRequest(run_id=run_id))
        for batch in answer.batches
        for line in batch.lines
    ]


@pytest.mark.timeout(300)
def test_a_task_that_prints_200_megabytes_hurts_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", SOURCE)
    monkeypatch.setenv("SERVO_API_KEY", KEY)

    async def body() -> None:
        async with site(tmp_path) as here:
            caller = here.caller
            await seconds_of_a_run(caller)
            before = {"plane": peak(here.plane), "worker": peak(here.worker)}
            begun = time.monotonic()
            flood = (await caller.create_run("default.floods")).run
            watching = asyncio.create_task(caller.watch(flood.run_id))
            meanwhile = []
            while not watching.done():
                meanwhile.append(await seconds_of_a_run(caller))
            assert (await caller.get_run(flood.run_id)).state is RunState.SUCCEEDED
            grown = {
                "plane": peak(here.plane) - before["plane"],
                "worker": peak(here.worker) - before["worker"],
            }
            # If one held up the other, a run would take as long as the flood does.
            assert median(meanwhile) * 10 < time.monotonic() - begun
            assert grown["worker"] < 192 * MEBIBYTE
            assert grown["plane"] < 64 * MEBIBYTE
            lines = await lines_of(caller, flood.run_id)
            printed = [line for line in lines if line.stream is LogStream.STDOUT]
            assert sum(1 + line.dropped_after for line in printed) == LINES
            assert {line.text for line in printed} == {LINE}
            kept = sum(len(line.text) + 32 for line in printed)
            assert 0.98 < kept / ATTEMPT_BYTES < 1.02
            assert ["the log is full" in line.text for line in lines if line.level] == [True]

    asyncio.run(body())
