"""What an error that ended an attempt means: whose fault it is and whether a retry helps."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from typing import Any, Final

from servo import errors
from servo.types.reasons import FailureReason
from servo.types.records import Failure
from servo.types.runs import FailureCategory
from servo.worker.tracebacks import leaves, one_line, printable

__all__ = ["ReturnedError", "failure_of", "is_wrong_call", "needs_traceback"]

_INPUT_CODES = frozenset({"INPUT_NOT_AVAILABLE", "INPUT_SCHEMA"})

_PROGRAMMING_ERRORS: Final = (ImportError, SyntaxError, NameError, NotImplementedError)
_NOT_RETRIED: Final = " (not retried: only a change of the code cures this)"


class ReturnedError(Exception):
    """The function returned an ``Err`` whose error is no exception.

    Attributes:
        error: What the ``Err`` held.
    """

    def __init__(self, error: object) -> None:
        super().__init__(f"the function returned Err({error!r:.300})")
        self.error = error


def failure_of(error: BaseException, function: Callable[..., Any] | None = None) -> Failure:
    """Classify an error that reached the border of user code.

    Args:
        error: What was raised.
        function: The asset's function, where the error came while it was called.
    """
    category, reason, retryable = _verdict(error)
    is_incurable = retryable is None and (
        _is_programming_error(error) or (function is not None and is_wrong_call(error, function))
    )
    kind: type = type(error)
    if isinstance(error, SystemExit):
        message = f"the function called sys.exit({error.code!r}); return or raise instead"
    elif isinstance(error, ReturnedError):
        message, kind = str(error), type(error.error)
    elif needs_traceback(error):
        message = one_line(error)
    else:
        message = str(error).strip()
    if is_incurable:
        message, retryable = message + _NOT_RETRIED, False
    return Failure(
        category=category,
        message=printable(message.partition("\n")[0]),
        reason=reason,
        error_type=kind.__qualname__,
        retryable=retryable,
    )


def _is_programming_error(error: BaseException) -> bool:
    """Tell whether the code cannot work, whatever it is given; in a group one such error is enough.

    A local variable is unbound on some paths only, often on the one behind `except: pass`: the next
    attempt may take another one.
    """
    return any(
        isinstance(one, _PROGRAMMING_ERRORS) and not isinstance(one, UnboundLocalError)
        for one in leaves(error)
    )


def is_wrong_call(error: BaseException, function: Callable[..., Any]) -> bool:
    """Tell whether a function does not take the arguments that it is called with.

    Python raises that before the first line of the function, so no frame of it is there. The call
    may be Servo's, or that of a decorator around the function.

    Args:
        error: What was raised.
        function: The asset's function.
    """
    inner = inspect.unwrap(function)
    code = getattr(inner, "__code__", None)
    if code is None or not isinstance(error, TypeError):
        return False
    if any(frame.f_code is code for frame, _ in traceback.walk_tb(error.__traceback__)):
        return False
    return one_line(error).startswith(f"{type(error).__qualname__}: {inner.__qualname__}() ")


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
        case errors.FilesystemError(code="DATA_MISSING"):
            # The data root exists, so the file was deleted, and a retry would not find it either.
            return FailureCategory.INFRASTRUCTURE, FailureReason.EXCEPTION, False
        case errors.FilesystemError():
            return FailureCategory.INFRASTRUCTURE, FailureReason.EXCEPTION, None
        case errors.ConfigurationError(code="CODE_MISMATCH"):
            # The code does not change by waiting, whatever the asset's retry policy says.
            return FailureCategory.CONFIGURATION, FailureReason.CONFIGURATION, False
        case errors.ConfigurationError():
            return FailureCategory.CONFIGURATION, FailureReason.CONFIGURATION, None
        case errors.ServoError(code=code) if code in _INPUT_CODES:
            return FailureCategory.CONFIGURATION, FailureReason.CONFIGURATION, None
        case errors.ServoError(code="INVALID_OUTPUT"):
            # The same code on the same input returns the same thing again.
            return FailureCategory.USER_CODE, FailureReason.EXCEPTION, False
    return FailureCategory.USER_CODE, FailureReason.EXCEPTION, None
