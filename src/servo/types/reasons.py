"""How an attempt ended, in one word that programs may match."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["FailureReason"]


class FailureReason(StrEnum):
    """The words that `Failure.reason` may be; ``docs/concepts/reasons.md`` says more of each.

    Attributes:
        EXCEPTION: User code raised, or returned an ``Err`` or something that is no data.
        EXIT: User code ended its process: ``sys.exit()``, ``os._exit()``.
        SIGNAL: A signal ended its process.
        OOM: It needed more memory than there is.
        EVICTED: Its worker was told to stop and could not wait for it.
        TIMEOUT: It took longer than its ``timeout_seconds``.
        LEASE_LOST: Its worker was not heard of for longer than a lease lasts.
        CHECK: A check did not pass.
        USER_CANCEL: Somebody cancelled the run.
        RUN_TIMEOUT: The run took longer than it may.
        BUDGET: It spent more than it may.
        CONFIGURATION: Something is set up wrongly: code, inputs, settings.
        HANDED_BACK: Its worker had not begun it: it was told to stop, or busy for long.
        NOT_STARTED: Nobody began it.
        INVALID_REPORT: Its worker reported something that cannot be.
    """

    EXCEPTION = "exception"
    EXIT = "exit"
    SIGNAL = "signal"
    OOM = "oom"
    EVICTED = "evicted"
    TIMEOUT = "timeout"
    LEASE_LOST = "lease_lost"
    CHECK = "check"
    USER_CANCEL = "user_cancel"
    RUN_TIMEOUT = "run_timeout"
    BUDGET = "budget"
    CONFIGURATION = "configuration"
    HANDED_BACK = "handed_back"
    NOT_STARTED = "not_started"
    INVALID_REPORT = "invalid_report"
