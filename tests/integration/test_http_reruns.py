"""Repeating runs at the HTTP port: with the client, and with plain JSON as any program sends it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

import plane_kit
from plane_kit import KEY, Caller, Outcome, ScriptedWorker, at_work, plane, succeed, sync
from servo import _wire, errors
from servo.client import Client
from servo.types import ExecutionPolicy, FailureCategory
from servo.types.records import Failure, Run
from servo.types.runs import RerunScope, RunState
from servo.types.sessions import TaskDispatch

asset = partial(plane_kit.asset, execution=ExecutionPolicy(max_retries=0))

SHOP = (
    asset("raw.orders"),
    asset("raw.returns"),
    asset("mart.sales", "raw.orders"),
    asset("mart.net", "mart.sales", "raw.returns"),
)
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


def unfinished(run_id: str) -> dict[str, str]:
    return {"runId": run_id, "scope": "RERUN_SCOPE_UNFINISHED"}


def everything(run_id: str) -> dict[str, str]:
    return {"runId": run_id, "scope": "RERUN_SCOPE_ALL"}


@dataclass
class Shop:
    """A control plane with `SHOP` deployed and a worker, some of whose attempts fail.

    Attributes:
        caller: Calls it over gRPC.
        url: Where it answers HTTP.
        plain: Calls it over HTTP without anything of ours.
        broken: The assets whose attempts fail.
    """

    caller: Caller
    url: str
    plain: httpx.AsyncClient
    broken: set[str] = field(default_factory=set)

    def outcome(self, dispatch: TaskDispatch) -> Outcome:
        """End an attempt."""
        if str(dispatch.asset.key) in self.broken:
            return Failure(category=FailureCategory.USER_CODE, message="it broke")
        return succeed(dispatch)

    async def failed(self, *broken: str) -> str:
        """Run everything, some of it badly; return the id."""
        self.broken = set(broken)
        run_id: str = (await self.caller.create_run("*")).run.run_id
        await self.caller.watch(run_id)
        self.broken = set()
        return run_id

    async def post(self, rpc: str, document: object) -> httpx.Response:
        """Call an RPC of runs with a JSON document."""
        return await self.plain.post(f"/arco.v1.RunService/{rpc}", json=document)

    async def rerun(self, rerun: dict[str, str], **more: Any) -> Any:
        """Repeat a run and wait for its end; return what is then said of it."""
        answer = await self.post("CreateRun", {"rerun": rerun, **more})
        assert answer.status_code == 200, answer.text
        made = answer.json()
        assert made["created"] is True
        await self.caller.watch(made["run"]["runId"])
        found = (await self.post("GetRun", {"runId": made["run"]["runId"]})).json()["run"]
        for name in ("runId", "parentRunId", "rootRunId", "selection"):
            assert found[name] == made["run"][name]
        return found


@asynccontextmanager
async def shop(folder: Path) -> AsyncIterator[Shop]:
    headers = {"authorization": f"Bearer {KEY}"}
    async with (
        plane(folder) as (served, caller),
        httpx.AsyncClient(base_url=served.http_url, headers=headers, timeout=60) as plain,
    ):
        open_shop = Shop(caller, served.http_url, plain)
        async with at_work(ScriptedWorker(caller, open_shop.outcome)):
            await caller.deploy(SHOP)
            yield open_shop


async def in_program(url: str, program: Callable[[Client], None]) -> None:
    """Let a program run that knows nothing but a client."""

    def run() -> None:
        with Client(url, api_key=KEY) as client:
            program(client)

    await asyncio.to_thread(run)


def ended(client: Client, run: Run) -> Run:
    for _ in client.runs.watch(run.run_id):
        pass
    return client.runs.get(run.run_id)


def labels(run: Run) -> list[str]:
    return [str(task.asset_key) for task in run.tasks]


def tasks_of(run: Any) -> list[tuple[str, str]]:
    return [
        (f"{task['assetKey']['namespace']}.{task['assetKey']['name']}", task["state"])
        for task in run["tasks"]
    ]


@sync
async def test_what_failed_is_repeated_with_the_client(path: Path) -> None:
    def program(client: Client) -> None:
        first = client.runs.get(failed)
        assert first.state is RunState.FAILED
        created = client.runs.rerun(first.run_id)
        assert created.created
        second = ended(client, created.run)
        assert second.state is RunState.SUCCEEDED
        assert labels(second) == ["mart.sales", "mart.net"]
        assert (second.parent_run_id, second.root_run_id) == (failed, failed)
        third = ended(client, client.runs.rerun(second.run_id, scope=RerunScope.ALL).run)
        assert labels(third) == labels(second)
        assert (third.parent_run_id, third.root_run_id) == (second.run_id, failed)
        listed = [(run.run_id, run.parent_run_id) for run in client.runs.list()]
        assert listed == [(third.run_id, second.run_id), (second.run_id, failed), (failed, "")]

    async with shop(path) as opened:
        failed = await opened.failed("mart.sales")
        await in_program(opened.url, program)


@sync
async def test_some_of_a_run_is_repeated_with_the_client(path: Path) -> None:
    def program(client: Client) -> None:
        rerun = partial(client.runs.rerun, failed)
        some = ended(client, rerun(selection="raw.*").run)
        assert (labels(some), some.selection) == (["raw.returns"], ("raw.*",))
        whole = ended(client, rerun(selection="raw.*", scope=RerunScope.ALL).run)
        assert labels(whole) == ["raw.orders", "raw.returns"]
        more = ended(client, rerun(selection=["mart.sales"], upstream=True).run)
        assert labels(more) == ["raw.orders", "mart.sales"]
        assert {run.parent_run_id for run in (some, whole, more)} == {failed}

    async with shop(path) as opened:
        failed = await opened.failed("mart.sales", "raw.returns")
        await in_program(opened.url, program)


@sync
async def test_what_failed_is_repeated_with_plain_json(path: Path) -> None:
    async with shop(path) as opened:
        failed = await opened.failed("mart.sales")
        first = (await opened.post("GetRun", {"runId": failed})).json()["run"]
        assert (first["parentRunId"], first["rootRunId"]) == ("", "")
        assert dict(tasks_of(first)) == {
            "raw.orders": "TASK_STATE_SUCCEEDED",
            "raw.returns": "TASK_STATE_SUCCEEDED",
            "mart.sales": "TASK_STATE_FAILED",
            "mart.net": "TASK_STATE_SKIPPED",
        }
        second = await opened.rerun(unfinished(failed))
        assert second["state"] == "RUN_STATE_SUCCEEDED"
        assert tasks_of(second) == [
            ("mart.sales", "TASK_STATE_SUCCEEDED"),
            ("mart.net", "TASK_STATE_SUCCEEDED"),
        ]
        assert (second["parentRunId"], second["rootRunId"]) == (failed, failed)
        third = await opened.rerun(everything(second["runId"]))
        assert tasks_of(third) == tasks_of(second)
        assert (third["parentRunId"], third["rootRunId"]) == (second["runId"], failed)


@sync
async def test_some_of_a_run_is_repeated_with_plain_json(path: Path) -> None:
    async with shop(path) as opened:
        failed = await opened.failed("mart.sales", "raw.returns")
        some = await opened.rerun(unfinished(failed), selection=["raw.*"])
        assert [name for name, _ in tasks_of(some)] == ["raw.returns"]
        assert (some["selection"], some["parentRunId"]) == (["raw.*"], failed)
        both = ["not raw.*", "not mart.net"]
        others = await opened.rerun(everything(failed), selection=both)
        assert [name for name, _ in tasks_of(others)] == ["mart.sales"]
        more = await opened.rerun(unfinished(failed), selection=["mart.sales"], upstream=True)
        assert [name for name, _ in tasks_of(more)] == ["raw.orders", "mart.sales"]


@sync
async def test_a_run_over_http_has_its_own_number_of_retries(path: Path) -> None:
    async with shop(path) as opened:
        opened.broken = {"mart.sales"}
        made = await opened.post("CreateRun", {"selection": ["*"], "maxRetries": 0})
        run_id = made.json()["run"]["runId"]
        await opened.caller.watch(run_id)
        run = (await opened.post("GetRun", {"runId": run_id})).json()["run"]
        (task,) = [task for task in run["tasks"] if "failure" in task]
        assert (run["maxRetries"], task["attempt"], task["failure"]["maxAttempts"]) == (0, 1, 1)
        refused = await opened.post("CreateRun", {"selection": ["*"], "maxRetries": -1})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_argument")
        assert "max_retries" in refused.text


@sync
async def test_a_run_key_names_one_rerun_and_another_request_is_a_conflict(path: Path) -> None:
    def program(client: Client) -> None:
        same = client.runs.rerun(failed, run_key="mend")
        assert (same.created, same.run.run_id) == (False, again)
        with pytest.raises(errors.ConflictError, match=again) as refused:
            client.runs.rerun(failed, run_key="mend", scope=RerunScope.ALL)
        assert (refused.value.code, refused.value.http_status) == ("RUN_KEY_CONFLICT", 409)
        assert refused.value.context["run_id"] == again

    async with shop(path) as opened:
        failed = await opened.failed("mart.sales")
        request = {"rerun": unfinished(failed), "runKey": "mend"}
        again = (await opened.post("CreateRun", request)).json()["run"]["runId"]
        await opened.caller.watch(again)
        answer = await opened.post("CreateRun", request)
        assert answer.status_code == 200
        assert answer.json()["created"] is False
        assert answer.json()["run"]["runId"] == again
        assert answer.json()["run"]["parentRunId"] == failed
        for other in ({"selection": ["mart.net"]}, {"rerun": everything(failed)}):
            await expect(opened, {**request, **other}, 409, "already_exists", "RUN_KEY_CONFLICT")
        await in_program(opened.url, program)


@sync
async def test_what_cannot_be_repeated_has_the_status_and_the_code_that_say_why(path: Path) -> None:
    async with shop(path) as opened:
        failed = await opened.failed("raw.orders")
        done, whole = await opened.failed(), everything(failed)
        wrong, missing = (400, "invalid_argument"), (404, "not_found")
        for request, (status, connect), code in (
            ({"rerun": unfinished(UNKNOWN)}, missing, "RUN_NOT_FOUND"),
            ({"rerun": unfinished(done)}, wrong, "NOTHING_TO_RERUN"),
            (
                {"rerun": unfinished(failed), "selection": ["raw.returns"]},
                wrong,
                "NOTHING_TO_RERUN",
            ),
            ({"rerun": whole, "selection": ["raw.none"]}, missing, "ASSET_NOT_FOUND"),
            ({"rerun": whole, "partitions": {"all": True}}, wrong, "INVALID_ARGUMENT"),
            ({"rerun": {"runId": failed}}, wrong, "INVALID_ARGUMENT"),
        ):
            await expect(opened, request, status, connect, code)
        # No worker has that version of the code.
        active = (await opened.caller.create_run("raw.orders", code_version_id="v9")).run.run_id
        request = {"rerun": unfinished(active)}
        await expect(opened, request, 409, "already_exists", "RUN_NOT_FINISHED")
        await opened.caller.deploy(SHOP[1:2])
        await expect(opened, {"rerun": whole}, 404, "not_found", "ASSET_NOT_FOUND")


async def expect(opened: Shop, request: object, status: int, connect: str, code: str) -> None:
    """Ask for a run that is refused."""
    answer = await opened.post("CreateRun", request)
    assert answer.headers["content-type"] == "application/json"
    error = _wire.error_from_connect(answer.status_code, answer.json())
    assert (answer.status_code, answer.json()["code"], error.code) == (status, connect, code)
