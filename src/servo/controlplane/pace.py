"""How slow somebody who watches may be.

What is to be seen is looked up page by page, and the next page only when the last one was taken: in
the few newest events that all watchers share in memory, or else in the store. So a slow watcher
costs a page of memory and nothing else, however far behind it is; but it is told, since what it
shows is not what happens. Two things are too slow: taking nothing at all for long, and having seen
the present once and then staying behind it for long. Somebody who reads a long history for the
first time does neither, however long that takes.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from servo import errors
from servo.types.requests import WatchEventsResponse, WatchRunResponse


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchLimits:
    """How slow somebody who watches may be.

    Attributes:
        idle: Seconds after which events that were sent must have been taken.
        behind: Seconds for which somebody who had seen the present may be behind it.
    """

    idle: float = 300.0
    behind: float = 600.0


class WatcherTooSlowError(errors.DeadlineError):
    """Somebody who watches does not keep up; the context says where to go on."""

    default_code = "WATCHER_TOO_SLOW"
    rule = errors.DeadlineError.rule._replace(grpc_code="RESOURCE_EXHAUSTED", http_status=429)


class Pace:
    """How one watcher keeps up.

    Args:
        limits: How slow it may be.
        clock: Seconds, monotonic.
    """

    def __init__(self, limits: WatchLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits = limits
        self._clock = clock
        self._saw_present: float | None = None

    def up_to_date(self) -> None:
        """There was nothing more to send."""
        self._saw_present = self._clock()

    def behind(self, sequence: int) -> None:
        """There is more to send.

        Args:
            sequence: The last event that was sent.

        Raises:
            WatcherTooSlowError: It has been so for longer than the limit.
        """
        if self._saw_present is None or self._clock() - self._saw_present <= self._limits.behind:
            return
        raise _too_slow(
            f"events have been waiting to be taken for more than {self._limits.behind:g} s",
            sequence,
        )


@asynccontextmanager
async def taken_in_time(response: object, limits: WatchLimits) -> AsyncIterator[None]:
    """Bound how long a block takes that hands a response to its caller; only where it has events.

    Raises:
        WatcherTooSlowError: The caller does not take it.
    """
    if not isinstance(response, WatchRunResponse | WatchEventsResponse):
        yield
        return
    limit = asyncio.timeout(limits.idle)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        # Progress has no place in the history: where to go on is then known to the caller only.
        first = next((event.sequence for event in response.events if event.sequence), None)
        raise _too_slow(
            f"nothing was taken for {limits.idle:g} s", None if first is None else first - 1
        ) from exc


def _too_slow(reason: str, sequence: int | None) -> WatcherTooSlowError:
    place = "the last event that was taken" if sequence is None else f"sequence {sequence}"
    return WatcherTooSlowError(
        f"the watcher is too slow: {reason}; go on after {place}, and take events faster than "
        "they happen",
        context={} if sequence is None else {"after_sequence": str(sequence)},
    )
