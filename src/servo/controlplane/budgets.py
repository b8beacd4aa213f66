"""What a run or an asset may spend: when nothing else may begin, and how that is said."""

from __future__ import annotations

from servo.controlplane.active import ActiveRun
from servo.types import amounts
from servo.types.labels import task_label
from servo.types.reasons import FailureReason
from servo.types.records import Failure, Run, Task
from servo.types.runs import FailureCategory


def failure(message: str) -> Failure:
    """Return how a task fails whose budget is spent."""
    return Failure(
        category=FailureCategory.CONFIGURATION,
        message=message,
        retryable=False,
        reason=FailureReason.BUDGET,
        error_type="BudgetExhaustedError",
    )


def refusal(active: ActiveRun, task: Task) -> Failure | None:
    """Return why a task may not begin another attempt, if its budget or its run's is spent."""
    run = active.machine.run
    budget = active.policy(task).budget
    if not budget and not run.budget:
        return None
    for what, spent, limit in (
        (f"run {run.run_id}", run.spent, run.budget),
        (task_label(task), task.spent, budget),
    ):
        said = _overdrawn(what, spent, limit)
        if said:
            return failure(f"{said}; nothing else of it starts")
    return None


def overdrawn(run: Run) -> str:
    """Return that a run has spent its budget; nothing while it has not."""
    return _overdrawn(f"run {run.run_id}", run.spent, run.budget)


def _overdrawn(what: str, spent: amounts.Amounts, limit: amounts.Amounts) -> str:
    unit = amounts.overdrawn(spent, limit)
    return f"{what} has spent {spent[unit]} of its budget of {limit[unit]} {unit}" if unit else ""
