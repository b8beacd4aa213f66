"""One workspace at work: its active runs, its pools, its workers and what they hold.

Everything here happens in the event loop, between two awaits, so that no lock is needed. Changes
come out of `RunMachine` and are recorded in the `Ledger`; what follows from them (tasks to give
out, attempts to end, retries to wait for) is arranged here.
"""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from itertools import count

from servo.controlplane.active import ActiveRun
from servo.controlplane.attempts import ON_WORKER, Attempts
from servo.controlplane.catalog import Catalog
from servo.controlplane.clock import Clock
from servo.controlplane.journal import Journal
from servo.controlplane.leases import Leases, Resource
from servo.controlplane.ledger import Ledger, state_was_lost
from servo.controlplane.machine import Change, RunMachine, backoff
from servo.controlplane.mapping import Scope
from servo.controlplane.materialized import Hold, MaterializedAssets
from servo.controlplane.scheduler import POOL, Scheduler
from servo.controlplane.sessions import WorkerSession
from servo.controlplane.shares import Shares
from servo.controlplane.signals import Signals
from servo.controlplane.store.batch import NewRun
from servo.controlplane.store.store import Store
from servo.controlplane.store.stored import StoredRun
from servo.types.events import (
    EventPayload,
    PoolChanged,
    RunCreated,
    RunStateChanged,
    TaskStateChanged,
)
from servo.types.pools import Pool
from servo.types.records import Run, Task
from servo.types.runs import RunState, TaskState
from servo.types.sessions import ServerWelcome, WorkerHello, WorkerMessage


class Workspace:
    """The engine of one workspace; see the module's docstring.

    Args:
        number: The store's number of the workspace.
        tenant_id: The tenant.
        workspace_id: The workspace.
        store: The store.
        journal: Where changes go.
        lease_length: How long a lease lasts without a heartbeat.
        cancel_grace: How long a cancelled attempt may take to end by itself.
        clock: What time it is.
        shares: What tenants may have under way; shared by all workspaces.

    Attributes:
        active: The runs that have not ended, by id.
        sessions: The workers that are connected, by id.
        leases: The leases that are out.
        scheduler: What goes next, and what the rest waits for.
    """

    def __init__(
        self,
        number: int,
        tenant_id: str,
        workspace_id: str,
        *,
        store: Store,
        journal: Journal,
        lease_length: timedelta,
        cancel_grace: timedelta,
        clock: Clock,
        shares: Shares | None = None,
    ) -> None:
        self.number = number
        self.tenant_id = tenant_id
        self.workspace_id = workspace_id
        self.store = store
        self.journal = journal
        self.lease_length = lease_length
        self.clock = clock
        self.asset_ids: dict[str, str] = {}
        self.current_deployment_id = ""
        self.active: dict[str, ActiveRun] = {}
        self.sessions: dict[str, WorkerSession] = {}
        self.leases = Leases()
        self.creating = asyncio.Lock()
        self.deploying = asyncio.Lock()
        self._tasks: dict[str, tuple[ActiveRun, int]] = {}
        self._alarms: list[tuple[float, int, str, int | None]] = []
        self._alarm_numbers = count()
        self._ledger = Ledger(number, store, journal)
        self.scheduler = Scheduler(
            tenant_id, self.leases, self.sessions, shares or Shares(), self._dispatch_soon
        )
        self._attempts = Attempts(
            self._ledger,
            self.scheduler,
            self.leases,
            self.sessions,
            tasks=self._tasks,
            record=self._record,
            lease_length=lease_length,
            cancel_grace=cancel_grace,
            clock=clock,
        )

    @property
    def is_loaded(self) -> bool:
        """Whether the state in memory is the one on disk."""
        return self._ledger.is_open

    @property
    def signals(self) -> Signals:
        """Wakes those who watch."""
        return self._ledger.signals

    # -- coming up ------------------------------------------------------------------------

    async def load(self, catalog_of: Callable[[str], Awaitable[Catalog]]) -> None:
        """Read the state from the store and go on with the runs that had not ended.

        Args:
            catalog_of: Answers with the catalog of a deployment.
        """
        await self._ledger.open()
        self.current_deployment_id = await self.store.current_deployment_id(self.number)
        # In place: catalogs and the scheduler refer to them.
        self.asset_ids.clear()
        self.asset_ids.update(await self.store.asset_ids(self.number))
        self.scheduler.pools.clear()
        self.scheduler.pools.update(await self.store.pools(self.number))
        for stored in await self.store.active_runs(self.number):
            await self._resume(stored, await catalog_of(stored.run.deployment_id))
        self._ledger.is_open = True
        self.dispatch()

    async def _resume(self, stored: StoredRun, catalog: Catalog) -> None:
        machine = RunMachine(stored.run, stored.tasks, stored.plan)
        scope = Scope(stored.run.created_at or self.clock.now(), self.tenant_id)
        upstream = {
            catalog.asset_id(key) for asset in stored.plan.assets for key in catalog.upstream(asset)
        }
        known = await self.materialized.know(upstream)
        active = ActiveRun(machine, stored.request, catalog, scope, known)
        active.tokens = stored.tokens
        now = self.clock.now()
        self._adopt(active, now)
        for index, task in enumerate(machine.tasks):
            if task.state is TaskState.READY:
                self.scheduler.add(active, index)
            elif task.state is TaskState.RETRY_WAIT:
                longest = backoff(active.policy(task), task.attempt, 0)
                self._set_alarm(_left(task.retry_at, now, longest), active, index)
            elif task.state in ON_WORKER:
                self._attempts.resume(active, index)

    async def hold_moved(self, moved: Mapping[str, str]) -> None:
        """Let active runs go on reading assets that are about to have other ids.

        Args:
            moved: Dotted keys to the ids that they get.
        """
        for active in list(self.active.values()):
            catalog = active.catalog
            upstream = {
                str(key) for asset in active.machine.plan.assets for key in catalog.upstream(asset)
            }
            if not (ids := [moved[key] for key in upstream & moved.keys()]):
                continue
            hold = await self.materialized.know(ids)
            is_open = self.active.get(active.run_id) is active
            if is_open and self.materialized.is_valid(active.known):
                active.known = active.known.together_with(hold)
            else:
                self.materialized.release(hold)

    def unload(self) -> None:
        """Forget everything in memory and end the sessions; `load` starts again."""
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()
        self.active.clear()
        self._tasks.clear()
        self._alarms.clear()
        self.scheduler.clear()
        self._attempts.clear()
        self._ledger.close()

    def _adopt(self, active: ActiveRun, now: datetime) -> None:
        self.active[active.run_id] = active
        for task in active.machine.tasks:
            self._tasks[task.task_id] = (active, task.index)
        run = active.machine.run
        if run.timeout_seconds:
            limit = timedelta(seconds=run.timeout_seconds)
            ends_at = None if run.created_at is None else run.created_at + limit
            self._set_alarm(_left(ends_at, now, limit), active, None)

    # -- what is known --------------------------------------------------------------------

    @property
    def materialized(self) -> MaterializedAssets:
        """What is materialised of the assets that are held."""
        return self._ledger.materialized

    def find_task(self, task_id: str) -> tuple[ActiveRun, int] | None:
        """Return the run and the position of a task of an active run."""
        return self._tasks.get(task_id)

    # -- recording ------------------------------------------------------------------------

    def append_event(self, run_id: str, payload: EventPayload, now: datetime) -> int:
        """Put an event into the open batch; return its sequence number.

        Raises:
            servo.errors.UnavailableError: The state is being read again after a refused write;
                what the caller decided on may not hold any more.
        """
        return self._ledger.append(run_id, payload, now)

    def _record(self, active: ActiveRun, changes: Sequence[Change], now: datetime) -> None:
        """Record changes of a run, and arrange what follows from them."""
        if not changes:
            return
        self._ledger.record(active, changes, now)
        for change in changes:
            if isinstance(change, TaskStateChanged):
                if change.state is TaskState.READY:
                    self.scheduler.add(active, change.index)
                elif change.state is TaskState.RETRY_WAIT and change.retry_at is not None:
                    delay = (change.retry_at - now).total_seconds()
                    self._set_alarm(delay, active, change.index)
            elif isinstance(change, RunStateChanged) and change.state is RunState.CANCELLING:
                self._attempts.cancel(active, change.reason)
        if active.machine.is_over:
            self._retire(active)

    def _retire(self, active: ActiveRun) -> None:
        del self.active[active.run_id]
        for task in active.machine.tasks:
            self._tasks.pop(task.task_id, None)
        self.scheduler.discard(active)
        self.materialized.release(active.known)

    # -- runs -----------------------------------------------------------------------------

    def accept(self, new: NewRun, tasks: list[Task], catalog: Catalog, known: Hold) -> Run:
        """Record a new run, start it and return it; not durable yet.

        Raises:
            servo.errors.UnavailableError: What it was planned with is not the state any more.
        """
        run = new.run
        now = run.created_at or self.clock.now()
        machine, scope = RunMachine(run, tasks, new.plan), Scope(now, self.tenant_id)
        active = ActiveRun(machine, new.request, catalog, scope, known)
        if not self.materialized.is_valid(known):
            raise state_was_lost()
        self.append_event(run.run_id, RunCreated(run=active.machine.snapshot()), now)
        batch = self.journal.batch
        self._adopt(active, now)
        batch.new_runs.append((self.number, new))
        for index, task in enumerate(active.machine.tasks):
            batch.tasks[run.run_id, index] = (task, 0)
        self._record(active, active.machine.start(now), now)
        self.dispatch()
        return active.snapshot()

    def cancel(self, run_id: str, reason: str) -> Run | None:
        """Ask an active run to stop; `None` when it is not active."""
        active = self.active.get(run_id)
        if active is None:
            return None
        now = self.clock.now()
        self._record(active, active.machine.cancel(reason, now), now)
        self.dispatch()
        return active.snapshot()

    def update_run(
        self, run_id: str, *, paused: bool | None = None, priority: int | None = None
    ) -> Run | None:
        """Hold or resume an active run, or change its priority; `None` when it is not active."""
        active = self.active.get(run_id)
        if active is None:
            return None
        now, run = self.clock.now(), active.machine.run
        changes = active.machine.updated(
            run.paused if paused is None else paused,
            run.priority if priority is None else priority,
            now,
        )
        self._record(active, changes, now)
        if changes:
            self.scheduler.run_updated(active)
            self.dispatch()
        return active.snapshot()

    # -- pools ----------------------------------------------------------------------------

    def set_pool(self, name: str, slots: int | None) -> Pool:
        """Give a pool a size, or remove it; return it as it is then, not durable yet.

        Args:
            name: The pool.
            slots: How many attempts' slots it has; `None` removes it.
        """
        if self.scheduler.pools.get(name) != slots:
            self.append_event("", PoolChanged(name=name, slots=slots), self.clock.now())
            self.journal.batch.pools.append((self.number, name, slots))
            self.scheduler.resize(name, slots)
            self.dispatch()
        return self._pool(name, slots or 0)

    def pools(self) -> tuple[Pool, ...]:
        """Return the pools, sorted by name."""
        return tuple(
            self._pool(name, slots) for name, slots in sorted(self.scheduler.pools.items())
        )

    def _pool(self, name: str, slots: int) -> Pool:
        resource = Resource(POOL, name)
        return Pool(
            name=name,
            slots=slots,
            used=self.leases.used(resource),
            waiting=self.scheduler.waiting(resource),
        )

    # -- workers --------------------------------------------------------------------------

    def connect(self, hello: WorkerHello, welcome: ServerWelcome) -> WorkerSession:
        """Open the session of a worker."""
        return self._attempts.connect(hello, welcome)

    def disconnect(self, session: WorkerSession) -> None:
        """The connection of a worker ended."""
        self._attempts.disconnect(session)
        self.dispatch()

    def receive(self, session: WorkerSession, message: WorkerMessage) -> None:
        """Act on a message of a worker."""
        self._attempts.receive(session, message)

    def dispatch(self) -> None:
        """Give ready tasks to workers that have credit."""
        if self.is_loaded:
            self._attempts.dispatch()

    def _dispatch_soon(self) -> None:
        asyncio.get_running_loop().call_soon(self.dispatch)

    # -- time -----------------------------------------------------------------------------

    def _set_alarm(self, seconds: float, active: ActiveRun, index: int | None) -> None:
        """Look at a task that waits for its retry, or at a run with a time limit, later."""
        due = self.clock.monotonic() + seconds
        # The run by its id: it may have ended long before.
        heapq.heappush(self._alarms, (due, next(self._alarm_numbers), active.run_id, index))

    def tick(self) -> None:
        """Act on what time has brought: leases that ran out, retries and time limits."""
        self._attempts.tick()
        while self._alarms and self._alarms[0][0] <= self.clock.monotonic():
            _, _, run_id, index = heapq.heappop(self._alarms)
            active = self.active.get(run_id)
            if active is None:
                continue
            now, machine = self.clock.now(), active.machine
            if index is not None:
                self._record(active, machine.retry_due(index, now), now)
            else:
                reason = f"not done {machine.run.timeout_seconds} s after it was accepted"
                changes = machine.cancel(reason, now, ends_as=RunState.TIMED_OUT)
                self._record(active, changes, now)
        self.dispatch()


def _left(moment: datetime | None, now: datetime, longest: timedelta) -> float:
    """Return the seconds until a moment, however the clock was set meanwhile: 0 to ``longest``."""
    left = timedelta(0) if moment is None else moment - now
    return min(max(left, timedelta(0)), longest).total_seconds()
