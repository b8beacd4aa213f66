"""States of runs and tasks, and why an attempt failed."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["FailureCategory", "RerunScope", "RunState", "TaskState"]


class RunState(StrEnum):
    """Where a run stands."""

    PENDING = "pending"
    RUNNING = "running"
    CANCELLING = "cancelling"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    TIMED_OUT = "timed_out"

    @property
    def is_terminal(self) -> bool:
        """Whether the state can never change again."""
        return self in _TERMINAL_RUN_STATES


class TaskState(StrEnum):
    """Where a task stands."""

    BLOCKED = "blocked"
    READY = "ready"
    DISPATCHED = "dispatched"
    RUNNING = "running"
    RETRY_WAIT = "retry_wait"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    SKIPPED = "skipped"

    @property
    def is_terminal(self) -> bool:
        """Whether the state can never change again."""
        return self in _TERMINAL_TASK_STATES


class RerunScope(StrEnum):
    """Which tasks of an earlier run are repeated."""

    UNFINISHED = "unfinished"
    ALL = "all"


class FailureCategory(StrEnum):
    """Why an attempt failed."""

    USER_CODE = "user_code"
    INFRASTRUCTURE = "infrastructure"
    TIMEOUT = "timeout"
    DATA_QUALITY = "data_quality"
    CONFIGURATION = "configuration"
    CANCELLED = "cancelled"

    @property
    def retryable(self) -> bool:
        """Whether another attempt is made when the failure itself does not say."""
        return self in _RETRYABLE


_TERMINAL_RUN_STATES = frozenset(
    {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED, RunState.TIMED_OUT}
)
_TERMINAL_TASK_STATES = frozenset(
    {TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED}
)
_RETRYABLE = frozenset(
    {FailureCategory.USER_CODE, FailureCategory.INFRASTRUCTURE, FailureCategory.TIMEOUT}
)
