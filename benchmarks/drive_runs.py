"""Deploy a project, then run all of it and follow the run to its end.

``python benchmarks/drive_runs.py URL PROJECT`` prints one line of JSON: when things had happened,
in seconds since CreateRun was called. A run of a few chains comes before it, so that the worker's
processes have imported the project.
"""

from __future__ import annotations

import json
import os
import sys
import time

from servo.client import Client
from servo.manifest.pipeline import build_project
from servo.manifest.project import Project
from servo.types.events import RunStateChanged, TaskStateChanged
from servo.types.runs import TaskState

_WARM_UP = "*.chain_00?_*"


def main() -> None:
    url, root = sys.argv[1:]
    manifest = build_project(Project.load(root), frozen=False)
    with Client(url, api_key=os.environ["SERVO_API_KEY"], source="benchmark") as client:
        client.server.wait_ready(30)
        client.deployments.deploy(manifest)
        _run(client, _WARM_UP)
        print(json.dumps(_run(client, "*")))


def _run(client: Client, selection: str) -> dict[str, float]:
    # Events carry the time of day, and both processes have the same clock.
    called, began = time.time(), time.perf_counter()
    run = client.runs.create([selection]).run
    created = time.perf_counter() - began
    happened: dict[str, list[float]] = {}
    state = ""
    for event in client.runs.watch(run.run_id):
        if isinstance(event.payload, TaskStateChanged):
            happened.setdefault(event.payload.state, []).append(event.occurred_at.timestamp())
        elif isinstance(event.payload, RunStateChanged):
            state = event.payload.state
    finished = time.perf_counter() - began
    succeeded = happened.get(TaskState.SUCCEEDED, [])
    if state != "succeeded":
        sys.exit(f"run {run.run_id} ended as {state!r}")
    return {
        "created": created,
        "first_dispatch": min(happened[TaskState.DISPATCHED]) - called,
        "first_success": min(succeeded) - called,
        "last_success": max(succeeded) - called,
        "finished": finished,
        "succeeded": len(succeeded),
    }


main()
