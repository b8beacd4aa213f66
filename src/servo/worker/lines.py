"""Cutting what a process prints into numbered lines.

Sans I/O: bytes go in, lines come out at a `LineSink`. When the sink is full, lines are counted
instead of kept, and the last kept line of the stream says how many are missing after it.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final, Protocol

from msgspec.structs import replace

from servo.types.logs import LogLine, LogStream

__all__ = ["MAX_LINE_BYTES", "LineSink", "StreamLines"]

MAX_LINE_BYTES: Final = 32 * 1024
"""Longer lines are cut to this, and marked."""

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
    """

    def __init__(self, stream: LogStream, sink: LineSink) -> None:
        self._stream = stream
        self._sink = sink
        self._number = 0
        self._partial = b""
        self._skipping = False
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
        self._emit(text, False, written_at or datetime.now(UTC), level, dropped_after)

    def close(self) -> None:
        """End the stream: a line without a break counts, and a gap is recorded."""
        if self._partial:
            self._end_line()
        self._release()

    def _extend(self, data: bytes) -> None:
        if self._skipping or not data:
            return
        self._partial += data[: MAX_LINE_BYTES + 1 - len(self._partial)]
        self._skipping = len(self._partial) > MAX_LINE_BYTES

    def _end_line(self) -> None:
        line, self._partial = self._partial, b""
        cut, self._skipping = self._skipping, False
        self._emit(line[:MAX_LINE_BYTES].decode("utf-8", "replace"), cut, datetime.now(UTC))

    def _whole_lines(self, data: bytes) -> None:
        sink, stream = self._sink, self._stream
        if not sink.has_room(stream):
            if self._held is None:
                first, line_break, data = data.partition(b"\n")
                self._emit(first.decode("utf-8", "replace"), False, datetime.now(UTC))
                if not line_break:
                    return
            # The fast way through a flood: nothing is decoded.
            dropped = data.count(b"\n") + 1
            self._number += dropped
            self._missing += dropped
            return
        self._release()
        now = datetime.now(UTC)
        lines = []
        texts = data.decode("utf-8", "replace").split("\n")
        for number, raw in enumerate(texts, self._number + 1):
            text, cut = (raw, False) if len(raw) <= _SURELY_SHORT else _shorten(raw)
            lines.append(
                LogLine(
                    number=number,
                    stream=stream,
                    written_at=now,
                    text=text.removesuffix("\r"),
                    truncated=cut,
                )
            )
        self._number += len(lines)
        sink.add(lines, len(data))

    def _emit(
        self, raw: str, cut: bool, now: datetime, level: str = "", dropped_after: int = 0
    ) -> None:
        self._number += 1
        room = self._sink.has_room(self._stream)
        if self._held is not None and not room:
            self._missing += 1
        else:
            self._release()
            text, shortened = _shorten(raw)
            self._held = LogLine(
                number=self._number,
                stream=self._stream,
                written_at=now,
                level=level,
                text=text.removesuffix("\r"),
                truncated=cut or shortened,
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


def _shorten(text: str) -> tuple[str, bool]:
    if len(text) <= _SURELY_SHORT:
        return text, False
    data = text.encode("utf-8", "replace")
    if len(data) <= MAX_LINE_BYTES:
        return text, False
    return data[:MAX_LINE_BYTES].decode("utf-8", "ignore"), True
