"""Which attempts are repeated, and when."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo._wire import METHODS, Method, methods
from servo.client import Call, Metadata, Retries
from servo.client._options import UNSET, Limits
from servo.client.transport import Address
from servo.types.requests import CreateRunRequest, GetServerInfoRequest


def call(
    method: Method[Any, Any] = methods.GET_SERVER_INFO,
    request: Any = None,
    *,
    attempt: int = 1,
    left: float | None = None,
) -> Call:
    return Call(
        method=method,
        request=request or GetServerInfoRequest(),
        metadata=Metadata(),
        address=Address("127.0.0.1", 1, False),
        url="grpc://127.0.0.1:1",
        timeout=left,
        ends_at=left,
        clock=lambda: 0.0,
        attempt=attempt,
    )


DOWN = errors.UnavailableError("down")


@given(st.integers(1, 40))
def test_pauses_double_from_a_quarter_of_a_second_to_five_with_jitter(attempt: int) -> None:
    pause = Retries(attempts=99).pause_after(call(attempt=attempt), DOWN)
    assert pause is not None
    whole = min(0.25 * 2 ** (attempt - 1), 5.0)
    assert whole / 2 <= pause <= whole


def test_pauses_differ() -> None:
    assert len({Retries().pause_after(call(), DOWN) for _ in range(20)}) > 1


def test_there_are_three_attempts() -> None:
    assert [Retries().pause_after(call(attempt=n), DOWN) is None for n in (1, 2, 3)] == [
        False,
        False,
        True,
    ]


@pytest.mark.parametrize("method", METHODS.values(), ids=lambda method: method.name)
def test_only_idempotent_calls_are_repeated(method: Method[Any, Any]) -> None:
    repeated = Retries().pause_after(call(method), DOWN) is not None
    assert repeated is method.idempotent


@pytest.mark.parametrize(("key", "repeated"), [("", False), ("nightly", True)])
def test_an_idempotency_key_makes_a_call_repeatable(key: str, repeated: bool) -> None:
    request = CreateRunRequest(selection=("a.b",), run_key=key)
    found = Retries().pause_after(call(methods.CREATE_RUN, request), DOWN)
    assert (found is not None) is repeated


@pytest.mark.parametrize(
    ("error", "repeated"),
    [
        (errors.UnavailableError("x"), True),
        (errors.CacheError("x"), True),
        (errors.DeadlineError("x"), True),
        (errors.RateLimitedError("x"), True),
        (errors.ServoError("x", retry_after=0.1), True),
        (errors.ServoError("x"), False),
        (errors.NotFoundError("x"), False),
        (errors.InvalidArgumentError("x"), False),
        (errors.PermissionDeniedError("x"), False),
        (errors.ConfigurationError("x"), False),
        (errors.FilesystemError("x"), False),
    ],
)
def test_the_category_decides_unless_the_server_asks_for_a_pause(
    error: errors.ServoError, repeated: bool
) -> None:
    assert (Retries().pause_after(call(), error) is not None) is repeated


def test_a_pause_that_the_server_asks_for_may_be_longer_than_the_longest() -> None:
    error = errors.UnavailableError("x", retry_after=30)
    assert Retries().pause_after(call(), error) == 30
    assert Retries().pause_after(call(left=31), error) == 30


@given(st.floats(0.01, 60), st.floats(0, 120))
def test_no_pause_outlasts_the_budget(left: float, asked: float) -> None:
    pause = Retries().pause_after(call(left=left), errors.UnavailableError("x", retry_after=asked))
    assert pause is None or pause < left


@pytest.mark.parametrize("options", [{"attempts": 0}, {"first": -1.0}, {"longest": -0.1}], ids=str)
def test_policies_that_make_no_sense_are_refused(options: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="makes no sense"):
        Retries(**options)


@pytest.mark.parametrize("given", [-1, True, "2", 1.5], ids=repr)
def test_a_number_of_retries_that_makes_no_sense_is_refused(given: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="0 never repeats a call"):
        Limits.of(UNSET, given)


@pytest.mark.parametrize("given", [-1, True, "2", math.nan], ids=repr)
def test_a_timeout_that_makes_no_sense_is_refused(given: Any) -> None:
    with pytest.raises(errors.ConfigurationError, match="None for no limit"):
        Limits.of(given, None)


def test_retries_are_counted_from_the_first_repetition() -> None:
    assert [Limits.of(UNSET, n).retries.attempts for n in (None, 0, 2)] == [3, 1, 3]


def test_a_limit_that_was_not_asked_for_gives_way_to_calls_that_take_long() -> None:
    assert Limits.of(UNSET, None).seconds(UNSET, 300) == 300
    assert Limits.of(10, None).seconds(UNSET, 300) == 10
    assert Limits.of(None, None).seconds(UNSET, 300) is None
    assert Limits.of(UNSET, None).seconds(5, 300) == 5
    assert Limits.of(math.inf, None).timeout is None


def test_a_budget_shrinks_and_can_only_be_shortened() -> None:
    now = [0.0]
    one = call(left=10.0)
    one.clock = lambda: now[0]
    assert one.remaining() == 10
    now[0] = 4.0
    assert one.remaining() == 6
    one.shorten(100)
    assert one.remaining() == 6
    one.shorten(1)
    assert one.remaining() == 1
    now[0] = 99.0
    assert one.remaining() == 0


def test_a_call_without_a_limit_can_be_given_one() -> None:
    one = call()
    one.clock = time.monotonic
    assert one.remaining() is None
    one.shorten(0)
    assert one.remaining() == 0
