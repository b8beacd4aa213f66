"""When a failure is followed by another attempt, and after which pause."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.controlplane.machine import backoff, is_retried
from servo.types import ExecutionPolicy, FailureCategory
from servo.types.assets import Backoff, RetryCause, RetryPolicy
from servo.types.records import Failure
from strategies import execution_policies

LARGEST = 2**31 - 1
attempts = st.integers(1, 40) | st.integers(1, LARGEST)
jitters = st.floats(0, 1)
MICROSECOND = timedelta(microseconds=1)


def policy(delay: int, **retry: object) -> ExecutionPolicy:
    return ExecutionPolicy(
        retry_delay_seconds=delay,
        retry=RetryPolicy(**retry),  # type: ignore[arg-type]  # checked by the policy itself
    )


def seconds(found: ExecutionPolicy, attempt: int, jitter: float = 0) -> float:
    return backoff(found, attempt, jitter).total_seconds()


def test_by_default_the_pause_doubles_up_to_fifteen_minutes() -> None:
    default = ExecutionPolicy(retry_delay_seconds=60)
    found = [seconds(default, attempt) for attempt in range(1, 8)]
    assert found == [60, 120, 240, 480, 900, 900, 900]


def test_by_default_jitter_takes_up_to_a_fifth_of_the_pause() -> None:
    default = ExecutionPolicy(retry_delay_seconds=100)
    assert [seconds(default, 1, jitter) for jitter in (0, 0.5, 1)] == [100, 90, 80]


@given(delay=st.integers(0, LARGEST), cap=st.integers(0, LARGEST), attempt=attempts)
def test_an_exponential_pause_is_the_delay_doubled_with_each_retry_and_capped(
    delay: int, cap: int, attempt: int
) -> None:
    found = policy(delay, max_delay_seconds=cap)
    # 2**64 times anything is beyond every cap, and 2**attempt would take for ever to write down.
    assert seconds(found, attempt) == min(delay * 2 ** min(attempt - 1, 64), cap)


@given(delay=st.integers(0, LARGEST), cap=st.integers(0, LARGEST), attempt=attempts)
def test_a_constant_pause_stays_as_it_is(delay: int, cap: int, attempt: int) -> None:
    found = policy(delay, max_delay_seconds=cap, backoff=Backoff.CONSTANT)
    assert seconds(found, attempt) == min(delay, cap)


@given(found=execution_policies(), attempt=attempts, jitter=jitters)
def test_jitter_only_shortens_and_by_no_more_than_its_percentage(
    found: ExecutionPolicy, attempt: int, jitter: float
) -> None:
    full = backoff(found, attempt, 0)
    most = full * (100 - found.retry.jitter_percent) / 100
    assert most - MICROSECOND <= backoff(found, attempt, jitter) <= full
    assert abs(backoff(found, attempt, 1) - most) <= MICROSECOND


@given(found=execution_policies(), attempt=attempts, jitter=jitters)
def test_a_later_retry_never_waits_for_less_time(
    found: ExecutionPolicy, attempt: int, jitter: float
) -> None:
    assert backoff(found, attempt, jitter) <= backoff(found, attempt + 1, jitter)


@given(delay=st.integers(0, LARGEST), attempt=attempts, jitter=jitters)
def test_a_policy_without_jitter_does_not_care_about_chance(
    delay: int, attempt: int, jitter: float
) -> None:
    found = policy(delay, jitter_percent=0)
    assert backoff(found, attempt, jitter) == backoff(found, attempt, 0)


def test_the_longest_pause_that_can_be_set_up_is_a_time_that_can_be_written_down() -> None:
    longest = backoff(policy(LARGEST, max_delay_seconds=LARGEST), LARGEST, 0)
    assert datetime(2100, 1, 1, tzinfo=UTC) + longest < datetime.max.replace(tzinfo=UTC)


def failure(category: FailureCategory, retryable: bool | None = None) -> Failure:
    return Failure(category=category, message="broken", retryable=retryable)


@given(
    found=execution_policies(),
    category=st.sampled_from(FailureCategory),
    retryable=st.booleans(),
)
def test_a_failure_that_says_itself_whether_it_can_be_retried_wins(
    found: ExecutionPolicy, category: FailureCategory, retryable: bool
) -> None:
    assert is_retried(failure(category, retryable), found) is retryable


@given(found=execution_policies(), category=st.sampled_from(FailureCategory))
def test_else_the_policy_says_which_categories_are_retried(
    found: ExecutionPolicy, category: FailureCategory
) -> None:
    causes = {cause.name for cause in found.retry.retry_on}
    assert is_retried(failure(category), found) is (category.name in causes)


@pytest.mark.parametrize("category", FailureCategory)
def test_by_default_a_policy_retries_what_the_contract_says(category: FailureCategory) -> None:
    """CONTRACT 8; `FailureCategory.retryable` says the same where there is no policy."""
    retried = {"USER_CODE", "INFRASTRUCTURE", "TIMEOUT"}
    assert is_retried(failure(category), ExecutionPolicy()) is (category.name in retried)
    assert category.retryable is (category.name in retried)


def test_every_category_but_a_cancellation_can_be_a_cause_of_retries() -> None:
    causes = {cause.value for cause in RetryCause}
    assert causes == {category.value for category in FailureCategory} - {"cancelled"}
