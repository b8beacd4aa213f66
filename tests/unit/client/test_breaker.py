"""The circuit breaker, against a model of what it promises."""

from __future__ import annotations

import gc
import threading

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from servo.client._breaker import (
    FAILURES,
    OPEN_SECONDS,
    PROBES,
    WINDOW_SECONDS,
    Breaker,
    State,
    breaker_for,
)


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class BreakerMachine(RuleBasedStateMachine):
    """Calls that come, go and fail in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.breaker = Breaker(self.clock)
        self.under_way: list[tuple[int, int]] = []
        self.era = 0
        self.failed_at: list[float] = []
        self.opened_at: float | None = None
        self.probes = 0
        self.successes = 0

    @property
    def expected(self) -> State:
        if self.opened_at is None:
            return State.CLOSED
        if self.clock.now < self.opened_at + OPEN_SECONDS:
            return State.OPEN
        return State.PROBING

    def enter_era(self) -> None:
        self.era += 1
        self.failed_at.clear()
        self.probes = self.successes = 0

    @rule(seconds=st.one_of(st.floats(0, 3), st.sampled_from([WINDOW_SECONDS, OPEN_SECONDS])))
    def time_passes(self, seconds: float) -> None:
        before = self.expected
        self.clock.now += seconds
        if self.expected is not before:
            self.enter_era()

    @rule()
    def a_call_comes(self) -> None:
        permit = self.breaker.admit()
        state = self.expected
        used_up = state is State.PROBING and self.probes + self.successes >= PROBES
        if state is State.OPEN or used_up:
            assert permit is None
        else:
            assert permit is not None
            self.under_way.append((permit, self.era))
            self.probes += state is State.PROBING

    @precondition(lambda self: self.under_way)
    @rule(data=st.data(), failed=st.sampled_from([True, True, False, None]))
    def a_call_ends(self, data: st.DataObject, failed: bool | None) -> None:
        self.end(data.draw(st.integers(0, len(self.under_way) - 1)), failed=failed)

    def end(self, which: int, *, failed: bool | None) -> None:
        permit, era = self.under_way.pop(which)
        self.breaker.report(permit, failed=failed)
        if era != self.era:
            return
        state = self.expected
        if state is State.CLOSED and failed:
            self.failed_at.append(self.clock.now)
            recent = self.failed_at[-FAILURES:]
            if len(recent) == FAILURES and recent[-1] - recent[0] <= WINDOW_SECONDS:
                self.opened_at = self.clock.now
                self.enter_era()
        elif state is State.PROBING:
            self.probes -= 1
            if failed:
                self.opened_at = self.clock.now
                self.enter_era()
            elif failed is False:
                self.successes += 1
                if self.successes == PROBES:
                    self.opened_at = None
                    self.enter_era()

    @precondition(lambda self: self.expected is State.CLOSED)
    @rule()
    def everything_fails(self) -> None:
        for _ in range(FAILURES):
            self.a_call_comes()
        for _ in range(FAILURES):
            self.end(len(self.under_way) - 1, failed=True)

    @precondition(lambda self: self.expected is State.OPEN)
    @rule()
    def the_time_of_an_open_one_passes(self) -> None:
        self.time_passes(OPEN_SECONDS)

    @invariant()
    def it_is_in_the_state_that_it_promises(self) -> None:
        assert self.breaker.state is self.expected

    @invariant()
    def it_says_how_long_nothing_is_sent(self) -> None:
        left = self.breaker.seconds_left()
        if self.expected is State.OPEN:
            assert self.opened_at is not None
            assert left == self.opened_at + OPEN_SECONDS - self.clock.now
        else:
            assert left == 0


TestBreaker = BreakerMachine.TestCase


def opened(clock: Clock) -> Breaker:
    breaker = Breaker(clock)
    for _ in range(FAILURES):
        permit = breaker.admit()
        assert permit is not None
        breaker.report(permit, failed=True)
    return breaker


def test_five_failures_in_ten_seconds_open_it_for_a_minute() -> None:
    clock = Clock()
    breaker = opened(clock)
    assert breaker.state is State.OPEN
    clock.now += 59.9
    assert breaker.admit() is None
    clock.now += 0.1
    assert breaker.admit() is not None


def test_five_failures_over_a_longer_time_do_not_open_it() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    for _ in range(20):
        permit = breaker.admit()
        assert permit is not None
        breaker.report(permit, failed=True)
        clock.now += 2.6
    assert breaker.state is State.CLOSED


def test_three_probes_at_most_and_three_successes_close_it() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 60
    probes = [breaker.admit() for _ in range(4)]
    assert probes[3] is None
    for permit in probes[:3]:
        assert permit is not None
        assert breaker.state is State.PROBING
        breaker.report(permit, failed=False)
    assert breaker.state is State.CLOSED


def test_a_probe_that_fails_opens_it_again() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 60
    permit = breaker.admit()
    assert permit is not None
    breaker.report(permit, failed=True)
    assert breaker.state is State.OPEN
    assert breaker.seconds_left() == 60


def test_a_probe_whose_caller_gave_up_makes_room_for_another() -> None:
    clock = Clock()
    breaker = opened(clock)
    clock.now += 60
    for _ in range(10):
        permit = breaker.admit()
        assert permit is not None
        breaker.report(permit, failed=None)


def test_clients_of_one_target_share_a_breaker_while_there_are_any() -> None:
    clock = Clock()
    first = breaker_for("grpc://a:1", clock)
    assert breaker_for("grpc://a:1", clock) is first
    assert breaker_for("grpc://b:1", clock) is not first
    assert breaker_for("grpc://a:1", Clock()) is not first
    for _ in range(FAILURES):
        first.report(first.admit() or 0, failed=True)
    assert breaker_for("grpc://a:1", clock).state is State.OPEN
    del first
    gc.collect()
    assert breaker_for("grpc://a:1", clock).state is State.CLOSED


def test_threads_that_fail_together_open_it_once() -> None:
    clock = Clock()
    breaker = Breaker(clock)
    permits = [breaker.admit() for _ in range(40)]
    threads = [
        threading.Thread(target=breaker.report, args=(permit,), kwargs={"failed": True})
        for permit in permits
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert breaker.state is State.OPEN
    clock.now += 60
    assert breaker.admit() is not None
