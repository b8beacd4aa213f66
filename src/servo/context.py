"""What an asset's function receives as ``ctx``."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from servo._spending import Account
from servo.errors import TaskCancelledError
from servo.types._frozen import FrozenMap
from servo.types.amounts import Amounts
from servo.types.ids import RunId, TaskId
from servo.types.inputs import AssetOut
from servo.types.partition_keys import PartitionKey

if TYPE_CHECKING:
    import logging

__all__ = ["LOGGER_NAME", "AssetContext", "Reporter"]

D = TypeVar("D")

LOGGER_NAME = "servo.asset"
"""Name of the logger behind ``ctx.log``."""

_MAX_PERCENTAGE = 100


class Reporter(Protocol):
    """Carries what a function reports to whoever runs it."""

    def progress(self, message: str, percentage: float | None) -> None:
        """Take a progress message; the percentage lies between 0 and 100."""
        ...

    def metric(self, name: str, value: float) -> None:
        """Take a measurement; the value is finite."""
        ...

    def check_cancelled(self) -> bool:
        """Tell whether the task was asked to stop."""
        ...


class AssetContext:
    """The task that a function is called for, and its line to the outside.

    Every method, and reading ``log``, raises ``TaskCancelledError`` once the task was asked to
    stop; let it pass.

    Args:
        partition_key: The partition to produce; empty when the asset is not partitioned.
        run_id: The run; ``None`` outside one, as in a unit test.
        task_id: The task; likewise.
        attempt: 1 for the first attempt.
        tenant_id: Tenant that the run belongs to.
        workspace_id: Workspace that the run belongs to.
        config: Values that the run was created with, by name. They are text, as ``--config`` and
            the contract have them: ``float(ctx.config["nap"])``.
        trace_context: W3C trace context of the attempt, ``traceparent`` and ``tracestate``; empty
            where nobody traces. Pass it on to what the function calls.
        account: What the attempt has spent and may spend; without a limit when left out.
        reporter: Where reports go; they are dropped when left out.
    """

    __slots__ = (
        "_account",
        "_log",
        "_reporter",
        "attempt",
        "config",
        "partition_key",
        "run_id",
        "task_id",
        "tenant_id",
        "trace_context",
        "workspace_id",
    )

    def __init__(
        self,
        *,
        partition_key: PartitionKey | None = None,
        run_id: RunId | None = None,
        task_id: TaskId | None = None,
        attempt: int = 1,
        tenant_id: str = "",
        workspace_id: str = "",
        config: Mapping[str, Any] | None = None,
        trace_context: Mapping[str, str] | None = None,
        account: Account | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self.partition_key = PartitionKey() if partition_key is None else partition_key
        self.run_id = run_id
        self.task_id = task_id
        self.attempt = attempt
        self.tenant_id = tenant_id
        self.workspace_id = workspace_id
        self.config: Mapping[str, Any] = FrozenMap(config or {})
        self.trace_context: Mapping[str, str] = FrozenMap(trace_context or {})
        self._account = Account() if account is None else account
        self._reporter = reporter
        self._log: logging.LoggerAdapter[logging.Logger] | None = None

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """Logger of this attempt; its records carry run, task, attempt and partition."""
        self._check_cancelled()
        if self._log is None:
            import logging

            self._log = logging.LoggerAdapter(
                logging.getLogger(LOGGER_NAME),
                {
                    "run_id": self.run_id or "",
                    "task_id": self.task_id or "",
                    "attempt": self.attempt,
                    "partition_key": self.partition_key.to_canonical(),
                },
            )
        return self._log

    def output(
        self,
        data: D,
        *,
        schema: object = None,
        row_count: int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> AssetOut[D]:
        """Wrap the data to return, with more to say about it.

        Args:
            data: A table, a frame, a list of dicts or a path.
            schema: Schema that the data must have.
            row_count: Number of rows; counted when left out and the data can tell.
            metadata: Free text by name, kept with the materialisation.

        Raises:
            TaskCancelledError: The task was asked to stop.
            TypeError: ``metadata`` maps something else than strings to strings.
            ValueError: ``row_count`` is negative.
        """
        self._check_cancelled()
        return AssetOut(
            data,
            schema=schema,
            row_count=_count_rows(data) if row_count is None else row_count,
            metadata=metadata or {},
        )

    def report_progress(self, message: str, percentage: float | None = None) -> None:
        """Say how far the work is.

        Args:
            message: One line for people.
            percentage: How much is done, between 0 and 100.

        Raises:
            TaskCancelledError: The task was asked to stop.
            ValueError: The percentage is not between 0 and 100.
        """
        self._check_cancelled()
        # Written so that NaN, which compares false with everything, is refused as well.
        if percentage is not None and not 0 <= percentage <= _MAX_PERCENTAGE:
            raise ValueError(f"percentage must lie between 0 and 100, got {percentage!r}")
        if self._reporter is not None:
            self._reporter.progress(message, percentage)

    def report_metric(self, name: str, value: float) -> None:
        """Record a measurement.

        Args:
            name: What was measured.
            value: A finite number.

        Raises:
            TaskCancelledError: The task was asked to stop.
            ValueError: The name is empty, or the value is infinite or NaN.
        """
        self._check_cancelled()
        if not name:
            raise ValueError("a metric needs a name")
        if not math.isfinite(value):
            raise ValueError(f"the metric {name!r} must be a finite number, got {value!r}")
        if self._reporter is not None:
            self._reporter.metric(name, value)

    @property
    def budget(self) -> Amounts:
        """What this attempt may spend, by unit; a unit that is not there has no limit."""
        return self._account.budget

    @property
    def spent(self) -> Amounts:
        """What this attempt has spent until now, by unit: ``{"usd": "0.75"}``."""
        return self._account.spent

    def spend(self, unit: str, amount: str | int | Decimal) -> None:
        """Record that something was spent; that is never taken back.

        What a failed attempt spent counts as well: the task's budget holds for all its attempts
        together, and a run's for all its tasks.

        Args:
            unit: What is counted, such as ``usd`` or ``tokens``.
            amount: How much: ``"0.25"``, a whole number or a ``Decimal``, never a float.

        Raises:
            BudgetExhaustedError: More is spent now than the attempt may spend. It fails then,
                also where the error is caught, and is not tried again.
            TaskCancelledError: The task was asked to stop.
            TypeError: The amount is a float, which cannot say 0.1, or no number at all.
            ValueError: The unit is no name, the amount is negative, or a number gets too long.
        """
        # First of all: the money is gone, whatever comes of the task.
        self._account.add(unit, amount)
        self._check_cancelled()
        self._account.refuse_overdrawn()

    def _check_cancelled(self) -> None:
        if self._reporter is not None and self._reporter.check_cancelled():
            raise TaskCancelledError("the task was cancelled; the function should stop now")

    def __repr__(self) -> str:
        return (
            f"AssetContext(partition_key={self.partition_key!r}, run_id={self.run_id!r}, "
            f"attempt={self.attempt!r})"
        )


def _count_rows(data: object) -> int | None:
    # Tables and frames are recognised by what they offer, so that none of their libraries is
    # loaded; text, paths, bytes and mappings have a length that does not count rows.
    for attribute in ("num_rows", "height"):
        count = getattr(data, attribute, None)
        if type(count) is int:
            return count
    if isinstance(data, str | bytes | bytearray | os.PathLike | Mapping):
        return None
    if not hasattr(type(data), "__len__"):
        return None
    return len(data)  # type: ignore[arg-type]  # its type has __len__, seen one line above
