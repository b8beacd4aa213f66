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

__all__ = ["AttemptLogger", "LoggingSetup", "OutboxHandler", "OutboxReporter"]


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
        task = getattr(record, "task_id", None), getattr(record, "attempt", None)
        if None not in task and task != self._outbox.task:
            # From a thread that an earlier attempt left behind, by its `ctx.log`.
            return
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


class AttemptLogger(logging.Logger):
    """The logger behind ``ctx.log``: its records arrive whatever is done to `logging`.

    Its own level and filters count, as do the filters and the formatter of Servo's handler.
    Switches that are meant for other loggers do not: the level and the handlers of the root logger,
    ``disable_existing_loggers``, `logging.disable`.
    """

    outbox_handler: OutboxHandler

    def getEffectiveLevel(self) -> int:  # noqa: N802  # the name is that of `logging`
        """Return its own level; everything counts where none was set."""
        return self.level or logging.DEBUG

    def isEnabledFor(self, level: int) -> bool:  # noqa: N802  # the name is that of `logging`
        """Tell whether a record of this level is sent."""
        return level >= self.getEffectiveLevel()

    def handle(self, record: logging.LogRecord) -> None:
        """Send a record, then give it to the handlers that user code has added."""
        passed: object = self.filter(record)
        if isinstance(passed, logging.LogRecord):  # since Python 3.12 a filter may replace it
            record = passed
        if not passed:
            return
        self.outbox_handler.handle(record)
        logger: logging.Logger | None = self
        while logger is not None:
            for handler in [*logger.handlers]:
                if handler is not self.outbox_handler and record.levelno >= handler.level:
                    handler.handle(record)
            logger = logger.parent if logger.propagate else None


class LoggingSetup:
    """Sends the records of all loggers to the outbox: INFO and above, all of ``ctx.log``.

    Args:
        outbox: Where they go.
    """

    def __init__(self, outbox: Outbox) -> None:
        self._handler = OutboxHandler(outbox)
        # A logger is made once, by the class that is set at that moment.
        usual = logging.getLoggerClass()
        logging.setLoggerClass(AttemptLogger)
        logger = logging.getLogger(LOGGER_NAME)
        logging.setLoggerClass(usual)
        assert isinstance(logger, AttemptLogger)
        logger.outbox_handler = self._handler
        self._logger = logger
        self._enabled: list[logging.Logger] = []
        logging.getLogger().setLevel(logging.INFO)
        self.settle()

    def settle(self) -> None:
        """Put the handler back on the root logger, after modules have set up `logging`.

        What they set up for themselves stays. What they switched off for all loggers that existed
        is switched on again: in a fresh process, those of other modules are not there.
        """
        for logger in self._enabled:
            logger.disabled = False
        root = logging.getLogger()
        if self._handler not in root.handlers:
            root.addHandler(self._handler)
        self._handler.setLevel(logging.NOTSET)
        loggers = logging.Logger.manager.loggerDict
        loggers[LOGGER_NAME] = self._logger
        self._logger.propagate = True
        self._enabled = [
            logger
            for logger in list(loggers.values())
            if isinstance(logger, logging.Logger) and not logger.disabled
        ]
