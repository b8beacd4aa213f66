"""States and failure categories."""

from __future__ import annotations

from servo.types import FailureCategory, RunState, TaskState


def test_a_run_ends_in_one_of_four_states() -> None:
    assert {state for state in RunState if state.is_terminal} == {
        "succeeded",
        "failed",
        "cancelled",
        "timed_out",
    }


def test_a_task_ends_in_one_of_four_states() -> None:
    assert {state for state in TaskState if state.is_terminal} == {
        "succeeded",
        "failed",
        "cancelled",
        "skipped",
    }


def test_failures_of_data_configuration_and_cancelling_are_not_retried() -> None:
    assert {category for category in FailureCategory if not category.retryable} == {
        "data_quality",
        "configuration",
        "cancelled",
    }
