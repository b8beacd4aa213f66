"""Cutting what a process prints into numbered lines.

Sans I/O: bytes go in, lines come out at a `LineSink`. When the sink is full, lines are counted
instead of kept, and the last kept line of the stream says how many are missing after it.

A carriage return begins a line anew, as progress bars do: of what it overwrites nothing is kept but
a state now and then, so that a bar is seen to move. One before a line break belongs to the break.
"""

from __future__ import annotations

import codecs
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, Protocol

from msgspec.structs import replace

from servo.types.logs import LogLine, LogStream

__all__ = ["MAX_LINE_BYTES", "STATE_SECONDS", "LineSink", "StreamLines"]

MAX_LINE_BYTES: Final = 32 * 1024
"""Longer lines are cut to this, and marked."""

STATE_SECONDS: Final = 5.0
"""How often a state that is overwritten is kept as a line of its own."""

_SURELY_SHORT: Final = MAX_LINE_BYTES // 4
"""Characters of a line that cannot be too long, however it is encoded."""


class LineSink(Protocol):
    """Takes lines for as long as it has room."""

    def has_room(self, stream: LogStream) -> bool:
        """Tell whether another line of the stream would be kept."""
        ...

    def add(self, lines: list[LogLine], size: int) -> None:
        """Keep lines, whose texts have about this size in bytes together."""
        ...


class StreamLines:
    """The lines of one stream of one attempt, numbered from 1.

    Args:
        stream: The stream.
        sink: Where the lines go.
        clock: Seconds that only grow.
    """

    def __init__(
        self, stream: LogStream, sink: LineSink, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._stream = stream
        self._sink = sink
        self._number = 0
        self._partial = b""
        self._skipping = False
        # Whether a carriage return is the last that came.
        self._returned = False
        # When a state of this line was kept last, or would have been.
        self._state_at: float | None = None
        self._clock = clock
        self._held: LogLine | None = None
        self._missing = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream, in pieces of any size."""
        head, line_break, tail = data.rpartition(b"\n")
        if not line_break:
            self._extend(data)
            return
        first, line_break, rest = head.partition(b"\n")
        self._extend(first)
        self._end_line()
        if line_break:
            self._whole_lines(rest)
        self._extend(tail)

    def line(
        self,
        text: str,
        *,
        level: str = "",
        written_at: datetime | None = None,
        dropped_after: int = 0,
    ) -> None:
        """Take a line that is whole already, as a logger makes it.

        Args:
            text: The line.
            level: Its level.
            written_at: When it was written; now when left out.
            dropped_after: How many lines its writer has dropped after it.
        """
        kept, cut = _shorten(text.removesuffix("\r"))
        self._emit(kept, cut, written_at or datetime.now(UTC), level, dropped_after)

    def close(self) -> None:
        """End the stream: a line without a break counts, and a gap is recorded."""
        if self._partial:
            self._end_line()
        self._release()

    def _extend(self, data: bytes) -> None:
        text = data.rstrip(b"\r")
        if text:
            if self._returned:
                text = b"\r" + text
            earlier, overwrites, text = text.rpartition(b"\r")
            if overwrites:
                self._overwrite(earlier)
            self._append(text)
            self._returned = False
        if data.endswith(b"\r"):
            self._returned = True

    def _append(self, text: bytes) -> None:
        if not self._skipping:
            self._partial += text[: MAX_LINE_BYTES + 1 - len(self._partial)]
            self._skipping = len(self._partial) > MAX_LINE_BYTES

    def _overwrite(self, earlier: bytes) -> None:
        """Begin the line anew, after the text that came before its last carriage return."""
        now = self._clock()
        if self._state_at is None:
            self._state_at = now
        elif now - self._state_at >= STATE_SECONDS:
            _, overwritten, state = earlier.rstrip(b"\r").rpartition(b"\r")
            if overwritten:
                self._partial, self._skipping = b"", False
            self._append(state)
            # A bar that is wiped away is overwritten with blanks.
            if self._partial.strip():
                self._state_at = now
                self._emit(*_text(self._partial), datetime.now(UTC))
        self._partial, self._skipping = b"", False

    def _end_line(self) -> None:
        line, self._partial = self._partial, b""
        self._skipping = self._returned = False
        self._state_at = None
        self._emit(*_text(line), datetime.now(UTC))

    def _whole_lines(self, data: bytes) -> None:
        sink, stream = self._sink, self._stream
        if not sink.has_room(stream):
            if self._held is None:
                first, line_break, data = data.partition(b"\n")
                self._emit(*_text(_last_state(first)), datetime.now(UTC))
                if not line_break:
                    return
            # The fast way through a flood: nothing is decoded.
            dropped = data.count(b"\n") + 1
            self._number += dropped
            self._missing += dropped
            return
        self._release()
        if b"\r" in data:
            data = b"\n".join([_last_state(line) for line in data.split(b"\n")])
        now = datetime.now(UTC)
        lines = []
        raw: list[bytes] = []
        for number, decoded in enumerate(data.decode("utf-8", "replace").split("\n")):
            text, cut = decoded, False
            if len(text) > _SURELY_SHORT:
                raw = raw or data.split(b"\n")
                text, cut = _text(raw[number])
            lines.append(
                LogLine(
                    number=self._number + number + 1,
                    stream=stream,
                    written_at=now,
                    text=text,
                    truncated=cut,
                )
            )
        self._number += len(lines)
        sink.add(lines, len(data))

    def _emit(
        self, text: str, cut: bool, now: datetime, level: str = "", dropped_after: int = 0
    ) -> None:
        self._number += 1
        room = self._sink.has_room(self._stream)
        if self._held is not None and not room:
            self._missing += 1
        else:
            self._release()
            self._held = LogLine(
                number=self._number,
                stream=self._stream,
                written_at=now,
                level=level,
                text=text,
                truncated=cut,
            )
        self._number += dropped_after
        self._missing += dropped_after
        if room:
            self._release()
        # Otherwise it is held back until it is known how many are missing after it.

    def _release(self) -> None:
        held, self._held = self._held, None
        missing, self._missing = self._missing, 0
        if held is not None:
            line = replace(held, dropped_after=missing) if missing else held
            self._sink.add([line], len(line.text))


def _last_state(line: bytes) -> bytes:
    """Return what a terminal would show of a line: the text after its last carriage return."""
    return line.rstrip(b"\r").rpartition(b"\r")[2]


def _text(line: bytes) -> tuple[str, bool]:
    """Decode a line that may be too long; return its text and whether it was cut."""
    cut = len(line) > MAX_LINE_BYTES
    # A character that the limit divides is left out; a damaged one at a true end is replaced.
    text, _ = codecs.utf_8_decode(line[:MAX_LINE_BYTES], "replace", not cut)
    # What stands for damaged bytes is longer than they are.
    text, shortened = _shorten(text)
    return text, cut or shortened


def _shorten(text: str) -> tuple[str, bool]:
    if len(text) <= _SURELY_SHORT:
        return text, False
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_LINE_BYTES:
        return text, False
    return data[:MAX_LINE_BYTES].decode("utf-8", "ignore"), True
