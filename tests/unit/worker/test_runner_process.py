"""A process for attempts, without the pool that keeps it."""

from __future__ import annotations

import asyncio
from pathlib import Path

from scripted_plane import dispatch_of
from servo.types.sessions import AttemptCancelled, AttemptFinished, AttemptSucceeded
from servo.worker.attempt import Attempt
from servo.worker.log_buffer import LogBuffer
from servo.worker.runner_process import RunnerCommand, RunnerProcess

CODE = """
import time
from servo import asset

@asset
def stops(ctx):
    while True:
        ctx.report_progress("on", percentage=1)
        time.sleep(0.01)

@asset
def nothing(ctx):
    pass
"""


async def run(runner: RunnerProcess, name: str, *, cancelled: bool = False) -> object:
    """Give it an attempt; return how that ended."""
    dispatch = dispatch_of("tables", name)
    attempt = Attempt(dispatch, LogBuffer(lambda batch: None, lambda: None))
    attempt.over = asyncio.get_running_loop().create_future()
    runner.attempt = attempt
    if cancelled:
        runner.cancel(dispatch.lease)
        # Its own way is shorter, so that it is there by now.
        await asyncio.sleep(0.2)
    runner.send(dispatch)
    finished = await asyncio.wait_for(attempt.over, 30)
    assert isinstance(finished, AttemptFinished)
    return finished.outcome


def test_a_cancellation_that_overtakes_its_attempt_is_not_lost(tmp_path: Path) -> None:
    (tmp_path / "tables.py").write_text(CODE)
    command = RunnerCommand(project=tmp_path, data_root=tmp_path / "data", import_roots=(tmp_path,))

    async def body() -> None:
        runner = await RunnerProcess.start(command, lambda message: None)
        try:
            assert await asyncio.wait_for(runner.ready, 60)
            outcome = await run(runner, "stops", cancelled=True)
            assert isinstance(outcome, AttemptCancelled)
            # Nor does it stay for the next one.
            assert isinstance(await run(runner, "nothing"), AttemptSucceeded)
        finally:
            await runner.stop()

    asyncio.run(body())
