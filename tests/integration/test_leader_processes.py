"""Several control-plane processes on one database, killed, hung and cut off while work goes on."""

from __future__ import annotations

import asyncio
import signal
import sys
import time
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psycopg
import pytest

import postgres_kit
from leader_kit import ROOT, processes
from plane_kit import KEY, Caller
from servo import errors, get_registry
from servo.client import AsyncClient
from servo.types.events import Event, RunStateChanged, TaskStateChanged
from servo.types.runs import RunState, TaskState
from servo.worker import Worker, WorkerConfig

pytestmark = pytest.mark.slow

FAILOVER_SECONDS: Final = 10.0
MODULE: Final = "code_of_the_moved_work"


def _code(count: int) -> str:
    """Return a project of assets that each take a moment, the last one reading the first."""
    parts = ["import time", "from pathlib import Path", "from servo import AssetIn, asset", ""]
    for number in range(count):
        parts += [
            '@asset(namespace="raw")',
            f"def n{number}(ctx):",
            '    with (Path(__file__).parent / "executed.txt").open("a") as file:',
            f'        file.write("n{number}\\n")',
            "    time.sleep(0.2)",
            f'    return [{{"n": {number}}}]',
            "",
        ]
    parts += [
        '@asset(namespace="mart")',
        'def total(ctx, n0: AssetIn["raw.n0"]):',
        "    return n0.read()",
        "",
    ]
    return "\n".join(parts)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    (tmp_path / f"{MODULE}.py").write_text(_code(8))
    monkeypatch.syspath_prepend(tmp_path)
    return tmp_path


def definitions() -> list[Any]:
    get_registry().clear()
    sys.modules.pop(MODULE, None)
    __import__(MODULE)
    found = [one.definition for one in get_registry().all()]
    get_registry().clear()
    return found


@asynccontextmanager
async def at_work(url: str, project: Path) -> AsyncIterator[Worker]:
    """Let a real worker work for a control plane."""
    worker = Worker(WorkerConfig(url=url, api_key=KEY, project=project, slots=2))
    running = asyncio.create_task(worker.run())
    try:
        yield worker
    finally:
        worker.kill()
        await asyncio.wait_for(running, 60)


@asynccontextmanager
async def calling(url: str) -> AsyncIterator[Caller]:
    """Call a control plane; each call tells how it ended, and none is tried again."""
    caller = Caller(url)
    try:
        yield caller
    finally:
        await caller.channel.close()


class Watch:
    """Follows a run with the client, whatever happens to the control planes."""

    def __init__(self, client: AsyncClient, run_id: str) -> None:
        self.events: list[Event] = []
        self._task = asyncio.create_task(self._follow(client, run_id))

    async def _follow(self, client: AsyncClient, run_id: str) -> None:
        async for event in client.runs.watch(run_id):
            if event.sequence:
                self.events.append(event)

    @property
    def succeeded(self) -> list[int]:
        """The tasks that have succeeded, in the order in which they did."""
        return [
            event.payload.index
            for event in self.events
            if isinstance(event.payload, TaskStateChanged)
            and event.payload.state is TaskState.SUCCEEDED
        ]

    async def ended(self) -> RunState:
        """Wait for the end of the run and return its state."""
        await asyncio.wait_for(self._task, 60)
        last = self.events[-1].payload
        assert isinstance(last, RunStateChanged)
        return last.state


def execute(body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(body(), 110))


def assert_complete(watch: Watch, tasks: int) -> None:
    """Check that every task succeeded exactly once, and that nothing is missing of the history."""
    assert sorted(watch.succeeded) == list(range(tasks))
    sequences = [event.sequence for event in watch.events]
    assert sequences == sorted(set(sequences))


async def answered(caller: Caller, run_id: str) -> float:
    """Return after how many seconds a control plane answers again."""
    began = time.monotonic()
    while True:
        try:
            await caller.get_run(run_id)
        except errors.UnavailableError:
            await asyncio.sleep(0.05)
        else:
            return time.monotonic() - began


@pytest.mark.slow
def test_the_work_moves_when_the_leader_is_killed_and_again_when_the_next_one_is(
    project: Path,
) -> None:
    async def body() -> None:
        async with (
            AsyncClient(third.url, api_key=KEY) as client,
            calling(third.url) as caller,
            at_work(third.url, project),
        ):
            await caller.deploy(definitions())
            run = (await caller.create_run("raw.*", "mart.total")).run
            queued = (await caller.create_run("raw.*", run_key="after")).run
            watch, behind = Watch(client, run.run_id), Watch(client, queued.run_id)
            for killed, done in ((first, 2), (second, 9)):
                while len(watch.succeeded) + len(behind.succeeded) < done:
                    await asyncio.sleep(0.02)
                assert killed.schedules
                seen = len(watch.succeeded) + len(behind.succeeded)
                began = time.monotonic()
                if killed is first:
                    # Either of the others may be quicker; the one that is called stays for last.
                    third.signal(signal.SIGSTOP)
                killed.signal(signal.SIGKILL)
                while killed is first and not second.schedules:
                    await asyncio.sleep(0.02)
                third.signal(signal.SIGCONT)
                assert await answered(caller, run.run_id) < FAILOVER_SECONDS
                while len(watch.succeeded) + len(behind.succeeded) == seen:
                    await asyncio.sleep(0.05)
                assert time.monotonic() - began < FAILOVER_SECONDS
            assert await watch.ended() is RunState.SUCCEEDED
            assert await behind.ended() is RunState.SUCCEEDED
            assert third.schedules
            again = await caller.create_run("raw.*", run_key="after")
            assert (again.run.run_id, again.created) == (queued.run_id, False)
            assert_complete(watch, 9)
            assert_complete(behind, 8)
        with psycopg.connect(url) as database:
            query = "SELECT array_agg(sequence ORDER BY sequence) FROM events"
            ((sequences,),) = database.execute(query).fetchall()
        assert sequences == list(range(1, len(sequences) + 1))

    with (
        postgres_kit.database() as url,
        processes(url, project, 3) as (first, second, third),
    ):
        execute(body)


@pytest.mark.slow
@pytest.mark.parametrize("kill", [False, True], ids=["stopped", "killed"])
def test_a_run_survives_a_restart_of_the_database_and_so_does_the_process(
    project: Path, kill: bool
) -> None:
    async def body() -> None:
        async with (
            AsyncClient(only.url, api_key=KEY) as client,
            calling(only.url) as caller,
            at_work(only.url, project),
        ):
            await caller.deploy(definitions())
            run = (await caller.create_run("raw.*", "mart.total")).run
            watch = Watch(client, run.run_id)
            while len(watch.succeeded) < 2:
                await asyncio.sleep(0.02)
            await asyncio.to_thread(postgres_kit.stop_server, server, kill=kill)
            with pytest.raises(errors.UnavailableError) as refused:
                while True:
                    await caller.get_run(run.run_id)
            assert refused.value.retry_after
            await asyncio.to_thread(postgres_kit.start_server, server)
            assert await answered(caller, run.run_id) < FAILOVER_SECONDS
            assert await watch.ended() is RunState.SUCCEEDED
            assert_complete(watch, 9)
            assert only.process.poll() is None

    with (
        postgres_kit.own_server() as (server, server_url),
        postgres_kit.database(server=server_url) as url,
        processes(url, project, 1) as (only,),
    ):
        execute(body)


@pytest.mark.slow
def test_a_leader_that_hangs_is_replaced_and_writes_nothing_when_it_comes_back(
    project: Path,
) -> None:
    async def body() -> None:
        async with (
            calling(first.url) as through_first,
            calling(second.url) as caller,
            at_work(second.url, project),
        ):
            await caller.deploy(definitions())
            run = (await caller.create_run("raw.*")).run
            first.signal(signal.SIGSTOP)
            # Said to the one that hangs; it reads this when it comes back.
            late = asyncio.create_task(through_first.create_run("raw.n1", run_key="late"))
            while not second.schedules:
                await asyncio.sleep(0.05)
            await caller.watch(run.run_id)
            ended = await caller.get_run(run.run_id)
            assert ended.state is RunState.SUCCEEDED
            first.signal(signal.SIGCONT)
            with suppress(errors.UnavailableError):
                await late
            # It follows now: what it is asked, the new leader answers.
            assert await answered(through_first, run.run_id) < FAILOVER_SECONDS
            created = await through_first.create_run("raw.n2", run_key="early")
            again = await caller.create_run("raw.n2", run_key="early")
            assert (again.run.run_id, again.created) == (created.run.run_id, False)
            assert second.schedules
            assert not first.schedules
        with psycopg.connect(url) as database:
            query = "SELECT array_agg(sequence ORDER BY sequence) FROM events"
            ((sequences,),) = database.execute(query).fetchall()
        assert sequences == list(range(1, len(sequences) + 1))

    with (
        postgres_kit.database() as url,
        processes(url, project, 2) as (first, second),
    ):
        execute(body)
