"""What a function says while it runs: progress, metrics, and records of ``logging``."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from datetime import UTC, datetime

from servo.context import LOGGER_NAME
from servo.types.amounts import Amounts
from servo.types.logs import LogLine, LogStream
from servo.types.records import Progress
from servo.types.sessions import AttemptMetric, AttemptProgressed, AttemptSpent, Lease
from servo.worker.outbox import Outbox
from servo.worker.tracebacks import printable

__all__ = ["OutboxHandler", "OutboxReporter", "install_logging"]


class OutboxReporter:
    """Carries the reports of one attempt to the outbox.

    Args:
        outbox: Where reports go.
        lease: The attempt.
    """

    def __init__(self, outbox: Outbox, lease: Lease) -> None:
        self.lease = lease
        self._outbox = outbox
        self._cancelled = False
        self._callback: Callable[[], None] | None = None
        self._lock = threading.Lock()

    def progress(self, message: str, percentage: float | None) -> None:
        """Report progress."""
        whole = None if percentage is None else int(percentage)
        report = Progress(message=printable(str(message)), percentage=whole)
        self._outbox.progress(AttemptProgressed(lease=self.lease, progress=report))

    def metric(self, name: str, value: float) -> None:
        """Report a measurement."""
        self._outbox.metric(
            AttemptMetric(
                lease=self.lease,
                name=printable(str(name)),
                value=float(value),
                reported_at=datetime.now(UTC),
            )
        )

    def spent(self, total: Amounts) -> None:
        """Report what the attempt has spent."""
        self._outbox.spent(AttemptSpent(lease=self.lease, spent=total))

    def note(self, level: str, text: str) -> None:
        """Write into the attempt's log, one line for each line of the text."""
        now = datetime.now(UTC)
        for line in text.splitlines() or [""]:
            self._outbox.line(
                LogLine(number=0, stream=LogStream.LOG, written_at=now, level=level, text=line)
            )

    def check_cancelled(self) -> bool:
        """Tell whether the attempt was asked to stop."""
        return self._cancelled

    def when_cancelled(self, callback: Callable[[], None] | None) -> None:
        """Call back once the attempt is asked to stop, at once if it was."""
        with self._lock:
            self._callback = callback
            now = self._cancelled and callback is not None
        if now and callback is not None:
            callback()

    def cancel(self) -> None:
        """Ask the attempt to stop; called by the thread that listens to the worker."""
        with self._lock:
            self._cancelled = True
            callback = self._callback
        if callback is not None:
            callback()


class OutboxHandler(logging.Handler):
    """Sends records to the log of the attempt that is running."""

    def __init__(self, outbox: Outbox) -> None:
        super().__init__()
        self._outbox = outbox

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record, one line for each of its lines."""
        try:
            text = self.format(record)
        except Exception:  # a malformed record of the author's must not end the attempt
            self.handleError(record)
            return
        now = datetime.fromtimestamp(record.created, UTC)
        for line in text.splitlines() or [""]:
            self._outbox.line(
                LogLine(
                    number=0,
                    stream=LogStream.LOG,
                    written_at=now,
                    level=record.levelname,
                    text=line,
                )
            )


def install_logging(outbox: Outbox) -> None:
    """Send the records of all loggers to the outbox: INFO and above, all of ``ctx.log``."""
    root = logging.getLogger()
    root.addHandler(OutboxHandler(outbox))
    root.setLevel(logging.INFO)
    logging.getLogger(LOGGER_NAME).setLevel(logging.DEBUG)
