"""What a runner has to say, on its way to the worker.

User code leaves its messages here, and a thread sends them. It waits only where it logs faster
than the worker reads, because no line may be lost. The result is sent by the thread that made it,
so that nothing is switched for a task that has nothing to say; so is what was spent, because the
process may be gone a moment later, and the money is.

A child that user code forks has no such thread and takes none of the locks, which may be held for
ever there: its lines go to its standard error, and it reports neither progress nor metrics.
"""

from __future__ import annotations

import contextlib
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Final

from msgspec.structs import replace

from servo import _wire, errors
from servo.types.logs import LogBatch, LogLine
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    Lease,
    OpenSessionRequest,
    WorkerMessage,
)
from servo.worker.failures import failure_of
from servo.worker.frames import pack

__all__ = ["Outbox"]

_MAX_LINES: Final = 10_000
"""Lines that may wait; whoever logs more waits until there is room."""
_MAX_METRICS: Final = 10_000
MAX_RESULT_BYTES: Final = 2 * 1024 * 1024
"""The largest result; the control plane takes messages of twice as much."""
_SURELY_ALLOWED: Final = 32 * 1024
"""A smaller result has fewer parts than are allowed."""
_SPENT_SECONDS: Final = 0.01
"""What is spent sooner than this after the last time may wait for the thread."""


class Outbox:
    """Messages of one runner, sent in order over a connected socket.

    Lines of the log carry the number 0: the worker numbers them.
    """

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._sending = threading.Lock()
        self._wake = threading.Event()
        self._lines: deque[LogLine] = deque()
        self._metrics: deque[AttemptMetric] = deque(maxlen=_MAX_METRICS)
        self._progress: AttemptProgressed | None = None
        self._spent: AttemptSpent | None = None
        self._spent_at = 0.0
        self._process = os.getpid()
        self._lease: Lease | None = None
        self._thread: threading.Thread | None = None

    def begin(self, lease: Lease) -> None:
        """Take what follows as said by this attempt."""
        self._lease = lease

    def line(self, line: LogLine) -> None:
        """Send a line of the log, soon; wait while too many are waiting."""
        if os.getpid() != self._process:
            _print(line)
            return
        with self._room:
            while len(self._lines) >= _MAX_LINES:
                self._soon()
                self._room.wait()
            self._lines.append(line)
        self._soon()

    def progress(self, progressed: AttemptProgressed) -> None:
        """Send progress, soon; only the latest counts."""
        if os.getpid() == self._process:
            self._progress = progressed
            self._soon()

    def metric(self, metric: AttemptMetric) -> None:
        """Send a measurement, soon; those beyond the limit are dropped, oldest first."""
        if os.getpid() == self._process:
            with self._lock:
                self._metrics.append(metric)
            self._soon()

    def spent(self, spent: AttemptSpent) -> None:
        """Send what was spent, at once unless that was just done; only the latest counts.

        Raises:
            RuntimeError: A child that user code forked calls; nobody would learn of it.
        """
        if os.getpid() != self._process:
            raise RuntimeError("ctx.spend must be called in the process of the function")
        with self._lock:
            self._spent = spent
        now = time.monotonic()
        if now - self._spent_at < _SPENT_SECONDS or not self._sending.acquire(blocking=False):
            self._soon()
            return
        try:
            self._spent_at = now
            self._send(self._take())
        finally:
            self._sending.release()

    def hello(self, message: WorkerMessage) -> None:
        """Send one message now."""
        self._send([message])

    def finish(self, finished: AttemptFinished, *, first: Sequence[WorkerMessage] = ()) -> None:
        """Send a result, after everything that was said before it.

        Args:
            finished: The result.
            first: What is said right before it.
        """
        with self._sending:
            messages = self._take()
            if messages:
                self._send(messages)
            # Before the result is out: the next attempt may begin as soon as it is.
            self._lease = None
            try:
                payload = _encoded([*first, finished])
                _check_result(payload)
            except errors.InvalidArgumentError as exc:
                # Text from user code (metadata, names of columns) may be none that can be sent, or
                # be too much.
                payload = _encoded([*first, replace(finished, outcome=failure_of(exc), checks=())])
            self._channel.sendall(pack(payload))

    @property
    def task(self) -> tuple[str, int] | None:
        """The task and the number of the attempt that is running."""
        lease = self._lease
        return None if lease is None else (lease.task_id, lease.attempt)

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
                messages.append(
                    LogBatch(task_id=lease.task_id, attempt=lease.attempt, lines=tuple(self._lines))
                )
            self._lines.clear()
            self._room.notify_all()
            messages += self._metrics
            self._metrics.clear()
            latest = self._spent, self._progress
            self._spent = self._progress = None
        messages += [message for message in latest if message is not None]
        return messages

    def _send(self, messages: list[WorkerMessage]) -> None:
        self._channel.sendall(pack(_encoded(messages)))


def _encoded(messages: list[WorkerMessage]) -> bytes:
    return _wire.encode(OpenSessionRequest(messages=tuple(messages)))


def _check_result(payload: bytes) -> None:
    """Refuse here what the control plane would: there it would end the session of the worker.

    Raises:
        servo.errors.InvalidArgumentError: The result is too large, or has too many parts.
    """
    if len(payload) > MAX_RESULT_BYTES:
        raise errors.InvalidArgumentError(
            f"the result of the attempt takes {len(payload):,} bytes, more than the "
            f"{MAX_RESULT_BYTES:,} that can be reported; report less metadata, fewer columns or "
            "shorter observations of checks",
            code="RESULT_TOO_LARGE",
        )
    if len(payload) > _SURELY_ALLOWED:
        _wire.methods.OPEN_SESSION.decode_request(payload)


def _print(line: LogLine) -> None:
    """Write a line to standard error, in one piece."""
    text = f"{line.level} {line.text}\n"
    try:
        print(text, end="", file=sys.stderr, flush=True)
    except (AttributeError, OSError, ValueError):
        # The child has closed it, or has none; its descriptor may be there all the same.
        with contextlib.suppress(OSError):
            os.write(2, text.encode("utf-8", "backslashreplace"))
