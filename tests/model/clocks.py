"""Time that passes when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from servo.controlplane.clock import Clock

_BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
_SINCE_BOOT = 1_000.0


class PlayedClock(Clock):
    """A clock that stands still until it is moved.

    Attributes:
        seconds: How much time has passed.
    """

    def __init__(self) -> None:
        self.seconds = 0
        self._booted = 0

    def boot(self) -> None:
        """Begin to measure anew, as another process does, or another machine."""
        self._booted = self.seconds

    def now(self) -> datetime:
        """Return the time that is written down."""
        return _BEGIN + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        """Return the seconds by which is measured what ends or begins by itself."""
        return _SINCE_BOOT + self.seconds - self._booted
