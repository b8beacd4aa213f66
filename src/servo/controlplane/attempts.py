"""The attempts that are under way in one workspace: workers, leases, and what is heard of them."""

from __future__ import annotations

import logging
import random
from collections import OrderedDict
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from msgspec.structs import replace

from servo import errors
from servo.controlplane import budgets, reported
from servo.controlplane import machine as machines
from servo.controlplane.active import ActiveRun
from servo.controlplane.clock import Clock
from servo.controlplane.dispatching import task_dispatch
from servo.controlplane.leases import HeldLease, Leases, Resource
from servo.controlplane.ledger import Ledger
from servo.controlplane.machine import Change
from servo.controlplane.scheduler import Scheduler
from servo.controlplane.sessions import WorkerSession
from servo.controlplane.store.batch import Metric
from servo.types import amounts
from servo.types.events import TaskProgressed
from servo.types.ids import MaterializationId
from servo.types.logs import LogBatch
from servo.types.reasons import FailureReason
from servo.types.records import Failure, Materialization, Task
from servo.types.runs import FailureCategory, RunState, TaskState
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    AttemptStarted,
    AttemptSucceeded,
    CancelTask,
    CreditGrant,
    Heartbeat,
    Lease,
    LeaseRevoked,
    LogReceipt,
    ResultReceipt,
    ServerMessage,
    ServerWelcome,
    WorkerDraining,
    WorkerHello,
    WorkerMessage,
)

_LOG = logging.getLogger(__name__)

ON_WORKER = (TaskState.DISPATCHED, TaskState.RUNNING)

_MOST_RECORDED: Final = 10_000
"""Of how many tasks it is known which result was recorded last, whatever became of their run."""

Record = Callable[[ActiveRun, Sequence[Change], datetime], None]
"""Records changes of a run and acts on what follows from them."""


class Attempts:
    """The workers of one workspace and what they execute.

    Args:
        ledger: What is recorded.
        scheduler: What goes next.
        leases: The leases that are out.
        sessions: The workers that are connected, by id.
        tasks: The tasks of active runs by id: run and position.
        record: Records changes of a run.
        lease_length: How long a lease lasts without a heartbeat.
        cancel_grace: How long a cancelled attempt may take to end by itself.
        clock: What time it is.
    """

    def __init__(
        self,
        ledger: Ledger,
        scheduler: Scheduler,
        leases: Leases,
        sessions: dict[str, WorkerSession],
        *,
        tasks: dict[str, tuple[ActiveRun, int]],
        record: Record,
        lease_length: timedelta,
        cancel_grace: timedelta,
        clock: Clock,
    ) -> None:
        self.lease_length = lease_length
        self.cancel_grace = cancel_grace
        self._clock = clock
        self._ledger = ledger
        self._scheduler = scheduler
        self._leases = leases
        self._sessions = sessions
        self._tasks = tasks
        self._record = record
        self._recorded: OrderedDict[str, int] = OrderedDict()
        self._made: OrderedDict[str, None] = OrderedDict()
        self._handlers: dict[type, Callable[[WorkerSession, Any], None]] = {
            AttemptFinished: self._finish,
            AttemptStarted: self._start,
            AttemptProgressed: self._progress,
            AttemptMetric: self._metric,
            AttemptSpent: self._spent,
            CreditGrant: self._credit,
            Heartbeat: self._beat,
            LogBatch: self._log,
            WorkerDraining: self._drain,
        }

    # -- giving out work ------------------------------------------------------------------

    def dispatch(self) -> None:
        """Give ready tasks to workers that have credit."""
        while candidate := self._scheduler.next():
            active, index = candidate.active, candidate.index
            refusal = budgets.refusal(active, active.machine.tasks[index])
            if refusal is None:
                self._give(active, index, candidate.session, candidate.slots)
            else:
                now = self._clock.now()
                self._record(active, active.machine.refused(index, refusal, now), now)
                # What it would have taken is free for whoever is next.
                for resource in candidate.slots:
                    self._scheduler.freed(resource)

    def _give(
        self, active: ActiveRun, index: int, session: WorkerSession, slots: dict[Resource, int]
    ) -> None:
        now = self._clock.now()
        self._record(active, active.machine.dispatched(index, session.worker_id, now), now)
        task = active.machine.tasks[index]
        token = active.tokens[index]
        held = HeldLease(token, session.worker_id, self._expiry(), slots)
        self._scheduler.lease(task.task_id, held)
        session.credit -= 1
        session.held.add(task.task_id)
        lease = Lease(task_id=task.task_id, attempt=task.attempt, token=token)
        dispatch = task_dispatch(active, task, lease, self._ledger.materialized.of)

        def send() -> None:
            out = self._leases.get(task.task_id)
            if out is not None and out.token == token:
                session.send(dispatch)

        self._ledger.journal.batch.after.append(send)

    def resume(self, active: ActiveRun, index: int) -> None:
        """Go on with an attempt that was under way when the state was read."""
        task = active.machine.tasks[index]
        slots = self._scheduler.slots(active, task)
        held = HeldLease(active.tokens[index], task.worker_id, self._expiry(), slots)
        if active.machine.run.state is RunState.CANCELLING:
            held.ends_by = self._patience()
        self._scheduler.lease(task.task_id, held)

    def clear(self) -> None:
        """Forget what was heard: it may not have become durable."""
        self._recorded.clear()
        self._made.clear()

    def _expiry(self) -> float:
        return self._clock.monotonic() + self.lease_length.total_seconds()

    # -- ending attempts ------------------------------------------------------------------

    def cancel(self, active: ActiveRun, reason: str, *, overdrawn: str = "") -> None:
        """Ask the workers to end the attempts of a run.

        Args:
            active: The run.
            reason: Why, for people.
            overdrawn: What to say of the budget that is spent, if that is why.
        """
        for index in active.machine.indices(*ON_WORKER):
            task = active.machine.tasks[index]
            held = self._leases.get(task.task_id)
            if held is None or held.ends_by is not None:
                continue
            held.ends_by = self._patience()
            held.overdrawn = overdrawn
            message = CancelTask(
                lease=Lease(task_id=task.task_id, attempt=task.attempt, token=held.token),
                reason=reason,
                grace_period=self.cancel_grace,
            )
            self._ledger.journal.batch.after.append(partial(self._send, held.worker_id, message))
        self._ledger.journal.kick()

    def _patience(self) -> float:
        # The worker kills it after the grace period; a worker that cannot is not waited for.
        return self._expiry() + self.cancel_grace.total_seconds()

    def _send(self, worker_id: str, message: ServerMessage) -> None:
        session = self._sessions.get(worker_id)
        if session is not None:
            session.send(message)

    def _take_back(self, task: Task) -> HeldLease | None:
        held = self._scheduler.release(task.task_id)
        session = self._sessions.get(held.worker_id) if held is not None else None
        if session is not None:
            session.held.discard(task.task_id)
        return held

    def tick(self) -> None:
        """Take back the leases that have run out, and those of attempts that do not end."""
        monotonic = self._clock.monotonic()
        for task_id, held in self._leases.items():
            if held.expires < monotonic:
                _LOG.warning("the lease of task %s ran out", task_id)
                self._lose(task_id)
            elif held.ends_by is not None and held.ends_by < monotonic:
                _LOG.warning("task %s was asked to end and did not; it is given up", task_id)
                self._give_up(task_id, held)

    def _lose(self, task_id: str) -> None:
        """The attempt of a lease will not be heard of again."""
        active, index = self._tasks[task_id]
        task = active.machine.tasks[index]
        self._take_back(task)
        now = self._clock.now()
        self._record(active, active.machine.lost(index, active.policy(task), now), now)

    def _give_up(self, task_id: str, held: HeldLease) -> None:
        active, index = self._tasks[task_id]
        task = active.machine.tasks[index]
        self._take_back(task)
        now = self._clock.now()
        reason = f"{active.machine.run.reason or held.overdrawn} (its worker did not end it)"
        self._record(active, self._stopped(active, index, held, reason, now), now)
        lease = Lease(task_id=task_id, attempt=task.attempt, token=held.token)
        revoked = LeaseRevoked(lease=lease, reason="the attempt was given up")
        self._ledger.journal.batch.after.append(partial(self._send, held.worker_id, revoked))

    # -- workers --------------------------------------------------------------------------

    def connect(self, hello: WorkerHello, welcome: ServerWelcome) -> WorkerSession:
        """Open a session; leases that the worker does not know of are settled."""
        previous = self._sessions.get(hello.worker_id)
        if previous is not None:
            self.disconnect(previous)
        session = WorkerSession(hello.worker_id, hello.code_version_id)
        self._sessions[hello.worker_id] = session
        session.send(welcome)
        announced = {lease.task_id for lease in hello.leases}
        for lease in hello.leases:
            self._renew(session, lease)
            self._cancel_again(session, lease)
        for task_id, held in self._leases.items():
            if held.worker_id == hello.worker_id and task_id not in announced:
                # It was given out, but never arrived: nobody else will report on it.
                self._lose(task_id)
        self._scheduler.connected(session)
        return session

    def _cancel_again(self, session: WorkerSession, lease: Lease) -> None:
        # It may have been away, or another control plane at work, when the first one was sent.
        found, held = self._find(session, lease), self._leases.get(lease.task_id)
        if found is not None and held is not None and held.ends_by is not None:
            reason = found[0].machine.run.reason or held.overdrawn
            session.send(CancelTask(lease=lease, reason=reason, grace_period=self.cancel_grace))

    def disconnect(self, session: WorkerSession) -> None:
        """The connection ended; the leases stay until they expire or the worker returns."""
        session.close()
        if self._sessions.get(session.worker_id) is session:
            del self._sessions[session.worker_id]
            self._scheduler.disconnected(session)

    def receive(self, session: WorkerSession, message: WorkerMessage) -> None:
        """Act on a message of a worker."""
        handler = self._handlers.get(type(message))
        # Dispatches are acknowledged for the worker's own flow control only.
        if handler is not None:
            handler(session, message)

    def _start(self, session: WorkerSession, message: AttemptStarted) -> None:
        if found := self._held(session, message.lease):
            active, index = found
            now = self._clock.now()
            self._record(active, active.machine.started(index, now), now)

    def _credit(self, session: WorkerSession, message: CreditGrant) -> None:
        session.credit += message.attempts
        self._scheduler.credited(session, message.attempts)

    def _drain(self, session: WorkerSession, _message: WorkerDraining) -> None:
        session.credit = -(2**31)

    def _beat(self, session: WorkerSession, message: Heartbeat) -> None:
        for lease in message.leases:
            self._renew(session, lease)

    def _find(self, session: WorkerSession, lease: Lease) -> tuple[ActiveRun, int] | None:
        """Return the task of a lease, if it is the one that is out, and this worker has it.

        A worker has one session at a time, and keeps its leases from one to the next.
        """
        held = self._leases.get(lease.task_id)
        if held is None or held.token != lease.token or held.worker_id != session.worker_id:
            return None
        found = self._tasks.get(lease.task_id)
        if found is None or found[0].machine.tasks[found[1]].attempt != lease.attempt:
            return None
        return found

    def _held(self, session: WorkerSession, lease: Lease) -> tuple[ActiveRun, int] | None:
        found = self._find(session, lease)
        if found is None:
            session.send(LeaseRevoked(lease=lease, reason="the lease is not held any more"))
        return found

    def _renew(self, session: WorkerSession, lease: Lease) -> None:
        held = self._leases.get(lease.task_id)
        if self._held(session, lease) is not None and held is not None:
            held.expires = self._expiry()
            session.held.add(lease.task_id)

    # -- what is heard of attempts --------------------------------------------------------

    def _finish(self, session: WorkerSession, message: AttemptFinished) -> None:
        lease = message.lease
        found = self._find(session, lease)
        if found is None:
            receipt = self._late_receipt(lease)
            # What it confirms may be in a batch that is still being written.
            self._ledger.journal.batch.after.append(partial(session.send, receipt))
            self._ledger.journal.kick()
            return
        active, index = found
        run_machine, now = active.machine, self._clock.now()
        if message.spent:
            self._spend(active, index, message.spent)
        task = run_machine.tasks[index]
        held = self._take_back(task)
        policy = active.policy(task)
        changes: list[Change] = []
        refused = ""
        if isinstance(message.outcome, AttemptSucceeded):
            refused = self._wrong_result(active, task, message.outcome.materialization)
        match message.outcome:
            case AttemptSucceeded() if refused:
                changes = run_machine.started(index, now)
                failure = _invalid_report(session, task, refused)
                changes += run_machine.failed(index, failure, policy, now)
            case AttemptSucceeded(materialization=made):
                changes = run_machine.started(index, now)
                made = self._complete(active, task, made, now)
                changes += run_machine.succeeded(index, made, message.checks, now)
            case Failure(reason=FailureReason.HANDED_BACK, message=why):
                # The worker goes, or is busy, and had not begun: as if it had never been given out.
                changes = run_machine.lost(index, policy, now, reason=why)
            case Failure() as failure:
                changes = run_machine.started(index, now)
                # An attempt whose worker had to go did nothing wrong: nobody is to wait for that.
                is_evicted = failure.reason == FailureReason.EVICTED
                delay = (
                    timedelta(0)
                    if is_evicted
                    else machines.backoff(policy, task.attempt, random.random())
                )
                changes += run_machine.failed(
                    index, failure, policy, now, delay=delay, checks=message.checks
                )
            case AttemptCancelled(reason=reason):
                changes = self._stopped(active, index, held, reason, now)
        self._record(active, changes, now)
        self._recorded[lease.task_id] = lease.token
        if len(self._recorded) > _MOST_RECORDED:
            self._recorded.popitem(last=False)
        receipt = ResultReceipt(lease=lease, accepted=not refused, error=_refusal(refused))
        self._ledger.journal.batch.after.append(lambda: session.send(receipt))
        self._ledger.journal.kick()

    def _wrong_result(self, active: ActiveRun, task: Task, made: Materialization) -> str:
        """Return what is wrong with what an attempt says that it made, if anything is."""
        asset = active.catalog.assets[task.asset_key]
        wrong = reported.wrong_materialization(made, asset, task.partition_key)
        if not wrong and made.materialization_id:
            if made.materialization_id in self._made:
                return "an id that was reported before"
            self._made[made.materialization_id] = None
            if len(self._made) > _MOST_RECORDED:
                self._made.popitem(last=False)
        return wrong

    def _refuse(self, session: WorkerSession, lease: Lease, wrong: str) -> None:
        """End an attempt whose worker reports what cannot be."""
        found = self._find(session, lease)
        if found is None:
            return
        active, index = found
        task = active.machine.tasks[index]
        self._take_back(task)
        now = self._clock.now()
        changes = active.machine.started(index, now)
        failure = _invalid_report(session, task, wrong)
        changes += active.machine.failed(index, failure, active.policy(task), now)
        self._record(active, changes, now)
        revoked = LeaseRevoked(lease=lease, reason=failure.message)
        self._ledger.journal.batch.after.append(partial(session.send, revoked))
        self._ledger.journal.kick()

    def _stopped(
        self, active: ActiveRun, index: int, held: HeldLease | None, reason: str, now: datetime
    ) -> list[Change]:
        """An attempt was ended from outside: by us, or by its worker's own decision."""
        run_machine = active.machine
        policy = active.policy(run_machine.tasks[index])
        if run_machine.run.state is RunState.CANCELLING:
            return run_machine.cancelled(index, reason or run_machine.run.reason, now)
        if held is not None and held.overdrawn:
            return [
                *run_machine.started(index, now),
                *run_machine.failed(index, budgets.failure(held.overdrawn), policy, now),
            ]
        return run_machine.lost(index, policy, now)

    def _late_receipt(self, lease: Lease) -> ResultReceipt:
        known = self._tasks.get(lease.task_id)
        recorded = self._recorded.get(lease.task_id) == lease.token
        if known is not None:
            active, index = known
            task = active.machine.tasks[index]
            recorded |= active.tokens[index] == lease.token and task.state is TaskState.SUCCEEDED
        if recorded:
            # The receipt was lost on the way, not the result.
            return ResultReceipt(lease=lease, accepted=True)
        error = errors.LeaseExpiredError(
            f"the lease {lease.token} of task {lease.task_id} is not held any more; "
            "what it reports now changes nothing",
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

    def _spent(self, session: WorkerSession, message: AttemptSpent) -> None:
        if found := self._held(session, message.lease):
            self._spend(*found, message.spent)

    def _spend(self, active: ActiveRun, index: int, spent: amounts.Amounts) -> None:
        task = active.machine.tasks[index]
        total = amounts.greatest(task.spent, amounts.add(task.spent_before, spent))
        self._record(active, active.machine.spent(index, total), self._clock.now())
        overdrawn = budgets.overdrawn(active.machine.run)
        if overdrawn:
            # Each attempt knew what was left when it began, not what the others spend.
            self.cancel(active, overdrawn, overdrawn=overdrawn)

    def _log(self, session: WorkerSession, message: LogBatch) -> None:
        session.log_batches += 1
        received = session.log_batches
        held = self._leases.get(message.task_id)
        token = held.token if held is not None else 0
        lease = Lease(task_id=message.task_id, attempt=message.attempt, token=token)
        # A result comes after all of its attempt's lines. So those of an attempt that has ended are
        # here already, and are confirmed again; those of an attempt that is lost count no more.
        found = self._find(session, lease)
        if found is not None and (wrong := reported.wrong_lines(message)):
            self._refuse(session, lease, wrong)
            found = None
        batch = self._ledger.journal.batch
        if found is not None:
            run_id = found[0].run_id
            batch.logs.append((run_id, message))
            batch.after.append(partial(self._ledger.signals.announce, (run_id,)))
        batch.after.append(lambda: session.send(LogReceipt(batches=received)))
        self._ledger.journal.kick()

    def _progress(self, session: WorkerSession, message: AttemptProgressed) -> None:
        found = self._held(session, message.lease)
        if found is None:
            return
        if wrong := reported.wrong_progress(message.progress):
            self._refuse(session, message.lease, wrong)
            return
        active, index = found
        task = replace(active.machine.tasks[index], progress=message.progress)
        active.machine.tasks[index] = task
        self._ledger.journal.batch.tasks[active.run_id, index] = (task, active.tokens[index])
        self._ledger.journal.kick()
        news = TaskProgressed(index=index, attempt=task.attempt, progress=message.progress)
        self._ledger.signals.announce_progress(active.run_id, news)

    def _metric(self, session: WorkerSession, message: AttemptMetric) -> None:
        found = self._held(session, message.lease)
        if found is None:
            return
        if wrong := reported.wrong_metric(message.name, message.value):
            self._refuse(session, message.lease, wrong)
            return
        moment = message.reported_at or self._clock.now()
        metric = Metric(
            run_id=found[0].run_id,
            task_id=message.lease.task_id,
            attempt=message.lease.attempt,
            name=message.name,
            value=message.value,
            reported_at=int(moment.timestamp() * 1_000_000),
        )
        self._ledger.journal.batch.metrics.append(metric)
        self._ledger.journal.kick()


def _invalid_report(session: WorkerSession, task: Task, wrong: str) -> Failure:
    _LOG.warning(
        "worker %s reported %s for attempt %d of task %s; the attempt is ended",
        session.worker_id,
        wrong,
        task.attempt,
        task.task_id,
    )
    return Failure(
        category=FailureCategory.INFRASTRUCTURE,
        message=f"worker {session.worker_id} reported {wrong}",
        reason=FailureReason.INVALID_REPORT,
    )


def _refusal(wrong: str) -> errors.ServoError | None:
    if not wrong:
        return None
    return errors.InvalidArgumentError(
        f"the result has {wrong}; the attempt has failed", code="INVALID_REPORT"
    )
