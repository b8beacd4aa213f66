"""What the control plane records: runs, tasks and what they produced.

Each class mirrors the message of the same name in ``proto/arco/v1/run.proto``; the comments there
are the reference for the fields. Instances are made by the control plane and by the wire, so
nothing is validated a second time here.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from servo.types._frozen import EMPTY_MAP
from servo.types.amounts import Amounts
from servo.types.checks import CheckResult
from servo.types.keys import AssetKey
from servo.types.partitions import PartitionKey
from servo.types.runs import FailureCategory, RunState, TaskState


class Failure(Struct, frozen=True, kw_only=True, gc=False):
    """Why an attempt failed."""

    category: FailureCategory
    message: str
    retryable: bool | None = None
    reason: str = ""
    error_type: str = ""
    max_attempts: int = 0

    @property
    def is_retryable(self) -> bool:
        """Whether another attempt may help: the explicit answer, else the category's."""
        return self.category.retryable if self.retryable is None else self.retryable


class Column(Struct, frozen=True, kw_only=True, gc=False):
    """A column of a table; ``type`` is spelt as Arrow prints it."""

    name: str
    type: str
    nullable: bool = True


class Materialization(Struct, frozen=True, kw_only=True, gc=False):
    """One partition of an asset that was produced; ``byte_size`` is in bytes."""

    materialization_id: str
    asset_key: AssetKey
    asset_id: str = ""
    partition_key: PartitionKey
    run_id: str = ""
    task_id: str = ""
    attempt: int = 1
    created_at: datetime | None = None
    has_data: bool = True
    row_count: int | None = None
    byte_size: int = 0
    path: str = ""
    columns: tuple[Column, ...] = ()
    metadata: Mapping[str, str] = EMPTY_MAP


class Progress(Struct, frozen=True, kw_only=True, gc=False):
    """The latest progress of an attempt; ``percentage`` is 0 to 100."""

    message: str
    percentage: int | None = None


class Task(Struct, frozen=True, kw_only=True, gc=False):
    """One task of a run."""

    task_id: str
    index: int
    asset_key: AssetKey
    partition_key: PartitionKey
    state: TaskState
    attempt: int = 0
    reason: str = ""
    failure: Failure | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    retry_at: datetime | None = None
    worker_id: str = ""
    progress: Progress | None = None
    materialization: Materialization | None = None
    checks: tuple[CheckResult, ...] = ()
    spent: Amounts = EMPTY_MAP
    waiting: str = ""
    spent_before: Amounts = EMPTY_MAP


class TaskCounts(Struct, frozen=True, kw_only=True, gc=False):
    """The number of tasks in each state."""

    total: int = 0
    blocked: int = 0
    ready: int = 0
    dispatched: int = 0
    running: int = 0
    retry_wait: int = 0
    succeeded: int = 0
    failed: int = 0
    cancelled: int = 0
    skipped: int = 0


class Run(Struct, frozen=True, kw_only=True, gc=False):
    """One execution of a plan."""

    run_id: str
    deployment_id: str = ""
    state: RunState
    run_key: str = ""
    request_fingerprint: str = ""
    selection: tuple[str, ...] = ()
    created_at: datetime | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    reason: str = ""
    counts: TaskCounts = TaskCounts()
    tasks: tuple[Task, ...] = ()
    last_sequence: int = 0
    trace_context: Mapping[str, str] = EMPTY_MAP
    priority: int = 0
    max_parallelism: int = 0
    timeout_seconds: int = 0
    budget: Amounts = EMPTY_MAP
    spent: Amounts = EMPTY_MAP
    code_version_id: str = ""
    parent_run_id: str = ""
    root_run_id: str = ""
    paused: bool = False
    ends_as: RunState | None = None
    max_retries: int | None = None
