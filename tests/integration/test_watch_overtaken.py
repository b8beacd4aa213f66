"""Those who follow are served from memory, and from the store when that has run ahead of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from plane_kit import KEY, ScriptedWorker, asset, at_work, plane, sync
from servo import _wire
from servo.client import AsyncClient
from servo.controlplane.store.batch import Batch
from servo.types.events import RunUpdated, TaskStateChanged
from servo.types.requests import WatchRunRequest

CHAIN = [asset("raw.a"), asset("raw.b", "raw.a")]


@pytest.mark.parametrize("more", [3, 1_500, 5_000])
def test_who_follows_a_workspace_is_told_of_everything_however_much_comes_at_once(
    tmp_path: Path, more: int
) -> None:
    sync(lambda path: follow_a_workspace(path, more))(tmp_path)


async def follow_a_workspace(path: Path, more: int) -> None:
    async with plane(path) as (served, caller), AsyncClient(caller.url, api_key=KEY) as client:
        workspace = await served._current.plane.workspace("default", "default")
        workspace.set_pool("warehouse", 1)
        seen: list[int] = []
        async with client.events.watch() as events:
            async for event in events:
                seen.append(event.sequence)
                if len(seen) == 1:
                    # One commit, of more than memory keeps.
                    for slots in range(more):
                        workspace.set_pool("warehouse", slots + 2)
                if len(seen) == more + 1:
                    break
        assert seen == list(range(1, more + 2))
        # From somewhere in the middle, and while memory still has the end of it.
        async with client.events.watch(more - 2) as events:
            assert [(await anext(events)).sequence for _ in range(3)] == [more - 1, more, more + 1]


@pytest.mark.parametrize("more", [3, 5_000])
def test_who_follows_a_run_is_told_of_its_events_alone_until_its_end(
    tmp_path: Path, more: int
) -> None:
    sync(lambda path: follow_a_run(path, more))(tmp_path)


async def follow_a_run(path: Path, more: int) -> None:
    async with plane(path) as (served, caller), AsyncClient(caller.url, api_key=KEY) as client:
        await caller.deploy(CHAIN)
        workspace = await served._current.plane.workspace("default", "default")
        other, run = [(await caller.create_run("*")).run for _ in range(2)]
        for priority in range(more):
            # What has happened already is more than one page.
            workspace.update_run(run.run_id, priority=priority + 1)
        async with client.runs.watch(run.run_id) as events:
            seen = [await anext(events)]
            for slots in range(more):
                workspace.set_pool("warehouse", slots)
            async with at_work(ScriptedWorker(caller)):
                seen += [event async for event in events]
        again = [event async for event in client.runs.watch(run.run_id)]
        assert [event.sequence for event in seen] == [event.sequence for event in again]
        assert {event.run_id for event in seen} == {run.run_id} != {other.run_id}
        assert sum(isinstance(event.payload, TaskStateChanged) for event in seen) > 6


@sync
async def test_many_who_follow_from_different_places_all_see_the_same(path: Path) -> None:
    async with plane(path) as (served, caller), AsyncClient(caller.url, api_key=KEY) as client:
        workspace = await served._current.plane.workspace("default", "default")
        for slots in range(50):
            workspace.set_pool("warehouse", slots + 1)
        await workspace.journal.durable()

        async def follow(after: int) -> list[int]:
            seen: list[int] = []
            async with client.events.watch(after) as events:
                async for event in events:
                    seen.append(event.sequence)
                    if event.sequence == 150:
                        return seen
            raise AssertionError("the history ended")

        async def go_on() -> None:
            for slots in range(100):
                workspace.set_pool("warehouse", slots + 100)
                await asyncio.sleep(0.001)

        *found, _ = await asyncio.gather(*map(follow, range(0, 50, 7)), go_on())
        assert found == [list(range(after + 1, 151)) for after in range(0, 50, 7)]


@sync
async def test_what_is_on_disk_before_it_is_announced_is_told_once(
    path: Path,
) -> None:
    async with plane(path) as (served, caller):
        await caller.deploy(CHAIN)
        around = served._current.plane
        workspace = await around.workspace("default", "default")
        run = (await caller.create_run("*")).run
        write, is_written, may_go_on = around.store.write, asyncio.Event(), asyncio.Event()

        async def write_and_wait(batch: Batch) -> None:
            await write(batch)
            is_written.set()
            await may_go_on.wait()

        around.store.write = write_and_wait
        workspace.update_run(run.run_id, priority=1)
        await is_written.wait()
        seen: list[int] = []
        # Not by the client, which would not take an event twice.
        request = WatchRunRequest(run_id=run.run_id)
        async for answer in caller.stream(_wire.methods.WATCH_RUN, request):
            seen += [event.sequence for event in answer.events]
            payload = answer.events[-1].payload
            if isinstance(payload, RunUpdated):
                if payload.priority == 2:
                    break
                may_go_on.set()
                workspace.update_run(run.run_id, priority=2)
        assert seen == sorted(set(seen))
