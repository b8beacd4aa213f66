"""Token buckets on a clock that the tests move."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.controlplane.limits import Limiter, RateLimit


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_passes_and_then_one_call_at_a_time() -> None:
    clock = Clock()
    limiter = Limiter(RateLimit(per_second=2, burst=3), clock)
    assert [limiter.take("a") for _ in range(4)] == [0, 0, 0, 0.5]
    clock.now += 0.5
    assert [limiter.take("a") for _ in range(2)] == [0, 0.5]


def test_a_call_that_was_refused_costs_nothing() -> None:
    clock = Clock()
    limiter = Limiter(RateLimit(per_second=1, burst=1), clock)
    limiter.take("a")
    for _ in range(100):
        limiter.take("a")
    clock.now += 1
    assert limiter.take("a") == 0


def test_keys_are_counted_apart() -> None:
    limiter = Limiter(RateLimit(per_second=1, burst=1), Clock())
    assert (limiter.take("a"), limiter.take("b")) == (0, 0)


def test_a_pause_does_not_save_up_more_than_a_burst() -> None:
    clock = Clock()
    limiter = Limiter(RateLimit(per_second=10, burst=2), clock)
    limiter.take("a")
    clock.now += 3600
    assert [limiter.take("a") > 0 for _ in range(3)] == [False, False, True]


@given(
    pauses=st.lists(st.floats(0, 3), max_size=60),
    per_second=st.floats(0.1, 20),
    burst=st.integers(1, 10),
)
def test_no_pattern_of_calls_gets_more_than_the_rate_and_a_burst(
    pauses: list[float], per_second: float, burst: int
) -> None:
    clock = Clock()
    limiter = Limiter(RateLimit(per_second=per_second, burst=burst), clock)
    passed = 0
    for pause in pauses:
        clock.now += pause
        passed += limiter.take("a") == 0
    assert passed <= burst + per_second * sum(pauses) + 1e-6


@given(per_second=st.floats(0.1, 20), burst=st.integers(1, 10))
def test_whoever_waits_as_long_as_asked_is_let_through(per_second: float, burst: int) -> None:
    clock = Clock()
    limiter = Limiter(RateLimit(per_second=per_second, burst=burst), clock)
    while not (wait := limiter.take("a")):
        pass
    clock.now += wait + 1e-6
    assert limiter.take("a") == 0


def test_the_error_says_how_long_to_wait() -> None:
    limiter = Limiter(RateLimit(per_second=0.5, burst=1), Clock())
    limiter.check("abc")
    with pytest.raises(errors.RateLimitedError, match=r"'abc'.* in 2 s") as caught:
        limiter.check("abc")
    assert caught.value.retry_after == 2


def test_the_buckets_of_many_keys_do_not_pile_up() -> None:
    limiter = Limiter(RateLimit(per_second=1, burst=1), Clock())
    for number in range(20_000):
        limiter.take(str(number))
    assert len(limiter._buckets) == 10_000


@pytest.mark.parametrize(("per_second", "burst"), [(0, 1), (1, 0), (-1, 1), (float("nan"), 1)])
def test_a_limit_that_lets_nothing_through_is_refused(per_second: float, burst: int) -> None:
    with pytest.raises(errors.ConfigurationError, match="above zero"):
        RateLimit(per_second=per_second, burst=burst)
