"""What is on its way to a worker: in order, and in responses that are not too large."""

from __future__ import annotations

import asyncio

from servo.controlplane.sessions import WorkerSession
from servo.types import AssetDefinition, AssetKey, CodeLocation, PartitionKey
from servo.types.sessions import (
    InputPartition,
    Lease,
    LogReceipt,
    OpenSessionResponse,
    TaskDispatch,
    TaskInput,
)


def dispatch(number: int, partitions: int) -> TaskDispatch:
    key = AssetKey("raw", "events")
    read = tuple(InputPartition(partition_key=PartitionKey({"n": n})) for n in range(partitions))
    return TaskDispatch(
        lease=Lease(task_id=f"t{number}", attempt=1, token=number),
        run_id="r",
        asset=AssetDefinition(key, code=CodeLocation("assets", "events")),
        partition_key=PartitionKey(),
        inputs=(TaskInput(parameter_name="p", upstream_key=key, partitions=read),),
    )


def responses(session: WorkerSession) -> list[OpenSessionResponse]:
    async def collect() -> list[OpenSessionResponse]:
        return [response async for response in session.responses()]

    session.close()
    return asyncio.run(asyncio.wait_for(collect(), 10))


def test_small_messages_travel_together_and_in_order() -> None:
    session = WorkerSession("w")
    sent = [LogReceipt(batches=number) for number in range(100)]
    for message in sent:
        session.send(message)
    (response,) = responses(session)
    assert list(response.messages) == sent


def test_dispatches_with_many_partitions_are_spread_over_responses() -> None:
    session = WorkerSession("w")
    for number in range(6):
        session.send(dispatch(number, 2_500))
    found = responses(session)
    assert [len(response.messages) for response in found] == [2, 2, 2]


def test_a_message_that_is_too_large_travels_alone() -> None:
    session = WorkerSession("w")
    session.send(dispatch(1, 10_000))
    session.send(dispatch(2, 1))
    assert [len(response.messages) for response in responses(session)] == [1, 1]
