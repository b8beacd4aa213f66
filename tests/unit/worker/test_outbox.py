"""What a runner says over its socket: in order, complete where that was promised, and bounded."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from msgspec.structs import replace

from servo import _wire
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.partition_keys import PartitionKey
from servo.types.records import Column, Failure, Materialization, Progress
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    AttemptSucceeded,
    Lease,
    OpenSessionRequest,
    WorkerMessage,
)
from servo.worker.frames import FrameParser
from servo.worker.outbox import MAX_RESULT_BYTES, Outbox

LEASE = Lease(task_id="t", attempt=1, token=1)
FINISHED = AttemptFinished(
    lease=LEASE, outcome=Failure(category=FailureCategory.USER_CODE, message="no")
)


@pytest.fixture
def ends() -> Iterator[tuple[Outbox, socket.socket]]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outbox = Outbox(theirs)
        outbox.begin(LEASE)
        yield outbox, ours


def heard(channel: socket.socket) -> list[WorkerMessage]:
    """Everything until the result."""
    parser = FrameParser()
    messages: list[WorkerMessage] = []
    while not (messages and isinstance(messages[-1], AttemptFinished)):
        for frame in parser.feed(channel.recv(1 << 16)):
            messages += _wire.decode(OpenSessionRequest, frame).messages
    return messages


def test_whoever_logs_faster_than_the_worker_reads_waits_and_loses_nothing(
    ends: tuple[Outbox, socket.socket],
) -> None:
    outbox, channel = ends
    count = 60_000

    def work() -> None:
        for number in range(count):
            outbox.line(LogLine(number=0, stream=LogStream.LOG, text=f"record {number}"))
        outbox.finish(FINISHED)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    # More than the socket takes and the outbox keeps, and nobody reads.
    thread.join(timeout=1)
    assert thread.is_alive()
    texts = [
        line.text
        for message in heard(channel)
        if isinstance(message, LogBatch)
        for line in message.lines
    ]
    assert texts == [f"record {number}" for number in range(count)]
    thread.join()


def test_of_progress_and_spending_the_latest_arrives_before_the_result(
    ends: tuple[Outbox, socket.socket],
) -> None:
    outbox, channel = ends
    for number in range(1, 1001):
        outbox.progress(AttemptProgressed(lease=LEASE, progress=Progress(message=str(number))))
        outbox.spent(AttemptSpent(lease=LEASE, spent={"usd": str(number)}))
    outbox.finish(FINISHED)
    messages = heard(channel)
    assert [m.spent for m in messages if isinstance(m, AttemptSpent)][-1] == {"usd": "1000"}
    progress = [m.progress for m in messages if isinstance(m, AttemptProgressed)]
    assert progress[-1].message == "1000"


def test_what_is_spent_is_on_its_way_when_the_call_returns(
    ends: tuple[Outbox, socket.socket],
) -> None:
    outbox, channel = ends
    channel.setblocking(False)
    outbox.spent(AttemptSpent(lease=LEASE, spent={"usd": "0.25"}))
    (frame,) = FrameParser().feed(channel.recv(1 << 16))
    (message,) = _wire.decode(OpenSessionRequest, frame).messages
    assert message == AttemptSpent(lease=LEASE, spent={"usd": "0.25"})


@pytest.mark.parametrize(
    ("made", "said"),
    [
        ({"metadata": {"report": "x" * MAX_RESULT_BYTES}}, "more than the 2,097,152"),
        ({"metadata": {str(n): "" for n in range(10_001)}}, "Materialization.metadata has 10,001"),
        ({"columns": [Column(name="c", type="t")] * 20_001}, "Materialization.columns has 20,001"),
    ],
)
def test_a_result_that_the_control_plane_would_refuse_fails_its_attempt_only(
    ends: tuple[Outbox, socket.socket], made: dict[str, Any], said: str
) -> None:
    outbox, channel = ends
    key = AssetKey("raw", "a")
    materialization = Materialization(
        materialization_id="m", asset_key=key, partition_key=PartitionKey(), **made
    )
    result = replace(FINISHED, outcome=AttemptSucceeded(materialization=materialization))
    outbox.finish(result)
    (finished,) = heard(channel)
    assert isinstance(finished, AttemptFinished)
    assert isinstance(finished.outcome, Failure)
    assert said in finished.outcome.message


def test_a_large_result_that_is_allowed_arrives_as_it_is(
    ends: tuple[Outbox, socket.socket],
) -> None:
    outbox, channel = ends
    materialization = Materialization(
        materialization_id="m",
        asset_key=AssetKey("raw", "a"),
        partition_key=PartitionKey(),
        columns=tuple(Column(name=f"c{n}", type="int64") for n in range(20_000)),
        metadata={"report": "x" * 1_000_000},
    )
    result = replace(FINISHED, outcome=AttemptSucceeded(materialization=materialization))
    sending = threading.Thread(target=outbox.finish, args=(result,))
    sending.start()
    assert heard(channel) == [result]
    sending.join()


def test_each_measurement_arrives_once(ends: tuple[Outbox, socket.socket]) -> None:
    outbox, channel = ends
    outbox.metric(AttemptMetric(lease=LEASE, name="rows", value=1))
    # What is told at once takes along what waits.
    outbox.spent(AttemptSpent(lease=LEASE, spent={"usd": "1"}))
    outbox.metric(AttemptMetric(lease=LEASE, name="rows", value=2))
    outbox.finish(FINISHED)
    values = [m.value for m in heard(channel) if isinstance(m, AttemptMetric)]
    assert values == [1, 2]


def test_before_the_first_attempt_no_task_is_running() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outbox = Outbox(theirs)
        assert outbox.task is None
        outbox.begin(LEASE)
        assert outbox.task == ("t", 1)
