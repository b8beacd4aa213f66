"""Workers that are played: what they were given, what they execute, and for how long."""

from __future__ import annotations

from dataclasses import dataclass, field

from servo.controlplane.sessions import WorkerSession
from servo.types.ids import WorkerId
from servo.types.sessions import (
    CancelTask,
    Lease,
    LeaseRevoked,
    ResultReceipt,
    ServerMessage,
    TaskDispatch,
)


@dataclass(slots=True)
class PlayedWorker:
    """A worker as far as the control plane can tell.

    Attributes:
        home: Number of the workspace that it works for.
        code_version_id: The version of the code that it announces.
        worker_id: Who it is.
        session: Its connection, if it has one.
        attempts: What it executes, by token.
        begun: When it began them, in seconds of the clock, by token.
        asked_to_end: Tokens of the attempts that it was asked to end.
        receipts: What it was told about results.
        given: What it was given.
    """

    home: int = 0
    code_version_id: str = ""
    worker_id: str = field(default_factory=lambda: str(WorkerId.generate()))
    session: WorkerSession | None = None
    attempts: dict[int, Lease] = field(default_factory=dict)
    begun: dict[int, int] = field(default_factory=dict)
    asked_to_end: set[int] = field(default_factory=set)
    receipts: list[ResultReceipt] = field(default_factory=list)
    given: list[TaskDispatch] = field(default_factory=list)

    def take(self, message: ServerMessage) -> None:
        """Act on a message of the control plane."""
        match message:
            case TaskDispatch(lease=lease):
                self.given.append(message)
                self.attempts[lease.token] = lease
            case CancelTask(lease=lease):
                self.asked_to_end.add(lease.token)
            case LeaseRevoked(lease=lease):
                # It may be one of another workspace, whose tokens are numbered by themselves.
                if self.attempts.get(lease.token) == lease:
                    del self.attempts[lease.token]
            case ResultReceipt():
                self.receipts.append(message)

    def begin(self, lease: Lease, now: int) -> None:
        """Begin an attempt, if it is one of its own: its clock starts."""
        if self.attempts.get(lease.token) == lease:
            self.begun.setdefault(lease.token, now)

    def overdue(self, now: int) -> list[Lease]:
        """Return the attempts that take longer than they were given when they were given out."""
        limits = {
            dispatch.lease.token: dispatch.asset.execution.timeout_seconds
            for dispatch in self.given
            if dispatch.lease.token in self.attempts
        }
        return [
            lease
            for token, lease in self.attempts.items()
            if token in self.begun and now - self.begun[token] >= limits[token]
        ]
