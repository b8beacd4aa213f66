"""The lines that wait for the control plane: batched, bounded, kept until they are durable.

Only as much is on its way as a window holds, and attempts take turns in it: a control plane that is
slow, or an attempt that floods, delays the lines of the attempt that writes so much, and nothing
else. A result is sent when the last line of its attempt is (`LogBuffer.has_sent`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from servo.types.logs import LogBatch, LogLine, LogStream

__all__ = ["ATTEMPT_BYTES", "LogBuffer", "OpenBatch"]

BATCH_BYTES: Final = 128 * 1024
"""A batch that has grown to this is handed on at once."""
WINDOW_BYTES: Final = 2 * BATCH_BYTES
"""What may be on its way without a confirmation; the control plane works on it in one piece."""
ATTEMPT_BYTES: Final = 64 * 1024 * 1024
"""What the log of an attempt holds, unless somebody says otherwise: its text, and 32 bytes for
each line; enough for a million short ones."""
MAX_BYTES: Final = 288 * 1024 * 1024
"""Memory, by estimate, that the lines of all attempts may take which are not durable yet, unless
somebody says otherwise."""
_RESERVED: Final = 4 * 1024 * 1024
"""Part of it that only `ctx.log` and Servo's notes may use: a flood must not hide a traceback."""
_LINE_COST: Final = 200
"""What a line costs in memory besides its text, bytes."""
_LINE_BYTES: Final = 32
"""What it counts for in the log besides its text, bytes."""

Key = tuple[str, int]
"""A task and the number of its attempt."""


@dataclass(slots=True)
class OpenBatch:
    """The lines of one attempt that are not in a batch yet."""

    task_id: str
    attempt: int
    buffer: LogBuffer
    lines: list[LogLine] = field(default_factory=list)
    size: int = 0
    kept: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the log of the attempt holds as much as it may."""
        return self.kept >= self.buffer.attempt_bytes

    def has_room(self, stream: LogStream) -> bool:
        """Tell whether another line of the stream would be kept."""
        more = _RESERVED if stream is LogStream.LOG else 0
        return self.kept < self.buffer.attempt_bytes + more and self.buffer.has_room(stream)

    def add(self, lines: list[LogLine], size: int) -> None:
        """Keep lines; a full batch is handed on."""
        self.kept += size + _LINE_BYTES * len(lines)
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
    """Batches on their way, until the control plane has them.

    Args:
        send: Called with each batch when it is its turn.
        pending: Called when an empty buffer gets its first line, to have `flush` called soon.
        max_bytes: Memory, by estimate, that lines may take; more are counted, not kept.
        attempt_bytes: What the log of one attempt holds; more lines are counted, not kept.

    Attributes:
        attempt_bytes: What the log of one attempt holds.
        sent: Called with task and attempt when the last of its batches that waited was sent.
    """

    def __init__(
        self,
        send: Callable[[LogBatch], None],
        pending: Callable[[], None],
        *,
        max_bytes: int = MAX_BYTES,
        attempt_bytes: int = ATTEMPT_BYTES,
    ) -> None:
        self.attempt_bytes = attempt_bytes
        self.sent: Callable[[Key], None] = lambda key: None
        self._max_bytes = max_bytes
        self._send = send
        self._pending = pending
        self._used = 0
        self._open: dict[Key, OpenBatch] = {}
        # In the order of their turns: whoever had one goes to the end.
        self._waiting: dict[Key, deque[tuple[LogBatch, int]]] = {}
        self._unconfirmed: deque[tuple[LogBatch, int]] = deque()
        self._on_their_way = 0
        self._confirmed = 0
        self._connected = False
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

    def has_sent(self, key: Key) -> bool:
        """Tell whether every batch of an attempt that was handed on was sent in this session."""
        return key not in self._waiting

    def confirm(self, batches: int) -> None:
        """Forget batches that are durable, and send what waited for that.

        Args:
            batches: How many of those sent since `connect`, in all.
        """
        while self._confirmed < batches and self._unconfirmed:
            _, size = self._unconfirmed.popleft()
            self._used -= size
            self._on_their_way -= size
            self._confirmed += 1
        self._fill_window()

    def connect(self) -> None:
        """Begin a session: what was sent in the last one and not confirmed is sent again."""
        again: dict[Key, deque[tuple[LogBatch, int]]] = {}
        for batch, size in self._unconfirmed:
            again.setdefault((batch.task_id, batch.attempt), deque()).append((batch, size))
        for key, batches in again.items():
            self._waiting[key] = batches + self._waiting.get(key, deque())
        self._unconfirmed.clear()
        self._confirmed = self._on_their_way = 0
        self._connected = True
        self._fill_window()

    def disconnect(self) -> None:
        """End a session; lines are kept for the next one."""
        self._connected = False

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
        """Send a batch when it is its turn, and keep it until it is confirmed."""
        self._waiting.setdefault((batch.task_id, batch.attempt), deque()).append((batch, size))
        self._fill_window()

    def _fill_window(self) -> None:
        while self._connected and self._waiting and self._on_their_way < WINDOW_BYTES:
            key = next(iter(self._waiting))
            batches = self._waiting.pop(key)
            batch, size = batches.popleft()
            self._unconfirmed.append((batch, size))
            self._on_their_way += size
            self._send(batch)
            if batches:
                self._waiting[key] = batches
            else:
                self.sent(key)
