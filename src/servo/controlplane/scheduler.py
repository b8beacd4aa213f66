"""Which ready task goes next, to which worker, and what the others wait for.

A task that something keeps waits at the first thing that does: another run that makes the same
partition, a pool, the limit of its asset, of its run or of its tenant, a worker with the right
code. When that thing has room, the task whose turn it is is looked at again, and when that one goes
elsewhere, the next; so nobody is forgotten, and giving out a task takes the same time however many
wait.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from servo.controlplane.active import ActiveRun
from servo.controlplane.leases import HeldLease, Leases, Resource
from servo.controlplane.sessions import WorkerSession
from servo.controlplane.shares import Shares
from servo.controlplane.waiting import Waiting, WaitingTasks, priority_of
from servo.types.records import Task
from servo.types.runs import TaskState

PAUSED: Final = "paused"
CODE_VERSION: Final = "code_version"
WORKER: Final = "worker"
PARTITION: Final = "partition"
POOL: Final = "pool"
ASSET: Final = "asset"
RUN: Final = "run"
TENANT: Final = "tenant"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A task that may start, and who is to execute it."""

    active: ActiveRun
    index: int
    session: WorkerSession
    slots: dict[Resource, int]


class Scheduler:
    """The ready tasks of one workspace.

    Args:
        tenant_id: Whose workspace it is.
        leases: The leases that are out.
        sessions: The workers that are connected, by id.
        shares: What tenants may have under way.
        news: Called when something may start because of what happened in another workspace.
    """

    def __init__(
        self,
        tenant_id: str,
        leases: Leases,
        sessions: Mapping[str, WorkerSession],
        shares: Shares,
        news: Callable[[], None],
    ) -> None:
        self.pools: dict[str, int] = {}
        self._tenant = Resource(TENANT, tenant_id)
        self._leases = leases
        self._sessions = sessions
        self._shares = shares
        self._news = news
        self._ready = WaitingTasks()
        self._parked: dict[Resource, WaitingTasks] = {}

    def clear(self) -> None:
        """Forget everything that waits, and the leases."""
        for task_id, _ in self._leases.items():
            self._shares.give_back(self._tenant.name, task_id)
        self._leases.clear()
        self._shares.stop_waiting(self._tenant.name, self._tenant_may_go_on)
        self._ready = WaitingTasks()
        self._parked.clear()

    # -- what becomes known ---------------------------------------------------------------

    def add(self, active: ActiveRun, index: int) -> None:
        """A task became ready."""
        priority = active.policy(active.machine.tasks[index]).priority
        waiting = active.waiting[index] = Waiting(active, index, priority)
        self._ready.push(waiting)

    def lease(self, task_id: str, held: HeldLease) -> None:
        """A task was given out: what its lease takes is taken now."""
        self._leases.give(task_id, held)
        if self._shares.is_limited:
            self._shares.take(self._tenant.name, task_id)
        for resource in held.slots:
            self.freed(resource)

    def release(self, task_id: str) -> HeldLease | None:
        """An attempt has ended: return its lease; what it took is free again."""
        held = self._leases.take_back(task_id)
        if held is not None:
            for resource in held.slots:
                self.freed(resource)
            self._shares.give_back(self._tenant.name, task_id)
        return held

    def freed(self, resource: Resource) -> None:
        """A resource may have room: it is the turn of the next task that waits for it."""
        if resource.kind == POOL:
            slots = self.pools.get(resource.name)
            if slots is not None and self._leases.used(resource) >= slots:
                return
        self._wake(resource)

    def resize(self, name: str, slots: int | None) -> None:
        """A pool was given a size, or removed."""
        if slots is None:
            self.pools.pop(name, None)
            self._wake_all(Resource(POOL, name))
        else:
            self.pools[name] = slots
            self.freed(Resource(POOL, name))

    def run_updated(self, active: ActiveRun) -> None:
        """A run was held, resumed or given another priority: its tasks take their new places."""
        run_id = active.run_id
        moved = self._ready.take_run(run_id)
        for resource, tasks in list(self._parked.items()):
            moved += tasks.take_run(run_id)
            self._drop_if_empty(resource, tasks)
        turns = [task.turn for task in moved if task.turn is not None]
        for task in sorted(moved, key=lambda task: task.index):
            task.turn = task.parked_at = None
            self._ready.push(task)
        for resource in turns:
            self.freed(resource)

    def discard(self, active: ActiveRun) -> None:
        """A run has ended: nothing of it waits any more."""
        gone = self._ready.take_run(active.run_id)
        for resource, tasks in list(self._parked.items()):
            tasks.take_run(active.run_id)
            self._drop_if_empty(resource, tasks)
        # What waited refers to its run.
        active.waiting.clear()
        for task in gone:
            if task.turn is not None:
                self.freed(task.turn)

    def connected(self, session: WorkerSession) -> None:
        """A worker came: what waits for its version of the code is looked at again."""
        self._wake_all(Resource(CODE_VERSION, session.code_version_id))

    def disconnected(self, session: WorkerSession) -> None:
        """A worker went: what only it could execute waits for another one."""
        self._wake_all(Resource(WORKER, session.code_version_id))
        # Whoever waited for a share may have lost its worker; others must not wait for it.
        self._wake_all(self._tenant)

    def credited(self, session: WorkerSession, attempts: int) -> None:
        """A worker takes further attempts."""
        resource = Resource(WORKER, session.code_version_id)
        # No more than wait: how much a worker says that it takes is its own affair.
        for _ in range(min(attempts, self.waiting(resource))):
            self._wake(resource)

    # -- what goes next -------------------------------------------------------------------

    def next(self) -> Candidate | None:
        """Take the next task that may start; `None` when nobody can start anything."""
        while self._ready:
            waiting = self._ready.pop()
            active, index, turn = waiting.active, waiting.index, waiting.turn
            task = active.machine.tasks[index]
            if task.state is not TaskState.READY or active.machine.is_over:
                active.waiting.pop(index, None)
                if turn is not None:
                    self.freed(turn)
                continue
            slots = self.slots(active, task)
            resource = self._missing(waiting, slots)
            if resource is None:
                session = self._free_session(active)
                if session is not None and self._admitted():
                    del active.waiting[index]
                    return Candidate(active, index, session, slots)
                if session is None and not active.machine.run.code_version_id:
                    # Nobody takes anything: whatever goes first, it does not go now.
                    self._ready.push(waiting, first=True)
                    break
                version = active.machine.run.code_version_id
                resource = Resource(WORKER, version) if session is None else self._tenant
            self._park(waiting, resource)
            if turn is not None and turn != resource:
                self.freed(turn)
        if self._tenant not in self._parked:
            self._shares.stop_waiting(self._tenant.name, self._tenant_may_go_on)
        return None

    def slots(self, active: ActiveRun, task: Task) -> dict[Resource, int]:
        """Return the slots that an attempt takes, by resource."""
        policy = active.policy(task)
        # Two runs that make a partition at once could publish in one order and be recorded in the
        # other: they take turns.
        partition = f"{task.asset_key} {task.partition_key.to_canonical()}"
        taken = {Resource(PARTITION, partition): 1}
        for name, slots in policy.pools.items():
            taken[Resource(POOL, name)] = slots
        # Also without a limit: a run of a later deployment, which has one, counts them all.
        taken[Resource(ASSET, str(task.asset_key))] = 1
        if active.machine.run.max_parallelism:
            taken[Resource(RUN, active.run_id)] = 1
        return taken

    def capacity(self, resource: Resource, active: ActiveRun, task: Task) -> int | None:
        """Return how many slots a resource has; `None` for no limit."""
        if resource.kind == PARTITION:
            return 1
        if resource.kind == POOL:
            return self.pools.get(resource.name)
        if resource.kind == ASSET:
            return active.policy(task).max_parallelism or None
        return active.machine.run.max_parallelism

    def missing(self, active: ActiveRun, index: int) -> Resource | None:
        """Return what a ready task waits for; `None` when it is about to be given out.

        ``worker`` without a version of the code stands for any worker.
        """
        waiting = active.waiting.get(index)
        if waiting is None:
            return None
        if waiting.parked_at is not None:
            return waiting.parked_at
        task = active.machine.tasks[index]
        resource = self._missing(waiting, self.slots(active, task))
        if resource is not None:
            return resource
        if self._free_session(active) is None:
            return Resource(WORKER, active.machine.run.code_version_id)
        return None if self._admitted() else self._tenant

    def waiting(self, resource: Resource) -> int:
        """Return how many tasks wait for a resource."""
        return len(self._parked.get(resource, ()))

    # -- how ------------------------------------------------------------------------------

    def _missing(self, waiting: Waiting, slots: dict[Resource, int]) -> Resource | None:
        active = waiting.active
        run = active.machine.run
        if run.paused:
            return Resource(PAUSED, run.run_id)
        version = run.code_version_id
        if version and not any(
            session.code_version_id == version for session in self._sessions.values()
        ):
            return Resource(CODE_VERSION, version)
        for resource, wanted in slots.items():
            capacity = self.capacity(resource, active, active.machine.tasks[waiting.index])
            if capacity is None:
                continue
            # Who wants more than there is gets all of it, rather than waiting for ever.
            if capacity - self._leases.used(resource) < max(min(wanted, capacity), 1):
                return resource
            if waiting.turn != resource and self._is_behind(waiting, resource):
                return resource
        return None

    def _is_behind(self, waiting: Waiting, resource: Resource) -> bool:
        """Tell whether somebody else is to have a resource first."""
        parked = self._parked.get(resource)
        first = None if parked is None else parked.first_priority
        return first is not None and first >= priority_of(waiting)

    def _free_session(self, active: ActiveRun) -> WorkerSession | None:
        version = active.machine.run.code_version_id
        best: WorkerSession | None = None
        for session in self._sessions.values():
            if version and session.code_version_id != version:
                continue
            if session.credit > (best.credit if best is not None else 0):
                best = session
        return best

    def _admitted(self) -> bool:
        return not self._shares.is_limited or self._shares.admits(self._tenant.name)

    def _park(self, waiting: Waiting, resource: Resource) -> None:
        # Whose turn it is, and who still does not fit, keeps its place.
        first = waiting.turn == resource
        waiting.turn, waiting.parked_at = None, resource
        self._parked.setdefault(resource, WaitingTasks()).push(waiting, first=first)
        if resource == self._tenant:
            self._shares.wait(resource.name, self._tenant_may_go_on)

    def _tenant_may_go_on(self) -> None:
        self._wake_all(self._tenant)
        self._news()

    def _wake(self, resource: Resource) -> None:
        """Give the next task that waits for a resource its turn."""
        parked = self._parked.get(resource)
        if parked is not None:
            waiting = parked.pop()
            waiting.turn, waiting.parked_at = resource, None
            self._ready.push(waiting, first=True)
            self._drop_if_empty(resource, parked)

    def _wake_all(self, resource: Resource) -> None:
        parked = self._parked.pop(resource, None)
        while parked:
            waiting = parked.pop()
            waiting.parked_at = None
            self._ready.push(waiting)

    def _drop_if_empty(self, resource: Resource, parked: WaitingTasks) -> None:
        if not parked:
            self._parked.pop(resource, None)
