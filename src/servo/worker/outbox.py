"""What a runner has to say, on its way to the worker.

User code must not wait for the worker: it leaves its messages here, and a thread sends them. Only
the result is sent by the thread that made it, so that nothing is switched for a task that has
nothing to say.
"""

from __future__ import annotations

import socket
import threading
from collections import deque
from dataclasses import replace
from typing import Final

from servo import _wire, errors
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    Lease,
    OpenSessionRequest,
    WorkerMessage,
)
from servo.worker.failures import failure_of
from servo.worker.frames import pack

__all__ = ["Outbox"]

_MAX_LINES: Final = 10_000
"""Lines that may wait; more are counted and dropped until there is room."""


class Outbox:
    """Messages of one runner, sent in order over a connected socket.

    Lines of the log carry the number 0: the worker numbers them.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._lines: deque[LogLine] = deque()
        self._dropped = 0
        self._metrics: deque[AttemptMetric] = deque()
        self._progress: AttemptProgressed | None = None
        self._lease: Lease | None = None
        self._thread: threading.Thread | None = None

    def begin(self, lease: Lease) -> None:
        """Take what follows as said by this attempt."""
        self._lease = lease

    def line(self, line: LogLine) -> None:
        """Send a line of the log, soon."""
        with self._lock:
            if len(self._lines) >= _MAX_LINES:
                self._dropped += 1
                return
            self._lines.append(line)
        self._soon()

    def progress(self, progressed: AttemptProgressed) -> None:
        """Send progress, soon; only the latest counts."""
        self._progress = progressed
        self._soon()

    def metric(self, metric: AttemptMetric) -> None:
        """Send a measurement, soon; those beyond the limit are dropped, oldest first."""
        with self._lock:
            if len(self._metrics) >= _MAX_LINES:
                self._metrics.popleft()
            self._metrics.append(metric)
        self._soon()

    def hello(self, message: WorkerMessage) -> None:
        """Send one message now."""
        self._send([message])

    def finish(self, finished: AttemptFinished) -> None:
        """Send a result, after everything that was said before it."""
        with self._sending:
            messages = self._take()
            if messages:
                self._send(messages)
            # Before the result is out: the next attempt may begin as soon as it is.
            self._lease = None
            try:
                self._send([finished])
            except errors.InvalidArgumentError as exc:
                # Text from user code (metadata, names of columns) may be none that can be sent.
                self._send([replace(finished, outcome=failure_of(exc), checks=())])

    def _soon(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="servo-outbox", daemon=True)
            self._thread.start()
        self._wake.set()

    def _work(self) -> None:
        while True:
            self._wake.wait()
            self._wake.clear()
            with self._sending:
                messages = self._take()
                if messages:
                    self._send(messages)

    def _take(self) -> list[WorkerMessage]:
        messages: list[WorkerMessage] = []
        with self._lock:
            lease = self._lease
            if self._lines and lease is not None:
                if self._dropped:
                    self._lines.append(_gap(self._dropped))
                    self._dropped = 0
                messages.append(
                    LogBatch(task_id=lease.task_id, attempt=lease.attempt, lines=tuple(self._lines))
                )
            self._lines.clear()
            messages += self._metrics
            self._metrics.clear()
            progress, self._progress = self._progress, None
        if progress is not None:
            messages.append(progress)
        return messages

    def _send(self, messages: list[WorkerMessage]) -> None:
        self._channel.sendall(pack(_wire.encode(OpenSessionRequest(messages=tuple(messages)))))


def _gap(dropped: int) -> LogLine:
    return LogLine(
        number=0,
        stream=LogStream.LOG,
        level="WARNING",
        text=f"{dropped} records of the log were dropped: they came faster than they can be sent",
        dropped_after=dropped,
    )
