"""A client that follows a run does not notice that the control plane is stopped and started."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from plane_kit import KEY, Caller, ScriptedWorker, asset, at_work, sync
from servo.client import AsyncClient, Client
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.types.events import Event, RunStateChanged
from servo.types.ids import WorkerId
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.runs import RunState
from servo.types.sessions import TaskDispatch

CHAIN = [asset("raw.a"), asset("raw.b", "raw.a")]
SCHEMES = ("grpc", "http")


class Restarted:
    """A control plane on one database that is stopped and started on the same ports."""

    def __init__(self, folder: Path) -> None:
        self._database = folder / "servo.db"
        self._plane: ControlPlane | None = None
        self.urls: dict[str, str] = {}

    async def start(self) -> None:
        listen = self.urls.get("grpc", "grpc://127.0.0.1:0").removeprefix("grpc://")
        http = self.urls.get("http", "http://127.0.0.1:0").removeprefix("http://")
        config = ControlPlaneConfig(
            database=self._database, api_key=KEY, listen=listen, http_listen=http
        )
        self._plane = ControlPlane(config)
        self.urls["grpc"] = await self._plane.start()
        self.urls["http"] = self._plane.http_url

    async def stop(self) -> None:
        assert self._plane is not None
        await self._plane.stop()

    @asynccontextmanager
    async def worker(self, name: str) -> AsyncIterator[ScriptedWorker]:
        caller = Caller(self.urls["grpc"])
        worker = ScriptedWorker(caller, lambda _: None, worker_id=name)
        async with at_work(worker):
            yield worker
        await caller.channel.close()


def said(dispatch: TaskDispatch, number: int) -> LogBatch:
    line = LogLine(stream=LogStream.STDOUT, number=number, text=f"line {number}")
    return LogBatch(task_id=dispatch.lease.task_id, attempt=1, lines=(line,))


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_watch_and_a_log_go_on_through_a_restart(tmp_path: Path, scheme: str, kind: str) -> None:
    sequences: list[int] = []
    lines: list[str] = []
    states: list[RunState] = []

    def take(event: Event) -> None:
        sequences.append(event.sequence)
        if isinstance(event.payload, RunStateChanged):
            states.append(event.payload.state)

    def watch(url: str, run_id: str) -> None:
        with Client(url, api_key=KEY) as client:
            for event in client.runs.watch(run_id):
                take(event)

    def read(url: str, run_id: str) -> None:
        with Client(url, api_key=KEY) as client:
            for batch in client.logs.read(run_id, follow=True):
                lines.extend(line.text for line in batch.lines)

    async def watch_async(url: str, run_id: str) -> None:
        async with AsyncClient(url, api_key=KEY) as client:
            async for event in client.runs.watch(run_id):
                take(event)

    async def read_async(url: str, run_id: str) -> None:
        async with AsyncClient(url, api_key=KEY) as client:
            async for batch in client.logs.read(run_id, follow=True):
                lines.extend(line.text for line in batch.lines)

    @sync
    async def story(path: Path) -> None:
        plane = Restarted(path)
        await plane.start()
        name = WorkerId.generate()
        caller = Caller(plane.urls["grpc"])
        await caller.deploy(CHAIN)
        run_id = (await caller.create_run("*")).run.run_id
        await caller.channel.close()
        url = plane.urls[scheme]
        if kind == "sync":
            following = [
                asyncio.to_thread(watch, url, run_id),
                asyncio.to_thread(read, url, run_id),
            ]
        else:
            following = [watch_async(url, run_id), read_async(url, run_id)]
        tasks = [asyncio.ensure_future(way) for way in following]
        async with plane.worker(name) as worker:
            await worker.until(lambda: bool(worker.dispatches))
            held = worker.dispatches[0]
            worker.send(said(held, 1))
            while not (lines and sequences):
                await asyncio.sleep(0.02)
        await plane.stop()
        await asyncio.sleep(0.5)
        await plane.start()
        caller = Caller(plane.urls["grpc"])
        again = ScriptedWorker(caller, worker_id=name)
        async with at_work(again, leases=(held.lease,)):
            again.send(said(held, 2))
            again.finish(held.lease, again.outcome(held))
            await asyncio.wait_for(asyncio.gather(*tasks), 40)
        await caller.channel.close()
        await plane.stop()

    story(tmp_path)
    assert sequences == list(range(sequences[0], sequences[0] + len(sequences)))
    assert states[-1] is RunState.SUCCEEDED
    assert lines == ["line 1", "line 2"]
