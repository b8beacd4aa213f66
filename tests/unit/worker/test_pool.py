"""How many processes a worker starts for what it is given."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest
from msgspec.structs import replace

from scripted_plane import dispatch_of
from servo.types.sessions import AttemptFinished, AttemptSucceeded, Lease, WorkerMessage
from servo.worker.log_buffer import LogBuffer
from servo.worker.pool import Pool
from servo.worker.runner_process import RunnerCommand

CODE = """
import time
from pathlib import Path
from servo import asset

@asset
def alone(ctx):
    pass

@asset
def meets(ctx):
    Path(f"here-{ctx.task_id}").touch()
    while len(list(Path().glob("here-*"))) < 2:
        time.sleep(0.01)
"""


def run(project: Path, name: str, attempts: int) -> tuple[int, list[object]]:
    """Run attempts in a worker of three slots; return the processes it started, and outcomes."""
    (project / "code.py").write_text(CODE)
    python = project / "python"
    python.write_text(f'#!/bin/sh\necho started >> starts\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)

    async def body() -> list[object]:
        heard: list[WorkerMessage] = []
        command = RunnerCommand(
            project=project,
            data_root=project / "data",
            import_roots=(project,),
            python=f"{python}",
        )
        logs = LogBuffer(heard.append, lambda: None)
        pool = Pool(slots=3, command=command, logs=logs, report=heard.append, starts=1)
        running = asyncio.create_task(pool.run())
        for number in range(attempts):
            lease = Lease(task_id=f"01J00000000000000000000{number:03}", attempt=1, token=number)
            pool.submit(replace(dispatch_of("code", name), lease=lease))
        await asyncio.wait_for(pool.wait_idle(), 30)
        pool.close()
        await running
        return [message.outcome for message in heard if isinstance(message, AttemptFinished)]

    outcomes = asyncio.run(body())
    return len((project / "starts").read_text().split()), outcomes


def test_one_short_attempt_is_not_worth_the_processes_of_other_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started, (outcome,) = run(tmp_path, "alone", 1)
    assert isinstance(outcome, AttemptSucceeded)
    assert started == 1


def test_attempts_that_come_together_are_executed_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    started, outcomes = run(tmp_path, "meets", 2)
    assert [type(outcome) for outcome in outcomes] == [AttemptSucceeded] * 2
    assert started >= 2
