"""For the drivers: assets without code, a worker whose attempts succeed at once, and runs.

The worker is a session as any other one; what it leaves out is user code, so that what a
measurement shows is the control plane.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

from servo.client import AsyncClient
from servo.io.storage import DataRoot
from servo.manifest import AssetManifest
from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetKey,
    CodeLocation,
    MaterializationId,
    WorkerId,
)
from servo.types.events import RunStateChanged
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.partitions import PartitionStrategy
from servo.types.records import Materialization, Progress
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptStarted,
    AttemptSucceeded,
    CreditGrant,
    Heartbeat,
    OpenSessionRequest,
    ServerMessage,
    ServerWelcome,
    TaskDispatch,
    WorkerHello,
    WorkerMessage,
)

WELCOME_SECONDS = 60


def client(url: str) -> AsyncClient:
    return AsyncClient(url, api_key=os.environ["SERVO_API_KEY"], source="benchmark", timeout=600)


def asset(
    namespace: str, name: str, upstream: str = "", partitioning: PartitionStrategy | None = None
) -> AssetDefinition:
    reads = (
        [AssetDependency(AssetKey(namespace, upstream), parameter_name="up")] if upstream else []
    )
    return AssetDefinition(
        AssetKey(namespace, name),
        code=CodeLocation("assets", name),
        dependencies=reads,
        partitioning=partitioning or PartitionStrategy(),
    )


def chains(namespace: str, count: int, length: int) -> Iterator[AssetDefinition]:
    """Assets each of which reads the one before it in its chain."""
    for chain in range(count):
        for place in range(length):
            up = f"link_{chain:03d}_{place - 1:06d}" if place else ""
            yield asset(namespace, f"link_{chain:03d}_{place:06d}", up)


def manifest(*assets: AssetDefinition) -> AssetManifest:
    return AssetManifest(assets=assets)


class Worker:
    """A worker whose attempts succeed at once.

    Args:
        credit: How many attempts it takes at once.
        talkative: Whether each attempt reports a line, a measurement and progress.
    """

    def __init__(self, credit: int = 64, *, talkative: bool = False) -> None:
        self.welcome: asyncio.Future[ServerWelcome] = asyncio.get_running_loop().create_future()
        self._credit = credit
        self._talkative = talkative
        self._outgoing: asyncio.Queue[tuple[WorkerMessage, ...]] = asyncio.Queue()

    async def hold(self, client: AsyncClient) -> None:
        """Hold a session until it is cancelled."""
        beating = asyncio.create_task(self._beat())
        try:
            session = client.workers.open_session(self._said(), opening=WELCOME_SECONDS)
            async with session as answers:
                async for answer in answers:
                    said = tuple(
                        one for message in answer.messages for one in self._answer(message)
                    )
                    if said:
                        self._outgoing.put_nowait(said)
        finally:
            beating.cancel()

    async def _said(self) -> AsyncIterator[OpenSessionRequest]:
        hello = WorkerHello(worker_id=WorkerId.generate(), slots=self._credit)
        yield OpenSessionRequest(messages=(hello, CreditGrant(attempts=self._credit)))
        while True:
            yield OpenSessionRequest(messages=await self._outgoing.get())

    async def _beat(self) -> None:
        interval = (await self.welcome).heartbeat_interval.total_seconds()
        while True:
            self._outgoing.put_nowait((Heartbeat(),))
            await asyncio.sleep(interval)

    def _answer(self, message: ServerMessage) -> Iterator[WorkerMessage]:
        if isinstance(message, ServerWelcome):
            self.welcome.set_result(message)
        elif isinstance(message, TaskDispatch):
            lease = message.lease
            yield AttemptStarted(lease=lease)
            if self._talkative:
                line = LogLine(number=1, stream=LogStream.STDOUT, text=f"{message.asset.key}: done")
                yield LogBatch(task_id=lease.task_id, attempt=lease.attempt, lines=(line,))
                yield AttemptMetric(lease=lease, name="rows", value=1.0)
                yield AttemptProgressed(lease=lease, progress=Progress(message="done"))
            made = Materialization(
                materialization_id=MaterializationId.generate(),
                asset_key=message.asset.key,
                partition_key=message.partition_key,
                path=DataRoot(Path()).relative(
                    message.asset.key, message.partition_key, message.asset.partitioning
                ),
                row_count=1,
            )
            yield AttemptFinished(lease=lease, outcome=AttemptSucceeded(materialization=made))
            yield CreditGrant(attempts=1)


@asynccontextmanager
async def at_work(client: AsyncClient, worker: Worker) -> AsyncIterator[None]:
    """Hold a worker's session while a block runs."""
    holding = asyncio.create_task(worker.hold(client))
    welcomed = asyncio.ensure_future(worker.welcome)
    await asyncio.wait((holding, welcomed), return_when=asyncio.FIRST_COMPLETED)
    if holding.done():
        await holding
    try:
        yield
    finally:
        holding.cancel()
        await asyncio.wait([holding])


async def run_to_end(client: AsyncClient, selection: str) -> int:
    """Run what is selected; return the number of events, all of them seen.

    Raises:
        RuntimeError: It did not succeed, or the last of its events never came.
    """
    run = (await client.runs.create([selection])).run
    seen, state = 0, ""
    async for event in client.runs.watch(run.run_id):
        if event.sequence:
            seen += 1
        if isinstance(event.payload, RunStateChanged):
            state = event.payload.state
    if state != "succeeded":
        raise RuntimeError(f"run {run.run_id} ended as {state!r}")
    return seen
