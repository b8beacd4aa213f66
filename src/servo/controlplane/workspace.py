"""One workspace at work: its active runs, its workers and what they hold.

Everything here happens in the event loop, between two awaits, so that no lock is needed. Changes
come out of `RunMachine`, get their sequence numbers, go into the journal's batch, and only when
that is durable does anybody hear of them.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial

from servo import errors
from servo.controlplane import machine as machines
from servo.controlplane.active import ActiveRun, HeldLease
from servo.controlplane.catalog import Catalog
from servo.controlplane.journal import Journal
from servo.controlplane.machine import Change, RunMachine
from servo.controlplane.mapping import Edge, Scope
from servo.controlplane.sessions import WorkerSession
from servo.controlplane.signals import Signals
from servo.controlplane.store.batch import Metric, NewRun
from servo.controlplane.store.sqlite import SqliteStore
from servo.controlplane.store.stored import CurrentMaterialization, StoredRun
from servo.types.dependencies import DependencyMapping
from servo.types.events import (
    Event,
    EventPayload,
    RunCreated,
    RunStateChanged,
    TaskProgressed,
)
from servo.types.ids import MaterializationId
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch
from servo.types.partition_keys import PartitionKey
from servo.types.plans import Plan
from servo.types.records import Failure, Materialization, Run, Task
from servo.types.requests import CreateRunRequest
from servo.types.runs import RunState, TaskState
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptStarted,
    AttemptSucceeded,
    CancelTask,
    CreditGrant,
    Heartbeat,
    InputPartition,
    Lease,
    LeaseRevoked,
    LogReceipt,
    ResultReceipt,
    ServerMessage,
    ServerWelcome,
    TaskDispatch,
    TaskInput,
    WorkerDraining,
    WorkerHello,
    WorkerMessage,
)

_LOG = logging.getLogger(__name__)

_ON_WORKER = (TaskState.DISPATCHED, TaskState.RUNNING)


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
    """

    def __init__(
        self,
        number: int,
        tenant_id: str,
        workspace_id: str,
        *,
        store: SqliteStore,
        journal: Journal,
        lease_length: timedelta,
        cancel_grace: timedelta,
    ) -> None:
        self.number = number
        self.tenant_id = tenant_id
        self.workspace_id = workspace_id
        self.store = store
        self.journal = journal
        self.lease_length = lease_length
        self.cancel_grace = cancel_grace
        self.is_loaded = False
        self.asset_ids: dict[str, str] = {}
        self.current_deployment_id = ""
        self.active: dict[str, ActiveRun] = {}
        self.sessions: dict[str, WorkerSession] = {}
        self._sequence = 0
        self._tasks: dict[str, tuple[ActiveRun, int]] = {}
        self._leases: dict[str, HeldLease] = {}
        self._ready: deque[tuple[ActiveRun, int]] = deque()
        self._parked: dict[AssetKey, list[tuple[ActiveRun, int]]] = {}
        self._running: Counter[AssetKey] = Counter()
        self._retries: list[tuple[datetime, ActiveRun, int]] = []
        self._materialized: dict[str, dict[PartitionKey, CurrentMaterialization]] = {}
        self.signals = Signals()
        self.creating = asyncio.Lock()
        self.deploying = asyncio.Lock()

    # -- coming up ------------------------------------------------------------------------

    async def load(self, catalog_of: Callable[[str], Awaitable[Catalog]]) -> None:
        """Read the state from the store and go on with the runs that had not ended.

        Args:
            catalog_of: Answers with the catalog of a deployment.
        """
        self._sequence = await self.store.last_sequence(self.number)
        self.current_deployment_id = await self.store.current_deployment_id(self.number)
        # In place: catalogs refer to it.
        self.asset_ids.clear()
        self.asset_ids.update(await self.store.asset_ids(self.number))
        self._materialized.clear()
        for stored in await self.store.active_runs(self.number):
            await self._resume(stored, await catalog_of(stored.run.deployment_id))
        self.is_loaded = True
        self.dispatch()

    async def _resume(self, stored: StoredRun, catalog: Catalog) -> None:
        machine = RunMachine(stored.run, stored.tasks, stored.plan)
        scope = Scope(stored.run.created_at or _now(), self.tenant_id)
        active = ActiveRun(machine, stored.request, catalog, scope)
        active.tokens = stored.tokens
        await self.know_materializations(active.upstream_ids())
        self._adopt(active)
        expires = time.monotonic() + self.lease_length.total_seconds()
        for index, task in enumerate(machine.tasks):
            if task.state is TaskState.READY:
                self._ready.append((active, index))
            elif task.state is TaskState.RETRY_WAIT:
                self._retries.append((task.retry_at or _now(), active, index))
            elif task.state in _ON_WORKER:
                self._leases[task.task_id] = HeldLease(
                    active.tokens[index], task.worker_id, expires
                )
                self._running[task.asset_key] += 1

    def unload(self) -> None:
        """Forget everything in memory and end the sessions; `load` starts again."""
        self.is_loaded = False
        for session in self.sessions.values():
            session.close()
        self.sessions.clear()
        self.active.clear()
        self._tasks.clear()
        self._leases.clear()
        self._ready.clear()
        self._parked.clear()
        self._running.clear()
        self._retries.clear()
        self._materialized.clear()
        self.signals.announce_all()

    def _adopt(self, active: ActiveRun) -> None:
        self.active[active.run_id] = active
        for index, task in enumerate(active.machine.tasks):
            self._tasks[task.task_id] = (active, index)

    # -- materialisations -----------------------------------------------------------------

    async def know_materializations(self, asset_ids: Iterable[str]) -> None:
        """Read what is materialised of some assets, where that is not known yet."""
        for asset_id in asset_ids:
            if asset_id not in self._materialized:
                found = await self.store.current_materializations(self.number, asset_id)
                self._materialized.setdefault(asset_id, found)

    def materialized(self, asset_id: str) -> Mapping[PartitionKey, CurrentMaterialization]:
        """Return what is materialised of an asset that `know_materializations` was asked for."""
        return self._materialized.get(asset_id, {})

    # -- recording ------------------------------------------------------------------------

    def append_event(self, run_id: str, payload: EventPayload, now: datetime) -> int:
        """Put an event into the open batch; return its sequence number.

        Raises:
            servo.errors.UnavailableError: The state is being read again after a refused write;
                what the caller decided on may not hold any more.
        """
        if not self.is_loaded:
            raise errors.UnavailableError(
                "the control plane is reading its state again after a write was refused; try again"
            )
        self._sequence += 1
        event = Event(sequence=self._sequence, occurred_at=now, run_id=run_id, payload=payload)
        self.journal.batch.events.append((self.number, event))
        self.journal.kick()
        return self._sequence

    def _record(self, active: ActiveRun, changes: Sequence[Change], now: datetime) -> None:
        """Record changes of a run together with the state after them."""
        if not changes:
            return
        batch, run_machine, run_id = self.journal.batch, active.machine, active.run_id
        stopping = False
        for change in changes:
            sequence = self.append_event(run_id, change, now)
            if isinstance(change, RunStateChanged):
                stopping = stopping or change.state is RunState.CANCELLING
                continue
            index = change.index
            if change.state is TaskState.DISPATCHED:
                active.tokens[index] = sequence
            elif change.state is TaskState.READY:
                self._ready.append((active, index))
            elif change.state is TaskState.RETRY_WAIT and change.retry_at is not None:
                self._retries.append((change.retry_at, active, index))
            elif change.materialization is not None:
                self._remember(change.materialization, sequence)
            task = run_machine.tasks[index]
            batch.tasks[run_id, index] = (task, active.tokens[index])
        active.last_sequence = self._sequence
        # Counting is for the row that is written, once a commit and not once a change.
        batch.runs[run_id] = active.snapshot
        if stopping:
            self._cancel_attempts(active, run_machine.run.reason)
        if run_machine.is_over:
            self._retire(active)
        batch.after.append(partial(self.signals.announce, run_id))

    def _remember(self, made: Materialization, sequence: int) -> None:
        self.journal.batch.materializations.append((self.number, sequence, made))
        current = self._materialized.get(made.asset_id)
        if current is not None:
            current[made.partition_key] = CurrentMaterialization(
                made.materialization_id, made.has_data, made.path
            )

    def _retire(self, active: ActiveRun) -> None:
        del self.active[active.run_id]
        for task in active.machine.tasks:
            self._tasks.pop(task.task_id, None)
        if not self.active:
            # Nothing is running: what was read for the plans need not stay in memory.
            self._materialized.clear()

    # -- runs -----------------------------------------------------------------------------

    def accept(
        self, run: Run, tasks: list[Task], plan: Plan, request: CreateRunRequest, catalog: Catalog
    ) -> Run:
        """Record a new run, start it and return it; not durable yet."""
        now = run.created_at or _now()
        active = ActiveRun(
            RunMachine(run, tasks, plan), request, catalog, Scope(now, self.tenant_id)
        )
        self.append_event(run.run_id, RunCreated(run=active.machine.snapshot()), now)
        batch = self.journal.batch
        self._adopt(active)
        batch.new_runs.append((self.number, NewRun(run=run, request=request, plan=plan)))
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
        now = _now()
        self._record(active, active.machine.cancel(reason, now), now)
        return active.snapshot()

    def _cancel_attempts(self, active: ActiveRun, reason: str) -> None:
        for index in active.machine.indices(*_ON_WORKER):
            task = active.machine.tasks[index]
            held = self._leases.get(task.task_id)
            if held is not None:
                lease = Lease(task_id=task.task_id, attempt=task.attempt, token=held.token)
                message = CancelTask(lease=lease, reason=reason, grace_period=self.cancel_grace)
                self.journal.batch.after.append(partial(self._send, held.worker_id, message))

    def _send(self, worker_id: str, message: ServerMessage) -> None:
        session = self.sessions.get(worker_id)
        if session is not None:
            session.send(message)

    # -- giving out work ------------------------------------------------------------------

    def dispatch(self) -> None:
        """Give ready tasks to workers that have credit."""
        while self._ready:
            session = max(self.sessions.values(), key=_credit, default=None)
            if session is None or session.credit <= 0:
                return
            active, index = self._ready.popleft()
            task = active.machine.tasks[index]
            if task.state is not TaskState.READY or active.machine.is_over:
                continue
            limit = active.catalog.assets[task.asset_key].execution.max_parallelism
            if limit and self._running[task.asset_key] >= limit:
                self._parked.setdefault(task.asset_key, []).append((active, index))
                continue
            self._give(active, index, session)

    def _give(self, active: ActiveRun, index: int, session: WorkerSession) -> None:
        now = _now()
        self._record(active, active.machine.dispatched(index, session.worker_id, now), now)
        task = active.machine.tasks[index]
        token = active.tokens[index]
        expires = time.monotonic() + self.lease_length.total_seconds()
        self._leases[task.task_id] = HeldLease(token, session.worker_id, expires)
        self._running[task.asset_key] += 1
        session.credit -= 1
        session.held.add(task.task_id)
        asset = active.catalog.assets[task.asset_key]
        dispatch = TaskDispatch(
            lease=Lease(task_id=task.task_id, attempt=task.attempt, token=token),
            run_id=active.run_id,
            deployment_id=active.catalog.deployment_id,
            asset=asset,
            partition_key=task.partition_key,
            inputs=tuple(self._input(active, edge, task) for edge in active.edges(asset.key)),
            config=active.request.config,
            trace_context=active.machine.run.trace_context,
        )

        def send() -> None:
            held = self._leases.get(task.task_id)
            if held is not None and held.token == token:
                session.send(dispatch)

        self.journal.batch.after.append(send)

    def _input(self, active: ActiveRun, edge: Edge, task: Task) -> TaskInput:
        current = self.materialized(active.catalog.asset_id(edge.upstream.key))
        if edge.kind is DependencyMapping.LATEST and not edge.is_constant:
            newest = edge.latest(current)
            keys: Sequence[PartitionKey] = () if newest is None else (newest,)
        else:
            keys = edge.upstream_keys(task.partition_key)
        return TaskInput(
            parameter_name=edge.dependency.parameter_name,
            upstream_key=edge.upstream.key,
            partitions=tuple(_input_partition(key, current.get(key)) for key in keys),
            partitioning=edge.upstream.partitioning,
        )

    def _take_back(self, task: Task) -> None:
        """Forget the lease of a task."""
        held = self._leases.pop(task.task_id, None)
        if held is None:
            return
        self._running[task.asset_key] -= 1
        session = self.sessions.get(held.worker_id)
        if session is not None:
            session.held.discard(task.task_id)
        if waiting := self._parked.pop(task.asset_key, None):
            self._ready.extendleft(reversed(waiting))

    # -- workers --------------------------------------------------------------------------

    def connect(self, hello: WorkerHello, welcome: ServerWelcome) -> WorkerSession:
        """Open a session; leases that the worker does not know of are settled."""
        previous = self.sessions.pop(hello.worker_id, None)
        if previous is not None:
            previous.close()
        session = self.sessions[hello.worker_id] = WorkerSession(hello.worker_id)
        session.send(welcome)
        announced = {lease.task_id: lease for lease in hello.leases}
        for lease in hello.leases:
            self._renew(session, lease)
        for task_id, held in list(self._leases.items()):
            if held.worker_id == hello.worker_id and task_id not in announced:
                # It was given out, but never arrived: nobody else will report on it.
                self._lose(task_id)
        return session

    def disconnect(self, session: WorkerSession) -> None:
        """The connection ended; the leases stay until they expire or the worker returns."""
        session.close()
        if self.sessions.get(session.worker_id) is session:
            del self.sessions[session.worker_id]

    def receive(self, session: WorkerSession, message: WorkerMessage) -> None:
        """Act on a message of a worker."""
        match message:
            case AttemptFinished():
                self._finish(session, message)
            case AttemptStarted():
                if found := self._held(session, message.lease):
                    active, index = found
                    now = _now()
                    self._record(active, active.machine.started(index, now), now)
            case CreditGrant():
                session.credit += message.attempts
            case LogBatch():
                self._log(session, message)
            case Heartbeat():
                for lease in message.leases:
                    self._renew(session, lease)
            case AttemptProgressed():
                self._progress(session, message)
            case AttemptMetric():
                self._metric(session, message)
            case WorkerDraining():
                session.credit = -(2**31)
            case _:
                # Dispatches are acknowledged for the worker's own flow control only.
                pass

    def _find(self, lease: Lease) -> tuple[ActiveRun, int] | None:
        """Return the task of a lease, if the lease is the one that is out."""
        held = self._leases.get(lease.task_id)
        if held is None or held.token != lease.token:
            return None
        return self._tasks.get(lease.task_id)

    def _held(self, session: WorkerSession, lease: Lease) -> tuple[ActiveRun, int] | None:
        found = self._find(lease)
        if found is None:
            session.send(LeaseRevoked(lease=lease, reason="the lease is not held any more"))
        return found

    def _renew(self, session: WorkerSession, lease: Lease) -> None:
        if self._held(session, lease) is not None:
            held = self._leases[lease.task_id]
            held.expires = time.monotonic() + self.lease_length.total_seconds()
            held.worker_id = session.worker_id
            session.held.add(lease.task_id)

    def _finish(self, session: WorkerSession, message: AttemptFinished) -> None:
        lease = message.lease
        found = self._find(lease)
        if found is None:
            session.send(self._late_receipt(lease))
            return
        active, index = found
        run_machine, now = active.machine, _now()
        changes: list[Change] = []
        task = run_machine.tasks[index]
        self._take_back(task)
        policy = active.catalog.assets[task.asset_key].execution
        match message.outcome:
            case AttemptSucceeded(materialization=made):
                changes = run_machine.started(index, now)
                made = self._complete(active, task, made, now)
                changes += run_machine.succeeded(index, made, message.checks, now)
            case Failure(reason="handed_back"):
                # The worker goes and had not begun: as if it had never been given out.
                changes = run_machine.lost(index, policy, now)
            case Failure() as failure:
                changes = run_machine.started(index, now)
                delay = machines.backoff(policy, task.attempt, random.random())
                changes += run_machine.failed(
                    index, failure, policy, now, delay=delay, checks=message.checks
                )
            case AttemptCancelled(reason=reason):
                if run_machine.run.state is RunState.CANCELLING:
                    reason = reason or run_machine.run.reason
                    changes = run_machine.cancelled(index, reason, now)
                else:
                    changes = run_machine.lost(index, policy, now)
        self._record(active, changes, now)
        receipt = ResultReceipt(lease=lease, accepted=True)
        self.journal.batch.after.append(lambda: session.send(receipt))
        self.journal.kick()

    def _late_receipt(self, lease: Lease) -> ResultReceipt:
        known = self._tasks.get(lease.task_id)
        if known is not None:
            active, index = known
            task = active.machine.tasks[index]
            if active.tokens[index] == lease.token and task.state is TaskState.SUCCEEDED:
                # The receipt was lost on the way, not the result.
                return ResultReceipt(lease=lease, accepted=True)
        error = errors.LeaseExpiredError(
            f"the lease {lease.token} of task {lease.task_id} is not held any more; "
            "its result was not recorded",
            context={"task_id": lease.task_id, "token": lease.token},
        )
        return ResultReceipt(lease=lease, accepted=False, error=error)

    def _complete(
        self, active: ActiveRun, task: Task, made: Materialization, now: datetime
    ) -> Materialization:
        """Return what the worker reported, with what only the control plane decides."""
        return replace(
            made,
            materialization_id=made.materialization_id or MaterializationId.generate(),
            asset_key=task.asset_key,
            asset_id=active.catalog.asset_id(task.asset_key),
            partition_key=task.partition_key,
            run_id=active.run_id,
            task_id=task.task_id,
            attempt=task.attempt,
            created_at=now,
        )

    def _log(self, session: WorkerSession, message: LogBatch) -> None:
        session.log_batches += 1
        received = session.log_batches
        known = self._tasks.get(message.task_id)
        batch = self.journal.batch
        if known is not None:
            run_id = known[0].run_id
            batch.logs.append((run_id, message))
            batch.after.append(partial(self.signals.announce, run_id))
        batch.after.append(lambda: session.send(LogReceipt(batches=received)))
        self.journal.kick()

    def _progress(self, session: WorkerSession, message: AttemptProgressed) -> None:
        found = self._held(session, message.lease)
        if found is None:
            return
        active, index = found
        task = replace(active.machine.tasks[index], progress=message.progress)
        active.machine.tasks[index] = task
        self.journal.batch.tasks[active.run_id, index] = (task, active.tokens[index])
        self.journal.kick()
        news = TaskProgressed(index=index, attempt=task.attempt, progress=message.progress)
        self.signals.announce_progress(active.run_id, news)

    def _metric(self, session: WorkerSession, message: AttemptMetric) -> None:
        found = self._held(session, message.lease)
        if found is None:
            return
        reported = message.reported_at or _now()
        metric = Metric(
            run_id=found[0].run_id,
            task_id=message.lease.task_id,
            attempt=message.lease.attempt,
            name=message.name,
            value=message.value,
            reported_at=int(reported.timestamp() * 1_000_000),
        )
        self.journal.batch.metrics.append(metric)
        self.journal.kick()

    # -- time -----------------------------------------------------------------------------

    def tick(self) -> None:
        """Act on what time has brought: leases that ran out, retries that are due."""
        now, monotonic = _now(), time.monotonic()
        for task_id in [key for key, held in self._leases.items() if held.expires < monotonic]:
            _LOG.warning("the lease of task %s ran out", task_id)
            self._lose(task_id)
        due = [entry for entry in self._retries if entry[0] <= now]
        if due:
            self._retries = [entry for entry in self._retries if entry[0] > now]
            for _, active, index in due:
                self._record(active, active.machine.retry_due(index, now), now)
        self.dispatch()

    def _lose(self, task_id: str) -> None:
        """The attempt of a lease will not be heard of again."""
        active, index = self._tasks[task_id]
        task = active.machine.tasks[index]
        self._take_back(task)
        now = _now()
        policy = active.catalog.assets[task.asset_key].execution
        self._record(active, active.machine.lost(index, policy, now), now)


def _now() -> datetime:
    return datetime.now(UTC)


def _credit(session: WorkerSession) -> int:
    return session.credit


def _input_partition(key: PartitionKey, made: CurrentMaterialization | None) -> InputPartition:
    if made is None:
        return InputPartition(partition_key=key)
    return InputPartition(
        partition_key=key,
        materialization_id=made.materialization_id,
        has_data=made.has_data,
        path=made.path,
    )
