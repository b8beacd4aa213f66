"""Deploy a project and run it again and again, one run at a time, while somebody watches.

``python benchmarks/drive_latency.py URL PROJECT RUNS`` prints one line of JSON, in milliseconds:
from each event's time to its arrival here (the time is taken before the commit, and both processes
have the same clock), and from each task's becoming ready to its worker's saying that it has begun.
A few runs come first, so that the worker's process has imported the project.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator

from scripted import client

from servo.client import AsyncClient
from servo.manifest.pipeline import build_project
from servo.manifest.project import Project
from servo.types.events import Event, RunStateChanged, TaskStateChanged
from servo.types.runs import TaskState

WARM_UP = 5


async def arrivals(plane: AsyncClient) -> AsyncIterator[tuple[Event, float]]:
    async for event in plane.events.watch():
        yield event, time.time()


async def measure(url: str, root: str, count: int) -> dict[str, list[float]]:
    watched, started = [], []
    async with client(url) as plane, client(url) as caller:
        await caller.deployments.deploy(build_project(Project.load(root), frozen=False))
        stream = arrivals(plane)
        since = time.time()
        for number in range(WARM_UP + count):
            run = (await caller.runs.create(["*"])).run
            ready: dict[int, float] = {}
            async for event, arrived in stream:
                occurred = event.occurred_at.timestamp()
                # What happened before anybody watched is read from the history.
                if occurred < since or event.run_id != run.run_id:
                    continue
                if number >= WARM_UP and event.sequence:
                    watched.append((arrived - occurred) * 1e3)
                if isinstance(event.payload, TaskStateChanged):
                    if event.payload.state is TaskState.READY:
                        ready[event.payload.index] = occurred
                    elif event.payload.state is TaskState.RUNNING and number >= WARM_UP:
                        started.append((occurred - ready[event.payload.index]) * 1e3)
                if isinstance(event.payload, RunStateChanged) and event.payload.state.is_terminal:
                    if event.payload.state != "succeeded":
                        sys.exit(f"run {run.run_id} ended as {event.payload.state!r}")
                    break
    return {"watcher": watched, "started": started}


def main() -> None:
    url, root, count = sys.argv[1:]
    print(json.dumps(asyncio.run(measure(url, root, int(count)))))


main()
