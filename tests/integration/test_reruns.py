"""Repeating runs: what is repeated, what the new run takes over, what is refused."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

import plane_kit
import postgres_kit
from plane_kit import KEY, Caller, Outcome, ScriptedWorker, at_work, plane, succeed, sync
from servo import _wire, errors
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.types import (
    DailyPartition,
    ExecutionPolicy,
    FailureCategory,
    PartitionStrategy,
    RunState,
)
from servo.types.records import Failure, Run
from servo.types.requests import (
    AllPartitions,
    CancelRunRequest,
    GetRunRequest,
    PartitionRange,
    Rerun,
)
from servo.types.runs import RerunScope
from servo.types.sessions import AttemptCancelled, CancelTask, TaskDispatch

rpc = _wire.methods
DAYS = PartitionStrategy([DailyPartition("date", start="2025-01-01", end="2025-01-04")])


asset = partial(plane_kit.asset, execution=ExecutionPolicy(max_retries=0))


SHOP = (
    asset("raw.orders"),
    asset("raw.returns"),
    asset("mart.sales", "raw.orders"),
    asset("mart.net", "mart.sales", "raw.returns"),
)


class Broken:
    """Lets the attempts of some tasks fail."""

    def __init__(self, *names: str) -> None:
        self.names = set(names)

    def __call__(self, dispatch: TaskDispatch) -> Outcome:
        if _label(dispatch) in self.names:
            return Failure(category=FailureCategory.USER_CODE, message="it broke", retryable=False)
        return succeed(dispatch)


def _label(dispatch: TaskDispatch) -> str:
    values = dispatch.partition_key.dimensions.values()
    return "@".join([str(dispatch.asset.key), *map(str, values)])


def labels(run: Run) -> list[str]:
    return [
        "@".join([str(task.asset_key), *map(str, task.partition_key.dimensions.values())])
        for task in run.tasks
    ]


async def ended(caller: Caller, *selection: str, **options: Any) -> Run:
    """Start a run, wait for its end and return it with its tasks."""
    created = await caller.create_run(*selection, **options)
    await caller.watch(created.run.run_id)
    return await caller.get_run(created.run.run_id)


def repeat(run: Run, scope: RerunScope = RerunScope.UNFINISHED) -> dict[str, Any]:
    return {"rerun": Rerun(run_id=run.run_id, scope=scope)}


@sync
async def test_what_did_not_succeed_is_repeated_and_nothing_else(path: Path) -> None:
    broken = Broken("mart.sales")
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)) as worker:
        await caller.deploy(SHOP)
        first = await ended(caller, "*")
        assert first.state is RunState.FAILED
        broken.names.clear()
        again = await ended(caller, **repeat(first))
        assert again.state is RunState.SUCCEEDED
        assert labels(again) == ["mart.sales", "mart.net"]
        assert (again.parent_run_id, again.root_run_id) == (first.run_id, first.run_id)
        assert again.selection == ()
        made = {str(task.asset_key): task.materialization for task in first.tasks}
        read = {
            str(found.upstream_key): found.partitions[0].materialization_id
            for found in worker.dispatches[-1].inputs
        }
        assert made["raw.returns"] is not None
        assert read["raw.returns"] == made["raw.returns"].materialization_id


@sync
async def test_a_rerun_of_a_rerun_names_its_parent_and_the_first_of_all(path: Path) -> None:
    broken = Broken("mart.sales", "mart.net")
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)):
        await caller.deploy(SHOP)
        first = await ended(caller, "*")
        broken.names = {"mart.net"}
        second = await ended(caller, **repeat(first))
        broken.names.clear()
        third = await ended(caller, **repeat(second))
        assert labels(third) == ["mart.net"]
        assert (third.parent_run_id, third.root_run_id) == (second.run_id, first.run_id)
        assert (first.parent_run_id, first.root_run_id) == ("", "")


@sync
async def test_all_tasks_or_those_of_some_assets_are_repeated(path: Path) -> None:
    broken = Broken("mart.sales", "raw.returns")
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)):
        await caller.deploy(SHOP)
        first = await ended(caller, "*")
        broken.names.clear()
        everything = await ended(caller, **repeat(first, RerunScope.ALL))
        assert labels(everything) == labels(first)
        some = await ended(caller, "raw.*", **repeat(first))
        assert labels(some) == ["raw.returns"]
        assert some.selection == ("raw.*",)
        others = await ended(caller, "not raw.*", "not mart.net", **repeat(first, RerunScope.ALL))
        assert labels(others) == ["mart.sales"]
        with_upstream = await ended(caller, "mart.sales", **repeat(first), upstream=True)
        assert labels(with_upstream) == ["raw.orders", "mart.sales"]


@sync
async def test_the_partitions_that_failed_are_repeated(path: Path) -> None:
    broken = Broken("raw.days@2025-01-02", "mart.days@2025-01-04")
    shop = (asset("raw.days", partitioning=DAYS), asset("mart.days", "raw.days", partitioning=DAYS))
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)):
        await caller.deploy(shop)
        first = await ended(caller, "*", partitions=AllPartitions())
        broken.names.clear()
        again = await ended(caller, **repeat(first))
        assert labels(again) == [
            "raw.days@2025-01-02",
            "mart.days@2025-01-02",
            "mart.days@2025-01-04",
        ]
        assert again.state is RunState.SUCCEEDED


@sync
async def test_a_cancelled_run_goes_on_where_it_was_stopped(path: Path) -> None:
    def stuck(dispatch: TaskDispatch) -> Outcome:
        return succeed(dispatch) if dispatch.asset.key.namespace == "raw" else None

    async with plane(path) as (_, caller):
        async with at_work(ScriptedWorker(caller, stuck)) as worker:
            await caller.deploy(SHOP)
            created = await caller.create_run("*")
            await worker.until(lambda: len(worker.dispatches) == 3)
            await caller.call(rpc.CANCEL_RUN, CancelRunRequest(run_id=created.run.run_id))
            await worker.until(lambda: any(isinstance(m, CancelTask) for m in worker.received))
            held = next(m for m in worker.received if isinstance(m, CancelTask))
            worker.finish(held.lease, AttemptCancelled())
            await caller.watch(created.run.run_id)
        first = await caller.get_run(created.run.run_id)
        assert first.state is RunState.CANCELLED
        async with at_work(ScriptedWorker(caller)):
            again = await ended(caller, **repeat(first))
        assert labels(again) == ["mart.sales", "mart.net"]


@sync
async def test_what_is_not_given_is_as_it_was_for_the_parent(path: Path) -> None:
    broken = Broken("raw.orders")
    given: dict[str, Any] = {
        "config": {"mode": "full"},
        "priority": 7,
        "max_parallelism": 2,
        "timeout_seconds": 600,
        "budget": {"usd": "1.50"},
        "max_retries": 0,
    }
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)) as worker:
        await caller.deploy(SHOP)
        first = await ended(caller, "raw.orders", **given)
        second = await ended(caller, **repeat(first))
        assert worker.dispatches[-1].config == {"mode": "full"}
        assert (second.priority, second.max_parallelism, second.timeout_seconds) == (7, 2, 600)
        assert (second.budget, second.max_retries) == ({"usd": "1.50"}, 0)
        changed: dict[str, Any] = {
            "config": {"mode": "quick"},
            "priority": 3,
            "max_parallelism": 1,
            "timeout_seconds": 60,
            "budget": {"eur": "9"},
            "max_retries": 1,
        }
        third = await ended(caller, **repeat(second), **changed)
        assert worker.dispatches[-1].config == {"mode": "quick"}
        assert (third.priority, third.max_parallelism, third.timeout_seconds) == (3, 1, 60)
        assert (third.budget, third.max_retries) == ({"eur": "9"}, 1)
        fourth = await ended(caller, **repeat(third))
        assert worker.dispatches[-1].config == {"mode": "quick"}
        assert (fourth.priority, fourth.budget) == (3, {"eur": "9"})


@sync
async def test_a_rerun_executes_what_is_deployed_now_or_what_was(path: Path) -> None:
    broken = Broken("raw.orders")
    mended = (asset("raw.orders", description="mended"), *SHOP[1:])
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)) as worker:
        await caller.deploy(SHOP)
        first = await ended(caller, "raw.orders")
        current = await caller.deploy(mended)
        assert current.deployment is not None
        second = await ended(caller, **repeat(first))
        assert second.deployment_id == current.deployment.deployment_id
        assert worker.dispatches[-1].asset.description == "mended"
        third = await ended(caller, **repeat(first), deployment_id=first.deployment_id)
        assert third.deployment_id == first.deployment_id
        assert worker.dispatches[-1].asset.description == ""


@sync
async def test_a_pinned_version_of_the_code_goes_with_its_deployment(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(SHOP)
        first = (await caller.create_run("raw.orders", code_version_id="v1")).run
        await caller.call(rpc.CANCEL_RUN, CancelRunRequest(run_id=first.run_id))
        assert (await caller.create_run(**repeat(first))).run.code_version_id == "v1"
        await caller.deploy((asset("raw.orders", description="mended"), *SHOP[1:]))
        assert (await caller.create_run(**repeat(first))).run.code_version_id == ""
        given = await caller.create_run(**repeat(first), code_version_id="v2")
        assert given.run.code_version_id == "v2"
        old = await caller.create_run(**repeat(first), deployment_id=first.deployment_id)
        assert old.run.code_version_id == "v1"


@sync
async def test_assets_and_partitions_that_are_not_deployed_any_more_are_named(path: Path) -> None:
    broken = Broken("raw.orders", "raw.days@2025-01-02", "raw.returns")
    before = (*SHOP, asset("raw.days", partitioning=DAYS))
    fewer = PartitionStrategy([DailyPartition("date", start="2025-01-03", end="2025-01-04")])
    after = (asset("raw.returns"), asset("raw.days", partitioning=fewer))
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)):
        await caller.deploy(before)
        first = await ended(caller, "raw.*", partitions=AllPartitions())
        await caller.deploy(after)
        with pytest.raises(errors.NotFoundError, match=r"does not have: raw\.orders\. ") as gone:
            await caller.create_run(**repeat(first))
        assert gone.value.code == "ASSET_NOT_FOUND"
        assert "Repeat it with its own deployment" in str(gone.value)
        with pytest.raises(
            errors.InvalidArgumentError, match=r"raw\.days\[date=2025-01-02\], which"
        ):
            await caller.create_run("*", **repeat(first))
        assert labels(await ended(caller, "not raw.days", **repeat(first))) == ["raw.returns"]
        same = await ended(caller, **repeat(first), deployment_id=first.deployment_id)
        assert labels(same) == ["raw.days@2025-01-02", "raw.orders", "raw.returns"]


@sync
async def test_an_upstream_that_was_never_made_is_asked_for(path: Path) -> None:
    broken = Broken("raw.orders")
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)):
        await caller.deploy(SHOP)
        first = await ended(caller, "raw.orders", "mart.sales")
        with pytest.raises(errors.InvalidArgumentError, match=r"mart\.sales reads raw\.orders"):
            await caller.create_run("mart.sales", **repeat(first))


@sync
async def test_a_run_is_repeated_after_its_end_only(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(SHOP)
        created = await caller.create_run("raw.orders")
        with pytest.raises(errors.ConflictError, match="servo cancel") as refused:
            await caller.create_run(**repeat(created.run))
        assert refused.value.code == "RUN_NOT_FINISHED"
        async with at_work(ScriptedWorker(caller)):
            await caller.watch(created.run.run_id)
            with pytest.raises(
                errors.InvalidArgumentError, match="nothing is left to repeat"
            ) as nothing:
                await caller.create_run(**repeat(created.run))
            assert nothing.value.code == "NOTHING_TO_RERUN"
            whole = repeat(created.run, RerunScope.ALL)
            with pytest.raises(errors.InvalidArgumentError, match=r"repeated are raw\.orders"):
                await caller.create_run("mart.*", **whole)
            with pytest.raises(errors.InvalidArgumentError, match="leave partitions out"):
                await caller.create_run(**whole, partitions=AllPartitions())
            assert labels(await ended(caller, **whole)) == ["raw.orders"]


@sync
async def test_a_run_of_others_is_as_unknown_as_one_that_never_was(path: Path) -> None:
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)):
        await caller.deploy(SHOP)
        first = await ended(caller, "raw.orders")
        stranger = Caller(caller.url, key=KEY, tenant_id="acme", workspace_id="b")
        await stranger.deploy(SHOP)
        found = []
        for run_id in (first.run_id, "01ARZ3NDEKTSV4RRFFQ69G5FAV"):
            with pytest.raises(errors.NotFoundError) as unknown:
                await stranger.create_run(rerun=Rerun(run_id=run_id, scope=RerunScope.ALL))
            found.append((unknown.value.code, str(unknown.value).replace(run_id, "RUN")))
        with pytest.raises(errors.NotFoundError) as read:
            await stranger.call(rpc.GET_RUN, GetRunRequest(run_id=first.run_id))
        found.append((read.value.code, str(read.value).replace(first.run_id, "RUN")))
        assert len(set(found)) == 1
        await stranger.channel.close()


@sync
async def test_a_run_key_names_one_rerun_however_often_it_is_asked_for(path: Path) -> None:
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)):
        await caller.deploy(SHOP)
        first = await ended(caller, "raw.*")
        request = repeat(first, RerunScope.ALL)
        again = await caller.create_run(**request, run_key="mend")
        assert again.created
        # Asked again while it goes on, and after its end: what it inherits is no part of the key.
        once_more = await caller.create_run(**request, run_key="mend")
        assert (once_more.created, once_more.run.run_id) == (False, again.run.run_id)
        for other in (
            {"rerun": Rerun(run_id=first.run_id)},
            {"rerun": Rerun(run_id=again.run.run_id, scope=RerunScope.ALL)},
        ):
            with pytest.raises(errors.ConflictError, match=again.run.run_id) as conflict:
                await caller.create_run(**other, run_key="mend")
            assert conflict.value.code == "RUN_KEY_CONFLICT"


@sync
async def test_lineage_and_configuration_survive_a_restart(path: Path) -> None:
    broken = Broken("raw.orders")
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, broken)):
        await caller.deploy(SHOP)
        first = await ended(caller, "raw.orders", config={"mode": "full"})
        created = await caller.create_run(**repeat(first))
        await caller.watch(created.run.run_id)
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)) as worker:
        second = await caller.get_run(created.run.run_id)
        assert (second.parent_run_id, second.root_run_id) == (first.run_id, first.run_id)
        third = await ended(caller, **repeat(second))
        assert worker.dispatches[-1].config == {"mode": "full"}
        assert third.root_run_id == first.run_id


@sync
async def test_a_run_of_many_pages_of_tasks_is_repeated_whole(path: Path) -> None:
    wide = PartitionStrategy([DailyPartition("date", start="2020-01-01", end="2026-12-31")])
    async with plane(path) as (_, caller):
        await caller.deploy([asset("raw.days", partitioning=wide)])
        span = PartitionRange(first="2020-01-01", last="2025-06-30")
        created = await caller.create_run("raw.days", partitions=span)
        assert created.run.counts.total == 2008
        await caller.call(rpc.CANCEL_RUN, CancelRunRequest(run_id=created.run.run_id))
        await caller.watch(created.run.run_id)
        again = await caller.create_run(**repeat(created.run))
        assert again.run.counts.total == 2008


@sync
async def test_a_run_in_postgresql_is_repeated_as_it_was(path: Path) -> None:
    del path
    with postgres_kit.database() as url:
        served = ControlPlane(ControlPlaneConfig(database=url, api_key=KEY))
        caller = Caller(await served.start())
        try:
            async with at_work(ScriptedWorker(caller, Broken("raw.orders"))) as worker:
                await caller.deploy(SHOP)
                first = await ended(caller, "raw.*", config={"mode": "full"})
                again = await ended(caller, **repeat(first))
                assert labels(again) == ["raw.orders"]
                assert worker.dispatches[-1].config == {"mode": "full"}
        finally:
            await caller.channel.close()
            await served.stop()
