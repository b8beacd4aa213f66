"""The verbs of the history: following a run, or everything that happens in a workspace."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Final

from servo import errors
from servo.controlplane.caller import Caller
from servo.controlplane.pace import Pace, WatchLimits
from servo.controlplane.plane import Plane, stored_run
from servo.controlplane.signals import Signal
from servo.controlplane.workspace import Workspace
from servo.types.events import Event, RunStateChanged
from servo.types.requests import (
    WatchEventsRequest,
    WatchEventsResponse,
    WatchRunRequest,
    WatchRunResponse,
)

EVENTS_AT_ONCE: Final = 1000
_NOTHING: Final = -1
"""Comes before everything in a history, and is never in memory."""


class Events:
    """The RPCs that follow what happens.

    Args:
        plane: What it acts on.
        watch_limits: How slow those who watch may be.
    """

    def __init__(self, plane: Plane, watch_limits: WatchLimits) -> None:
        self.plane = plane
        self.watch_limits = watch_limits

    async def watch_run(
        self, caller: Caller, request: WatchRunRequest
    ) -> AsyncIterator[WatchRunResponse]:
        """Yield the events of a run until it has ended, and the progress of its tasks.

        Raises:
            servo.errors.InvalidArgumentError: There is no event of that sequence number.
            servo.errors.NotFoundError: There is no such run.
            servo.errors.UnavailableError: The control plane stops before the run has ended.
            servo.controlplane.pace.WatcherTooSlowError: The caller does not keep up.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        run = await stored_run(workspace, request.run_id)
        pace = Pace(self.watch_limits)
        await _check_known(workspace, request.after_sequence)
        signal = workspace.signals.subscribe(run.run_id)
        after, seen, has_ended = request.after_sequence, _NOTHING, False
        try:
            while not self.plane.is_stopping:
                news = workspace.signals.tail.after(seen, EVENTS_AT_ONCE)
                if news is None:
                    # What comes next was durable before its turn to be read here.
                    newest = workspace.signals.tail.newest
                    # The state before the events: what is committed between the two reads is then
                    # among the events, and a run that had ended has all of its events there.
                    has_ended = (await stored_run(workspace, run.run_id)).state.is_terminal
                    events = await workspace.store.events(run.run_id, after, EVENTS_AT_ONCE)
                    is_behind = len(events) == EVENTS_AT_ONCE
                    seen = _NOTHING if is_behind else newest
                else:
                    seen += len(news)
                    is_behind = len(news) == EVENTS_AT_ONCE
                    # Those after the newest one may have been read with the others.
                    events = [e for e in news if e.run_id == run.run_id and e.sequence > after]
                if events:
                    after = events[-1].sequence
                    yield WatchRunResponse(events=tuple(events))
                if is_behind:
                    pace.behind(after)
                    continue
                if has_ended or any(map(_ends_run, events)):
                    return
                pace.up_to_date()
                if progress := _take_progress(signal, run.run_id):
                    yield WatchRunResponse(events=progress)
                await signal.wait()
        finally:
            workspace.signals.unsubscribe(run.run_id, signal)
        raise stopping(f"sequence {after}")

    async def watch_events(
        self, caller: Caller, request: WatchEventsRequest
    ) -> AsyncIterator[WatchEventsResponse]:
        """Yield the events of a workspace in order; with ``follow`` also those that are to come.

        Raises:
            servo.errors.InvalidArgumentError: What comes after that event is not kept any more, or
                there is no such event.
            servo.errors.UnavailableError: The control plane stops.
            servo.controlplane.pace.WatcherTooSlowError: The caller does not keep up.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        after = request.after_sequence
        newest = await _check_known(workspace, after)
        forgotten = await workspace.store.history_after(workspace.number)
        if 0 < after < forgotten:
            raise errors.InvalidArgumentError(
                f"the events after {after} are not kept any more: the history begins after "
                f"{forgotten}; watch from 0 for everything that is kept",
                code="HISTORY_FORGOTTEN",
                context={"after_sequence": str(after), "history_after": str(forgotten)},
            )
        pace = Pace(self.watch_limits)
        signal = workspace.signals.subscribe_to_all()
        try:
            while not self.plane.is_stopping:
                events = workspace.signals.tail.after(after, EVENTS_AT_ONCE)
                if events is None:
                    events = await workspace.store.workspace_events(
                        workspace.number, after, EVENTS_AT_ONCE
                    )
                if events:
                    if after and events[0].sequence != after + 1:
                        raise _pruned(after, events[0].sequence)
                    after = events[-1].sequence
                    yield WatchEventsResponse(events=tuple(events))
                if not request.follow and after >= newest:
                    return
                if len(events) == EVENTS_AT_ONCE:
                    pace.behind(after)
                    continue
                pace.up_to_date()
                await signal.wait()
        finally:
            workspace.signals.unsubscribe_from_all(signal)
        raise stopping(f"sequence {after}")


async def _check_known(workspace: Workspace, after: int) -> int:
    """Return the newest sequence number of a history that has an event to go on after.

    Raises:
        servo.errors.InvalidArgumentError: It has not: the caller watched another history, that of a
            database that was lost, or is older.
    """
    newest = await workspace.store.last_sequence(workspace.number)
    if not 0 <= after <= newest:
        raise errors.InvalidArgumentError(
            f"there is no event {after}: the newest event is {newest}; watch from 0, or after an "
            "event of this history",
            code="UNKNOWN_SEQUENCE",
            context={"after_sequence": str(after), "newest": str(newest)},
        )
    return newest


def stopping(place: str) -> errors.UnavailableError:
    """Return what ends a stream before what it follows has ended: its caller goes on elsewhere."""
    return errors.UnavailableError(f"the control plane stops; go on after {place}", code="STOPPING")


def _pruned(after: int, first: int) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(
        f"the events {after + 1} to {first - 1} are not kept any more; watch from 0 for all that "
        f"are, and read again what you keep of runs and assets",
        code="HISTORY_FORGOTTEN",
        context={"after_sequence": str(after), "first": str(first)},
    )


def _ends_run(event: Event) -> bool:
    return isinstance(event.payload, RunStateChanged) and event.payload.state.is_terminal


def _take_progress(signal: Signal, run_id: str) -> tuple[Event, ...]:
    news, signal.progress = signal.progress, {}
    now = datetime.now(UTC)
    return tuple(
        Event(sequence=0, occurred_at=now, run_id=run_id, payload=progress)
        for progress in news.values()
    )
