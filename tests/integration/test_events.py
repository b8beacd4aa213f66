"""The history of a workspace over real sockets: in order, once, through restarts, at any speed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc.aio
import pytest

from plane_kit import KEY, Caller, ScriptedWorker, asset, at_work, plane, sync
from servo import _wire, errors
from servo.client import AsyncClient, Client
from servo.client.transport import SERVER_OPTIONS
from servo.controlplane.endpoints import Endpoints
from servo.controlplane.http import HttpApp
from servo.controlplane.identity import Gate
from servo.controlplane.keys import KeyRing
from servo.controlplane.listener import HttpListener
from servo.controlplane.pace import WatchLimits
from servo.controlplane.plane import Plane
from servo.controlplane.rpc import Router
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.controlplane.service import Service
from servo.controlplane.store.batch import Batch
from servo.controlplane.store.sqlite import SqliteStore
from servo.types.events import (
    DeploymentActivated,
    Event,
    PoolChanged,
    RunCreated,
    RunStateChanged,
    RunUpdated,
    TaskStateChanged,
)
from servo.types.pools import SetPoolRequest
from servo.types.requests import UpdateRunRequest, WatchEventsRequest, WatchRunRequest
from servo.types.runs import RunState

pytestmark = pytest.mark.slow

CHAIN = [asset("raw.a"), asset("raw.b", "raw.a")]
SCHEMES = ("grpc", "http")
PAGE = 1000


async def history(caller: Caller, after: int = 0) -> list[Event]:
    request = WatchEventsRequest(after_sequence=after)
    answers = caller.stream(_wire.methods.WATCH_EVENTS, request)
    return [event async for answer in answers for event in answer.events]


@sync
async def test_every_kind_of_change_is_in_the_history_in_order_and_without_a_gap(
    path: Path,
) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(CHAIN)
        await caller.call(_wire.methods.SET_POOL, SetPoolRequest(name="warehouse", slots=4))
        run_id = (await caller.create_run("*")).run.run_id
        for paused in (True, False):
            request = UpdateRunRequest(run_id=run_id, paused=paused)
            await caller.call(_wire.methods.UPDATE_RUN, request)
        async with at_work(ScriptedWorker(caller)):
            await caller.watch(run_id)
        await caller.call(_wire.methods.SET_POOL, SetPoolRequest(name="warehouse"))
        found = await history(caller)
        assert [event.sequence for event in found] == list(range(1, len(found) + 1))
        assert {type(event.payload) for event in found} == {
            DeploymentActivated,
            PoolChanged,
            RunCreated,
            RunStateChanged,
            RunUpdated,
            TaskStateChanged,
        }
        assert found[-1].payload == PoolChanged(name="warehouse")
        assert await history(caller, after=5) == found[5:]
        assert await history(caller, after=len(found)) == []


@sync
async def test_a_watcher_that_follows_is_told_of_everything_that_happens(path: Path) -> None:
    async with plane(path) as (served, caller):
        await caller.deploy(CHAIN)
        seen: asyncio.Queue[Event] = asyncio.Queue()

        async def watch() -> None:
            request = WatchEventsRequest(follow=True)
            async for answer in caller.stream(_wire.methods.WATCH_EVENTS, request):
                for event in answer.events:
                    seen.put_nowait(event)

        watching = asyncio.create_task(watch())
        # Each change is made when the one before it has arrived: so each wakes the watcher.
        assert isinstance((await seen.get()).payload, DeploymentActivated)
        await caller.call(_wire.methods.SET_POOL, SetPoolRequest(name="warehouse", slots=1))
        assert isinstance((await seen.get()).payload, PoolChanged)
        await caller.create_run("raw.a")
        assert isinstance((await seen.get()).payload, RunCreated)
        assert isinstance((await seen.get()).payload, TaskStateChanged)
        await caller.deploy([asset("raw.a")])
        assert isinstance((await seen.get()).payload, DeploymentActivated)
        assert served.watchers == 1
        watching.cancel()
        await asyncio.wait([watching])
        while served.watchers:
            await asyncio.sleep(0.01)


@sync
async def test_events_of_another_history_are_not_waited_for(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(CHAIN)
        async with AsyncClient(caller.url, api_key=KEY) as client:
            for after in (2, -1):
                with pytest.raises(errors.InvalidArgumentError, match="no event") as caught:
                    await anext(aiter(client.events.watch(after)))
                assert caught.value.code == "UNKNOWN_SEQUENCE"


@sync
async def test_events_that_are_not_kept_any_more_are_not_passed_over(path: Path) -> None:
    await write_history(path / "servo.db", 10, first=5)
    async with plane(path) as (_, caller), AsyncClient(caller.url, api_key=KEY) as client:
        assert [event.sequence async for event in client.events.list()] == list(range(5, 15))
        assert (await anext(aiter(client.events.list(4)))).sequence == 5
        with pytest.raises(errors.InvalidArgumentError, match="events 4 to 4 are not") as caught:
            await anext(aiter(client.events.watch(3)))
        assert (caught.value.code, caught.value.context["first"]) == ("HISTORY_FORGOTTEN", "5")


# -- through restarts ---------------------------------------------------------------------


def follow(url: str, take: Callable[[Event], bool]) -> None:
    with Client(url, api_key=KEY) as client:
        for event in client.events.watch():
            if take(event):
                return


async def follow_async(url: str, take: Callable[[Event], bool]) -> None:
    async with AsyncClient(url, api_key=KEY) as client, client.events.watch() as found:
        async for event in found:
            if take(event):
                return


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_client_that_follows_does_not_notice_restarts(
    tmp_path: Path, scheme: str, kind: str
) -> None:
    sequences: list[int] = []
    enough = 9

    def take(event: Event) -> bool:
        sequences.append(event.sequence)
        return len(sequences) == enough

    @sync
    async def story(path: Path) -> None:
        listen = {"grpc": "127.0.0.1:0", "http": "127.0.0.1:0"}
        watching: asyncio.Future[None] | None = None
        for start in range(3):
            config = ControlPlaneConfig(
                database=path / "servo.db",
                api_key=KEY,
                listen=listen["grpc"],
                http_listen=listen["http"],
            )
            served = ControlPlane(config)
            urls = {"grpc": await served.start(), "http": served.http_url}
            listen = {name: url.partition("://")[2] for name, url in urls.items()}
            caller = Caller(urls["grpc"])
            if watching is None:
                await caller.deploy(CHAIN)
                following: asyncio.Future[None] = asyncio.ensure_future(
                    asyncio.to_thread(follow, urls[scheme], take)
                    if kind == "sync"
                    else follow_async(urls[scheme], take)
                )
                watching = following
            made = 1 + 3 * start
            while len(sequences) < made and not watching.done():
                await asyncio.sleep(0.01)
            for number in range(3):
                request = SetPoolRequest(name="warehouse", slots=10 * start + number)
                await caller.call(_wire.methods.SET_POOL, request)
            while len(sequences) < min(made + 3, enough) and not watching.done():
                await asyncio.sleep(0.01)
            await caller.channel.close()
            await served.stop()
        assert watching is not None
        await watching

    story(tmp_path)
    assert sequences == list(range(1, enough + 1))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_stop_in_the_middle_is_not_the_end_of_the_history(tmp_path: Path, scheme: str) -> None:
    path = tmp_path / "servo.db"

    async def take(url: str, stop: Callable[[], Awaitable[None]]) -> tuple[int, str]:
        last = 0
        async with AsyncClient(url, api_key=KEY, timeout=0) as client:
            try:
                async for event in client.events.list():
                    if not last:
                        await stop()
                    last = event.sequence
            except errors.UnavailableError as exc:
                return last, exc.code
        return last, "no error"

    @sync
    async def story(_: Path) -> None:
        await write_history(path, 40 * PAGE, size=500)
        async with small(path, WatchLimits()) as served:
            last, code = await take(served.urls[scheme], served.plane.stop)
            assert last < 40 * PAGE
            assert code == "STOPPING"

    story(tmp_path)


# -- slow watchers ------------------------------------------------------------------------


class Counting(SqliteStore):
    """A store that counts what is read of the history."""

    pages = 0

    async def workspace_events(self, workspace: int, after: int, limit: int) -> list[Event]:
        self.pages += 1
        return await super().workspace_events(workspace, after, limit)


class Small:
    """A control plane with a history, and with limits of a test."""

    def __init__(self, store: Counting, plane: Plane, urls: dict[str, str]) -> None:
        self.store = store
        self.plane = plane
        self.urls = urls

    async def happen(self, count: int) -> None:
        """Let events happen in one commit."""
        workspace = await self.plane.workspace("default", "default")
        for number in range(count):
            payload = PoolChanged(name="warehouse", slots=number)
            workspace.append_event("", payload, datetime.now(UTC))
        await workspace.journal.durable()


async def write_history(path: Path, count: int, *, size: int = 1, first: int = 1) -> None:
    store = SqliteStore(path)
    try:
        number = await store.workspace("default", "default")
        now = datetime.now(UTC)
        batch = Batch()
        for sequence in range(first, first + count):
            payload = PoolChanged(name="p" * size, slots=sequence)
            event = Event(sequence=sequence, occurred_at=now, payload=payload)
            batch.events.append((number, event))
        await store.write(batch)
    finally:
        store.close()


@asynccontextmanager
async def small(path: Path, limits: WatchLimits) -> AsyncIterator[Small]:
    store = Counting(path)
    keys = KeyRing(store, KEY)
    await keys.load()
    plane = Plane(store, lease_length=timedelta(seconds=30), cancel_grace=timedelta(seconds=1))
    await plane.start()
    gate = Gate(keys, plane.has_workspace)
    endpoints = Endpoints(Service(plane, keys, limits), gate)
    server = grpc.aio.server(options=SERVER_OPTIONS)
    server.add_generic_rpc_handlers((Router(endpoints),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    http = HttpListener(HttpApp(endpoints, lambda: True), "127.0.0.1:0")
    try:
        yield Small(store, plane, {"grpc": f"grpc://127.0.0.1:{port}", "http": http.start()})
    finally:
        await plane.stop()
        await http.stop()
        await server.stop(grace=0)
        store.close()


def read_with_a_pause(url: str, pause: float) -> tuple[list[int], list[errors.DeadlineError]]:
    """Take one event, do something else, and take the rest; return what came, and what was said."""
    seen: list[int] = []
    said: list[errors.DeadlineError] = []
    with Client(url, api_key=KEY) as client:
        while True:
            # A busy machine may make the reader slow once more; what to do then is the same.
            try:
                for event in client.events.list(seen[-1] if seen else 0):
                    seen.append(event.sequence)
                    if len(seen) == 1:
                        time.sleep(pause)
            except errors.DeadlineError as exc:
                said.append(exc)
            else:
                return seen, said


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_watcher_that_takes_nothing_is_not_buffered_for_and_is_told(
    tmp_path: Path, scheme: str
) -> None:
    count = 40 * PAGE
    path = tmp_path / "servo.db"

    @sync
    async def story(_: Path) -> None:
        await write_history(path, count, size=500)
        async with small(path, WatchLimits(idle=1.0)) as served:
            pages_at_pause: list[int] = []

            async def look() -> None:
                await asyncio.sleep(3)
                pages_at_pause.append(served.store.pages)

            reading = asyncio.to_thread(read_with_a_pause, served.urls[scheme], 5)
            (seen, said), _ = await asyncio.gather(reading, look())
            assert {error.code for error in said} == {"WATCHER_TOO_SLOW"}
            assert all(0 < int(error.context["after_sequence"]) < count for error in said)
            assert seen == list(range(1, count + 1))
            assert pages_at_pause[0] < 35, "what nobody takes was read from the store"

    story(tmp_path)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_whoever_reads_a_long_history_slowly_reads_all_of_it(tmp_path: Path, scheme: str) -> None:
    count = 12 * PAGE
    path = tmp_path / "servo.db"

    def read(url: str) -> Iterator[int]:
        with Client(url, api_key=KEY) as client:
            for event in client.events.list():
                if event.sequence % PAGE == 0:
                    time.sleep(0.1)
                yield event.sequence

    @sync
    async def story(_: Path) -> None:
        await write_history(path, count)
        async with small(path, WatchLimits(idle=30, behind=0)) as served:
            seen = await asyncio.to_thread(lambda: list(read(served.urls[scheme])))
            assert seen == list(range(1, count + 1))

    story(tmp_path)


@sync
async def test_a_watcher_that_had_seen_the_present_and_stays_behind_is_told(path: Path) -> None:
    await write_history(path / "servo.db", 2 * PAGE)
    async with small(path / "servo.db", WatchLimits(behind=0)) as served:
        seen = 0
        async with AsyncClient(served.urls["grpc"], api_key=KEY) as client:
            with pytest.raises(errors.DeadlineError) as caught:
                async for event in client.events.watch():
                    seen = event.sequence
                    if seen == 2 * PAGE:
                        while not len((await served.plane.workspace("default", "default")).signals):
                            await asyncio.sleep(0.01)
                        await asyncio.sleep(0.2)
                        await served.happen(2 * PAGE)
        assert caught.value.code == "WATCHER_TOO_SLOW"
        assert seen == 3 * PAGE == int(caught.value.context["after_sequence"])


@sync
async def test_the_watcher_of_a_run_that_takes_nothing_is_told_as_well(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(CHAIN)
        run_id = (await caller.create_run("*")).run.run_id
        count = len(await history(caller))
    store = SqliteStore(path / "servo.db")
    number = await store.workspace("default", "default")
    batch = Batch()
    payload = RunStateChanged(state=RunState.RUNNING, reason="x" * 1000)
    for sequence in range(count + 1, count + 20 * PAGE):
        now = datetime.now(UTC)
        event = Event(sequence=sequence, occurred_at=now, run_id=run_id, payload=payload)
        batch.events.append((number, event))
    await store.write(batch)
    store.close()
    async with plane(path, watch_limits=WatchLimits(idle=1.0)) as (_, caller):
        call = caller.channel.unary_stream(_wire.methods.WATCH_RUN.path)(
            _wire.methods.WATCH_RUN.encode_request(WatchRunRequest(run_id=run_id)),
            metadata=caller.metadata,
        )
        await call.read()
        await asyncio.sleep(3)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            while await call.read() is not grpc.aio.EOF:
                pass
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "go on after sequence" in (caught.value.details() or "")
