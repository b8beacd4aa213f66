"""What became of an attempt: what its process said or how that ended, and why it was ended."""

from __future__ import annotations

from typing import Final

from servo._posix import signal
from servo.types.reasons import FailureReason
from servo.types.records import Failure
from servo.types.runs import FailureCategory
from servo.types.sessions import AttemptCancelled, AttemptFinished, AttemptSucceeded
from servo.worker.attempt import Attempt, Verdict

__all__ = ["between_processes", "killed", "settled"]

_FROM_OUTSIDE: Final = frozenset({signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that others send; the rest comes from what the code does."""


def settled(attempt: Attempt, finished: AttemptFinished) -> AttemptFinished:
    """Judge an attempt whose process gave a result.

    Args:
        attempt: The attempt, with the worker's verdict on it if there is one.
        finished: What its process said.
    """
    outcome = finished.outcome
    # One that had published when it was asked to stop has succeeded.
    if attempt.verdict is None or isinstance(outcome, AttemptSucceeded):
        return finished
    how = f"it ended with: {outcome.message}" if isinstance(outcome, Failure) else "it stopped"
    return _ended(attempt, how)


def between_processes(attempt: Attempt) -> AttemptFinished:
    """Judge an attempt that is ended while no process has it: the last one had other code.

    Args:
        attempt: The attempt, with the worker's verdict on it.
    """
    return _ended(attempt, "it waited for a process with the code that was deployed")


def killed(attempt: Attempt, code: int, *, out_of_memory: bool) -> AttemptFinished:
    """Judge an attempt whose process ended without a result.

    Args:
        attempt: The attempt, with the worker's verdict on it if there is one.
        code: How the process ended; a negative number is a signal.
        out_of_memory: Whether the kernel killed something for want of memory meanwhile.
    """
    name = _name(code)
    if attempt.verdict is not None:
        return _ended(attempt, f"ended by force, {name}")
    if code >= 0:
        return attempt.failed(
            FailureCategory.USER_CODE,
            f"its process ended with {name} before the function returned",
            FailureReason.EXIT,
        )
    if -code == signal.SIGKILL and out_of_memory:
        return attempt.failed(
            FailureCategory.INFRASTRUCTURE,
            "its process was killed by the kernel because memory ran out; give the task more, or "
            "fewer neighbours, or have it read less at a time",
            FailureReason.OOM,
        )
    outside = -code in _FROM_OUTSIDE
    return attempt.failed(
        FailureCategory.INFRASTRUCTURE if outside else FailureCategory.USER_CODE,
        f"its process was killed by {name}",
        FailureReason.SIGNAL,
    )


def _ended(attempt: Attempt, how: str) -> AttemptFinished:
    text = f"{attempt.reason} ({how})"
    if attempt.verdict is Verdict.TIMED_OUT:
        return attempt.failed(FailureCategory.TIMEOUT, text, FailureReason.TIMEOUT)
    if attempt.verdict is Verdict.EVICTED:
        return attempt.failed(FailureCategory.INFRASTRUCTURE, text, FailureReason.EVICTED)
    return attempt.finished(AttemptCancelled(reason=text))


def _name(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    known = -code in set(signal.Signals)
    return f"signal {-code} ({signal.Signals(-code).name})" if known else f"signal {-code}"
