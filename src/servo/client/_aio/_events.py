"""The history of a workspace, and how any history is followed."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from typing import Protocol

from servo._wire import methods
from servo.client._aio._calls import REOPEN_PAUSE, Calls, resumed
from servo.client._aio._glue import aclosing, sleep
from servo.client._aio._stream import AsyncStream
from servo.types.events import Event
from servo.types.requests import WatchEventsRequest, WatchEventsResponse


class AsyncEvents:
    """Everything that has happened in a workspace. Use it as ``client.events``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    def watch(self, after_sequence: int = 0, *, follow: bool = True) -> AsyncStream[Event]:
        """Follow the history, through restarts of the control plane.

        Args:
            after_sequence: Only what happened after this event; zero for everything that is kept.
            follow: Whether to go on with what happens from now on; otherwise the stream ends with
                the event that was the newest when it was opened, or with a later one.

        Returns:
            Each event once, in order.

        Raises:
            InvalidArgumentError: There is no event with that number (``UNKNOWN_SEQUENCE``), or what
                came after it is not kept any more (``HISTORY_FORGOTTEN``).
            DeadlineError: The events were not read for too long (``WATCHER_TOO_SLOW``); the
                context says after which sequence to go on.
            UnavailableError: The control plane could not be reached for longer than the client's
                timeout.
        """
        return AsyncStream(self._watch(after_sequence, follow))

    def list(self, after_sequence: int = 0) -> AsyncStream[Event]:
        """Read the history up to now, oldest first.

        Args:
            after_sequence: Only what happened after this event; zero for everything that is kept.

        Raises:
            InvalidArgumentError: There is no event with that number (``UNKNOWN_SEQUENCE``), or what
                came after it is not kept any more (``HISTORY_FORGOTTEN``).
            UnavailableError: The control plane could not be reached for longer than the client's
                timeout.
        """
        return self.watch(after_sequence, follow=False)

    async def _watch(self, sequence: int, follow: bool) -> AsyncGenerator[Event, None]:
        async def open_stream(after: int) -> AsyncGenerator[WatchEventsResponse, None]:
            request = WatchEventsRequest(after_sequence=after, follow=follow)
            stream = self._calls.stream(methods.WATCH_EVENTS, request, sends_once=True)
            async with aclosing(stream) as responses:
                async for response in responses:
                    yield response

        following = each_once(
            open_stream, sequence, patience=self._calls.patience, is_over=lambda: not follow
        )
        async with aclosing(following) as events:
            async for event in events:
                yield event


class HasEvents(Protocol):
    """An answer of a stream of events."""

    @property
    def events(self) -> tuple[Event, ...]:
        """Events in order; those that are no part of the history have the sequence 0."""
        ...


async def each_once(
    open_stream: Callable[[int], AsyncGenerator[HasEvents, None]],
    sequence: int,
    *,
    patience: float,
    is_over: Callable[[], bool],
) -> AsyncGenerator[Event, None]:
    """Read events, opening their stream again where the last one came from.

    Args:
        open_stream: Opens the stream after a sequence number.
        sequence: The number to begin after.
        patience: Seconds without an answer after which to give up.
        is_over: Tells, when a stream has ended by itself, whether that was the end.

    Raises:
        UnavailableError: The control plane could not be reached for that long.
    """

    def open_again() -> AsyncGenerator[HasEvents, None]:
        return open_stream(sequence)

    while True:
        async with aclosing(resumed(open_again, patience=patience)) as responses:
            async for response in responses:
                for event in response.events:
                    if 0 < event.sequence <= sequence:
                        continue
                    sequence = event.sequence or sequence
                    yield event
        if is_over():
            return
        await sleep(REOPEN_PAUSE)
