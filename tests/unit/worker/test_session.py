"""In which order the worker speaks, when at once, and when it waits for company."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from servo.types import AssetDefinition, AssetKey, CodeLocation, PartitionKey
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.records import Failure, Progress
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    AttemptStarted,
    CreditGrant,
    DispatchReceived,
    Lease,
    LeaseRevoked,
    LogReceipt,
    ResultReceipt,
    ServerWelcome,
    TaskDispatch,
    WorkerMessage,
)
from servo.worker.log_buffer import BATCH_BYTES, LogBuffer
from servo.worker.pool import Pool
from servo.worker.runner_process import RunnerCommand
from servo.worker.session import Identity, Session

WELCOME = ServerWelcome(
    protocol_version=1,
    heartbeat_interval=timedelta(seconds=5),
    lease_length=timedelta(seconds=30),
    store_id="s",
)


def connected(rings: list[bool]) -> Session:
    """A session whose slots are all busy: nothing takes from its pool."""
    session = Session(Identity(worker_id="w", servo_version="1", slots=1), rings.append)
    logs = LogBuffer(session.post, lambda: None)
    command = RunnerCommand(project=Path("/nowhere"), data_root=Path("/nowhere"))
    session.attach(Pool(slots=1, command=command, logs=logs, report=session.post, starts=1), logs)
    session.receive(WELCOME)
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


def test_the_start_of_a_lone_attempt_is_reported_at_once() -> None:
    async def scenario() -> list[bool]:
        rings: list[bool] = []
        connected(rings).post(AttemptStarted(lease=lease(1)))
        return rings

    assert asyncio.run(scenario()) == [True]


def test_the_start_of_an_attempt_waits_for_company_while_others_wait_for_a_slot() -> None:
    async def scenario() -> list[bool]:
        rings: list[bool] = []
        session = connected(rings)
        session.receive(dispatch(2))
        rings.clear()
        session.post(AttemptStarted(lease=lease(1)))
        return rings

    assert asyncio.run(scenario()) == [False]


def test_other_messages_wait_for_company() -> None:
    async def scenario() -> list[bool]:
        rings: list[bool] = []
        session = connected(rings)
        session.post(DispatchReceived(lease=lease(1)))
        session.post(progress(1, 10))
        return rings

    assert asyncio.run(scenario()) == [False, False]


def line(number: int, size: int = 10) -> LogLine:
    return LogLine(number=number, stream=LogStream.STDOUT, text="x" * size)


def progress(number: int, percentage: int) -> AttemptProgressed:
    return AttemptProgressed(
        lease=lease(number), progress=Progress(message="", percentage=percentage)
    )


def spent(number: int, amount: str) -> AttemptSpent:
    return AttemptSpent(lease=lease(number), spent={"usd": amount})


def said(session: Session) -> list[WorkerMessage]:
    """Everything that is to be sent now, without credit."""
    found: list[WorkerMessage] = []
    while messages := session.outgoing():
        found += [message for message in messages if not isinstance(message, CreditGrant)]
    return found


def test_only_the_latest_progress_and_spending_are_said() -> None:
    async def scenario() -> list[WorkerMessage]:
        session = connected([])
        for number in range(1000):
            session.post(progress(1, number % 100))
            session.post(spent(1, str(number)))
        return said(session)

    assert asyncio.run(scenario()) == [progress(1, 99), spent(1, "999")]


def test_measurements_are_bounded_and_the_oldest_are_dropped() -> None:
    async def scenario() -> list[WorkerMessage]:
        session = connected([])
        for number in range(20_000):
            session.post(AttemptMetric(lease=lease(1), name="n", value=number))
        return said(session)

    values = [m.value for m in asyncio.run(scenario()) if isinstance(m, AttemptMetric)]
    assert values == list(range(10_000, 20_000))


def test_the_result_is_the_last_that_is_said_of_an_attempt() -> None:
    async def scenario() -> list[WorkerMessage]:
        session = connected([])
        session.post(progress(1, 10))
        session.post(AttemptMetric(lease=lease(1), name="n", value=1))
        session.post(spent(1, "1"))
        session.post(finished(1))
        session.post(progress(2, 20))
        return said(session)

    kinds = [type(message) for message in asyncio.run(scenario())]
    assert kinds == [AttemptMetric, AttemptProgressed, AttemptFinished, AttemptProgressed]


def test_a_result_is_said_after_the_last_line_of_its_attempt_and_holds_nobody_up() -> None:
    async def scenario() -> None:
        session = connected([])
        flood = session.logs.open("t1", 1)
        for number in range(10):
            flood.add([line(number, BATCH_BYTES)], BATCH_BYTES)
        session.logs.close(flood)
        session.post(finished(1))
        session.post(finished(2))
        first = said(session)
        assert [type(message) for message in first] == [LogBatch, LogBatch, AttemptFinished]
        assert first[-1] == finished(2)
        assert lease(1) in session.leases, "its lease is kept alive meanwhile"
        rest: list[WorkerMessage] = []
        batches = 2
        while not rest or not isinstance(rest[-1], AttemptFinished):
            session.receive(LogReceipt(batches=batches))
            news = said(session)
            batches += sum(isinstance(message, LogBatch) for message in news)
            rest += news
        assert batches == 10
        assert rest[-1] == finished(1)
        assert [type(message) for message in rest[:-1]] == [LogBatch] * 8

    asyncio.run(scenario())


def test_after_a_reconnect_lines_come_before_the_result_again() -> None:
    async def scenario() -> None:
        session = connected([])
        batch = session.logs.open("t1", 1)
        for number in range(4):
            batch.add([line(number, BATCH_BYTES)], BATCH_BYTES)
        session.logs.close(batch)
        session.post(finished(1))
        session.receive(LogReceipt(batches=2))
        assert isinstance(said(session)[-1], AttemptFinished)
        session.disconnect()
        session.connect()
        session.receive(WELCOME)
        again = said(session)
        assert [type(message) for message in again] == [LogBatch, LogBatch, AttemptFinished]
        session.receive(LogReceipt(batches=2))
        session.receive(ResultReceipt(lease=lease(1), accepted=True))
        assert not session.leases
        assert session.logs.is_empty

    asyncio.run(scenario())


def test_a_revoked_result_is_not_said_when_its_lines_are() -> None:
    async def scenario() -> None:
        session = connected([])
        batch = session.logs.open("t1", 1)
        for number in range(4):
            batch.add([line(number, BATCH_BYTES)], BATCH_BYTES)
        session.logs.close(batch)
        session.post(finished(1))
        session.receive(LeaseRevoked(lease=lease(1), reason="too late"))
        said(session)
        session.receive(LogReceipt(batches=2))
        assert [type(message) for message in said(session)] == [LogBatch, LogBatch]
        assert not session.leases

    asyncio.run(scenario())
