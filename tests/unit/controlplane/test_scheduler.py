"""What starts next: limits hold at every moment, and nobody who could start is forgotten."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import count
from typing import Any, NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    rule,
)

from plane_kit import asset
from servo.controlplane.active import ActiveRun
from servo.controlplane.catalog import Catalog
from servo.controlplane.leases import HeldLease, Leases, Resource
from servo.controlplane.machine import RunMachine
from servo.controlplane.mapping import Scope
from servo.controlplane.materialized import Hold
from servo.controlplane.scheduler import Scheduler
from servo.controlplane.sessions import WorkerSession
from servo.controlplane.shares import Shares
from servo.controlplane.waiting import Waiting, WaitingTasks
from servo.types import AssetKey, ExecutionPolicy, PartitionKey, RunId, TaskId
from servo.types.plans import Plan, PlannedTask
from servo.types.records import Materialization, Run, Task
from servo.types.requests import CreateRunRequest
from servo.types.runs import RunState, TaskState

NOW = datetime(2025, 1, 15, tzinfo=UTC)
POLICIES = {
    "plain": ExecutionPolicy(),
    "urgent": ExecutionPolicy(priority=5),
    "single": ExecutionPolicy(max_parallelism=1),
    "pooled": ExecutionPolicy(pools={"warehouse": 1}),
    "greedy": ExecutionPolicy(pools={"warehouse": 3}, priority=1),
    "both": ExecutionPolicy(pools={"api": 1, "warehouse": 2}, max_parallelism=2),
}
NOTHING = Hold((), 0)
CATALOG = Catalog(
    "deployment",
    [asset(f"raw.{name}", execution=policy) for name, policy in POLICIES.items()],
    {},
)


class World:
    """A scheduler, and what it is told: runs, workers and attempts, without a control plane."""

    def __init__(self, shares: Shares | None = None, tenant_id: str = "acme") -> None:
        self.leases = Leases()
        self.sessions: dict[str, WorkerSession] = {}
        self.news = 0
        self.runs: dict[str, ActiveRun] = {}
        self.started: list[str] = []
        self._partitions = count(100)
        self.scheduler = Scheduler(
            tenant_id, self.leases, self.sessions, shares or Shares(), self._hear
        )

    def _hear(self) -> None:
        self.news += 1

    def add_run(
        self,
        *names: str,
        partitions: Sequence[int] | None = None,
        catalog: Catalog = CATALOG,
        **options: Any,
    ) -> ActiveRun:
        """Start a run that makes a partition of each asset; by default one that no other makes."""
        keys = sorted({AssetKey("raw", name) for name in names})
        if partitions is None:
            partitions = [next(self._partitions) for _ in names]
        made = [PartitionKey({"n": number}) for number in partitions]
        tasks = [
            Task(
                task_id=TaskId.generate(),
                index=index,
                asset_key=AssetKey("raw", name),
                partition_key=made[index],
                state=TaskState.BLOCKED,
            )
            for index, name in enumerate(names)
        ]
        planned = [
            PlannedTask(asset=keys.index(task.asset_key), partition_key=task.partition_key)
            for task in tasks
        ]
        run = Run(run_id=RunId.generate(), state=RunState.PENDING, **options)
        machine = RunMachine(run, tasks, Plan(assets=tuple(keys), tasks=tuple(planned)))
        active = ActiveRun(
            machine, CreateRunRequest(selection=()), catalog, Scope(NOW, "acme"), NOTHING
        )
        self.runs[run.run_id] = active
        for change in machine.start(NOW):
            self.scheduler.add(active, change.index)
        return active

    def connect(self, version: str = "", credit: int = 0) -> WorkerSession:
        session = WorkerSession(TaskId.generate(), version)
        self.sessions[session.worker_id] = session
        self.scheduler.connected(session)
        self.credit(session, credit)
        return session

    def credit(self, session: WorkerSession, attempts: int) -> None:
        session.credit += attempts
        self.scheduler.credited(session, attempts)

    def disconnect(self, session: WorkerSession) -> None:
        del self.sessions[session.worker_id]
        self.scheduler.disconnected(session)

    def dispatch(self) -> list[tuple[ActiveRun, int]]:
        """Give out whatever may start; every limit must hold at that moment."""
        given = []
        while candidate := self.scheduler.next():
            active, index = candidate.active, candidate.index
            task = active.machine.tasks[index]
            assert task.state is TaskState.READY
            assert not active.machine.run.paused
            version = active.machine.run.code_version_id
            assert not version or candidate.session.code_version_id == version
            assert candidate.session.credit > 0
            for resource, wanted in candidate.slots.items():
                capacity = self.scheduler.capacity(resource, active, task)
                if capacity is not None:
                    assert self.leases.used(resource) + min(wanted, capacity) <= capacity
            active.machine.dispatched(index, candidate.session.worker_id, NOW)
            candidate.session.credit -= 1
            held = HeldLease(1, candidate.session.worker_id, 0.0, candidate.slots)
            self.scheduler.lease(task.task_id, held)
            self.started.append(task.task_id)
            given.append((active, index))
        return given

    def finish(self, active: ActiveRun, index: int) -> None:
        task = active.machine.tasks[index]
        self.scheduler.release(task.task_id)
        made = Materialization(
            materialization_id="", asset_key=task.asset_key, partition_key=task.partition_key
        )
        active.machine.succeeded(index, made, (), NOW)
        self._retire(active)

    def cancel(self, active: ActiveRun) -> None:
        active.machine.cancel("enough", NOW)
        self._retire(active)

    def _retire(self, active: ActiveRun) -> None:
        if active.machine.is_over:
            del self.runs[active.run_id]
            self.scheduler.discard(active)

    def on_workers(self) -> list[tuple[ActiveRun, int]]:
        return [
            (active, index)
            for active in self.runs.values()
            for index in active.machine.indices(TaskState.DISPATCHED)
        ]

    def ready(self) -> list[tuple[ActiveRun, int]]:
        return [
            (active, index)
            for active in self.runs.values()
            for index in active.machine.indices(TaskState.READY)
        ]


def names_of(world: World, given: list[tuple[ActiveRun, int]]) -> list[str]:
    return [active.machine.tasks[index].asset_key.name for active, index in given]


class Claim(NamedTuple):
    """What a task wants of a resource, and what is free of it."""

    wanted: int
    free: int


def slots_of(world: World, active: ActiveRun, index: int) -> dict[Resource, int]:
    return world.scheduler.slots(active, active.machine.tasks[index])


def claim(world: World, active: ActiveRun, index: int, resource: Resource) -> Claim:
    task = active.machine.tasks[index]
    capacity = world.scheduler.capacity(resource, active, task)
    assert capacity is not None
    wanted = max(min(slots_of(world, active, index)[resource], capacity), 1)
    return Claim(wanted, capacity - world.leases.used(resource))


def priority(active: ActiveRun, index: int) -> int:
    return active.policy(active.machine.tasks[index]).priority + active.machine.run.priority


class Scheduling(RuleBasedStateMachine):
    """Everything that can happen to a scheduler, in any order."""

    runs = Bundle("runs")
    workers = Bundle("workers")

    @initialize()
    def begin(self) -> None:
        self.world = World()

    @rule(
        target=runs,
        made=st.lists(
            st.tuples(st.sampled_from(sorted(POLICIES)), st.integers(0, 4)),
            min_size=1,
            max_size=8,
            unique=True,
        ),
        priority=st.integers(-1, 1),
        max_parallelism=st.sampled_from([0, 0, 1, 2]),
        version=st.sampled_from(["", "", "v1", "v2"]),
    )
    def add_run(
        self, made: list[tuple[str, int]], priority: int, max_parallelism: int, version: str
    ) -> Any:
        return self.world.add_run(
            *(name for name, _ in made),
            partitions=[partition for _, partition in made],
            priority=priority,
            max_parallelism=max_parallelism,
            code_version_id=version,
        )

    @rule(target=workers, version=st.sampled_from(["", "v1", "v2"]), credit=st.integers(0, 3))
    def connect(self, version: str, credit: int) -> Any:
        return self.world.connect(version, credit)

    @rule(session=workers, attempts=st.integers(1, 3))
    def credit(self, session: WorkerSession, attempts: int) -> None:
        if session.worker_id in self.world.sessions:
            self.world.credit(session, attempts)

    @rule(session=consumes(workers))
    def disconnect(self, session: WorkerSession) -> None:
        if session.worker_id in self.world.sessions:
            self.world.disconnect(session)

    @rule(name=st.sampled_from(["warehouse", "api"]), slots=st.sampled_from([None, 0, 1, 2, 4]))
    def resize(self, name: str, slots: int | None) -> None:
        self.world.scheduler.resize(name, slots)

    @rule(active=runs, paused=st.booleans(), priority=st.integers(-2, 2))
    def update(self, active: ActiveRun, paused: bool, priority: int) -> None:
        if active.machine.updated(paused, priority, NOW):
            self.world.scheduler.run_updated(active)

    @rule(active=runs)
    def cancel(self, active: ActiveRun) -> None:
        if active.run_id in self.world.runs:
            self.world.cancel(active)

    @rule(pick=st.integers(0, 1000))
    def finish(self, pick: int) -> None:
        if running := self.world.on_workers():
            self.world.finish(*running[pick % len(running)])

    @rule()
    def dispatch(self) -> None:
        self.world.dispatch()

    @invariant()
    def whoever_waits_has_a_reason(self) -> None:
        if not hasattr(self, "world"):
            return
        world = self.world
        world.dispatch()
        waiting = world.ready()
        nobody_is_free = all(session.credit <= 0 for session in world.sessions.values())
        for active, index in waiting:
            resource = world.scheduler.missing(active, index)
            assert resource is not None, "it could start, and did not"
            if resource.kind not in {"partition", "pool", "asset", "run"} or nobody_is_free:
                continue
            mine = claim(world, active, index, resource)
            before = [
                claim(world, *other, resource)
                for other in waiting
                if resource in slots_of(world, *other)
                and priority(*other) >= priority(active, index)
            ]
            assert mine.wanted > mine.free or any(one.wanted > one.free for one in before), (
                "there is room for it, and nobody goes before it"
            )

    def teardown(self) -> None:
        """Take away whatever keeps anybody: every task must start, each of them once."""
        if not hasattr(self, "world"):
            return
        world = self.world
        for name in ("warehouse", "api"):
            world.scheduler.resize(name, 2)
        for active in list(world.runs.values()):
            active.machine.updated(False, 0, NOW)
            world.scheduler.run_updated(active)
        sessions = [world.connect(version, 1) for version in ("", "v1", "v2")]
        while world.runs:
            given = world.dispatch()
            running = world.on_workers()
            assert given or running, "what is left is never started"
            for active, index in running:
                if active.run_id in world.runs:
                    world.finish(active, index)
            for session in sessions:
                world.credit(session, 1)
        assert len(set(world.started)) == len(world.started)


Scheduling.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestScheduling = pytest.mark.slow(Scheduling.TestCase)


def test_the_greater_priority_goes_first_and_runs_of_one_priority_take_turns() -> None:
    world = World()
    many = world.add_run("plain", "plain", "plain")
    one = world.add_run("urgent", "plain")
    world.connect(credit=9)
    given = world.dispatch()
    assert names_of(world, given)[0] == "urgent"
    assert [active is many for active, _ in given[1:]] == [True, False, True, True]
    assert one.machine.indices(TaskState.READY) == []


def test_two_runs_that_make_one_partition_take_turns() -> None:
    world = World()
    first = world.add_run("plain", partitions=[1])
    second = world.add_run("plain", "plain", partitions=[1, 2])
    world.connect(credit=9)
    assert world.dispatch() == [(first, 0), (second, 1)]
    assert world.scheduler.missing(second, 0) == Resource("partition", 'raw.plain {"n":"i:1"}')
    world.finish(first, 0)
    assert world.dispatch() == [(second, 0)]


def test_a_task_that_wants_more_than_the_pool_has_takes_all_of_it() -> None:
    world = World()
    world.scheduler.resize("warehouse", 2)
    world.add_run("greedy", "pooled")
    world.connect(credit=9)
    assert names_of(world, world.dispatch()) == ["greedy"]
    world.finish(*world.on_workers()[0])
    assert names_of(world, world.dispatch()) == ["pooled"]


def test_a_large_claim_is_not_overtaken_for_ever_by_small_ones() -> None:
    world = World()
    world.scheduler.resize("warehouse", 3)
    world.add_run("pooled")
    world.connect(credit=99)
    world.dispatch()
    world.add_run("greedy")
    world.dispatch()
    world.add_run("pooled")
    assert world.dispatch() == [], "the small one goes behind the large one"
    world.finish(*world.on_workers()[0])
    assert names_of(world, world.dispatch()) == ["greedy"]


@pytest.mark.parametrize("slots", [0, 1])
def test_a_pool_without_room_holds_what_needs_it_and_nothing_else(slots: int) -> None:
    world = World()
    world.scheduler.resize("warehouse", slots)
    world.add_run("pooled", "pooled", "plain")
    world.connect(credit=9)
    assert sorted(names_of(world, world.dispatch())) == ["plain", *["pooled"] * slots]
    pool = Resource("pool", "warehouse")
    assert world.scheduler.waiting(pool) == 2 - slots
    world.scheduler.resize("warehouse", None)
    assert len(world.dispatch()) == 2 - slots


def test_a_pool_that_grows_is_filled_at_once() -> None:
    world = World()
    world.scheduler.resize("warehouse", 0)
    world.add_run(*["pooled"] * 5)
    world.connect(credit=9)
    assert world.dispatch() == []
    world.scheduler.resize("warehouse", 3)
    assert len(world.dispatch()) == 3
    world.scheduler.resize("warehouse", 4)
    assert len(world.dispatch()) == 1


def test_the_limit_of_an_asset_counts_what_runs_of_a_deployment_without_it_execute() -> None:
    limited = Catalog(
        "next", [asset("raw.plain", execution=ExecutionPolicy(max_parallelism=2))], {}
    )
    world = World()
    before = world.add_run("plain", "plain")
    world.connect(credit=9)
    assert [active is before for active, _ in world.dispatch()] == [True, True]
    after = world.add_run("plain", "plain", catalog=limited)
    unlimited = world.add_run("plain")
    assert [active is unlimited for active, _ in world.dispatch()] == [True]
    assert world.scheduler.missing(after, 0) == Resource("asset", "raw.plain")
    world.finish(before, 0)
    assert world.dispatch() == []
    world.finish(unlimited, 0)
    assert [active is after for active, _ in world.dispatch()] == [True]


def test_the_slots_of_a_pool_are_its_leases_whoever_gave_them_back() -> None:
    world = World()
    world.scheduler.resize("warehouse", 1)
    world.add_run("pooled", "pooled")
    world.connect(credit=9)
    ((active, index),) = world.dispatch()
    pool = Resource("pool", "warehouse")
    assert world.leases.holders(pool) == [active.machine.tasks[index].task_id]
    world.scheduler.release(active.machine.tasks[index].task_id)
    assert world.scheduler.release(active.machine.tasks[index].task_id) is None
    assert world.leases.used(pool) == 0
    assert len(world.dispatch()) == 1


def test_a_pinned_run_waits_for_its_version_and_others_go_on() -> None:
    world = World()
    pinned = world.add_run("plain", code_version_id="v2")
    world.add_run("plain")
    world.connect("v1", credit=9)
    assert [active is pinned for active, _ in world.dispatch()] == [False]
    assert world.scheduler.missing(pinned, 0) == Resource("code_version", "v2")
    worker = world.connect("v2")
    world.dispatch()
    assert world.scheduler.missing(pinned, 0) == Resource("worker", "v2")
    world.credit(worker, 1)
    assert [active is pinned for active, _ in world.dispatch()] == [True]


def test_tenants_have_no_more_than_their_limit_under_way() -> None:
    shares = Shares(per_tenant=2)
    world = World(shares)
    active = world.add_run("plain", "plain", "plain")
    world.connect(credit=9)
    assert len(world.dispatch()) == 2
    assert world.scheduler.missing(active, 2) == Resource("tenant", "acme")
    world.finish(*world.on_workers()[0])
    assert world.news
    assert len(world.dispatch()) == 1


def test_a_slot_that_becomes_free_goes_to_the_tenant_with_the_fewest() -> None:
    shares = Shares(together=4)
    first, second = World(shares, "acme"), World(shares, "globex")
    first.add_run(*["plain"] * 10)
    second.add_run(*["plain"] * 10)
    first.connect(credit=99)
    second.connect(credit=99)
    assert len(first.dispatch()) == 4
    assert second.dispatch() == []
    for _ in range(8):
        world = first if len(first.on_workers()) >= len(second.on_workers()) else second
        world.finish(*world.on_workers()[0])
        first.dispatch()
        second.dispatch()
        assert len(first.on_workers()) + len(second.on_workers()) == 4
    assert (len(first.on_workers()), len(second.on_workers())) == (2, 2)


def test_no_slot_stays_free_while_tenants_wait_for_it() -> None:
    shares = Shares(together=4)
    first, second = World(shares, "acme"), World(shares, "globex")
    for world in (first, second):
        world.add_run(*["plain"] * 10)
        world.connect(credit=99)
    assert len(first.dispatch()) == 4
    assert second.dispatch() == []
    for attempt in first.on_workers()[:3]:
        first.finish(*attempt)
    first.news = 0
    assert first.dispatch() == []
    assert len(second.dispatch()) == 2
    assert first.news == 1
    assert len(first.dispatch()) == 1


def test_a_tenant_that_waits_without_a_worker_does_not_hold_the_others() -> None:
    shares = Shares(together=2)
    first, second = World(shares, "acme"), World(shares, "globex")
    first.add_run(*["plain"] * 3)
    second.add_run("plain")
    first.connect(credit=99)
    worker = second.connect(credit=1)
    assert len(first.dispatch()) == 2
    assert second.dispatch() == []
    second.disconnect(worker)
    second.dispatch()
    first.finish(*first.on_workers()[0])
    assert len(first.dispatch()) == 1


class Queueing(RuleBasedStateMachine):
    """The queue beside a plain list: same order by priority, same tasks, turns among runs."""

    @initialize()
    def begin(self) -> None:
        self.queue = WaitingTasks()
        self.world = World()
        self.active = [self.world.add_run("plain", priority=p) for p in (0, 0, 1)]
        self.model: list[Waiting] = []

    @rule(run=st.integers(0, 2), index=st.integers(0, 99), priority=st.integers(-1, 1))
    def push(self, run: int, index: int, priority: int) -> None:
        task = Waiting(self.active[run], index, priority)
        self.model.append(task)
        self.queue.push(task)

    @rule()
    def pop(self) -> None:
        if not self.model:
            return
        task = self.queue.pop()
        highest = max(t.priority + t.active.machine.run.priority for t in self.model)
        assert task.priority + task.active.machine.run.priority == highest
        same = [t for t in self.model if t.active is task.active and t.priority == task.priority]
        assert min(same, key=lambda one: one.index) is task, "a run's tasks have the plan's order"
        self.model.remove(task)

    @rule(run=st.integers(0, 2))
    def take_run(self, run: int) -> None:
        taken = self.queue.take_run(self.active[run].run_id)
        assert set(map(id, taken)) == {id(t) for t in self.model if t.active is self.active[run]}
        self.model = [t for t in self.model if t.active is not self.active[run]]

    @invariant()
    def has_the_same_tasks(self) -> None:
        if hasattr(self, "queue"):
            assert len(self.queue) == len(self.model)
            assert set(map(id, self.queue)) == set(map(id, self.model))
            assert (self.queue.first_priority is None) == (not self.model)


TestQueueing = Queueing.TestCase
