"""What is watched, asked and told through a control plane that does not schedule."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc.aio
import pytest

import postgres_kit
from http_kit import envelope, envelopes, request
from leader_kit import callers, execute, planes, say, until
from plane_kit import KEY, Caller, ScriptedWorker, asset, at_work, succeed
from servo import _wire, errors
from servo.client import AsyncClient, AsyncStream
from servo.controlplane.serve import ControlPlane
from servo.types.blockers import BlockerKind
from servo.types.events import (
    DeploymentActivated,
    Event,
    PoolChanged,
    RunCreated,
    RunStateChanged,
    RunUpdated,
    TaskStateChanged,
)
from servo.types.runs import RunState, TaskState

CHAIN = [asset("raw.a"), asset("raw.b", "raw.a")]
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_kit.database() as found:
        yield found


@asynccontextmanager
async def clients(*served: ControlPlane) -> AsyncIterator[list[AsyncClient]]:
    """Call each control plane at both of its ports."""
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(AsyncClient(address, api_key=KEY))
            for plane in served
            for address in (plane.grpc_url, plane.http_url)
        ]


@dataclass
class Seen:
    """What watchers were told, each from a client of its own."""

    each: list[list[Event]] = field(default_factory=list)

    def all(self, condition: Callable[[list[Event]], bool]) -> bool:
        """Tell whether something is true of what each was told."""
        return all(condition(events) for events in self.each)


@asynccontextmanager
async def watching(
    streams: list[AsyncStream[Event]],
) -> AsyncIterator[tuple[Seen, list[asyncio.Task[None]]]]:
    """Watch while a block runs; the tasks end with their streams."""
    seen = Seen([[] for _ in streams])

    async def watch(stream: AsyncStream[Event], events: list[Event]) -> None:
        async with stream as found:
            async for event in found:
                if event.sequence:
                    events.append(event)

    tasks = [asyncio.create_task(watch(*pair)) for pair in zip(streams, seen.each, strict=True)]
    try:
        yield seen, tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def history(client: AsyncClient) -> list[Event]:
    return [event async for event in client.events.list()]


def executes(index: int) -> Callable[[list[Event]], bool]:
    """Return what finds out whether events tell that a task is being executed."""

    def told(events: list[Event]) -> bool:
        found = [e.payload for e in events if isinstance(e.payload, TaskStateChanged)]
        return any(p.index == index and p.state is TaskState.RUNNING for p in found)

    return told


@execute
async def test_each_event_of_a_run_is_told_while_the_leader_schedules(url: str) -> None:
    async with (
        planes(url, 2) as (leader, follower),
        callers(leader) as (caller,),
        clients(follower) as through,
        at_work(ScriptedWorker(caller, lambda _: None)) as worker,
    ):
        await caller.deploy(CHAIN)
        run_id = (await caller.create_run("*")).run.run_id
        streams = [client.runs.watch(run_id) for client in through]
        async with watching(streams) as (seen, tasks):
            for index in range(2):
                # What is done next waits for what was told, so nothing is told all at once.
                await until(lambda index=index: seen.all(executes(index)))
                held = worker.dispatches[index]
                worker.finish(held.lease, succeed(held))
            await asyncio.gather(*tasks)
        expected = [event for event in await history(through[0]) if event.run_id == run_id]
        assert seen.each == [expected, expected]
        assert expected[-1].payload == RunStateChanged(state=RunState.SUCCEEDED)
        assert (leader.is_scheduling, follower.is_scheduling) == (True, False)


@execute
async def test_each_event_of_a_workspace_is_told_while_the_leader_schedules(url: str) -> None:
    async with (
        planes(url, 2) as (leader, follower),
        callers(leader) as (caller,),
        clients(leader, follower) as (direct, _, *through),
        watching([client.events.watch() for client in through]) as (seen, _),
    ):
        await until(lambda: leader.watchers == 2)

        async def told(*kinds: type[object]) -> None:
            await until(
                lambda: seen.all(lambda events: tuple(type(e.payload) for e in events) == kinds)
            )

        kinds: list[type[object]] = [DeploymentActivated]
        await caller.deploy(CHAIN)
        await told(*kinds)
        await direct.pools.set("warehouse", 4)
        await told(*kinds, PoolChanged)
        run = (await direct.runs.create("raw.a")).run
        kinds += [PoolChanged, RunCreated, TaskStateChanged]
        await told(*kinds)
        await direct.runs.pause(run.run_id)
        await told(*kinds, RunUpdated)
        await direct.runs.cancel(run.run_id)
        last = RunStateChanged(state=RunState.CANCELLED, reason="cancelled on request")
        await until(lambda: seen.all(lambda events: events[-1].payload == last))
        assert seen.each == [await history(direct)] * 2
        assert [event.sequence for event in seen.each[0]] == list(range(1, len(seen.each[0]) + 1))
        assert (leader.is_scheduling, follower.is_scheduling) == (True, False)


async def answers(
    follower: ControlPlane, caller: Caller, method: _wire.Method[Any, Any], **asked: Any
) -> tuple[list[int], list[int]]:
    """Return the numbers of the events that each port answers with, as they are on the wire."""
    found = caller.stream(method, method.request_type(**asked))
    over_grpc = [event.sequence async for answer in found for event in answer.events]
    document = {"afterSequence": str(asked["after_sequence"]), "runId": asked.get("run_id", "")}
    answer = await request(
        follower.http_url + method.path,
        envelope({name: value for name, value in document.items() if value}),
        key=KEY,
        content_type="application/connect+json",
    )
    messages = [found for flags, found in envelopes(answer.body) if not flags]
    return over_grpc, [int(event["sequence"]) for found in messages for event in found["events"]]


@execute
async def test_watching_goes_on_after_any_event_that_was_seen(url: str) -> None:
    async with planes(url, 2) as (leader, follower), callers(leader, follower) as (direct, caller):
        await direct.deploy(CHAIN)
        async with at_work(ScriptedWorker(direct)):
            run_id = (await direct.create_run("*")).run.run_id
            of_run = [event.sequence for event in await direct.watch(run_id)]
        await direct.deploy([asset("raw.a")])
        last = of_run[-1] + 1
        assert of_run == list(range(2, last))
        for after in range(last + 1):
            # Not with our client, which would pass over what it is told again.
            told = await answers(
                follower, caller, _wire.methods.WATCH_RUN, run_id=run_id, after_sequence=after
            )
            assert told == ([number for number in of_run if number > after],) * 2
            told = await answers(follower, caller, _wire.methods.WATCH_EVENTS, after_sequence=after)
            assert told == (list(range(after + 1, last + 1)),) * 2
        assert not follower.is_scheduling


@execute
async def test_what_cannot_be_watched_is_refused_as_by_the_leader(url: str) -> None:
    async with planes(url, 2) as served, callers(served[1]) as (caller,), clients(*served) as asked:
        await caller.deploy(CHAIN)
        for client in asked:
            with pytest.raises(errors.InvalidArgumentError) as unknown:
                await anext(aiter(client.events.watch(2)))
            assert unknown.value.code == "UNKNOWN_SEQUENCE"
            assert unknown.value.context["newest"] == "1"
            with pytest.raises(errors.NotFoundError) as missing:
                await anext(aiter(client.runs.watch(UNKNOWN)))
            assert missing.value.code == "RUN_NOT_FOUND"


@execute
async def test_a_watcher_that_went_away_misses_nothing_of_what_happened_meanwhile(url: str) -> None:
    async with (
        planes(url, 2) as (leader, follower),
        callers(leader) as (caller,),
        clients(follower) as through,
        at_work(ScriptedWorker(caller, lambda _: None)) as worker,
    ):
        await caller.deploy(CHAIN)
        run_id = (await caller.create_run("*")).run.run_id
        await worker.until(lambda: len(worker.dispatches) == 1)
        for client in through:
            seen = []
            async with client.runs.watch(run_id) as events:
                async for event in events:
                    seen.append(event)
                    if executes(0)(seen):
                        break
            if client is through[0]:
                held = worker.dispatches[0]
                worker.finish(held.lease, succeed(held))
                await worker.until(lambda: len(worker.dispatches) == 2)
            async with client.runs.watch(run_id, seen[-1].sequence) as events:
                async for event in events:
                    seen.append(event)
                    if executes(1)(seen):
                        break
            assert seen == [e for e in await history(client) if e.run_id == run_id][: len(seen)]
        # Those that left early hold nothing, neither there nor here.
        await until(lambda: leader.watchers == 0)


@execute
async def test_a_run_is_read_and_explained_as_by_the_leader(url: str) -> None:
    async with (
        planes(url, 3) as (leader, *followers),
        callers(leader) as (caller,),
        clients(leader, *followers) as asked,
    ):
        await caller.deploy(CHAIN)
        async with at_work(ScriptedWorker(caller)):
            done = (await caller.create_run("*")).run
            await caller.watch(done.run_id)
        waiting = (await caller.create_run("*")).run
        task_id = (await asked[0].runs.get(waiting.run_id)).tasks[1].task_id
        answers = [
            (
                await client.runs.get(done.run_id),
                await client.runs.get(waiting.run_id),
                [run async for run in client.runs.list(page_size=1)],
                [run async for run in client.runs.list(states=[RunState.SUCCEEDED])],
                await client.runs.why(run_id=done.run_id),
                await client.runs.why(run_id=waiting.run_id),
                await client.runs.why(task_id=task_id),
                await client.runs.why(asset="raw.b"),
            )
            for client in asked
        ]
        assert answers == answers[:1] * 6
        ended, active, listed, succeeded, *reasons = answers[0]
        assert (ended.state, active.state) == (RunState.SUCCEEDED, RunState.PENDING)
        assert [run.run_id for run in listed] == [waiting.run_id, done.run_id]
        assert [run.run_id for run in succeeded] == [done.run_id]
        kinds = [chain[-1].kind for chain in reasons]
        assert kinds == [BlockerKind.SUCCEEDED] + [BlockerKind.NO_WORKER] * 3
        for client in asked:
            with pytest.raises(errors.NotFoundError) as unknown:
                await client.runs.why(run_id=UNKNOWN)
            assert unknown.value.code == "RUN_NOT_FOUND"


@execute
async def test_what_is_told_to_a_follower_is_done_once_and_known_everywhere(url: str) -> None:
    async with planes(url, 3) as served, clients(*served[1:]) as told, clients(*served) as asked:
        async with callers(served[1]) as (caller,):
            await caller.deploy(CHAIN)
        for number, client in enumerate(told):
            name = f"run {number}"
            first = await client.runs.create("*", run_key=name)
            assert first.created
            run_id = first.run.run_id
            for other in asked:
                again = await other.runs.create("*", run_key=name)
                assert (again.created, again.run.run_id) == (False, run_id)
                with pytest.raises(errors.ConflictError) as conflict:
                    await other.runs.create("raw.a", run_key=name)
                assert conflict.value.code == "RUN_KEY_CONFLICT"
                assert conflict.value.context["run_id"] == run_id
            await client.runs.set_priority(run_id, 7)
            assert [(await other.runs.get(run_id)).priority for other in asked] == [7] * 6
            cancelled = await client.runs.cancel(run_id, "not needed")
            assert cancelled.state is RunState.CANCELLED
            for other in asked:
                assert await other.runs.get(run_id, tasks=False) == cancelled
        count = "SELECT count(*), count(DISTINCT run_key) FROM runs"
        assert await asyncio.to_thread(say, url, count) == [(4, 4)]
        kinds = [type(event.payload) for event in await history(told[0])]
        assert kinds.count(RunCreated) == kinds.count(RunUpdated) == 4
        assert [plane.is_scheduling for plane in served] == [True, False, False]


@execute
async def test_watching_goes_on_when_the_leader_hands_over(url: str) -> None:
    async with (
        planes(url, 2) as (leader, follower),
        callers(leader, follower) as (before, after),
        clients(follower) as through,
    ):
        await before.deploy(CHAIN)
        worker = ScriptedWorker(before, lambda _: None)
        async with at_work(worker):
            run_id = (await before.create_run("*")).run.run_id
            runs = [client.runs.watch(run_id) for client in through]
            streams = [*runs, *(client.events.watch() for client in through)]
            async with watching(streams) as (seen, tasks):
                await until(lambda: seen.all(executes(0)))
                (held,) = worker.dispatches
                await leader.stop()
                again = ScriptedWorker(after, worker_id=worker.worker_id)
                await until(lambda: follower.is_scheduling)
                async with at_work(again, leases=(held.lease,)):
                    again.finish(held.lease, succeed(held))
                    await asyncio.gather(*tasks[:2])
                    everything = await history(through[0])
                    await until(lambda: seen.all(lambda events: events[-1] == everything[-1]))
        of_run = [event for event in everything if event.run_id == run_id]
        assert seen.each == [of_run, of_run, everything, everything]
        assert [event.sequence for event in everything] == list(range(1, len(everything) + 1))


@execute
async def test_a_run_that_has_not_ended_is_not_said_to_have_by_a_leader_that_stops(
    url: str,
) -> None:
    """A stream that ends well is the end of the run, also for clients that are not ours."""
    methods = {
        _wire.methods.WATCH_RUN: {},
        _wire.methods.READ_LOGS: {"follow": True},
    }
    async with (
        planes(url, 3) as (leader, *followers),
        callers(leader, *followers) as asking,
    ):
        await asking[0].deploy(CHAIN)
        run_id = (await asking[0].create_run("*")).run.run_id
        over_http = [
            asyncio.create_task(
                request(
                    plane.http_url + method.path,
                    envelope({"runId": run_id, **more}),
                    key=KEY,
                    content_type="application/connect+json",
                )
            )
            for plane in (leader, followers[0])
            for method, more in methods.items()
        ]
        over_grpc = [
            asyncio.create_task(read(caller, method, method.request_type(run_id=run_id, **more)))
            for caller in asking
            for method, more in methods.items()
        ]
        await until(lambda: leader.watchers == 10)
        await leader.stop()
        for task in over_http:
            _, error = envelopes((await task).body)[-1]
            assert error["error"]["code"] == "unavailable"
        for ended in await asyncio.gather(*over_grpc, return_exceptions=True):
            assert isinstance(ended, grpc.aio.AioRpcError)
            assert ended.code() is grpc.StatusCode.UNAVAILABLE


async def read(caller: Caller, method: _wire.Method[Any, Any], asked: Any) -> None:
    async for _ in caller.stream(method, asked):
        pass
