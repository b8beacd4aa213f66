from __future__ import annotations

import pytest

from servo import errors
from servo.types.runs import FailureCategory
from servo.worker.failures import ReturnedError, failure_of
from servo.worker.tracebacks import format_error, one_line

C = FailureCategory


@pytest.mark.parametrize(
    ("error", "category", "reason", "retryable"),
    [
        (ValueError("x"), C.USER_CODE, "exception", True),
        (KeyboardInterrupt(), C.USER_CODE, "exception", True),
        (SystemExit(0), C.USER_CODE, "exit", True),
        (ReturnedError("no"), C.USER_CODE, "exception", True),
        (MemoryError(), C.INFRASTRUCTURE, "oom", True),
        (errors.ServoError("x"), C.USER_CODE, "exception", True),
        (errors.DataQualityError("x"), C.DATA_QUALITY, "check", False),
        (errors.BudgetExhaustedError("x"), C.CONFIGURATION, "budget", False),
        (errors.LeaseExpiredError("x"), C.INFRASTRUCTURE, "lease_lost", True),
        (errors.FilesystemError("x", code="DISK_FULL"), C.INFRASTRUCTURE, "exception", True),
        (errors.ConfigurationError("x"), C.CONFIGURATION, "configuration", False),
        (
            errors.InvalidArgumentError("x", code="INPUT_SCHEMA"),
            C.CONFIGURATION,
            "configuration",
            False,
        ),
        (errors.InvalidArgumentError("x", code="INVALID_OUTPUT"), C.USER_CODE, "exception", False),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else None,
)
def test_every_error_has_a_category_a_reason_and_a_verdict_on_retrying(
    error: BaseException, category: FailureCategory, reason: str, retryable: bool
) -> None:
    failure = failure_of(error)
    assert (failure.category, failure.reason) == (category, reason)
    assert failure.is_retryable is retryable


def test_a_message_is_one_line_with_the_class() -> None:
    failure = failure_of(ValueError("first\nsecond"))
    assert (failure.message, failure.error_type) == ("ValueError: first", "ValueError")


def test_an_exit_shows_its_code() -> None:
    assert "sys.exit(0)" in failure_of(SystemExit(0)).message


def test_text_that_is_not_unicode_can_be_sent() -> None:
    failure_of(ValueError("\udc80")).message.encode()
    failure_of(SystemExit("\udc80")).message.encode()
    failure_of(errors.ServoError("\udc80")).message.encode()


def test_an_error_that_cannot_be_printed_is_named() -> None:
    class Broken(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    assert one_line(Broken()).endswith("Broken: (its message cannot be printed)")


def test_frames_of_servo_are_hidden_in_every_cause() -> None:
    from servo.types.keys import AssetKey

    def inner() -> None:
        AssetKey.parse("A.B.C")

    with pytest.raises(RuntimeError) as caught:
        try:
            inner()
        except ValueError as exc:
            raise RuntimeError("outer") from exc
    text = format_error(caught.value)
    assert "in inner" in text
    assert "direct cause" in text
    assert "servo/types/keys.py" not in text


def test_a_long_chain_of_causes_is_printed_without_recursion() -> None:
    error: Exception = ValueError("0")
    for number in range(1, 300):
        following = ValueError(str(number))
        following.__cause__ = error
        error = following
    assert format_error(error).startswith("ValueError: 0")
