"""Watching through a follower while the control plane that schedules is killed."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

import postgres_kit
from leader_kit import Process, callers, planes, processes, until
from plane_kit import KEY, Caller, ScriptedWorker, asset, at_work, succeed
from servo import _wire, errors
from servo.client import AsyncClient, Client
from servo.types.events import Event, PoolChanged, RunStateChanged, TaskStateChanged
from servo.types.ids import WorkerId
from servo.types.pools import ListPoolsRequest, SetPoolRequest
from servo.types.requests import WatchRunRequest
from servo.types.runs import TaskState

pytestmark = pytest.mark.slow

CHAIN = [asset("raw.a"), asset("raw.b", "raw.a"), asset("raw.c", "raw.b")]


@pytest.fixture
def url() -> Iterator[str]:
    with postgres_kit.database() as found:
        yield found


class Watcher:
    """Follows with the synchronous client, in a thread, as the program of a user does.

    Args:
        url: The control plane.
        run_id: The run; empty for all that happens, until a run ends or a pool is removed.
    """

    def __init__(self, url: str, run_id: str = "") -> None:
        self.events: list[Event] = []
        self.error: errors.ServoError | None = None
        self._thread = threading.Thread(target=self._watch, args=(url, run_id), daemon=True)
        self._thread.start()

    def _watch(self, url: str, run_id: str) -> None:
        try:
            with (
                Client(url, api_key=KEY) as client,
                client.runs.watch(run_id) if run_id else client.events.watch() as stream,
            ):
                for event in stream:
                    if event.sequence:
                        self.events.append(event)
                    if not run_id and _is_last(event):
                        return
        except errors.ServoError as exc:
            self.error = exc

    @property
    def has_ended(self) -> bool:
        """Whether there is nothing more to come."""
        return not self._thread.is_alive()


def _is_last(event: Event) -> bool:
    payload = event.payload
    if isinstance(payload, RunStateChanged):
        return payload.state.is_terminal
    return isinstance(payload, PoolChanged) and payload.slots is None


def executed(events: list[Event], index: int) -> bool:
    """Tell whether events say that a task is being executed."""
    found = [event.payload for event in events if isinstance(event.payload, TaskStateChanged)]
    return any(each.index == index and each.state is TaskState.RUNNING for each in found)


def execute(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 60))


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Caller]:
    caller = Caller(url)
    try:
        yield caller
    finally:
        await caller.channel.close()


async def kill(leader: Process, heir: Process, caller: Caller, *bystanders: Process) -> None:
    """Kill who schedules; another takes over, the bystanders do not, and the caller is answered."""
    for one in bystanders:
        one.signal(signal.SIGSTOP)
    leader.signal(signal.SIGKILL)
    await until(lambda: heir.schedules)
    for one in bystanders:
        one.signal(signal.SIGCONT)
    await answered(caller, _wire.methods.LIST_POOLS, ListPoolsRequest())


async def answered(caller: Caller, method: _wire.Method[Any, Any], request: object) -> None:
    """Ask until there is an answer, as those do who are told to ask again."""
    while True:
        try:
            await caller.call(method, request)
        except errors.UnavailableError:
            await asyncio.sleep(0.05)
        else:
            return


async def history(url: str) -> list[Event]:
    async with AsyncClient(url, api_key=KEY) as client:
        return [event async for event in client.events.list()]


@pytest.mark.parametrize("takes_over", [True, False], ids=["takes-over", "follows-on"])
def test_each_event_is_told_once_and_in_order_when_the_leader_is_killed(
    url: str, tmp_path: Path, takes_over: bool
) -> None:
    """The one that is watched through takes over, or follows the next one that leads."""

    async def body() -> None:
        async with calling(watched.url) as caller:
            await caller.deploy(CHAIN)
            run_id = (await caller.create_run("*")).run.run_id
            ports = (watched.url, watched.http_url)
            of_run = [Watcher(port, run_id) for port in ports]
            of_all = [Watcher(port) for port in ports]
            watchers = [*of_run, *of_all]
            worker = ScriptedWorker(caller, lambda _: None, worker_id=WorkerId.generate())
            async with at_work(worker):
                for index in range(2):
                    await until(lambda i=index: all(executed(w.events, i) for w in watchers))
                    if index == 0:
                        (held,) = worker.dispatches
                        worker.finish(held.lease, succeed(held))
                assert leader.schedules
                await kill(leader, heir, caller, *others)
            held = worker.dispatches[-1]
            again = ScriptedWorker(caller, worker_id=worker.worker_id)
            async with at_work(again, leases=(held.lease,)):
                again.finish(held.lease, succeed(held))
                await until(lambda: all(watcher.has_ended for watcher in watchers))
            everything = await history(watched.url)
        assert [watcher.error for watcher in watchers] == [None] * 4
        assert [event.sequence for event in everything] == list(range(1, len(everything) + 1))
        expected = [event for event in everything if event.run_id == run_id]
        assert _is_last(expected[-1])
        assert [watcher.events for watcher in of_run] == [expected] * 2
        assert [watcher.events for watcher in of_all] == [everything] * 2
        assert watched.schedules is takes_over

    with processes(url, tmp_path, 2 if takes_over else 3) as (leader, *followers):
        heir, watched = followers[0], followers[-1]
        others = [watched] if watched is not heir else []
        execute(body)


def test_a_leader_that_is_killed_while_it_writes_tells_nothing_twice_and_leaves_nothing_out(
    url: str, tmp_path: Path
) -> None:
    set_pool = _wire.methods.SET_POOL

    async def body() -> None:
        said: list[int] = []
        enough = asyncio.Event()

        async def talk(caller: Caller) -> None:
            while not enough.is_set():
                slots = len(said)
                await answered(caller, set_pool, SetPoolRequest(name="warehouse", slots=slots))
                said.append(slots)

        async with calling(watched.url) as caller, asyncio.TaskGroup() as tasks:
            await caller.deploy(CHAIN)
            watchers = [Watcher(port) for port in (watched.url, watched.http_url)]
            talking = tasks.create_task(talk(caller))
            await until(lambda: all(len(watcher.events) > 50 for watcher in watchers))
            await kill(leader, watched, caller)
            before = len(said)
            await until(lambda: len(said) > before + 50)
            enough.set()
            await talking
            await caller.call(set_pool, SetPoolRequest(name="warehouse"))
            await until(lambda: all(watcher.has_ended for watcher in watchers))
            everything = await history(watched.url)
        assert [watcher.error for watcher in watchers] == [None] * 2
        assert [event.sequence for event in everything] == list(range(1, len(everything) + 1))
        assert [watcher.events for watcher in watchers] == [everything] * 2
        told = [e.payload.slots for e in everything if isinstance(e.payload, PoolChanged)]
        # What was written and not acknowledged was said again.
        assert list(dict.fromkeys(told)) == [*said, None]

    with processes(url, tmp_path, 2) as (leader, watched):
        execute(body)


def test_a_watcher_without_our_client_is_told_to_come_back_and_goes_on_where_it_was(
    url: str, tmp_path: Path
) -> None:
    """What any client sees of the contract: a status that says so, and numbers without a gap."""
    method = _wire.methods.WATCH_RUN

    async def body() -> None:
        async with planes(url, 1) as (follower,), callers(follower) as (caller,):
            assert not follower.is_scheduling
            await caller.deploy(CHAIN)
            run_id = (await caller.create_run("*")).run.run_id
            request = method.encode_request(WatchRunRequest(run_id=run_id))
            stream = caller.channel.unary_stream(method.path)(request, metadata=caller.metadata)
            worker = ScriptedWorker(caller, lambda _: None, worker_id=WorkerId.generate())
            seen: list[Event] = []
            async with at_work(worker):
                while not executed(seen, 0):
                    seen += method.decode_response(await stream.read()).events
                leader.signal(signal.SIGKILL)
                with pytest.raises(grpc.aio.AioRpcError) as ended:
                    await stream.read()
            details = dict(ended.value.trailing_metadata() or ())[_wire.DETAILS_KEY]
            error = _wire.error_from_status(ended.value.code().name, "", details)
            assert (type(error), error.code) == (errors.UnavailableError, "NO_LEADER")
            assert error.retry_after
            await until(lambda: follower.is_scheduling)
            (held,) = worker.dispatches
            again = ScriptedWorker(caller, worker_id=worker.worker_id)
            async with at_work(again, leases=(held.lease,)):
                again.finish(held.lease, succeed(held))
                seen += await caller.watch(run_id, after=seen[-1].sequence)
            everything = await history(follower.grpc_url)
        assert seen == [event for event in everything if event.run_id == run_id]
        assert _is_last(seen[-1])

    with processes(url, tmp_path, 1) as (leader,):
        execute(body)
