"""The history: every change of state is one event; mirrors ``proto/arco/v1/event.proto``."""

from __future__ import annotations

from datetime import datetime

from msgspec import Struct, field

from servo.types.amounts import Amounts
from servo.types.checks import CheckResult
from servo.types.deployments import Deployment
from servo.types.records import Failure, Materialization, Progress, Run
from servo.types.runs import RunState, TaskState


class DeploymentActivated(Struct, frozen=True, kw_only=True, gc=False):
    """A manifest became the current one."""

    deployment: Deployment


class RunCreated(Struct, frozen=True, kw_only=True, gc=False):
    """A run was accepted; its tasks are those of the plan."""

    run: Run


class RunStateChanged(Struct, frozen=True, kw_only=True, gc=False):
    """A run changed its state."""

    state: RunState
    reason: str = ""
    ends_as: RunState | None = None


class TaskStateChanged(Struct, frozen=True, kw_only=True, gc=False):
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


class RunUpdated(Struct, frozen=True, kw_only=True, gc=False):
    """A run was held, resumed or given another priority; both as they are now."""

    paused: bool = False
    priority: int = 0


class TaskSpent(Struct, frozen=True, kw_only=True, gc=False):
    """A task spent something; ``spent`` is what all of its attempts have spent now."""

    index: int
    attempt: int
    spent: Amounts = field(default_factory=dict)


class PoolChanged(Struct, frozen=True, kw_only=True, gc=False):
    """A pool was given a size; ``None`` when it was removed."""

    name: str
    slots: int | None = None


class TaskProgressed(Struct, frozen=True, kw_only=True, gc=False):
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


class Event(Struct, frozen=True, kw_only=True, gc=False):
    """One entry of the history of a workspace."""

    sequence: int
    occurred_at: datetime
    run_id: str = ""
    payload: EventPayload
