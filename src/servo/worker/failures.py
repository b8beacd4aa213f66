"""What an error that ended an attempt means: whose fault it is and whether a retry helps."""

from __future__ import annotations

from servo import errors
from servo.types.records import Failure
from servo.types.runs import FailureCategory
from servo.worker.tracebacks import one_line, printable

__all__ = ["ReturnedError", "failure_of", "needs_traceback"]

_INPUT_CODES = frozenset({"INPUT_NOT_AVAILABLE", "INPUT_SCHEMA"})


class ReturnedError(Exception):
    """The function returned an ``Err`` whose error is no exception.

    Attributes:
        error: What the ``Err`` held.
    """

    def __init__(self, error: object) -> None:
        super().__init__(f"the function returned Err({error!r:.300})")
        self.error = error


def failure_of(error: BaseException) -> Failure:
    """Classify an error that reached the border of user code."""
    name = type(error).__qualname__
    if isinstance(error, SystemExit):
        return Failure(
            category=FailureCategory.USER_CODE,
            message=printable(
                f"the function called sys.exit({error.code!r}); return or raise instead"
            ),
            reason="exit",
            error_type=name,
        )
    if isinstance(error, ReturnedError):
        return Failure(
            category=FailureCategory.USER_CODE,
            message=printable(str(error).partition("\n")[0]),
            reason="err",
            error_type=type(error.error).__qualname__,
        )
    if not isinstance(error, errors.ServoError):
        return Failure(
            category=FailureCategory.USER_CODE,
            message=one_line(error),
            reason="exception",
            error_type=name,
        )
    message = printable(str(error).strip().partition("\n")[0])
    if isinstance(error, errors.DataQualityError):
        category, reason, retryable = FailureCategory.DATA_QUALITY, "check", None
    elif isinstance(error, errors.LeaseExpiredError):
        category, reason, retryable = FailureCategory.INFRASTRUCTURE, "lease_lost", False
    elif isinstance(error, errors.FilesystemError):
        category, reason, retryable = FailureCategory.INFRASTRUCTURE, error.code.lower(), None
    elif isinstance(error, errors.ConfigurationError):
        category, reason, retryable = FailureCategory.CONFIGURATION, error.code.lower(), None
    elif error.code in _INPUT_CODES:
        category, reason, retryable = FailureCategory.CONFIGURATION, "input", None
    elif error.code == "INVALID_OUTPUT":
        # The same code on the same input returns the same thing again.
        category, reason, retryable = FailureCategory.USER_CODE, "output", False
    else:
        category, reason, retryable = FailureCategory.USER_CODE, "exception", None
        message = one_line(error)
    return Failure(
        category=category, message=message, reason=reason, error_type=name, retryable=retryable
    )


def needs_traceback(error: BaseException) -> bool:
    """Tell whether the place where an error was raised says more than its message.

    Servo's own errors are written to be enough; what they do not wrap is user code.
    """
    return failure_of(error).reason in {"exception", "exit"}
