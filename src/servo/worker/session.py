"""The worker's side of the session with the control plane, without its transport.

A session outlives its connections: what the control plane has not confirmed is said again after a
reconnect. Results are kept until their receipt, lines until their confirmation; everything else
is only worth saying while the connection lasts.

A result is said after the last line of its attempt, in every connection anew. The control plane
commits what it hears in that order, so an attempt never ends before its lines are durable.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain
from typing import Final

from servo.types.logs import LogBatch
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    AttemptStarted,
    AttemptSucceeded,
    CancelTask,
    CreditGrant,
    DispatchReceived,
    Heartbeat,
    Lease,
    LeaseRevoked,
    LogReceipt,
    ResultReceipt,
    ServerMessage,
    ServerWelcome,
    TaskDispatch,
    WorkerDraining,
    WorkerHello,
    WorkerMessage,
)
from servo.worker.log_buffer import LogBuffer
from servo.worker.pool import Pool

__all__ = ["Identity", "Session"]

_log = logging.getLogger("servo.worker")

_MAX_MESSAGES: Final = 1_000
_MAX_BATCH_BYTES: Final = 1_000_000
_MAX_METRICS: Final = 10_000
"""Measurements that may wait for the control plane; the oldest are dropped."""
_ENCODED_LINE_BYTES: Final = 32
"""What a line needs on the wire besides its text; about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Who the worker is; see `WorkerHello`."""

    worker_id: str
    servo_version: str
    code_version_id: str = ""
    slots: int
    capabilities: tuple[str, ...] = ("cancel",)
    host_name: str = ""
    process_id: int = 0


class Session:
    """What is said and heard, whatever carries it.

    Args:
        identity: Who the worker is.
        wake: Called when there is something to send; with true when it should not wait for
            company. A call of the transport costs more than many messages.

    Attributes:
        heartbeat_interval: How often `heartbeat` is to be called.
        pool: Executes the attempts.
        logs: Keeps the lines.
    """

    def __init__(self, identity: Identity, wake: Callable[[bool], None]) -> None:
        # Until the welcome says it: short, because the first lease may be.
        self.heartbeat_interval = timedelta(seconds=0.1)
        self.pool: Pool
        self.logs: LogBuffer
        self._identity = identity
        self._wake = wake
        self._outbox: deque[WorkerMessage] = deque()
        self._metrics: deque[AttemptMetric] = deque(maxlen=_MAX_METRICS)
        # Only the latest counts.
        self._latest: dict[tuple[type, Lease], AttemptProgressed | AttemptSpent] = {}
        self._results: dict[Lease, AttemptFinished] = {}
        # Results whose lines wait for their turn.
        self._held: dict[tuple[str, int], AttemptFinished] = {}
        self._welcome: ServerWelcome | None = None
        self._connected = False
        self._credit = 0
        self._draining = False

    def attach(self, pool: Pool, logs: LogBuffer) -> None:
        """Join the session with what executes attempts and what keeps lines."""
        self.pool = pool
        self.logs = logs
        logs.sent = self._release

    @property
    def is_settled(self) -> bool:
        """Whether the control plane has confirmed everything it should know."""
        return not self._results and self.logs.is_empty and not self.pool.leases

    @property
    def is_connected(self) -> bool:
        """Whether the control plane has welcomed the worker, and the connection lasts."""
        return self._connected

    @property
    def leases(self) -> tuple[Lease, ...]:
        """The leases that the worker answers for: attempts, and results without a receipt."""
        return tuple({*self.pool.leases, *self._results})

    # -- what is heard --------------------------------------------------------------------

    def connect(self) -> WorkerHello:
        """Begin a connection; return what is to be sent first."""
        self._outbox.clear()
        self._metrics.clear()
        self._latest.clear()
        self._held.clear()
        self._credit = 0
        identity = self._identity
        return WorkerHello(
            worker_id=identity.worker_id,
            servo_version=identity.servo_version,
            code_version_id=identity.code_version_id,
            slots=identity.slots,
            capabilities=identity.capabilities,
            leases=self.leases,
            host_name=identity.host_name,
            process_id=identity.process_id,
        )

    def disconnect(self) -> None:
        """End a connection; attempts go on."""
        self._connected = False
        self.logs.disconnect()

    def receive(self, message: ServerMessage) -> None:
        """Take one message of the control plane."""
        if isinstance(message, TaskDispatch):
            self._credit -= 1
            self.post(DispatchReceived(lease=message.lease))
            self.pool.submit(message)
        elif isinstance(message, ResultReceipt):
            self._confirm(message)
        elif isinstance(message, LogReceipt):
            self.logs.confirm(message.batches)
        elif isinstance(message, CancelTask):
            self.pool.cancel(message)
        elif isinstance(message, LeaseRevoked):
            self._revoked(message)
        else:
            self._welcomed(message)

    def _welcomed(self, welcome: ServerWelcome) -> None:
        known = self._welcome
        if known is not None and known.store_id != welcome.store_id:
            # Tokens of another store mean nothing there: nobody waits for these attempts.
            self.pool.revoke_all("the control plane was replaced by another one")
            self._results.clear()
        self._welcome = welcome
        self._connected = True
        self.heartbeat_interval = welcome.heartbeat_interval
        self.pool.welcome(welcome)
        for lease, spent in self.pool.started.items():
            self.post(AttemptStarted(lease=lease))
            if spent:
                self.post(AttemptSpent(lease=lease, spent=spent))
        self.logs.connect()
        for result in self._results.values():
            self.post(result)
        if self._draining:
            self._outbox.append(WorkerDraining())
        self._wake(True)

    def _confirm(self, receipt: ResultReceipt) -> None:
        self._results.pop(receipt.lease, None)
        if not receipt.accepted:
            _log.warning(
                "the result of attempt %d of task %s was refused: %s",
                receipt.lease.attempt, receipt.lease.task_id, receipt.error,
            )  # fmt: skip

    def _revoked(self, revoked: LeaseRevoked) -> None:
        lease = revoked.lease
        if lease in self.leases:
            _log.warning(
                "attempt %d of task %s was taken back, and what it did does not count: %s",
                lease.attempt, lease.task_id, revoked.reason,
            )  # fmt: skip
        self._results.pop(lease, None)
        self._held.pop((lease.task_id, lease.attempt), None)
        for kind in (AttemptProgressed, AttemptSpent):
            self._latest.pop((kind, lease), None)
        self.pool.revoke(revoked)

    # -- what is said ---------------------------------------------------------------------

    def post(self, message: WorkerMessage) -> None:
        """Say something; results are kept until they are confirmed."""
        if isinstance(message, AttemptFinished):
            self._results[message.lease] = message
        if not self._connected:
            return
        if isinstance(message, AttemptMetric):
            self._metrics.append(message)
        elif isinstance(message, AttemptProgressed | AttemptSpent):
            self._latest[type(message), message.lease] = message
        elif not isinstance(message, AttemptFinished):
            self._outbox.append(message)
        elif self.logs.has_sent((message.lease.task_id, message.lease.attempt)):
            self._finish(message)
            return
        else:
            self._held[message.lease.task_id, message.lease.attempt] = message
        # On a worker with nothing else to do somebody waits to see that it has begun.
        self._wake(isinstance(message, AttemptStarted) and not self.pool.has_waiting)

    def _finish(self, finished: AttemptFinished) -> None:
        # What the attempt said last comes first: nobody listens to it once it is over.
        self._outbox.extend(self._metrics)
        self._metrics.clear()
        progress = self._latest.pop((AttemptProgressed, finished.lease), None)
        if progress is not None:
            self._outbox.append(progress)
        # The result says what was spent.
        self._latest.pop((AttemptSpent, finished.lease), None)
        self._outbox.append(finished)
        # While other attempts wait here, no slot falls idle for want of an answer: the result may
        # travel with the next ones.
        self._wake(not self.pool.has_waiting)

    def _release(self, key: tuple[str, int]) -> None:
        """The last line of an attempt was said, and so can be its result."""
        if (finished := self._held.pop(key, None)) is not None:
            self._finish(finished)

    def heartbeat(self) -> None:
        """Say that the worker is alive and what it holds."""
        if self._connected:
            self._outbox.appendleft(Heartbeat(leases=self.leases))
            self._wake(False)

    def drain(self) -> None:
        """Take no further attempts; return those that have not started."""
        if not self._draining:
            self._draining = True
            self.post(WorkerDraining())
            self.pool.hand_back()

    def outgoing(self) -> tuple[WorkerMessage, ...]:
        """Take what is to be sent next, in one piece."""
        messages: list[WorkerMessage] = []
        size = 0
        self._grant()
        if not self._outbox:
            self._outbox.extend(self._metrics)
            self._metrics.clear()
            self._outbox.extend(self._latest.values())
            self._latest.clear()
        while self._outbox and len(messages) < _MAX_MESSAGES and size < _MAX_BATCH_BYTES:
            message = self._outbox.popleft()
            size += _size_of(message)
            messages.append(message)
        return tuple(messages)

    def _grant(self) -> None:
        if not self._connected or self._draining:
            return
        missing = self.pool.wanted - len(self.pool.leases) - self._credit
        if missing > 0:
            self._credit += missing
            self._outbox.append(CreditGrant(attempts=missing))


def _size_of(message: WorkerMessage) -> int:
    """Estimate the bytes of what may be large on the wire; 0 for everything else."""
    if isinstance(message, LogBatch):
        return sum(len(line.text) + _ENCODED_LINE_BYTES for line in message.lines)
    if not isinstance(message, AttemptFinished):
        return 0
    size = sum(
        len(check.message) + sum(map(len, chain.from_iterable(check.observed.items())))
        for check in message.checks
    )
    if isinstance(message.outcome, AttemptSucceeded):
        made = message.outcome.materialization
        if made.columns or made.metadata:
            size += sum(len(column.name) + len(column.type) + 8 for column in made.columns)
            size += sum(map(len, chain.from_iterable(made.metadata.items())))
    return size
