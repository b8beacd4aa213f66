"""Standard output and error of a runner: prompt for a line now and then, cheap for a flood.

Python flushes line by line, or not until a buffer is full. The first makes a million lines slow,
the second keeps the last words of a crash to itself. Here a line is written at once unless one
was written just before; what is held back follows a moment later.

A process that is forked has no thread for what is held back, and mostly ends without flushing: it
writes each line at once.
"""

from __future__ import annotations

import atexit
import contextlib
import io
import os
import sys
import threading
import time
from typing import Final

__all__ = ["BurstWriter", "install_output"]

_BUFFER_BYTES: Final = 64 * 1024
_BURST_SECONDS: Final = 0.005
_DELAY_SECONDS: Final = 0.05


class BurstWriter(io.BufferedWriter):
    """A buffer whose `flush` is postponed when the last one was a moment ago."""

    def __init__(self, raw: io.RawIOBase) -> None:
        super().__init__(raw, buffer_size=_BUFFER_BYTES)
        self._last = 0.0
        self._pending = threading.Event()
        self._thread: threading.Thread | None = None
        self._at_once = False
        # No thread can be started when the interpreter flushes its streams for the last time.
        atexit.register(self._flush_at_once)

    def flush(self) -> None:
        """Write what is buffered, now or very soon."""
        now = time.monotonic()
        if now - self._last > _BURST_SECONDS or self._at_once:
            self._last = now
            super().flush()
        elif not self._pending.is_set():
            self._postpone()

    def flush_now(self) -> None:
        """Write what is buffered."""
        super().flush()

    def renew(self) -> None:
        """Begin anew in a process that was forked, and write each line at once.

        What another thread had buffered belongs to the parent, and the lock that it may have held
        in that moment would never be released here.
        """
        with contextlib.suppress(ValueError):  # user code has detached it
            super().__init__(self.raw, buffer_size=_BUFFER_BYTES)
        self._flush_at_once()

    def _flush_at_once(self) -> None:
        self._at_once = True

    def _postpone(self) -> None:
        self._pending.set()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="servo-output", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        while self._pending.wait():
            time.sleep(_DELAY_SECONDS)
            self._pending.clear()
            try:
                super().flush()
            except (OSError, ValueError):
                return  # user code closed the stream, or nobody reads it any more


_installed: list[tuple[io.TextIOWrapper, BurstWriter]] = []


def _before_fork() -> None:
    # What was printed before comes before what the child prints.
    for text, buffer in _installed:
        with contextlib.suppress(OSError, ValueError):  # user code has closed it
            text.flush()
            buffer.flush_now()


def _after_fork_in_child() -> None:
    for _, buffer in _installed:
        buffer.renew()


def install_output() -> list[tuple[io.TextIOWrapper, BurstWriter]]:
    """Replace ``sys.stdout`` and ``sys.stderr``; return the new ones with their buffers."""
    if not _installed:
        os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
    installed: list[tuple[io.TextIOWrapper, BurstWriter]] = []
    # Assigned by name: type checkers take the originals for constants.
    for name, descriptor in (("stdout", 1), ("stderr", 2)):
        buffer = BurstWriter(io.FileIO(descriptor, "w", closefd=False))
        text = io.TextIOWrapper(
            buffer, encoding="utf-8", errors="backslashreplace", line_buffering=True
        )
        setattr(sys, name, text)
        setattr(sys, f"__{name}__", text)
        installed.append((text, buffer))
    _installed[:] = installed
    return installed
