"""The history: every change of state is one event; mirrors ``proto/arco/v1/event.proto``."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from servo.types.amounts import Amounts
from servo.types.checks import CheckResult
from servo.types.deployments import Deployment
from servo.types.records import Failure, Materialization, Progress, Run
from servo.types.runs import RunState, TaskState


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentActivated:
    """A manifest became the current one."""

    deployment: Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class RunCreated:
    """A run was accepted; its tasks are those of the plan."""

    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStateChanged:
    """A run changed its state."""

    state: RunState
    reason: str = ""
    ends_as: RunState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStateChanged:
    """A task changed its state; ``index`` is its position in the plan."""

    index: int
    state: TaskState
    attempt: int = 0
    reason: str = ""
    failure: Failure | None = None
    worker_id: str = ""
    retry_at: datetime | None = None
    materialization: Materialization | None = None
    checks: tuple[CheckResult, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunUpdated:
    """A run was held, resumed or given another priority; both as they are now."""

    paused: bool = False
    priority: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskSpent:
    """A task spent something; ``spent`` is what all of its attempts have spent now."""

    index: int
    attempt: int
    spent: Amounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolChanged:
    """A pool was given a size; ``None`` when it was removed."""

    name: str
    slots: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskProgressed:
    """A task made progress; sent to watchers only, with sequence 0."""

    index: int
    attempt: int
    progress: Progress


EventPayload = (
    DeploymentActivated
    | RunCreated
    | RunStateChanged
    | TaskStateChanged
    | TaskProgressed
    | RunUpdated
    | TaskSpent
    | PoolChanged
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One entry of the history of a workspace."""

    sequence: int
    occurred_at: datetime
    run_id: str = ""
    payload: EventPayload
