"""What starts, what waits and why: limits, priorities, budgets and time limits, over the wire."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plane_kit import Caller, ScriptedWorker, asset, at_work, plane, succeed, sync
from servo._wire import methods
from servo.errors import NotFoundError
from servo.types import (
    AssetKey,
    ExecutionPolicy,
    PartitionKey,
    PartitionStrategy,
    StaticDimension,
)
from servo.types.blockers import Blocker, BlockerKind, ExplainRequest
from servo.types.events import PoolChanged, TaskSpent
from servo.types.pools import ListPoolsRequest, Pool, SetPoolRequest
from servo.types.records import Failure, Run, Task
from servo.types.requests import CancelRunRequest, UpdateRunRequest, WatchEventsRequest
from servo.types.runs import FailureCategory, RunState, TaskState
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptSpent,
    CancelTask,
    CreditGrant,
    LeaseRevoked,
    ServerWelcome,
    TaskDispatch,
)

POOLED = ExecutionPolicy(pools={"warehouse": 1})


async def set_pool(caller: Caller, name: str, slots: int | None) -> Pool:
    answer = await caller.call(methods.SET_POOL, SetPoolRequest(name=name, slots=slots))
    pool: Pool = answer.pool
    return pool


async def pools(caller: Caller) -> tuple[Pool, ...]:
    answer = await caller.call(methods.LIST_POOLS, ListPoolsRequest())
    found: tuple[Pool, ...] = answer.pools
    return found


async def why(caller: Caller, **target: Any) -> tuple[Blocker, ...]:
    answer = await caller.call(methods.EXPLAIN, ExplainRequest(**target))
    chain: tuple[Blocker, ...] = answer.chain
    return chain


async def update(caller: Caller, run_id: str, **changes: Any) -> Run:
    answer = await caller.call(methods.UPDATE_RUN, UpdateRunRequest(run_id=run_id, **changes))
    run: Run = answer.run
    return run


async def eventually(probe: Callable[[], Awaitable[Any]]) -> Any:
    """Ask until the answer is true, and return it."""
    for _ in range(1200):
        if found := await probe():
            return found
        await asyncio.sleep(0.05)
    raise AssertionError("it did not come true")


async def in_state(caller: Caller, run_id: str, state: TaskState) -> list[Task]:
    run = await caller.get_run(run_id)
    return [task for task in run.tasks if task.state is state]


def hold(_dispatch: TaskDispatch) -> None:
    """Leave an attempt open."""


@sync
async def test_a_pool_bounds_what_runs_at_once_and_the_status_says_who_waits(tmp: Path) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset(f"raw.a{n}", execution=POOLED) for n in range(6)])
        await set_pool(caller, "warehouse", 4)
        worker = ScriptedWorker(caller, hold, credit=9)
        async with at_work(worker):
            run = (await caller.create_run("*")).run
            await worker.until(lambda: len(worker.dispatches) == 4)
            waiting = await eventually(lambda: in_state(caller, run.run_id, TaskState.READY))
            assert {task.waiting for task in waiting} == {"waiting for pool warehouse 4/4"}
            assert await pools(caller) == (Pool(name="warehouse", slots=4, used=4, waiting=2),)
            worker.finish(worker.dispatches[0].lease, succeed(worker.dispatches[0]))
            await worker.until(lambda: len(worker.dispatches) == 5)
            worker.outcome = succeed
            for dispatch in worker.dispatches[1:]:
                worker.finish(dispatch.lease, succeed(dispatch))
            await caller.watch(run.run_id)
            assert (await caller.get_run(run.run_id)).state is RunState.SUCCEEDED
            assert await pools(caller) == (Pool(name="warehouse", slots=4),)


@sync
async def test_pools_and_what_holds_them_survive_a_restart(tmp: Path) -> None:
    worker_id = None
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset(f"raw.a{n}", execution=POOLED) for n in range(2)])
        await set_pool(caller, "warehouse", 1)
        await set_pool(caller, "api", 3)
        await set_pool(caller, "api", None)
        worker = ScriptedWorker(caller, hold)
        async with at_work(worker):
            run = (await caller.create_run("*")).run
            await worker.until(lambda: len(worker.dispatches) == 1)
            worker_id = worker.worker_id
    async with plane(tmp) as (_, caller):
        assert await pools(caller) == (Pool(name="warehouse", slots=1, used=1, waiting=1),)
        again = ScriptedWorker(caller, worker_id=worker_id)
        async with at_work(again, leases=(worker.dispatches[0].lease,)):
            await eventually(lambda: in_state(caller, run.run_id, TaskState.READY))
            assert again.dispatches == [], "the lease of before still holds the slot"
            dispatch = worker.dispatches[0]
            again.finish(dispatch.lease, succeed(dispatch))
            await caller.watch(run.run_id)
        events = [
            event.payload
            async for page in caller.stream(methods.WATCH_EVENTS, WatchEventsRequest())
            for event in page.events
        ]
    changes = [payload for payload in events if isinstance(payload, PoolChanged)]
    assert changes == [
        PoolChanged(name="warehouse", slots=1),
        PoolChanged(name="api", slots=3),
        PoolChanged(name="api", slots=None),
    ]


@sync
async def test_a_run_has_no_more_tasks_under_way_than_it_was_allowed(tmp: Path) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.b"), *(asset(f"raw.a{n}") for n in range(5))])
        worker = ScriptedWorker(caller, hold, credit=9)
        async with at_work(worker):
            run = (await caller.create_run("raw.a*", max_parallelism=2)).run
            other = (await caller.create_run("raw.b")).run
            await worker.until(lambda: len(worker.dispatches) == 3)
            waiting = await in_state(caller, run.run_id, TaskState.READY)
            assert {task.waiting for task in waiting} == {f"waiting for run {run.run_id} 2/2"}
            assert [d.run_id for d in worker.dispatches].count(other.run_id) == 1


@sync
async def test_the_greater_priority_goes_first_also_when_it_is_given_later(tmp: Path) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a")])
        runs = [(await caller.create_run("raw.a", priority=p)).run for p in (0, 5, 0)]
        changed = await update(caller, runs[2].run_id, priority=9)
        assert changed.priority == 9
        worker = ScriptedWorker(caller, credit=1)
        async with at_work(worker):
            await worker.until(lambda: len(worker.dispatches) == 3)
        order = [dispatch.run_id for dispatch in worker.dispatches]
        assert order == [runs[2].run_id, runs[1].run_id, runs[0].run_id]


@sync
async def test_a_run_that_is_held_starts_nothing_until_it_is_resumed(tmp: Path) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a"), asset("raw.b", "raw.a")])
        run = (await caller.create_run("*")).run
        assert (await update(caller, run.run_id, paused=True)).paused
    async with plane(tmp) as (_, caller):
        worker = ScriptedWorker(caller)
        async with at_work(worker):
            assert (await caller.get_run(run.run_id)).paused
            other = (await caller.create_run("raw.a")).run
            await caller.watch(other.run_id)
            assert {d.run_id for d in worker.dispatches} == {other.run_id}
            await update(caller, run.run_id, paused=False)
            await caller.watch(run.run_id)
            assert (await caller.get_run(run.run_id)).state is RunState.SUCCEEDED


@sync
async def test_a_run_that_takes_too_long_ends_as_timed_out_with_all_of_its_tasks(tmp: Path) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a"), asset("raw.b", "raw.a")])

        def stop(worker: ScriptedWorker, message: CancelTask) -> None:
            worker.finish(message.lease, AttemptCancelled(reason=""))

        worker = ScriptedWorker(caller, hold)
        async with at_work(worker):
            run = (await caller.create_run("*", timeout_seconds=1)).run
            await worker.until(lambda: any(isinstance(m, CancelTask) for m in worker.received))
            message = next(m for m in worker.received if isinstance(m, CancelTask))
            assert (await caller.get_run(run.run_id)).ends_as is RunState.TIMED_OUT
            stop(worker, message)
            await caller.watch(run.run_id)
        ended = await caller.get_run(run.run_id)
        assert ended.state is RunState.TIMED_OUT
        assert ended.ends_as is None
        assert [task.state for task in ended.tasks] == [TaskState.CANCELLED] * 2
        failure = ended.tasks[0].failure
        assert failure is not None
        assert failure.reason == "run_timeout"


@sync
async def test_a_time_limit_goes_on_counting_while_the_control_plane_is_away(tmp: Path) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a")])
        run = (await caller.create_run("*", timeout_seconds=1)).run
    await asyncio.sleep(1)
    async with plane(tmp) as (_, caller):
        await caller.watch(run.run_id)
        assert (await caller.get_run(run.run_id)).state is RunState.TIMED_OUT


@sync
async def test_a_cancelled_attempt_that_never_ends_is_given_up(tmp: Path) -> None:
    async with plane(tmp, lease=1, grace=0.5) as (_, caller):
        await caller.deploy([asset("raw.a")])
        worker = ScriptedWorker(caller, hold)
        async with at_work(worker):
            run = (await caller.create_run("*")).run
            await worker.until(lambda: len(worker.dispatches) == 1)
            await caller.call(methods.CANCEL_RUN, CancelRunRequest(run_id=run.run_id))
            watching = asyncio.create_task(caller.watch(run.run_id))
            while not watching.done():
                worker.beat(worker.dispatches[0].lease)
                await asyncio.sleep(0.1)
            assert (await caller.get_run(run.run_id)).state is RunState.CANCELLED
            await worker.until(lambda: any(isinstance(m, LeaseRevoked) for m in worker.received))
            worker.finish(worker.dispatches[0].lease, succeed(worker.dispatches[0]))
            await asyncio.sleep(0.2)
            assert (await caller.get_run(run.run_id)).tasks[0].state is TaskState.CANCELLED


@sync
async def test_a_pinned_run_goes_to_workers_of_its_version_and_says_when_there_is_none(
    tmp: Path,
) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a")])
        old = ScriptedWorker(caller, code_version_id="v1")
        new = ScriptedWorker(caller, code_version_id="v2")
        async with at_work(old):
            run = (await caller.create_run("*", code_version_id="v2")).run
            found = await caller.get_run(run.run_id)
            assert found.reason.startswith("CODE_VERSION_NOT_AVAILABLE: ")
            assert "'v2'" in found.reason
            (blocker,) = await why(caller, task_id=found.tasks[0].task_id)
            assert (blocker.kind, blocker.subject_id) == (BlockerKind.CODE_VERSION, "v2")
            async with at_work(new):
                await caller.watch(run.run_id)
            assert old.dispatches == []
            assert (await caller.get_run(run.run_id)).reason == ""


@sync
async def test_what_attempts_spend_adds_up_and_nothing_starts_beyond_the_budget(tmp: Path) -> None:
    policy = ExecutionPolicy(budget={"usd": "1.00"}, max_retries=3, retry_delay_seconds=0)
    failure = Failure(category=FailureCategory.USER_CODE, message="boom", reason="exception")
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a", execution=policy), asset("raw.b", "raw.a")])
        worker = ScriptedWorker(caller, hold)
        async with at_work(worker):
            run = (await caller.create_run("*")).run
            for number, left in enumerate(["1.00", "0.40"]):
                await worker.until(lambda n=number: len(worker.dispatches) > n)
                dispatch = worker.dispatches[number]
                assert dispatch.budget == {"usd": left}
                spent = AttemptSpent(lease=dispatch.lease, spent={"usd": "0.60"})
                # Said twice: what counts is the total that the attempt names.
                worker.send(spent, spent, AttemptFinished(lease=dispatch.lease, outcome=failure))
                worker.send(CreditGrant(attempts=1))
            events = await caller.watch(run.run_id)
        ended = await caller.get_run(run.run_id)
        assert ended.tasks[0].spent == ended.spent == {"usd": "1.20"}
        assert ended.tasks[0].attempt == 2
        found = ended.tasks[0].failure
        assert found is not None
        assert (found.reason, found.error_type) == ("budget", "BudgetExhaustedError")
        assert ended.tasks[1].state is TaskState.SKIPPED
        assert [e.payload.spent for e in events if isinstance(e.payload, TaskSpent)] == [
            {"usd": "0.60"},
            {"usd": "1.20"},
        ]
        *_, last = await why(caller, task_id=ended.tasks[1].task_id)
        assert last.kind is BlockerKind.BUDGET
        assert (last.subject, last.subject_id) == ("budget", run.run_id)


@sync
async def test_attempts_that_together_overdraw_the_run_are_ended_and_fail(tmp: Path) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a"), asset("raw.b"), asset("raw.c")])
        worker = ScriptedWorker(caller, hold, credit=2)
        async with at_work(worker):
            run = (await caller.create_run("*", budget={"usd": "1"})).run
            await worker.until(lambda: len(worker.dispatches) == 2)
            for dispatch in worker.dispatches:
                worker.send(AttemptSpent(lease=dispatch.lease, spent={"usd": "0.75"}))
            await worker.until(lambda: sum(isinstance(m, CancelTask) for m in worker.received) == 2)
            for dispatch in worker.dispatches:
                worker.finish(dispatch.lease, AttemptCancelled(reason="asked to"))
            await caller.watch(run.run_id)
        ended = await caller.get_run(run.run_id)
        assert ended.state is RunState.FAILED
        assert [task.state for task in ended.tasks] == [TaskState.FAILED] * 3
        assert {task.failure.reason for task in ended.tasks if task.failure} == {"budget"}
        assert len(worker.dispatches) == 2


@sync
async def test_the_retries_of_an_asset_follow_its_policy(tmp: Path) -> None:
    def policy(**retry: Any) -> ExecutionPolicy:
        from servo.types.assets import RetryPolicy

        return ExecutionPolicy(
            max_retries=2, retry_delay_seconds=0, retry=RetryPolicy(jitter_percent=0, **retry)
        )

    categories = {
        "raw.check": FailureCategory.DATA_QUALITY,
        "raw.code": FailureCategory.USER_CODE,
    }

    def fail(dispatch: TaskDispatch) -> Failure:
        return Failure(category=categories[str(dispatch.asset.key)], message="no")

    async with plane(tmp) as (_, caller):
        await caller.deploy(
            [
                asset("raw.check", execution=policy(retry_on=["data_quality"])),
                asset("raw.code", execution=policy(retry_on=["data_quality"])),
            ]
        )
        async with at_work(ScriptedWorker(caller, fail)):
            run = (await caller.create_run("*")).run
            await caller.watch(run.run_id)
        ended = await caller.get_run(run.run_id)
        assert {str(task.asset_key): task.attempt for task in ended.tasks} == {
            "raw.check": 3,
            "raw.code": 1,
        }


@sync
async def test_tenants_share_the_control_plane_and_none_has_more_than_its_limit(tmp: Path) -> None:
    async with plane(tmp, max_tasks=4, max_tasks_per_tenant=3) as (_, acme):
        globex = Caller(acme.url, tenant_id="globex", workspace_id="main")
        workers = []
        for caller in (acme, globex):
            await caller.deploy([asset(f"raw.a{n}") for n in range(6)])
            workers.append(ScriptedWorker(caller, hold, credit=9))
        first, second = workers
        async with at_work(first), at_work(second):
            run = (await acme.create_run("*")).run
            await first.until(lambda: len(first.dispatches) == 3)
            waiting = await in_state(acme, run.run_id, TaskState.READY)
            assert {task.waiting for task in waiting} == {
                f"waiting for tenant {acme_tenant(first)}'s share of the control plane"
            }
            await globex.create_run("*")
            await second.until(lambda: len(second.dispatches) == 1)
            for dispatch in first.dispatches[:2]:
                first.finish(dispatch.lease, succeed(dispatch))
            await second.until(lambda: len(second.dispatches) == 2)
            await first.until(lambda: len(first.dispatches) == 4)
            assert (len(first.dispatches) - 2, len(second.dispatches)) == (2, 2)
        await globex.channel.close()


def acme_tenant(worker: ScriptedWorker) -> str:
    """Return the tenant that a worker was welcomed to."""
    return next(m.tenant_id for m in worker.received if isinstance(m, ServerWelcome))


# -- why ----------------------------------------------------------------------------------


class Stuck:
    """A chain of assets whose first task is kept from starting by exactly one thing."""

    def __init__(self, caller: Caller, names: list[str]) -> None:
        self.caller = caller
        self.names = names
        self.worker = ScriptedWorker(caller, hold)
        self.run: Run

    async def connect(self, stack: AsyncExitStack, *, credit: int = 9) -> None:
        self.worker.credit = credit
        await stack.enter_async_context(at_work(self.worker))

    async def start(self, *more: str, **options: Any) -> None:
        self.run = (await self.caller.create_run(*self.names, *more, **options)).run

    async def occupy(self, name: str, **options: Any) -> TaskDispatch:
        """Have another run's task executed."""
        await self.caller.create_run(name, **options)
        await self.worker.until(lambda: len(self.worker.dispatches) == 1)
        return self.worker.dispatches[0]

    async def end(self, dispatch: TaskDispatch) -> None:
        self.worker.finish(dispatch.lease, succeed(dispatch))

    def given_out(self, name: str) -> int:
        """Return how often a task of the run was given out."""
        return [
            str(dispatch.asset.key)
            for dispatch in self.worker.dispatches
            if dispatch.run_id == self.run.run_id
        ].count(name)


Remove = Callable[[], Awaitable[object]]
"""Takes away what keeps the task."""


async def without_worker(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    await stuck.start()
    return lambda: stuck.connect(stack)


async def with_busy_worker(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    await stuck.connect(stack, credit=1)
    other = await stuck.occupy("raw.sibling")
    await stuck.start()
    return partial(stuck.end, other)


async def with_full_pool(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    await stuck.connect(stack)
    other = await stuck.occupy("raw.pooled")
    await stuck.start()
    return partial(stuck.end, other)


async def with_full_asset(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    await stuck.connect(stack)
    other = await stuck.occupy(stuck.names[0], partitions=PartitionKey({"part": "other"}))
    await stuck.start(partitions=PartitionKey({"part": "mine"}))
    return partial(stuck.end, other)


async def with_busy_partition(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    await stuck.connect(stack)
    other = await stuck.occupy(stuck.names[0])
    await stuck.start()
    return partial(stuck.end, other)


async def with_full_run(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    await stuck.connect(stack)
    await stuck.start("raw.urgent", max_parallelism=1)
    await stuck.worker.until(lambda: stuck.given_out("raw.urgent") == 1)
    return partial(stuck.end, stuck.worker.dispatches[0])


async def held(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    await stuck.start()
    await update(stuck.caller, stuck.run.run_id, paused=True)
    await stuck.connect(stack)
    return lambda: update(stuck.caller, stuck.run.run_id, paused=False)


async def without_its_code(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    other = ScriptedWorker(stuck.caller, hold, code_version_id="v1")
    await stack.enter_async_context(at_work(other))
    await stuck.start(code_version_id="v2")
    stuck.worker.code_version_id = "v2"
    return lambda: stuck.connect(stack)


async def waiting_for_a_retry(stuck: Stuck, stack: AsyncExitStack) -> Remove:
    await stuck.connect(stack)
    await stuck.start()
    await stuck.worker.until(lambda: stuck.given_out(stuck.names[0]) == 1)
    failure = Failure(category=FailureCategory.INFRASTRUCTURE, message="boom")
    stuck.worker.finish(stuck.worker.dispatches[0].lease, failure)
    await eventually(lambda: in_state(stuck.caller, stuck.run.run_id, TaskState.RETRY_WAIT))
    return lambda: asyncio.sleep(1)


SITUATIONS = {
    BlockerKind.NO_WORKER: (without_worker, "worker"),
    BlockerKind.WORKERS_BUSY: (with_busy_worker, "worker"),
    BlockerKind.POOL: (with_full_pool, "pool"),
    BlockerKind.ASSET_LIMIT: (with_full_asset, "asset"),
    BlockerKind.PARTITION: (with_busy_partition, "task"),
    BlockerKind.RUN_LIMIT: (with_full_run, "run"),
    BlockerKind.PAUSED: (held, "run"),
    BlockerKind.CODE_VERSION: (without_its_code, "code_version"),
    BlockerKind.RETRY_WAIT: (waiting_for_a_retry, "task"),
}


@settings(max_examples=30, deadline=None)
@given(
    kind=st.sampled_from(sorted(SITUATIONS)),
    depth=st.integers(0, 4),
    asked=st.sampled_from(["task", "asset", "run"]),
)
def test_taking_away_the_named_blocker_and_nothing_else_makes_the_task_start(
    kind: BlockerKind, depth: int, asked: str
) -> None:
    async def go(tmp: Path) -> None:
        async with plane(tmp) as (_, caller), AsyncExitStack() as stack:
            await explained(caller, stack, kind, depth, asked)

    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(asyncio.wait_for(go(Path(folder)), 60))


async def explained(
    caller: Caller, stack: AsyncExitStack, kind: BlockerKind, depth: int, asked: str
) -> None:
    limits = ExecutionPolicy(
        pools=("warehouse",) if kind is BlockerKind.POOL else (),
        max_parallelism=1 if kind is BlockerKind.ASSET_LIMIT else 0,
        retry_delay_seconds=1,
    )
    names = [f"raw.a{number}" for number in range(depth + 1)]
    # Two runs that make one partition keep each other up whatever the limit of the asset is.
    parts = [StaticDimension("part", ["mine", "other"])] if kind is BlockerKind.ASSET_LIMIT else []
    whole = PartitionStrategy(parts)
    chain = [asset(names[0], execution=limits, partitioning=whole)]
    chain += [asset(name, before, partitioning=whole) for before, name in pairwise(names)]
    await caller.deploy(
        [
            *chain,
            asset("raw.sibling"),
            asset("raw.pooled", execution=POOLED),
            asset("raw.urgent", execution=ExecutionPolicy(priority=9)),
        ]
    )
    await set_pool(caller, "warehouse", 1)
    stuck = Stuck(caller, names)
    arrange, subject = SITUATIONS[kind]
    remove = await arrange(stuck, stack)
    tasks = {str(task.asset_key): task for task in (await caller.get_run(stuck.run.run_id)).tasks}
    target: dict[str, dict[str, Any]] = {
        "task": {"task_id": tasks[names[-1]].task_id},
        "asset": {"asset_key": AssetKey.parse(names[-1])},
        "run": {"run_id": stuck.run.run_id},
    }
    *links, last = await why(caller, **target[asked])
    assert (last.kind, last.subject) == (kind, subject)
    assert {link.kind for link in links} <= {BlockerKind.UPSTREAM}
    assert len(links) == (1 if asked == "run" else depth)
    before = stuck.given_out(names[0])
    assert before == (1 if kind is BlockerKind.RETRY_WAIT else 0)
    await remove()
    await stuck.worker.until(lambda: stuck.given_out(names[0]) > before)


@sync
async def test_what_has_ended_is_explained_from_what_is_stored(tmp: Path) -> None:
    def outcome(dispatch: TaskDispatch) -> Any:
        if dispatch.asset.key.name == "a":
            return Failure(
                category=FailureCategory.DATA_QUALITY, message="too few rows", reason="check"
            )
        return succeed(dispatch)

    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a"), asset("raw.b", "raw.a"), asset("raw.c", "raw.b")])
        await caller.deploy(
            [asset("raw.a"), asset("raw.b", "raw.a"), asset("raw.c", "raw.b"), asset("raw.d")]
        )
        async with at_work(ScriptedWorker(caller, outcome)):
            run = (await caller.create_run("raw.a", "raw.b", "raw.c")).run
            good = (await caller.create_run("raw.d")).run
            await caller.watch(run.run_id)
            await caller.watch(good.run_id)
        tasks = {t.asset_key.name: t for t in (await caller.get_run(run.run_id)).tasks}
        by_task = await why(caller, task_id=tasks["c"].task_id)
        assert [link.kind for link in by_task] == [
            BlockerKind.UPSTREAM,
            BlockerKind.UPSTREAM,
            BlockerKind.FAILED,
        ]
        assert by_task[-1].subject_id == tasks["a"].task_id
        assert by_task[-1].details["reason"] == "check"
        assert await why(caller, asset_key=AssetKey("raw", "c")) == by_task
        assert (await why(caller, run_id=run.run_id))[-1] == by_task[-1]
        (done,) = await why(caller, run_id=good.run_id)
        assert done.kind is BlockerKind.SUCCEEDED


@sync
async def test_what_nobody_asked_for_says_so_and_what_is_unknown_is_not_found(tmp: Path) -> None:
    async with plane(tmp) as (_, caller):
        await caller.deploy([asset("raw.a")])
        (blocker,) = await why(caller, asset_key=AssetKey("raw", "a"))
        assert (blocker.kind, blocker.remedy) == (BlockerKind.NOT_REQUESTED, "servo run raw.a")
        nobody = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
        for target in (
            {"run_id": nobody},
            {"task_id": nobody},
            {"asset_key": AssetKey("raw", "z")},
        ):
            with pytest.raises(NotFoundError):
                await why(caller, **target)
