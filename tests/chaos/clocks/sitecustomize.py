"""A clock on the wall that a test can set, for every Python process that has this on its path.

The file that ``CHAOS_CLOCK`` names holds how many seconds it is ahead. What measures durations, the
monotonic clock, goes on undisturbed, as it does when somebody sets the clock of a machine.
"""

from __future__ import annotations

import datetime
import mmap
import os
import struct
import sys
import time
from typing import Any

if "CHAOS_CLOCK" in os.environ:
    with open(os.environ["CHAOS_CLOCK"], "rb") as file:  # noqa: PTH123  # nothing is imported yet
        _memory = mmap.mmap(file.fileno(), 8, access=mmap.ACCESS_READ)
    _time, _time_ns, _datetime = time.time, time.time_ns, datetime.datetime

    def ahead() -> float:
        """Return how many seconds the clock is ahead."""
        found: float = struct.unpack("d", _memory[:8])[0]
        return found

    class Datetime(_datetime):
        """Moments, read from the clock that was set."""

        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(_time() + ahead(), tz)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.utcfromtimestamp(_time() + ahead())

    time.time = lambda: _time() + ahead()
    time.time_ns = lambda: _time_ns() + int(ahead() * 1e9)
    # Arrow takes the type for the one that it was compiled with, and crashes.
    if "servo.worker.runner" not in sys.orig_argv:
        datetime.datetime = Datetime  # type: ignore[misc]  # every module is to see this one
