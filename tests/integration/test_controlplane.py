"""The control plane over a real socket, with a worker that the tests direct."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from msgspec.structs import replace

from plane_kit import KEY, Caller, ScriptedWorker, at_work, plane, succeed
from servo import _wire, errors
from servo.client import Client
from servo.controlplane.store import checking
from servo.types import (
    AssetDefinition,
    AssetDependency,
    AssetId,
    AssetKey,
    CodeLocation,
    DailyPartition,
    ExecutionPolicy,
    FailureCategory,
    PartitionStrategy,
    RunState,
    TaskState,
    WorkerId,
)
from servo.types.blockers import BlockerKind, ExplainRequest
from servo.types.deployments import AssetChangeKind
from servo.types.events import RunStateChanged, TaskProgressed, TaskStateChanged
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.manifests import ManifestContents
from servo.types.records import Failure, Progress
from servo.types.requests import (
    AllPartitions,
    CancelRunRequest,
    DeployRequest,
    DeployResponse,
    DiffDeploymentsRequest,
    FindMissingChunksRequest,
    GetAssetRequest,
    GetRunRequest,
    GetServerInfoRequest,
    ListAssetsRequest,
    ListDeploymentsRequest,
    ListMaterializationsRequest,
    ListRunsRequest,
    ReadLogsRequest,
    UploadChunksRequest,
    WatchRunRequest,
)
from servo.types.sessions import (
    AttemptCancelled,
    AttemptMetric,
    AttemptProgressed,
    CancelTask,
    LeaseRevoked,
    LogReceipt,
    OpenSessionRequest,
    ResultReceipt,
    ServerWelcome,
    TaskDispatch,
)

rpc = _wire.methods


def sync(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Let pytest call an ``async def`` test."""

    def run(tmp_path: Path) -> None:
        asyncio.run(asyncio.wait_for(test(tmp_path), 60))

    run.__name__ = test.__name__
    run.__doc__ = test.__doc__
    return run


def asset(name: str, *upstream: str, **options: Any) -> AssetDefinition:
    dependencies = [
        AssetDependency(AssetKey.parse(key), parameter_name=f"p{number}")
        for number, key in enumerate(upstream)
    ]
    key = AssetKey.parse(name)
    return AssetDefinition(
        key, dependencies=dependencies, code=CodeLocation("assets", key.name), **options
    )


CHAIN = (asset("raw.a"), asset("mart.b", "raw.a"), asset("mart.c", "mart.b"), asset("raw.other"))


def broken(category: FailureCategory) -> Failure:
    return Failure(category=category, message="it broke", reason="exception")


async def states(caller: Caller, run_id: str) -> dict[str, TaskState]:
    run = await caller.get_run(run_id)
    return {str(task.asset_key): task.state for task in run.tasks}


@sync
async def test_a_run_executes_its_tasks_in_order_and_records_what_they_made(path: Path) -> None:
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)) as worker:
        await caller.deploy(CHAIN)
        created = await caller.create_run("mart.*", upstream=True)
        events = await caller.watch(created.run.run_id)
        assert [str(d.asset.key) for d in worker.dispatches] == ["raw.a", "mart.b", "mart.c"]
        assert isinstance(events[-1].payload, RunStateChanged)
        run = await caller.get_run(created.run.run_id)
        assert run.state is RunState.SUCCEEDED
        assert run.counts.succeeded == 3
        assert run.started_at is not None
        assert run.finished_at is not None
        made = run.tasks[0].materialization
        assert made is not None
        assert (made.run_id, made.task_id, made.attempt) == (run.run_id, run.tasks[0].task_id, 1)
        inputs = worker.dispatches[1].inputs
        assert inputs[0].partitions[0].materialization_id == made.materialization_id
        assert inputs[0].partitions[0].path == made.path


@sync
async def test_events_are_gap_free_and_a_watch_resumes_where_it_stopped(path: Path) -> None:
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)):
        await caller.deploy(CHAIN)
        created = await caller.create_run("*")
        events = [e for e in await caller.watch(created.run.run_id) if e.sequence]
        sequences = [event.sequence for event in events]
        assert sequences == list(range(sequences[0], sequences[0] + len(events)))
        assert await caller.watch(created.run.run_id, after=sequences[4]) == events[5:]
        assert await caller.watch(created.run.run_id, after=sequences[-1]) == []


@sync
async def test_a_watch_never_ends_before_the_last_event(path: Path) -> None:
    """However the reads of a watch and the commits of its run fall."""

    async def follow(caller: Caller, run_id: str) -> None:
        # Again and again from the newest event on, so that most of it happens near the end.
        while not (run := await caller.get_run(run_id)).state.is_terminal:
            events = await caller.watch(run_id, after=run.last_sequence)
            last = [event for event in events if event.sequence][-1].payload
            assert isinstance(last, RunStateChanged) and last.state is RunState.SUCCEEDED

    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, credit=1)):
        await caller.deploy([asset("raw.a"), asset("raw.b", "raw.a")])
        for _ in range(40):
            created = await caller.create_run("*")
            await asyncio.gather(*(follow(caller, created.run.run_id) for _ in range(8)))


@sync
async def test_a_failed_task_skips_its_downstream_and_others_go_on(path: Path) -> None:
    def outcome(dispatch: TaskDispatch) -> Any:
        if str(dispatch.asset.key) == "raw.a":
            return broken(FailureCategory.DATA_QUALITY)
        return succeed(dispatch)

    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, outcome)):
        await caller.deploy(CHAIN)
        created = await caller.create_run("*")
        await caller.watch(created.run.run_id)
        assert await states(caller, created.run.run_id) == {
            "raw.a": TaskState.FAILED,
            "raw.other": TaskState.SUCCEEDED,
            "mart.b": TaskState.SKIPPED,
            "mart.c": TaskState.SKIPPED,
        }
        run = await caller.get_run(created.run.run_id)
        assert run.state is RunState.FAILED
        assert {t.reason for t in run.tasks if t.state is TaskState.SKIPPED} == {
            "upstream raw.a failed"
        }


@sync
async def test_a_run_may_have_its_own_number_of_retries(path: Path) -> None:
    policy = ExecutionPolicy(max_retries=2, retry_delay_seconds=0)
    failure = broken(FailureCategory.USER_CODE)
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, lambda _: failure)):
        await caller.deploy([asset("raw.a", execution=policy)])
        for max_retries, attempts in ((None, 3), (0, 1), (1, 2), (4, 5)):
            created = await caller.create_run("raw.a", max_retries=max_retries)
            await caller.watch(created.run.run_id)
            found = await caller.get_run(created.run.run_id)
            (task,) = found.tasks
            assert (found.max_retries, task.attempt) == (max_retries, attempts)
            assert task.failure == replace(failure, max_attempts=attempts)


@sync
async def test_a_retryable_failure_is_tried_again_after_its_delay(path: Path) -> None:
    def outcome(dispatch: TaskDispatch) -> Any:
        if dispatch.lease.attempt < 3:
            return broken(FailureCategory.USER_CODE)
        return succeed(dispatch)

    policy = ExecutionPolicy(max_retries=2, retry_delay_seconds=0)
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller, outcome)) as worker:
        await caller.deploy([asset("raw.a", execution=policy)])
        created = await caller.create_run("*")
        await caller.watch(created.run.run_id)
        run = await caller.get_run(created.run.run_id)
        assert run.state is RunState.SUCCEEDED
        assert run.tasks[0].attempt == 3
        tokens = [dispatch.lease.token for dispatch in worker.dispatches]
        assert tokens == sorted(set(tokens))


@sync
async def test_a_lease_that_runs_out_is_given_to_another_and_its_late_result_refused(
    path: Path,
) -> None:
    async with plane(path, lease=0.5) as (_, caller):
        await caller.deploy([asset("raw.a", execution=ExecutionPolicy(max_retries=1))])
        async with at_work(ScriptedWorker(caller, lambda _: None, credit=1)) as slow:
            created = await caller.create_run("*")
            await slow.until(lambda: bool(slow.dispatches))
            async with at_work(ScriptedWorker(caller)) as other:
                await caller.watch(created.run.run_id)
                lease = slow.dispatches[0].lease
                slow.finish(lease, succeed(slow.dispatches[0]))
                await slow.until(lambda: any(isinstance(m, ResultReceipt) for m in slow.received))
            receipt = next(m for m in slow.received if isinstance(m, ResultReceipt))
            assert not receipt.accepted
            assert receipt.error is not None
            assert receipt.error.code == "LEASE_EXPIRED"
            run = await caller.get_run(created.run.run_id)
            assert run.tasks[0].worker_id == other.worker_id
            assert run.tasks[0].attempt == 2
            slow.beat(lease)
            await slow.until(lambda: any(isinstance(m, LeaseRevoked) for m in slow.received))


@sync
async def test_heartbeats_keep_a_lease_beyond_its_length(path: Path) -> None:
    async with (
        plane(path, lease=0.6) as (_, caller),
        at_work(ScriptedWorker(caller, lambda _: None, credit=1)) as worker,
    ):
        await caller.deploy([asset("raw.a")])
        created = await caller.create_run("*")
        await worker.until(lambda: bool(worker.dispatches))
        for _ in range(10):
            worker.beat(worker.dispatches[0].lease)
            await asyncio.sleep(0.15)
        worker.finish(worker.dispatches[0].lease, succeed(worker.dispatches[0]))
        await caller.watch(created.run.run_id)
        assert (await caller.get_run(created.run.run_id)).tasks[0].attempt == 1


@sync
async def test_a_worker_that_reconnects_keeps_the_leases_it_announces(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy([asset("raw.a"), asset("raw.b")])
        worker_id = WorkerId.generate()
        first = ScriptedWorker(caller, lambda _: None, credit=2, worker_id=worker_id)
        async with at_work(first):
            created = await caller.create_run("*")
            await first.until(lambda: len(first.dispatches) == 2)
        kept, dropped = first.dispatches
        again = ScriptedWorker(caller, credit=2, worker_id=worker_id)
        async with at_work(again, leases=(kept.lease,)):
            # The lease that was not announced comes back at once, under a new token.
            await again.until(lambda: bool(again.dispatches))
            assert again.dispatches[0].lease.task_id == dropped.lease.task_id
            assert again.dispatches[0].lease.token > dropped.lease.token
            again.finish(kept.lease, succeed(kept))
            await caller.watch(created.run.run_id)
        run = await caller.get_run(created.run.run_id)
        assert run.state is RunState.SUCCEEDED


@sync
async def test_credit_bounds_what_a_worker_is_given(path: Path) -> None:
    async with (
        plane(path) as (_, caller),
        at_work(ScriptedWorker(caller, lambda _: None, credit=2)) as worker,
    ):
        await caller.deploy([asset(f"raw.a{number}") for number in range(5)])
        created = await caller.create_run("*")
        await worker.until(lambda: len(worker.dispatches) == 2)
        await asyncio.sleep(0.3)
        assert len(worker.dispatches) == 2
        assert (await caller.get_run(created.run.run_id)).counts.ready == 3


@sync
async def test_max_parallelism_bounds_the_attempts_of_an_asset(path: Path) -> None:
    days = PartitionStrategy([DailyPartition("date", start="2025-01-01", end="2025-01-04")])
    policy = ExecutionPolicy(max_parallelism=1)
    most = 0
    running: set[str] = set()

    async def finish_later(worker: ScriptedWorker, dispatch: TaskDispatch) -> None:
        nonlocal most
        most = max(most, len(running))
        await asyncio.sleep(0.05)
        running.discard(dispatch.lease.task_id)
        worker.finish(dispatch.lease, succeed(dispatch))

    tasks = []

    def outcome(dispatch: TaskDispatch) -> None:
        running.add(dispatch.lease.task_id)
        tasks.append(asyncio.create_task(finish_later(worker, dispatch)))

    async with plane(path) as (_, caller):
        worker = ScriptedWorker(caller, outcome)
        async with at_work(worker):
            await caller.deploy([asset("raw.a", partitioning=days, execution=policy)])
            created = await caller.create_run("*", partitions=AllPartitions())
            await caller.watch(created.run.run_id)
    assert most == 1
    assert len(tasks) == 4


@sync
async def test_cancel_reaches_the_worker_and_ends_the_run(path: Path) -> None:
    async with (
        plane(path) as (_, caller),
        at_work(ScriptedWorker(caller, lambda _: None, credit=1)) as worker,
    ):
        await caller.deploy(CHAIN)
        created = await caller.create_run("*")
        await worker.until(lambda: bool(worker.dispatches))
        request = CancelRunRequest(run_id=created.run.run_id, reason="enough")
        assert (await caller.call(rpc.CANCEL_RUN, request)).run.state is RunState.CANCELLING
        await worker.until(lambda: any(isinstance(m, CancelTask) for m in worker.received))
        worker.finish(worker.dispatches[0].lease, AttemptCancelled(reason="stopped"))
        await caller.watch(created.run.run_id)
        run = await caller.get_run(created.run.run_id)
        assert run.state is RunState.CANCELLED
        assert set((await states(caller, run.run_id)).values()) == {TaskState.CANCELLED}
        again = await caller.call(rpc.CANCEL_RUN, request)
        assert again.run.state is RunState.CANCELLED


@sync
async def test_a_cancelled_run_ends_even_when_its_worker_is_gone(path: Path) -> None:
    async with plane(path, lease=0.4) as (_, caller):
        await caller.deploy(CHAIN)
        async with at_work(ScriptedWorker(caller, lambda _: None, credit=1)) as worker:
            created = await caller.create_run("raw.a")
            await worker.until(lambda: bool(worker.dispatches))
        await caller.call(rpc.CANCEL_RUN, CancelRunRequest(run_id=created.run.run_id))
        await caller.watch(created.run.run_id)
        assert (await caller.get_run(created.run.run_id)).state is RunState.CANCELLED


@sync
async def test_the_same_run_key_gives_the_same_run_and_another_request_a_conflict(
    path: Path,
) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(CHAIN)
        first, second = await asyncio.gather(
            caller.create_run("raw.a", run_key="nightly"),
            caller.create_run("raw.a", run_key="nightly"),
        )
        assert first.run.run_id == second.run.run_id
        assert sorted([first.created, second.created]) == [False, True]
        with pytest.raises(errors.ServoError) as info:
            await caller.create_run("raw.other", run_key="nightly")
        assert info.value.code == "RUN_KEY_CONFLICT"
        assert first.run.run_id in str(info.value)
        fingerprints = info.value.context
        assert fingerprints["existing_fingerprint"] != fingerprints["request_fingerprint"]


@sync
async def test_a_run_stays_with_the_manifest_it_was_created_under(path: Path) -> None:
    async with plane(path) as (_, caller):
        before = await caller.deploy([asset("raw.a", description="before")])
        created = await caller.create_run("raw.a")
        await caller.deploy([asset("raw.a", description="after")])
        async with at_work(ScriptedWorker(caller)) as worker:
            await caller.watch(created.run.run_id)
        assert worker.dispatches[0].asset.description == "before"
        assert before.deployment is not None
        assert worker.dispatches[0].deployment_id == before.deployment.deployment_id


@sync
async def test_the_same_content_is_one_deployment_and_can_become_current_again(
    path: Path,
) -> None:
    async with plane(path) as (_, caller):
        one = await caller.deploy([asset("raw.a")])
        two = await caller.deploy([asset("raw.b")])
        again = await caller.deploy([asset("raw.a")], deployed_by="somebody else")
        assert (one.created, two.created, again.created) == (True, True, False)
        assert one.deployment is not None
        assert again.deployment is not None
        assert again.deployment.deployment_id == one.deployment.deployment_id
        listed = await caller.call(rpc.LIST_DEPLOYMENTS, ListDeploymentsRequest())
        assert [d.current for d in listed.deployments] == [False, True]
        keys = [
            str(found.definition.key)
            for found in (await caller.call(rpc.LIST_ASSETS, ListAssetsRequest())).assets
        ]
        assert keys == ["raw.a"]


@sync
async def test_a_known_key_keeps_its_id_and_a_renamed_asset_its_history(path: Path) -> None:
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)):
        first = await caller.deploy([asset("raw.old")])
        known = first.asset_ids["raw.old"]
        fresh = await caller.deploy([asset("raw.old", id=AssetId.generate())])
        assert fresh.asset_ids == {"raw.old": known}
        created = await caller.create_run("*")
        await caller.watch(created.run.run_id)
        await caller.deploy([asset("raw.old", id=AssetId(known))])
        renamed = await caller.deploy([asset("raw.new", id=AssetId(known))])
        assert renamed.asset_ids == {}
        request = ListMaterializationsRequest(key=AssetKey("raw", "new"))
        made = (await caller.call(rpc.LIST_MATERIALIZATIONS, request)).materializations
        assert [m.run_id for m in made] == [created.run.run_id]
        diff = await caller.call(rpc.DIFF_DEPLOYMENTS, DiffDeploymentsRequest())
        assert [change.kind for change in diff.changes] == [AssetChangeKind.RENAMED]


@sync
async def test_an_asset_that_says_late_what_it_was_takes_over_its_history(path: Path) -> None:
    old, new = AssetKey("raw", "old"), AssetKey("raw", "new")
    first, second = AssetId.generate(), AssetId.generate()
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)):
        await caller.deploy([asset("raw.old", id=first)])
        created = await caller.create_run("*")
        await caller.watch(created.run.run_id)
        await caller.deploy([asset("raw.new", id=second)])
        answer = await caller.deploy([asset("raw.new", id=second, renamed_from=old)])
        assert answer.asset_ids == {"raw.new": first}
        listed = await caller.call(rpc.LIST_ASSETS, ListAssetsRequest())
        assert [item.definition.id for item in listed.assets] == [first]
        assert [item.materialized_partitions for item in listed.assets] == [1]
        made = await caller.call(rpc.LIST_MATERIALIZATIONS, ListMaterializationsRequest(key=new))
        assert [m.run_id for m in made.materializations] == [created.run.run_id]


@sync
async def test_a_run_goes_on_with_an_asset_that_gets_its_former_id_back_meanwhile(
    path: Path,
) -> None:
    first, second = AssetId.generate(), AssetId.generate()
    reader = asset("mart.reader", "raw.new", id=AssetId.generate())
    async with (
        plane(path) as (_, caller),
        at_work(ScriptedWorker(caller, lambda _: None)) as worker,
    ):
        await caller.deploy([asset("raw.old", id=first)])
        made = await caller.create_run("raw.old")
        await worker.until(lambda: len(worker.dispatches) == 1)
        worker.finish(worker.dispatches[0].lease, succeed(worker.dispatches[0]))
        await caller.watch(made.run.run_id)
        await caller.deploy([asset("raw.new", id=second), reader])
        created = await caller.create_run("*")
        await worker.until(lambda: len(worker.dispatches) == 2)
        # The rename is told while the run is under way.
        await caller.deploy([asset("raw.new", id=first), reader])
        worker.finish(worker.dispatches[1].lease, succeed(worker.dispatches[1]))
        await worker.until(lambda: len(worker.dispatches) == 3)
        (input_,) = worker.dispatches[2].inputs
        assert [one.has_data for one in input_.partitions] == [True]
        worker.finish(worker.dispatches[2].lease, succeed(worker.dispatches[2]))
        await caller.watch(created.run.run_id)
        request = ListMaterializationsRequest(key=AssetKey("raw", "new"))
        listed = (await caller.call(rpc.LIST_MATERIALIZATIONS, request)).materializations
        assert [m.run_id for m in listed] == [created.run.run_id, made.run.run_id]
    assert checking.check(path / "servo.db").is_sound


@sync
async def test_of_two_histories_none_is_given_up_silently(path: Path) -> None:
    old = AssetKey("raw", "old")
    first, second = AssetId.generate(), AssetId.generate()
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)):
        for key, asset_id in (("raw.old", first), ("raw.new", second)):
            await caller.deploy([asset(key, id=asset_id)])
            await caller.watch((await caller.create_run("*")).run.run_id)
        with pytest.raises(errors.ConflictError, match=r"servo asset rename --replace raw\.old"):
            await caller.deploy([asset("raw.new", id=second, renamed_from=old)])
        # What the lockfile says after that command.
        answer = await caller.deploy([asset("raw.new", id=first, renamed_from=old)])
        assert answer.asset_ids == {}


@sync
async def test_an_asset_without_a_history_keeps_that_of_the_name_it_has_now(path: Path) -> None:
    old = AssetKey("raw", "old")
    second = AssetId.generate()
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)):
        await caller.deploy([asset("raw.old", id=AssetId.generate())])
        await caller.deploy([asset("raw.new", id=second)])
        await caller.watch((await caller.create_run("*")).run.run_id)
        answer = await caller.deploy([asset("raw.new", id=second, renamed_from=old)])
        assert answer.asset_ids == {}


@sync
async def test_a_database_that_is_full_is_named_until_there_is_room_and_the_run_goes_on(
    path: Path,
) -> None:
    async with plane(path) as (served, caller):
        await caller.deploy([asset("raw.a")])
        created = await caller.create_run("*")
        run_id = created.run.run_id
        # Work that is asked for and cannot be recorded.
        served.store.limit_size(1)
        with pytest.raises((errors.FilesystemError, errors.UnavailableError)):
            for _ in range(50):
                await caller.create_run("raw.a")
        answer = await caller.call(rpc.EXPLAIN, ExplainRequest(run_id=run_id))
        assert (answer.chain[-1].kind, answer.chain[-1].subject) == (
            BlockerKind.DATABASE,
            "database",
        )
        assert "no space left for the database" in answer.chain[-1].message
        assert "no space left for the database" in (await caller.get_run(run_id)).reason
        listed = await caller.call(rpc.LIST_RUNS, ListRunsRequest())
        assert {"no space left" in run.reason for run in listed.runs} == {True}
        # Nobody writes anything meanwhile: the control plane finds out by itself.
        served.store.limit_size(0)
        deadline = time.monotonic() + 30
        while (await caller.get_run(run_id)).reason:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)
        async with at_work(ScriptedWorker(caller)):
            for run in listed.runs:
                await caller.watch(run.run_id)
        assert (await caller.get_run(run_id)).state is RunState.SUCCEEDED
    assert checking.check(path / "servo.db").is_sound


@pytest.mark.slow
@sync
async def test_a_manifest_of_25_000_assets_is_deployed_in_messages_of_stock_size(
    path: Path,
) -> None:
    assets = [asset(f"ns{n // 1000:02}.asset_{n:06}") for n in range(25_000)]
    edited = [*assets[:777], dataclasses.replace(assets[777], description="edited"), *assets[778:]]
    sent: list[int] = []

    def deploy(url: str, content: list[AssetDefinition]) -> DeployResponse:
        with Client(url, api_key=KEY) as client:
            # The client and the server keep gRPC's own limit of 4 MB for a message.
            manifest = ManifestContents(assets=tuple(content))
            return client.deployments.deploy(
                manifest, on_progress=lambda _, all_: sent.append(all_)
            )

    async with plane(path) as (_, caller):
        first = await asyncio.to_thread(deploy, caller.url, assets)
        assert first.deployment is not None
        assert (first.created, first.deployment.asset_count) == (True, 25_000)
        assert sent[-1] > 1_000_000
        sent.clear()
        again = await asyncio.to_thread(deploy, caller.url, assets)
        assert (again.created, sent) == (False, [])
        await asyncio.to_thread(deploy, caller.url, edited)
        assert sent[-1] < 64_000


@sync
async def test_contradicting_assets_are_refused_and_nothing_changes(path: Path) -> None:
    async with plane(path) as (_, caller):
        with pytest.raises(errors.ServoError, match=r"raw\.missing"):
            await caller.deploy([asset("raw.a", "raw.missing")])
        with pytest.raises(errors.NotFoundError):
            await caller.create_run("*")


@sync
async def test_content_that_is_not_what_was_announced_is_refused(path: Path) -> None:
    async with plane(path) as (_, caller):
        chunk = _wire.encode_chunk([asset("raw.a")])
        await caller.call(rpc.UPLOAD_CHUNKS, UploadChunksRequest(chunks=(chunk,)))
        other = ManifestContents(assets=(asset("raw.b"),))
        request = DeployRequest(
            content_fingerprint=_wire.manifest_fingerprint(other),
            header=ManifestContents(),
            chunk_digests=(hashlib.sha256(chunk).digest(),),
        )
        with pytest.raises(errors.ServoError) as info:
            await caller.call(rpc.DEPLOY, request)
        assert info.value.code == "CONTENT_MISMATCH"
        missing = FindMissingChunksRequest(chunk_digests=(b"x" * 32, request.chunk_digests[0]))
        found = await caller.call(rpc.FIND_MISSING_CHUNKS, missing)
        assert found.missing_digests == (b"x" * 32,)


@sync
async def test_a_manifest_that_writes_defaults_down_is_taken_as_it_is(path: Path) -> None:
    """Clients in other languages need not know what Servo leaves out."""
    plain = _wire.encode_chunk([asset("raw.a")])
    # `execution`, field 10 of the asset, which is the only one of the chunk.
    policy = _wire.encode(ExecutionPolicy())
    more = b"\x52" + bytes([len(policy)]) + policy
    spelled = plain[:1] + bytes([plain[1] + len(more)]) + plain[2:] + more
    assert _wire.decode_chunk(spelled) == _wire.decode_chunk(plain)
    fingerprint = _wire.chunks_fingerprint(ManifestContents(), [spelled])
    assert fingerprint != _wire.chunks_fingerprint(ManifestContents(), [plain])
    async with plane(path) as (_, caller), at_work(ScriptedWorker(caller)):
        await caller.call(rpc.UPLOAD_CHUNKS, UploadChunksRequest(chunks=(spelled,)))
        request = DeployRequest(
            content_fingerprint=fingerprint,
            header=ManifestContents(),
            chunk_digests=(hashlib.sha256(spelled).digest(),),
        )
        response = await caller.call(rpc.DEPLOY, request)
        assert response.created
        created = await caller.create_run("*")
        await caller.watch(created.run.run_id)
        assert (await caller.get_run(created.run.run_id)).state is RunState.SUCCEEDED


@sync
async def test_what_does_not_exist_is_not_found(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(CHAIN)
        for method, request in (
            (rpc.GET_RUN, GetRunRequest(run_id="x")),
            (rpc.CANCEL_RUN, CancelRunRequest(run_id="x")),
            (rpc.GET_ASSET, GetAssetRequest(key=AssetKey("raw", "x"))),
        ):
            with pytest.raises(errors.NotFoundError):
                await caller.call(method, request)
        with pytest.raises(grpc.aio.AioRpcError):
            async for _ in caller.stream(rpc.WATCH_RUN, WatchRunRequest(run_id="x")):
                pass


@sync
async def test_a_wrong_key_is_refused_and_a_malformed_request_named(path: Path) -> None:
    async with plane(path) as (served, caller):
        del served
        target = caller.channel
        stranger = Caller("grpc://127.0.0.1:1", key="wrong")
        await stranger.channel.close()
        stranger.channel = target
        with pytest.raises(errors.UnauthenticatedError):
            await stranger.call(rpc.GET_SERVER_INFO, GetServerInfoRequest())
        with pytest.raises(grpc.aio.AioRpcError) as info:
            await target.unary_unary(rpc.GET_RUN.path)(b"\xff", metadata=caller.metadata)
        assert info.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@sync
async def test_workspaces_do_not_see_each_other(path: Path) -> None:
    async with plane(path) as (_, caller):
        other = Caller("grpc://127.0.0.1:1", tenant_id="acme", workspace_id="b")
        await other.channel.close()
        other.channel = caller.channel
        await caller.deploy(CHAIN)
        created = await caller.create_run("*")
        with pytest.raises(errors.NotFoundError):
            await other.get_run(created.run.run_id)
        with pytest.raises(errors.NotFoundError):
            await other.create_run("*")
        assert (await other.call(rpc.LIST_RUNS, ListRunsRequest())).runs == ()


@sync
async def test_logs_arrive_live_and_metrics_and_progress_with_them(path: Path) -> None:
    async with (
        plane(path) as (_, caller),
        at_work(ScriptedWorker(caller, lambda _: None, credit=1)) as worker,
    ):
        await caller.deploy([asset("raw.a")])
        created = await caller.create_run("*")
        await worker.until(lambda: bool(worker.dispatches))
        lease = worker.dispatches[0].lease
        line = LogLine(number=1, stream=LogStream.STDOUT, text="hello")
        worker.send(
            LogBatch(task_id=lease.task_id, attempt=1, lines=(line,)),
            AttemptMetric(lease=lease, name="rows", value=1.5),
            AttemptProgressed(lease=lease, progress=Progress(message="half", percentage=50)),
        )
        follow = ReadLogsRequest(run_id=created.run.run_id, follow=True, task="raw.a")
        texts: list[str] = []
        async for response in caller.stream(rpc.READ_LOGS, follow):
            texts += [one.text for batch in response.batches for one in batch.lines]
            if texts == ["hello"]:
                late = replace(line, number=2, text="bye")
                worker.send(LogBatch(task_id=lease.task_id, attempt=1, lines=(late,)))
                worker.finish(lease, succeed(worker.dispatches[0]))
        assert texts == ["hello", "bye"]
        run = await caller.get_run(created.run.run_id)
        assert run.tasks[0].progress == Progress(message="half", percentage=50)
        assert [m.batches for m in worker.received if isinstance(m, LogReceipt)][-1] == 2


@sync
async def test_progress_reaches_those_who_watch_without_a_sequence_number(path: Path) -> None:
    async with (
        plane(path) as (_, caller),
        at_work(ScriptedWorker(caller, lambda _: None, credit=1)) as worker,
    ):
        await caller.deploy([asset("raw.a")])
        created = await caller.create_run("*")
        await worker.until(lambda: bool(worker.dispatches))
        lease = worker.dispatches[0].lease
        request = WatchRunRequest(run_id=created.run.run_id)
        seen = []
        async for response in caller.stream(rpc.WATCH_RUN, request):
            for event in response.events:
                if isinstance(event.payload, TaskProgressed):
                    seen.append((event.sequence, event.payload.progress.message))
                    worker.finish(lease, succeed(worker.dispatches[0]))
            if not seen:
                message = AttemptProgressed(lease=lease, progress=Progress(message="half"))
                worker.send(message)
        assert seen[0] == (0, "half")


@sync
async def test_a_newer_worker_is_welcomed_with_the_version_known_here(path: Path) -> None:
    async with plane(path) as (_, caller):
        hello = b"\x10\x63"  # protocol_version = 99
        request = b"\x0a" + bytes([len(hello) + 2 + 28]) + b"\x0a" + bytes([len(hello) + 28])
        request += b"\x0a\x1a" + WorkerId.generate().encode() + hello

        async def requests() -> Any:
            yield request
            await asyncio.sleep(20)

        call = caller.channel.stream_stream(rpc.OPEN_SESSION.path)(
            requests(), metadata=caller.metadata
        )
        data = await call.read()
        welcome = rpc.OPEN_SESSION.decode_response(data).messages[0]
        assert isinstance(welcome, ServerWelcome)
        assert welcome.protocol_version == 1
        call.cancel()


@sync
async def test_a_session_without_a_hello_is_refused(path: Path) -> None:
    async with plane(path) as (_, caller):
        data = rpc.OPEN_SESSION.encode_request(OpenSessionRequest(messages=()))
        call = caller.channel.stream_stream(rpc.OPEN_SESSION.path)(
            iter([data]), metadata=caller.metadata
        )
        with pytest.raises(grpc.aio.AioRpcError) as info:
            await call.read()
        assert info.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@sync
async def test_an_active_run_goes_on_after_a_restart_with_its_leases(path: Path) -> None:
    worker_id = WorkerId.generate()
    async with plane(path) as (_, caller):
        await caller.deploy(CHAIN)
        worker = ScriptedWorker(caller, lambda _: None, credit=1, worker_id=worker_id)
        async with at_work(worker):
            created = await caller.create_run("raw.a", "mart.b")
            await worker.until(lambda: bool(worker.dispatches))
            held = worker.dispatches[0]
    async with plane(path) as (served, caller):
        assert served.active_runs == 1
        again = ScriptedWorker(caller, worker_id=worker_id)
        async with at_work(again, leases=(held.lease,)):
            again.finish(held.lease, succeed(held))
            await caller.watch(created.run.run_id)
        run = await caller.get_run(created.run.run_id)
        assert run.state is RunState.SUCCEEDED
        assert [task.attempt for task in run.tasks] == [1, 1]
        assert served.active_runs == 0


@sync
async def test_a_full_disk_refuses_what_it_cannot_record_and_nothing_is_lost(path: Path) -> None:
    async with plane(path, lease=1) as (served, caller), at_work(ScriptedWorker(caller)):
        await caller.deploy(CHAIN)
        before = await caller.create_run("raw.a")
        await caller.watch(before.run.run_id)
        served.store.limit_size(1)
        # Who waited for the write is told so; who comes while the state is read again, that.
        refused = (errors.FilesystemError, errors.UnavailableError)
        with pytest.raises(refused, match=r"nothing was recorded|write was refused"):
            for _ in range(50):
                await caller.create_run("*")
        served.store.limit_size(0)
        listed = (await caller.call(rpc.LIST_RUNS, ListRunsRequest())).runs
        async with at_work(ScriptedWorker(caller)):
            after = await caller.create_run("*")
            for run in (*listed, after.run):
                await caller.watch(run.run_id)
        found = await caller.get_run(after.run.run_id)
        assert found.state is RunState.SUCCEEDED
        assert (await caller.get_run(before.run.run_id)).state is RunState.SUCCEEDED
        sequences = [
            event.sequence
            for run in (*listed, after.run)
            for event in await caller.watch(run.run_id)
            if event.sequence
        ]
        # The deployment was the first event; what was refused has left no gap.
        assert sorted(sequences) == list(range(2, len(sequences) + 2))


@sync
async def test_two_control_planes_cannot_use_one_database(path: Path) -> None:
    async with plane(path):
        with pytest.raises(errors.ConfigurationError, match=f"process {os.getpid()}"):
            async with plane(path):
                pass


@pytest.mark.parametrize("kills", [3])
def test_kill_9_at_any_moment_loses_no_committed_run(tmp_path: Path, kills: int) -> None:
    """The process is killed while tasks flow; each time it goes on where the disk says."""
    chains = [
        asset(f"raw.c{chain}_{link}", *([f"raw.c{chain}_{link - 1}"] if link else []))
        for chain in range(20)
        for link in range(8)
    ]

    async def until_killed(server: Server, run_id: str, delay: float) -> None:
        caller = server.caller()
        worker = ScriptedWorker(caller, credit=2)
        task = asyncio.create_task(worker.run())
        await asyncio.sleep(delay)
        server.kill()
        await asyncio.wait([task])
        await caller.channel.close()

    async def story() -> None:
        server = Server(tmp_path)
        caller = server.caller()
        await caller.deploy(chains)
        created = await caller.create_run("*", run_key="story")
        await caller.channel.close()
        for number in range(kills):
            await until_killed(server, created.run.run_id, 0.15 + 0.1 * number)
            server = Server(tmp_path)
        caller = server.caller()
        again = await caller.create_run("*", run_key="story")
        assert again.run.run_id == created.run.run_id
        async with at_work(ScriptedWorker(caller, credit=8)):
            events = await caller.watch(created.run.run_id)
        run = await caller.get_run(created.run.run_id)
        assert run.state is RunState.SUCCEEDED
        ended = [
            event.payload.index
            for event in events
            if isinstance(event.payload, TaskStateChanged)
            and event.payload.state is TaskState.SUCCEEDED
        ]
        assert sorted(ended) == list(range(len(chains)))
        await caller.channel.close()
        server.kill()

    asyncio.run(asyncio.wait_for(story(), 90))


class Server:
    """A control plane in a process of its own."""

    def __init__(self, folder: Path) -> None:
        command = [sys.executable, "-m", "servo.controlplane", "--database", folder / "servo.db"]
        environment = os.environ | {"SERVO_API_KEY": KEY, "SERVO_LEASE_SECONDS": "1"}
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        assert self.url.startswith("grpc://"), self._process.wait()

    def caller(self) -> Caller:
        return Caller(self.url)

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
