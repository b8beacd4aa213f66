"""A context to call an asset's function with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from servo._spending import Account
from servo.context import AssetContext
from servo.types.amounts import Amounts
from servo.types.ids import RunId, TaskId
from servo.types.partition_keys import PartitionKey

__all__ = ["RecordingReporter", "make_context"]


class RecordingReporter:
    """Keeps what a function reports.

    Attributes:
        progress_reports: Messages with their percentage, in order.
        metrics: Measurements in order.
        notes: Levels and lines of Servo's own notes, such as failed checks.
        spending: What was spent in all, by unit, after each time.
        cancelled: Set it to have the context raise at its next call.
    """

    def __init__(self) -> None:
        self.progress_reports: list[tuple[str, float | None]] = []
        self.metrics: list[tuple[str, float]] = []
        self.notes: list[tuple[str, str]] = []
        self.spending: list[Amounts] = []
        self.cancelled = False

    def progress(self, message: str, percentage: float | None) -> None:
        """Keep a progress message."""
        self.progress_reports.append((message, percentage))

    def metric(self, name: str, value: float) -> None:
        """Keep a measurement."""
        self.metrics.append((name, value))

    def spent(self, total: Amounts) -> None:
        """Keep what was spent."""
        self.spending.append(total)

    def note(self, level: str, text: str) -> None:
        """Keep a note."""
        self.notes.append((level, text))

    def check_cancelled(self) -> bool:
        """Tell whether the test has cancelled the task."""
        return self.cancelled

    def when_cancelled(self, callback: Callable[[], None] | None) -> None:
        """Nothing calls back here: a test cancels before it begins."""


def make_context(
    *,
    partition: PartitionKey | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    attempt: int = 1,
    budget: Mapping[str, str] | None = None,
    reporter: RecordingReporter | None = None,
) -> AssetContext:
    """Make a context for calling an asset's function in a test.

    Args:
        partition: The partition to produce.
        config: Values that the run would have been created with.
        attempt: The number of the attempt.
        budget: What the function may spend, by unit, such as ``{"usd": "1.50"}``; ``ctx.spent``
            says what it has spent.
        reporter: Keeps what the function reports; leave it out when that does not matter.
    """
    key = partition if isinstance(partition, PartitionKey) else PartitionKey(partition or {})
    return AssetContext(
        partition_key=key,
        run_id=RunId.generate(),
        task_id=TaskId.generate(),
        attempt=attempt,
        tenant_id="test",
        workspace_id="test",
        config=config,
        account=Account(budget or {}, None if reporter is None else reporter.spent),
        reporter=reporter,
    )
