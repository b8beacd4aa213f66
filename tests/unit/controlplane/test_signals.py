"""Who is woken by what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from servo.controlplane.signals import Signal, Signals
from servo.types.events import Event, RunUpdated, TaskProgressed
from servo.types.records import Progress

PROGRESS = TaskProgressed(index=0, attempt=1, progress=Progress(message="half"))


NOW = datetime(2025, 1, 1, tzinfo=UTC)


def event(sequence: int, run_id: str) -> Event:
    return Event(sequence=sequence, occurred_at=NOW, run_id=run_id, payload=RunUpdated())


def is_set(signal: Signal) -> bool:
    async def look() -> bool:
        try:
            await asyncio.wait_for(signal.wait(), 0.01)
        except TimeoutError:
            return False
        return True

    return asyncio.run(look())


def test_news_of_a_run_wake_those_who_watch_it_and_those_who_watch_everything() -> None:
    signals = Signals()
    one, other, all_ = signals.subscribe("A"), signals.subscribe("B"), signals.subscribe_to_all()
    signals.announce(["A"])
    assert (is_set(one), is_set(other), is_set(all_)) == (True, False, True)


def test_news_of_no_run_wake_those_who_watch_everything_and_nobody_else() -> None:
    signals = Signals()
    run, all_ = signals.subscribe("A"), signals.subscribe_to_all()
    signals.announce([""])
    assert (is_set(run), is_set(all_)) == (False, True)


@pytest.mark.parametrize("runs", [(), ("A", "B")], ids=["no run is watched", "two runs are"])
def test_before_a_stop_everybody_is_woken(runs: tuple[str, ...]) -> None:
    signals = Signals()
    watching = [signals.subscribe_to_all(), *map(signals.subscribe, runs)]
    signals.announce_all()
    assert all(map(is_set, watching))


def test_progress_is_no_news_for_those_who_watch_the_history() -> None:
    signals = Signals()
    run, all_ = signals.subscribe("A"), signals.subscribe_to_all()
    signals.announce_progress("A", PROGRESS)
    assert (is_set(run), is_set(all_)) == (True, False)
    assert all_.progress == {}


def test_those_who_left_are_not_counted() -> None:
    signals = Signals()
    run, all_ = signals.subscribe("A"), signals.subscribe_to_all()
    assert len(signals) == 2
    leave: tuple[Callable[[], None], ...] = (
        lambda: signals.unsubscribe("A", run),
        lambda: signals.unsubscribe_from_all(all_),
    )
    for one in leave:
        one()
    assert len(signals) == 0
    signals.announce(["A"])
    assert not is_set(all_)


def test_the_newest_events_are_kept_as_long_as_somebody_watches() -> None:
    signals = Signals()
    signals.publish([event(1, "A")])
    assert signals.tail.after(0, 9) is None
    run, all_ = signals.subscribe("A"), signals.subscribe_to_all()
    signals.publish([event(2, "A"), event(3, "B")])
    assert (is_set(run), is_set(all_)) == (True, True)
    signals.unsubscribe("A", run)
    assert signals.tail.after(1, 9) == [event(2, "A"), event(3, "B")]
    signals.unsubscribe_from_all(all_)
    assert signals.tail.after(1, 9) is None
    assert signals.tail.newest == 3
