"""How many processes a worker starts for what it is given, and what it gives back."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from scripted_plane import dispatch_of
from servo.types.records import Failure
from servo.types.sessions import (
    AttemptFinished,
    AttemptStarted,
    AttemptSucceeded,
    Lease,
    TaskDispatch,
    WorkerMessage,
)
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

@asset
def takes_a_while(ctx):
    time.sleep(0.4)

@asset
def waits_for_a_file(ctx):
    while not Path("over").exists():
        time.sleep(0.01)
"""


@contextlib.asynccontextmanager
async def serving(project: Path, slots: int) -> AsyncIterator[tuple[Pool, list[WorkerMessage]]]:
    """Run a pool; what it reports is gathered in the list."""
    (project / "tables.py").write_text(CODE)
    python = project / "python"
    python.write_text(f'#!/bin/sh\necho started >> starts\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    heard: list[WorkerMessage] = []
    command = RunnerCommand(
        project=project, data_root=project / "data", import_roots=(project,), python=f"{python}"
    )
    logs = LogBuffer(heard.append, lambda: None)
    pool = Pool(slots=slots, command=command, logs=logs, report=heard.append, starts=1)
    running = asyncio.create_task(pool.run())
    yield pool, heard
    await asyncio.wait_for(pool.wait_idle(), 30)
    pool.close()
    await running


def attempt(name: str, number: int) -> TaskDispatch:
    """Return an attempt of an asset with a lease of its own."""
    lease = Lease(task_id=f"01J00000000000000000000{number:03}", attempt=1, token=number)
    return replace(dispatch_of("tables", name), lease=lease)


def run(project: Path, name: str, attempts: int) -> tuple[int, list[object]]:
    """Run attempts in a worker of three slots; return the processes it started, and outcomes."""

    async def body() -> list[object]:
        async with serving(project, 3) as (pool, heard):
            for number in range(attempts):
                pool.submit(attempt(name, number))
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


def test_what_waits_behind_long_attempts_is_handed_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    def returned(heard: list[WorkerMessage]) -> list[int]:
        finished = [message for message in heard if isinstance(message, AttemptFinished)]
        return [
            each.lease.token
            for each in finished
            if isinstance(each.outcome, Failure) and each.outcome.reason == "handed_back"
        ]

    async def until(heard: list[WorkerMessage], count: int) -> None:
        async with asyncio.timeout(20):
            while len(returned(heard)) < count:
                await asyncio.sleep(0.01)

    async def body() -> None:
        async with serving(tmp_path, 2) as (pool, heard):
            for number in range(2):
                pool.submit(attempt("waits_for_a_file", number))
            for number in range(2, 5):
                pool.submit(attempt("alone", number))
            await until(heard, 3)
            assert returned(heard) == [2, 3, 4]
            assert len(pool.leases) == pool.wanted == 2, "no more is asked for"
            # One that was on its way meanwhile.
            pool.submit(attempt("alone", 5))
            await until(heard, 4)
            (tmp_path / "over").touch()
            await asyncio.wait_for(pool.wait_idle(), 30)
            # A slot is free, so what comes is begun.
            pool.submit(attempt("alone", 6))
            await asyncio.wait_for(pool.wait_idle(), 30)
            assert returned(heard) == [2, 3, 4, 5]
            started = [each.lease.token for each in heard if isinstance(each, AttemptStarted)]
            assert sorted(started) == [0, 1, 6]

    asyncio.run(body())


def test_what_waits_for_short_attempts_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    _, outcomes = run(tmp_path, "takes_a_while", 12)
    assert [type(outcome) for outcome in outcomes] == [AttemptSucceeded] * 12
