"""The circuit breaker: a target that keeps failing is left alone for a while.

Closed, calls go through. Five failures within ten seconds open it: for a minute nothing is sent.
Then at most three calls probe the target: three successes close it, one failure opens it again.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from typing import Final

FAILURES: Final = 5
WINDOW_SECONDS: Final = 10.0
OPEN_SECONDS: Final = 60.0
PROBES: Final = 3

Clock = Callable[[], float]


class State(StrEnum):
    """What a breaker does with calls."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Breaker:
    """Counts the failures of one target; may be used by several threads.

    Every call asks `admit` and tells `report` how it went.

    Args:
        clock: Seconds, monotonic.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._state = State.CLOSED
        self._failures: deque[float] = deque(maxlen=FAILURES)
        self._opened_at = 0.0
        self._probing = 0
        self._successes = 0
        # What was admitted in another era says nothing about this one.
        self._era = 0
        self._lock = threading.Lock()

    @property
    def state(self) -> State:
        """What it does with calls; an open one probes when its time has passed."""
        with self._lock:
            self._look_at_the_clock()
            return self._state

    def admit(self) -> int | None:
        """Return what to `report` with, or ``None`` if nothing must be sent now."""
        # The usual case needs no lock: a call that slips through while it opens does no harm.
        if self._state is State.CLOSED:
            return self._era
        with self._lock:
            self._look_at_the_clock()
            if self._state is State.OPEN:
                return None
            if self._state is State.PROBING:
                if self._probing + self._successes >= PROBES:
                    return None
                self._probing += 1
            return self._era

    def report(self, permit: int, *, failed: bool | None) -> None:
        """Say how an admitted call went.

        Args:
            permit: What `admit` returned.
            failed: Whether the target could not be reached or did not answer; ``None`` if that
                is not known, because the caller gave up.
        """
        if self._state is State.CLOSED and not failed:
            return
        with self._lock:
            if permit != self._era:
                return
            if self._state is State.PROBING:
                self._probing -= 1
            if failed:
                self._count_failure()
            elif failed is False and self._state is State.PROBING:
                self._successes += 1
                if self._successes >= PROBES:
                    self._enter(State.CLOSED)

    def seconds_left(self) -> float:
        """Return how long nothing is sent; 0 if something may be."""
        with self._lock:
            self._look_at_the_clock()
            if self._state is not State.OPEN:
                return 0.0
            return max(self._opened_at + OPEN_SECONDS - self._clock(), 0.0)

    def _count_failure(self) -> None:
        now = self._clock()
        if self._state is State.CLOSED:
            self._failures.append(now)
            if len(self._failures) < FAILURES or now - self._failures[0] > WINDOW_SECONDS:
                return
        self._opened_at = now
        self._enter(State.OPEN)

    def _look_at_the_clock(self) -> None:
        if self._state is State.OPEN and self._clock() >= self._opened_at + OPEN_SECONDS:
            self._enter(State.PROBING)

    def _enter(self, state: State) -> None:
        self._state = state
        self._era += 1
        self._probing = self._successes = 0
        self._failures.clear()

    def forget_lock(self) -> None:
        """Take a new lock, in a forked child."""
        self._lock = threading.Lock()


class _Registry:
    """The breakers of a process, each for as long as somebody holds it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.breakers: weakref.WeakValueDictionary[tuple[str, Clock], Breaker] = (
            weakref.WeakValueDictionary()
        )

    def after_fork(self) -> None:
        """Forget the locks: a thread of the parent that held one does not exist here."""
        self.lock = threading.Lock()
        for breaker in list(self.breakers.values()):
            breaker.forget_lock()


_registry = _Registry()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_registry.after_fork)


def breaker_for(target: str, clock: Clock = time.monotonic) -> Breaker:
    """Return the breaker that all clients of a target share for as long as there is one.

    Args:
        target: Scheme, host and port.
        clock: Seconds, monotonic; clients with different clocks share nothing.
    """
    with _registry.lock:
        found = _registry.breakers.get((target, clock))
        if found is None:
            found = _registry.breakers[target, clock] = Breaker(clock)
        return found
