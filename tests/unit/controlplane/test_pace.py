"""How slow a watcher may be, on a clock that the tests move."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.controlplane.pace import Pace, WatcherTooSlowError, WatchLimits, taken_in_time
from servo.types.events import Event, PoolChanged, TaskProgressed
from servo.types.records import Progress
from servo.types.requests import ReadLogsResponse, WatchEventsResponse

LIMITS = WatchLimits(idle=5, behind=60)


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def events(*sequences: int) -> WatchEventsResponse:
    now = datetime.now(UTC)
    return WatchEventsResponse(
        events=tuple(
            Event(sequence=number, occurred_at=now, payload=PoolChanged(name="p"))
            for number in sequences
        )
    )


@given(pauses=st.lists(st.floats(0, 100_000), max_size=30))
def test_whoever_reads_a_long_history_for_the_first_time_may_take_any_time(
    pauses: list[float],
) -> None:
    clock = Clock()
    pace = Pace(LIMITS, clock)
    for number, pause in enumerate(pauses):
        clock.now += pause
        pace.behind(number)


def test_staying_behind_the_present_after_having_seen_it_is_too_slow() -> None:
    clock = Clock()
    pace = Pace(LIMITS, clock)
    pace.up_to_date()
    clock.now += 60
    pace.behind(1000)
    clock.now += 1
    with pytest.raises(WatcherTooSlowError, match="go on after sequence 2000") as caught:
        pace.behind(2000)
    assert caught.value.context["after_sequence"] == "2000"
    assert caught.value.grpc_code == "RESOURCE_EXHAUSTED"


def test_having_caught_up_starts_the_time_afresh() -> None:
    clock = Clock()
    pace = Pace(LIMITS, clock)
    for _ in range(100):
        pace.up_to_date()
        clock.now += 59
        pace.behind(1)


def take(response: object, seconds: float) -> None:
    async def hand_over() -> None:
        async with taken_in_time(response, WatchLimits(idle=0.05)):
            await asyncio.sleep(seconds)

    asyncio.run(hand_over())


def test_events_that_are_not_taken_in_time_say_where_to_go_on() -> None:
    with pytest.raises(WatcherTooSlowError, match="go on after sequence 16,") as caught:
        take(events(17, 18), 30)
    assert caught.value.context["after_sequence"] == "16"


def test_progress_has_no_place_to_go_on_after() -> None:
    progress = TaskProgressed(index=0, attempt=1, progress=Progress(message="half"))
    event = Event(sequence=0, occurred_at=datetime.now(UTC), payload=progress)
    with pytest.raises(WatcherTooSlowError, match="after the last event that was taken"):
        take(WatchEventsResponse(events=(event,)), 30)


def test_what_is_taken_in_time_passes() -> None:
    take(events(1), 0)


def test_only_events_have_to_be_taken_in_time() -> None:
    take(ReadLogsResponse(batches=(), cursor=0), 0.2)


def test_an_error_while_events_are_handed_over_stays_what_it_is() -> None:
    async def hand_over() -> None:
        async with taken_in_time(events(1), LIMITS):
            raise TimeoutError("the connection's own")

    with pytest.raises(TimeoutError, match="the connection's own"):
        asyncio.run(hand_over())
