"""The attempts that wait for a slot: for any, or for one of them."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque

from servo.worker.attempt import Attempt

__all__ = ["AttemptQueue"]


class AttemptQueue:
    """Hands attempts to the slots in the order in which they came; slots are known by a number."""

    def __init__(self) -> None:
        self._shared: deque[Attempt] = deque()
        self._own: defaultdict[int, deque[Attempt]] = defaultdict(deque)
        # Slots that wait, the one that waits longest first.
        self._getters: dict[int, asyncio.Future[None]] = {}

    def __bool__(self) -> bool:
        """Whether an attempt waits that any slot may take."""
        return bool(self._shared)

    def put(self, attempt: Attempt) -> None:
        """Give an attempt to the slot that is free first."""
        self._shared.append(attempt)
        self._wake_first()

    def put_for(self, slot: int, attempt: Attempt) -> None:
        """Give an attempt to one slot; it comes before those for any slot."""
        self._own[slot].append(attempt)
        self._wake(slot)

    def wake_all(self) -> None:
        """Have `get` return to every slot that waits."""
        for slot in self._getters:
            self._wake(slot)

    async def get(self, slot: int) -> Attempt | None:
        """Return the next attempt of a slot; ``None`` when it was woken and there is none."""
        found = self._take(slot)
        if found is None:
            getter = self._getters[slot] = asyncio.get_running_loop().create_future()
            try:
                await getter
            finally:
                del self._getters[slot]
            found = self._take(slot)
        return found

    def _take(self, slot: int) -> Attempt | None:
        if own := self._own[slot]:
            if self._shared:
                # This slot may have been woken for an attempt that another one can take.
                self._wake_first()
            return own.popleft()
        return self._shared.popleft() if self._shared else None

    def _wake_first(self) -> None:
        for getter in self._getters.values():
            if not getter.done():
                getter.set_result(None)
                break

    def _wake(self, slot: int) -> None:
        getter = self._getters.get(slot)
        if getter is not None and not getter.done():
            getter.set_result(None)
