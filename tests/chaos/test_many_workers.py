"""Workers that join and leave at random, most of them without a word."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from pathlib import Path
from typing import Final

import grpc.aio
import pytest

from chaos import invariants
from chaos.planes import Planes
from plane_kit import Caller, ScriptedWorker, asset, succeed
from servo.types import ExecutionPolicy
from servo.types.ids import WorkerId
from servo.types.records import Failure
from servo.types.runs import FailureCategory, RunState, TaskState
from servo.types.sessions import AttemptSucceeded, TaskDispatch, WorkerDraining

WORKERS: Final = 64
TASKS: Final = 300


class Comings:
    """The workers of one storm: each holds sessions, one after the other, until all is done."""

    def __init__(self, url: str, seed: int) -> None:
        self.ways: Counter[str] = Counter()
        self._url = url
        self._chance = random.Random(seed)
        self._over = asyncio.Event()

    async def run(self, body: asyncio.Task[None]) -> None:
        """Have all of them at work until something is done."""
        workers = [asyncio.create_task(self._one()) for _ in range(WORKERS)]
        try:
            await body
        finally:
            self._over.set()
            await asyncio.wait_for(asyncio.gather(*workers), 60)

    async def _one(self) -> None:
        name = WorkerId.generate()
        held: dict[str, TaskDispatch] = {}
        while not self._over.is_set():
            caller = Caller(self._url)
            way = self._chance.choice(["stays", "leaves", "crashes", "returns", "drains"])
            self.ways[way] += 1
            worker = ScriptedWorker(caller, self._outcome, credit=2, worker_id=name)
            session = asyncio.create_task(
                worker.run(leases=tuple(dispatch.lease for dispatch in held.values()))
            )
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), self._chance.uniform(0.05, 1.0))
            if way == "drains":
                worker.send(WorkerDraining())
                await asyncio.sleep(0.05)
            session.cancel()
            await asyncio.gather(session, return_exceptions=True)
            await caller.channel.close()
            # Who crashes comes back as somebody else; who returns still knows what it had.
            held = {}
            if way == "crashes":
                name = WorkerId.generate()
            elif way == "returns":
                held = {dispatch.lease.task_id: dispatch for dispatch in worker.dispatches[-2:]}

    def _outcome(self, dispatch: TaskDispatch) -> AttemptSucceeded | Failure | None:
        chance = self._chance.random()
        if chance < 0.2:
            return None  # it is at work when its worker goes
        if chance < 0.3:
            return Failure(category=FailureCategory.INFRASTRUCTURE, message="bad luck")
        return succeed(dispatch)


@pytest.mark.slow
def test_workers_may_join_and_leave_as_they_like(tmp_path: Path) -> None:
    chance = random.Random(31)
    names: list[str] = []
    assets = []
    for number in range(TASKS):
        upstream = chance.sample(names[-20:], min(len(names), chance.randint(0, 2)))
        names.append(f"g.a{number}")
        policy = ExecutionPolicy(max_retries=1000, retry_delay_seconds=0)
        assets.append(asset(names[-1], *upstream, execution=policy))
    planes = Planes(tmp_path, lease=1.0)

    async def story() -> tuple[str, Counter[str]]:
        caller = Caller(planes.url)
        await caller.deploy(assets)
        run_id = (await caller.create_run("g.*")).run.run_id

        async def follow() -> None:
            after = 0
            while True:
                with contextlib.suppress(grpc.aio.AioRpcError):
                    events = await caller.watch(run_id, after=after)
                    after = max((event.sequence for event in events), default=after)
                if (await caller.get_run(run_id)).state.is_terminal:
                    return

        comings = Comings(planes.url, seed=32)
        await comings.run(asyncio.create_task(asyncio.wait_for(follow(), 90)))
        await caller.channel.close()
        return run_id, comings.ways

    try:
        planes.start()
        planes.until_serving()
        run_id, ways = asyncio.run(story())
        planes.stop()
    finally:
        planes.close()
    tally = invariants.check(planes.database, None, accepted=[run_id])
    print(tally, ways)
    assert tally.runs == {RunState.SUCCEEDED: 1}
    assert tally.tasks == {TaskState.SUCCEEDED: TASKS}
    assert tally.attempts > TASKS * 1.2
    assert min(ways.values()) >= 10
    assert "ran out" in planes.log
