"""The newest events of a history, in memory: who follows it need not read the store each time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from servo.types.events import Event

__all__ = ["Tail"]

_KEPT: Final = 2_000


class Tail:
    """The newest events of one workspace that are durable, without a gap.

    Args:
        kept: How many are kept at least, once there are so many; twice as many at most.

    Attributes:
        newest: The sequence number of the newest durable event, kept here or not.
    """

    def __init__(self, kept: int = _KEPT) -> None:
        self.newest = 0
        self._kept = kept
        self._events: list[Event] = []

    def extend(self, events: Iterable[Event]) -> None:
        """Add the events that follow the newest one."""
        self._events.extend(events)
        self.newest = self._events[-1].sequence
        if len(self._events) >= 2 * self._kept:
            del self._events[: -self._kept]

    def pass_over(self, newest: int) -> None:
        """Take note that the history has grown, without keeping anything."""
        self._events.clear()
        self.newest = newest

    def after(self, sequence: int, limit: int) -> Sequence[Event] | None:
        """Return the first events after one, in order, or `None` when not all are kept here."""
        first = self.newest - len(self._events) + 1
        if not first <= sequence + 1 <= self.newest + 1:
            return None
        start = sequence + 1 - first
        return self._events[start : start + limit]
