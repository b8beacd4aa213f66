"""The time, as the control plane reads it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class Clock:
    """The clock of the machine; a test may give another one."""

    def now(self) -> datetime:
        """Return the time that is written down; somebody may set it."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return the seconds by which is measured what ends or begins by itself."""
        return time.monotonic()
