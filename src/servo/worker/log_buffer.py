"""The lines that wait for the control plane: batched, bounded, kept until they are durable."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from servo.types.logs import LogBatch, LogLine, LogStream

__all__ = ["LogBuffer", "OpenBatch"]

BATCH_BYTES: Final = 256 * 1024
"""A batch that has grown to this is sent at once."""
MAX_BYTES: Final = 288 * 1024 * 1024
"""Memory, by estimate, that lines may take which are not durable yet, unless somebody says
otherwise: enough for a million short ones."""
_RESERVED: Final = 4 * 1024 * 1024
"""Part of it that only `ctx.log` and Servo's notes may use: a flood must not hide a traceback."""
_LINE_COST: Final = 200
"""What a line costs in memory besides its text, bytes."""


@dataclass(slots=True)
class OpenBatch:
    """The lines of one attempt that are not in a batch yet."""

    task_id: str
    attempt: int
    buffer: LogBuffer
    lines: list[LogLine] = field(default_factory=list)
    size: int = 0

    def has_room(self, stream: LogStream) -> bool:
        """Tell whether another line of the stream would be kept."""
        return self.buffer.has_room(stream)

    def add(self, lines: list[LogLine], size: int) -> None:
        """Keep lines; a full batch is handed on."""
        cost = size + _LINE_COST * len(lines)
        self.size += cost
        self.buffer.taken(cost)
        self.lines += lines
        if self.size >= BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Hand on what there is."""
        if self.lines:
            batch = LogBatch(task_id=self.task_id, attempt=self.attempt, lines=tuple(self.lines))
            self.lines = []
            size, self.size = self.size, 0
            self.buffer.hand_on(batch, size)


class LogBuffer:
    """Batches in the order in which they are sent, until the control plane has them.

    Args:
        send: Called with each batch when it is complete.
        pending: Called when an empty buffer gets its first line, to have `flush` called soon.
        max_bytes: Memory, by estimate, that lines may take; more are counted, not kept.
    """

    def __init__(
        self,
        send: Callable[[LogBatch], None],
        pending: Callable[[], None],
        *,
        max_bytes: int = MAX_BYTES,
    ) -> None:
        self._max_bytes = max_bytes
        self._send = send
        self._pending = pending
        self._used = 0
        self._unconfirmed: deque[tuple[LogBatch, int]] = deque()
        self._open: dict[tuple[str, int], OpenBatch] = {}
        self._confirmed = 0
        self._announced = False

    def open(self, task_id: str, attempt: int) -> OpenBatch:
        """Begin collecting the lines of an attempt."""
        batch = OpenBatch(task_id, attempt, self)
        self._open[task_id, attempt] = batch
        return batch

    def close(self, batch: OpenBatch) -> None:
        """Hand on the last lines of an attempt."""
        batch.flush()
        self._open.pop((batch.task_id, batch.attempt), None)

    def flush(self) -> None:
        """Hand on what every attempt has."""
        self._announced = False
        for batch in self._open.values():
            batch.flush()

    def confirm(self, batches: int) -> None:
        """Forget batches that are durable.

        Args:
            batches: How many of those sent since `resend`, in all.
        """
        while self._confirmed < batches and self._unconfirmed:
            _, size = self._unconfirmed.popleft()
            self._used -= size
            self._confirmed += 1

    def resend(self) -> list[LogBatch]:
        """Begin counting anew, for a new session, and return what must be sent again."""
        self._confirmed = 0
        return [batch for batch, _ in self._unconfirmed]

    @property
    def is_empty(self) -> bool:
        """Whether everything that was written is durable."""
        return not self._used

    def has_room(self, stream: LogStream) -> bool:
        """Tell whether another line of the stream would be kept."""
        limit = self._max_bytes - (0 if stream is LogStream.LOG else _RESERVED)
        return self._used < limit

    def taken(self, cost: int) -> None:
        """Count memory that a line takes."""
        self._used += cost
        if not self._announced:
            self._announced = True
            self._pending()

    def hand_on(self, batch: LogBatch, size: int) -> None:
        """Send a batch and keep it until it is confirmed."""
        self._unconfirmed.append((batch, size))
        self._send(batch)
