"""When the worker speaks at once, and when it waits for company."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from servo.types import AssetDefinition, AssetKey, CodeLocation, PartitionKey
from servo.types.records import Failure
from servo.types.runs import FailureCategory
from servo.types.sessions import AttemptFinished, Lease, ServerWelcome, TaskDispatch
from servo.worker.log_buffer import LogBuffer
from servo.worker.pool import Pool
from servo.worker.runner_process import RunnerCommand
from servo.worker.session import Identity, Session


def connected(rings: list[bool]) -> Session:
    """A session whose slots are all busy: nothing takes from its pool."""
    session = Session(Identity(worker_id="w", servo_version="1", slots=1), rings.append)
    logs = LogBuffer(session.post, lambda: None)
    command = RunnerCommand(project=Path("/nowhere"), data_root=Path("/nowhere"))
    session.attach(Pool(slots=1, command=command, logs=logs, report=session.post, starts=1), logs)
    session.receive(
        ServerWelcome(
            protocol_version=1,
            heartbeat_interval=timedelta(seconds=5),
            lease_length=timedelta(seconds=30),
            store_id="s",
        )
    )
    rings.clear()
    return session


def lease(number: int) -> Lease:
    return Lease(task_id=f"t{number}", attempt=1, token=number)


def dispatch(number: int) -> TaskDispatch:
    code = CodeLocation(module="m", function="f", file_path="m.py", line_number=1)
    asset = AssetDefinition(key=AssetKey("ns", "a"), code=code)
    return TaskDispatch(
        lease=lease(number),
        run_id="r",
        deployment_id="d",
        asset=asset,
        partition_key=PartitionKey(),
    )


def finished(number: int) -> AttemptFinished:
    failure = Failure(category=FailureCategory.USER_CODE, message="no")
    return AttemptFinished(lease=lease(number), outcome=failure)


def test_a_result_is_sent_at_once_when_nothing_else_waits_to_run() -> None:
    async def scenario() -> list[bool]:
        rings: list[bool] = []
        connected(rings).post(finished(1))
        return rings

    assert asyncio.run(scenario()) == [True]


def test_a_result_waits_for_company_while_other_attempts_keep_the_slots_busy() -> None:
    async def scenario() -> list[bool]:
        rings: list[bool] = []
        session = connected(rings)
        session.receive(dispatch(2))
        rings.clear()
        session.post(finished(1))
        return rings

    assert asyncio.run(scenario()) == [False]
