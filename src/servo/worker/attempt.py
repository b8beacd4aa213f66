"""One attempt as the worker sees it: its dispatch, its log, and how it is being ended."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from enum import StrEnum

from servo.types.amounts import Amounts
from servo.types.logs import LogBatch, LogStream
from servo.types.reasons import FailureReason
from servo.types.records import Failure
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptSucceeded,
    Lease,
    TaskDispatch,
)
from servo.worker.lines import StreamLines
from servo.worker.log_buffer import LogBuffer

__all__ = ["Attempt", "Verdict"]


class Verdict(StrEnum):
    """Why the worker ends an attempt that would go on."""

    CANCELLED = "cancelled"
    REVOKED = "revoked"
    TIMED_OUT = "timed_out"
    EVICTED = "evicted"


class Attempt:
    """An attempt that the worker holds a lease for.

    Args:
        dispatch: What to do.
        logs: Where its lines go.

    Attributes:
        dispatch: What to do.
        over: Resolved with the result, or with ``None`` when the process is gone.
        verdict: Why it is being ended, if it is.
        reason: The same for people.
        started: Whether a process has been given it.
        refusals: How many processes have refused it because their code is not what was deployed.
        got_fresh_process: Whether a process was replaced for it.
        spent: What it has spent, as far as its process said so.
        timers: What is to happen to it at a later time.
    """

    def __init__(self, dispatch: TaskDispatch, logs: LogBuffer) -> None:
        self.dispatch = dispatch
        self.over: asyncio.Future[AttemptFinished | None] | None = None
        self.verdict: Verdict | None = None
        self.reason = ""
        self.started = False
        self.refusals = 0
        self.got_fresh_process = False
        self.spent: Amounts = {}
        self.timers: list[asyncio.TimerHandle] = []
        self._has_said_full = False
        self._logs = logs
        self._batch = logs.open(dispatch.lease.task_id, dispatch.lease.attempt)
        self.streams = {stream: StreamLines(stream, self._batch) for stream in LogStream}

    @property
    def lease(self) -> Lease:
        """The lease under which it runs."""
        return self.dispatch.lease

    def printed(self, stream: LogStream, data: bytes) -> None:
        """Take what its process wrote."""
        self.streams[stream].feed(data)
        self._say_when_full()

    def take_log(self, batch: LogBatch) -> None:
        """Take lines that its process sent."""
        stream = self.streams[LogStream.LOG]
        for line in batch.lines:
            stream.line(
                line.text,
                level=line.level,
                written_at=line.written_at,
                dropped_after=line.dropped_after,
            )
        self._say_when_full()

    def _say_when_full(self) -> None:
        if self._batch.is_full and not self._has_said_full:
            self._has_said_full = True
            self.note("WARNING", "the log is full: what follows is counted, not kept")

    def note(self, level: str, text: str) -> None:
        """Write Servo's own line into its log."""
        self.streams[LogStream.LOG].line(text, level=level)

    def settle(self, finished: AttemptFinished | None) -> None:
        """Resolve `over`, once."""
        if finished is not None:
            self.spent = finished.spent
        if self.over is not None and not self.over.done():
            self.over.set_result(finished)

    def stop_timers(self) -> None:
        """Forget what was to happen to it."""
        for timer in self.timers:
            timer.cancel()
        self.timers.clear()

    def close(self) -> None:
        """Hand on the last lines and forget the timers."""
        self.stop_timers()
        for stream in self.streams.values():
            stream.close()
        self._logs.close(self._batch)

    def finished(self, outcome: AttemptSucceeded | Failure | AttemptCancelled) -> AttemptFinished:
        """Make a result that the worker itself decides on."""
        return AttemptFinished(
            lease=self.lease, outcome=outcome, finished_at=datetime.now(UTC), spent=self.spent
        )

    def failed(
        self, category: FailureCategory, message: str, reason: FailureReason
    ) -> AttemptFinished:
        """Make a failure that the worker itself decides on, and note it in the log."""
        self.note("ERROR", message)
        return self.finished(Failure(category=category, message=message, reason=reason))
