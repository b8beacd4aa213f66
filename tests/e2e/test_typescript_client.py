"""The client in tests/contract/js: the contract serves people who do not write Python."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contract.javascript import PreparationError, check_types, node, programs
from plane_kit import KEY, plane
from servo import _wire
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.manifest import AssetManifest, chunks
from servo.types.deployments import Deployment
from servo.types.requests import GetDeploymentRequest
from servo.types.runs import RunState
from servo_project import ServoProject

ASSETS = '''
from typing import Annotated, Any
from servo import AssetIn, DailyPartition, asset, row_count

DAYS = DailyPartition("date", start="2025-01-01", end="2025-01-03")


@asset(namespace="raw", tags={"10": "ten", "9": "nine", "abc": "c", "ab": "b", "é": "\\ufeff🎉"})
def orders(ctx):
    """Orders."""
    return [{"day": day, "amount": 10 * day} for day in (1, 2, 3)]


@asset(namespace="mart", partitions=DAYS, checks=[row_count(min_rows=1)])
def daily(ctx, orders: Annotated[list[dict[str, Any]], AssetIn["raw.orders"]]):
    """Revenue of a day."""
    day = ctx.partition_key.dimensions["date"].day
    return [{"amount": order["amount"]} for order in orders if order["day"] == day]


@asset(namespace="mart", max_retries=0)
def CUT(ctx, orders: Annotated[list[dict[str, Any]], AssetIn["raw.orders"]]):
    """Begins a chunk: the hash of its key says so."""
    return [max(orders, key=lambda order: order["amount"])]
'''.replace("CUT", "top_209")

# Prints the first event of a run; told to, leaves the watch; with the connection still open, lives
# on until its standard input ends.
LEAVE = """
import { once } from "node:events";
import { Servo } from "./client.js";

const [runId, how] = process.argv.slice(1);
const servo = new Servo({ url: process.env.SERVO_API_URL, apiKey: process.env.SERVO_API_KEY });
const abort = new AbortController();
try {
  for await (const event of servo.watch(runId, 0n, abort.signal)) {
    console.log(`event ${event.sequence}`);
    await once(process.stdin, "data");
    if (how === "break") break;
    abort.abort();
  }
} catch (error) {
  console.log(error.name);
}
const { run } = await servo.runs.getRun({ runId, pageSize: -1 });
console.log(`left ${run.runId}`);
await once(process.stdin, "end");
servo.close();
"""


@dataclass(frozen=True, slots=True)
class Done:
    """How the program ended."""

    code: int
    lines: list[dict[str, Any]]
    err: str


class Program:
    """The client as a program, for one control plane."""

    def __init__(self, url: str) -> None:
        self.environ = os.environ | {"SERVO_API_URL": url, "SERVO_API_KEY": KEY}

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """Start node in the folder of the programs."""
        return await asyncio.create_subprocess_exec(
            *(node(), *arguments),
            cwd=programs(),
            env=self.environ,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str) -> Done:
        """Run a command of the client to its end."""
        process = await self.start("main.js", *arguments)
        out, err = await asyncio.wait_for(process.communicate(), 60)
        assert process.returncode is not None
        return Done(
            process.returncode, [json.loads(line) for line in out.splitlines()], err.decode()
        )

    async def ok(self, *arguments: str) -> list[dict[str, Any]]:
        """Run a command, which has to exit with 0, and return what it printed."""
        done = await self.run(*arguments)
        assert done.code == 0, done
        return done.lines


def in_loop(
    test: Callable[[ServoProject], Coroutine[Any, Any, None]],
) -> Callable[[ServoProject], None]:
    """Run a test that waits."""

    def run(project: ServoProject) -> None:
        programs()
        asyncio.run(asyncio.wait_for(test(project), 100))

    run.__name__ = test.__name__
    return run


@asynccontextmanager
async def at_work(project: ServoProject, url: str) -> AsyncIterator[None]:
    """Run the real worker, as a process of its own."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "servo.worker", "--url", url, "--project", str(project.root)),
        "--exit-with-stdin",
        env=os.environ | {"SERVO_API_KEY": KEY},
        stdin=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield
    finally:
        assert process.stdin is not None
        process.stdin.close()
        await asyncio.wait_for(process.wait(), 20)


def manifest_of(project: ServoProject) -> Path:
    """Write the project, and its manifest with `servo-gen manifest`."""
    project.write("assets/shop.py", ASSETS)
    path = project.root / "manifest.json"
    done = subprocess.run(
        [sys.executable, "-m", "servo.cli.gen", "manifest", "--no-frozen", "--output", str(path)],
        cwd=project.root,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return path


def sequences(lines: list[dict[str, Any]]) -> list[int]:
    """Return the places of the printed events in the history; progress has none."""
    found = [int(line["event"]["sequence"]) for line in lines if "event" in line]
    return [sequence for sequence in found if sequence]


def states(lines: list[dict[str, Any]], kind: str) -> list[str]:
    """Return the states that the printed events report."""
    events = [line["event"] for line in lines if "event" in line]
    return [event[kind]["state"] for event in events if kind in event]


@in_loop
async def test_a_manifest_is_deployed_run_and_watched_to_the_end(project: ServoProject) -> None:
    manifest = manifest_of(project)
    async with plane(project.root) as (_, caller), at_work(project, caller.url):
        program = Program(caller.url)
        (deployed,) = await program.ok("deploy", str(manifest))
        assert (deployed["created"], deployed["deployment"]["assetCount"]) == (True, 3)
        lines = await program.ok("run", "--all-partitions", "*")
        *events, last = lines
        assert last["run"]["state"] == "RUN_STATE_SUCCEEDED", last
        assert last["run"]["deploymentId"] == deployed["deployment"]["deploymentId"]
        assert [task["state"] for task in last["run"]["tasks"]] == ["TASK_STATE_SUCCEEDED"] * 5
        assert states(events, "runStateChanged") == ["RUN_STATE_RUNNING", "RUN_STATE_SUCCEEDED"]
        assert states(events, "taskStateChanged").count("TASK_STATE_SUCCEEDED") == 5
        # The first event of the workspace is the deployment's; all others are the run's.
        assert sequences(events) == list(range(2, int(last["run"]["lastSequence"]) + 1))
        assert "runCreated" in events[0]["event"]
        assert "runStateChanged" in events[-1]["event"]
    assert project.data("mart/daily/date=2025-01-02") == [{"amount": 20}]
    assert project.data("mart/top_209") == [{"day": 3, "amount": 30}]


@in_loop
async def test_chunks_and_fingerprint_are_those_of_the_python_client(
    project: ServoProject,
) -> None:
    path = manifest_of(project)
    manifest = AssetManifest.from_json(path.read_bytes())
    async with plane(project.root) as (_, caller):
        await Program(caller.url).ok("deploy", str(path))
        found = await caller.call(_wire.methods.GET_DEPLOYMENT, GetDeploymentRequest())
    deployment: Deployment = found.deployment
    expected = [chunk.digest for chunk in chunks.split(manifest.assets)]
    assert len(expected) == 2
    assert list(deployment.chunk_digests) == expected
    assert deployment.content_fingerprint == manifest.fingerprint()


@in_loop
async def test_known_content_is_deployed_without_chunks(project: ServoProject) -> None:
    manifest = manifest_of(project)
    async with plane(project.root) as (_, caller):
        program = Program(caller.url)
        (first,) = await program.ok("deploy", str(manifest))
        (again,) = await program.ok("deploy", str(manifest))
    assert again["created"] is False
    assert again["deployment"]["deploymentId"] == first["deployment"]["deploymentId"]


@in_loop
async def test_an_error_arrives_with_its_details(project: ServoProject) -> None:
    async with plane(project.root) as (_, caller):
        done = await Program(caller.url).run("watch", "01ARZ3NDEKTSV4RRFFQ69G5FAV")
    assert done.code == 1, done
    (line,) = done.lines
    assert line["status"] == "NotFound"
    assert line["error"]["code"] == "RUN_NOT_FOUND"
    assert line["error"]["category"] == "ERROR_CATEGORY_VALIDATION"
    assert "01ARZ3NDEKTSV4RRFFQ69G5FAV" in line["error"]["message"]


@in_loop
async def test_a_wrong_key_is_an_error_with_its_details(project: ServoProject) -> None:
    async with plane(project.root) as (_, caller):
        program = Program(caller.url)
        program.environ["SERVO_API_KEY"] = "guessed"
        done = await program.run("run", "*")
    assert done.code == 1, done
    assert done.lines[0]["status"] == "Unauthenticated"
    assert done.lines[0]["error"]["category"] == "ERROR_CATEGORY_PERMISSION"


def calls_served() -> int:
    """Return how many calls the control plane of this loop serves; each of them is a task."""
    coroutines = [task.get_coro() for task in asyncio.all_tasks()]
    return sum(getattr(one, "__qualname__", "") == "_schedule_rpc_coro" for one in coroutines)


@pytest.mark.parametrize(("how", "ending"), [("break", []), ("abort", ["AbortError"])])
def test_a_watch_that_is_left_leaves_nothing_behind(
    project: ServoProject, how: str, ending: list[str]
) -> None:
    manifest = manifest_of(project)

    async def test(project: ServoProject) -> None:
        async with plane(project.root) as (_, caller):
            program = Program(caller.url)
            await program.ok("deploy", str(manifest))
            run = (await caller.create_run("raw.orders")).run
            process = await program.start("--input-type=module", "--eval", LEAVE, run.run_id, how)
            assert process.stdin is not None
            assert process.stdout is not None
            assert (await process.stdout.readline()).startswith(b"event ")
            assert calls_served() == 1
            process.stdin.write(b"leave\n")
            said = [await process.stdout.readline() for _ in [*ending, "left"]]
            assert [line.split()[0].decode() for line in said] == [*ending, "left"]
            # The connection is still open, yet no call is served any more.
            async with asyncio.timeout(20):
                while calls_served():
                    await asyncio.sleep(0.02)
            _, err = await asyncio.wait_for(process.communicate(b""), 20)
            assert (process.returncode, err) == (0, b"")
            assert (await caller.get_run(run.run_id)).state is RunState.PENDING

    in_loop(test)(project)


@in_loop
async def test_a_watch_goes_on_where_it_was_when_the_control_plane_restarts(
    project: ServoProject,
) -> None:
    manifest = manifest_of(project)
    config = ControlPlaneConfig(database=project.root / "servo.db", api_key=KEY)
    first = ControlPlane(config)
    url = await first.start()
    program = Program(url)
    await program.ok("deploy", str(manifest))
    watching = await program.start("main.js", "run", "raw.orders")
    assert watching.stdout is not None
    begun = await watching.stdout.readline()
    await first.stop()
    again = ControlPlane(
        ControlPlaneConfig(
            database=config.database, api_key=KEY, listen=url.removeprefix("grpc://")
        )
    )
    await again.start()
    try:
        async with at_work(project, url):
            out, err = await asyncio.wait_for(watching.communicate(), 60)
    finally:
        await again.stop()
    assert watching.returncode == 0, err.decode()
    lines = [json.loads(line) for line in (begun + out).splitlines()]
    assert sequences(lines) == list(range(2, int(lines[-1]["run"]["lastSequence"]) + 1))


def test_a_field_that_is_renamed_breaks_the_client(tmp_path: Path) -> None:
    made = programs()
    copy = tmp_path / "packages" / "code"
    shutil.copytree(made, copy)
    (copy.parent / "node_modules").symlink_to(made.parent / "node_modules")
    generated = copy / "gen/arco/v1/deployment_pb.d.ts"
    renamed = generated.read_text().replace("missingDigests", "absentDigests")
    generated.write_text(renamed)
    with pytest.raises(PreparationError, match=re.escape("client.ts") + ".*missingDigests"):
        check_types(copy)
