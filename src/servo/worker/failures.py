"""What an error that ended an attempt means: whose fault it is and whether a retry helps."""

from __future__ import annotations

from servo import errors
from servo.types.reasons import FailureReason
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
    category, reason, retryable = _verdict(error)
    kind: type = type(error)
    if isinstance(error, SystemExit):
        message = f"the function called sys.exit({error.code!r}); return or raise instead"
    elif isinstance(error, ReturnedError):
        message, kind = str(error), type(error.error)
    elif needs_traceback(error):
        message = one_line(error)
    else:
        message = str(error).strip()
    return Failure(
        category=category,
        message=printable(message.partition("\n")[0]),
        reason=reason,
        error_type=kind.__qualname__,
        retryable=retryable,
    )


def needs_traceback(error: BaseException) -> bool:
    """Tell whether the place where an error was raised says more than its message.

    Servo's own errors are written to be enough; what they do not wrap is user code.
    """
    if isinstance(error, ReturnedError):
        return False
    if not isinstance(error, errors.ServoError):
        return True
    return not isinstance(error, _SPEAKING) and error.code not in _SPEAKING_CODES


_SPEAKING = (
    errors.DataQualityError,
    errors.BudgetExhaustedError,
    errors.LeaseExpiredError,
    errors.FilesystemError,
    errors.ConfigurationError,
)
_SPEAKING_CODES = _INPUT_CODES | {"INVALID_OUTPUT"}


def _verdict(error: BaseException) -> tuple[FailureCategory, FailureReason, bool | None]:
    """Return whose fault it is, how it ended, and whether to retry where the category is wrong."""
    match error:
        case SystemExit():
            return FailureCategory.USER_CODE, FailureReason.EXIT, None
        case MemoryError():
            return FailureCategory.INFRASTRUCTURE, FailureReason.OOM, None
        case errors.DataQualityError():
            return FailureCategory.DATA_QUALITY, FailureReason.CHECK, None
        case errors.BudgetExhaustedError():
            return FailureCategory.CONFIGURATION, FailureReason.BUDGET, False
        case errors.LeaseExpiredError():
            return FailureCategory.INFRASTRUCTURE, FailureReason.LEASE_LOST, None
        case errors.FilesystemError():
            return FailureCategory.INFRASTRUCTURE, FailureReason.EXCEPTION, None
        case errors.ConfigurationError():
            return FailureCategory.CONFIGURATION, FailureReason.CONFIGURATION, None
        case errors.ServoError(code=code) if code in _INPUT_CODES:
            return FailureCategory.CONFIGURATION, FailureReason.CONFIGURATION, None
        case errors.ServoError(code="INVALID_OUTPUT"):
            # The same code on the same input returns the same thing again.
            return FailureCategory.USER_CODE, FailureReason.EXCEPTION, False
    return FailureCategory.USER_CODE, FailureReason.EXCEPTION, None
