"""The session between a worker and the control plane; mirrors ``proto/arco/v1/worker.proto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from servo.errors import ServoError
from servo.types._frozen import set_field
from servo.types.amounts import Amounts, amounts
from servo.types.assets import AssetDefinition
from servo.types.checks import CheckResult
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch
from servo.types.partitions import PartitionKey, PartitionStrategy
from servo.types.records import Failure, Materialization, Progress

PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """The right to execute one attempt; ``token`` fences older leases of the same task."""

    task_id: str
    attempt: int
    token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerHello:
    """Opens a session."""

    worker_id: str
    protocol_version: int = PROTOCOL_VERSION
    servo_version: str = ""
    code_version_id: str = ""
    slots: int = 1
    capabilities: tuple[str, ...] = ()
    leases: tuple[Lease, ...] = ()
    host_name: str = ""
    process_id: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerWelcome:
    """Answers a hello."""

    protocol_version: int
    capabilities: tuple[str, ...] = ()
    heartbeat_interval: timedelta
    lease_length: timedelta
    store_id: str
    tenant_id: str = ""
    workspace_id: str = ""
    servo_version: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class InputPartition:
    """One partition of an input; ``path`` is relative to the data root."""

    partition_key: PartitionKey
    materialization_id: str = ""
    has_data: bool = False
    path: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskInput:
    """One input of a task."""

    parameter_name: str
    upstream_key: AssetKey
    partitions: tuple[InputPartition, ...] = ()
    partitioning: PartitionStrategy = PartitionStrategy()


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskDispatch:
    """Gives the worker an attempt."""

    lease: Lease
    run_id: str
    deployment_id: str = ""
    asset: AssetDefinition
    partition_key: PartitionKey
    inputs: tuple[TaskInput, ...] = ()
    config: Mapping[str, str] = field(default_factory=dict)
    trace_context: Mapping[str, str] = field(default_factory=dict)
    budget: Amounts = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelTask:
    """Asks the worker to end an attempt."""

    lease: Lease
    reason: str = ""
    grace_period: timedelta = timedelta(seconds=10)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultReceipt:
    """Answers a result; ``accepted`` means it is durable."""

    lease: Lease
    accepted: bool
    error: ServoError | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LeaseRevoked:
    """The lease is no longer the worker's own; the attempt must not publish."""

    lease: Lease
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogReceipt:
    """How many log batches of this session are durable."""

    batches: int


ServerMessage = (
    ServerWelcome | TaskDispatch | CancelTask | ResultReceipt | LeaseRevoked | LogReceipt
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DispatchReceived:
    """The worker has received a dispatch."""

    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptStarted:
    """The attempt has begun; the time is the worker's and only recorded."""

    lease: Lease
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptProgressed:
    """The attempt made progress."""

    lease: Lease
    progress: Progress


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptMetric:
    """The attempt reported a number."""

    lease: Lease
    name: str
    value: float
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSpent:
    """The attempt spent something; ``spent`` is all that it has spent since it began.

    Raises:
        ValueError: An amount is malformed.
    """

    lease: Lease
    spent: Amounts = field(default_factory=dict)

    def __post_init__(self) -> None:
        set_field(self, "spent", amounts(self.spent, "spent"))


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptSucceeded:
    """The attempt succeeded and its data is published."""

    materialization: Materialization


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptCancelled:
    """The attempt was ended because it was cancelled."""

    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class AttemptFinished:
    """The attempt has ended.

    Raises:
        ValueError: An amount is malformed.
    """

    lease: Lease
    outcome: AttemptSucceeded | Failure | AttemptCancelled
    checks: tuple[CheckResult, ...] = ()
    finished_at: datetime | None = None
    spent: Amounts = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.spent:
            set_field(self, "spent", amounts(self.spent, "spent"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The worker is alive and still holds these leases."""

    leases: tuple[Lease, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditGrant:
    """Allows the control plane to push further attempts, in addition to earlier grants."""

    attempts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerDraining:
    """The worker takes no further attempts."""


WorkerMessage = (
    WorkerHello
    | CreditGrant
    | DispatchReceived
    | AttemptStarted
    | AttemptProgressed
    | AttemptMetric
    | LogBatch
    | AttemptFinished
    | Heartbeat
    | WorkerDraining
    | AttemptSpent
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSessionRequest:
    """Messages of the worker, in order."""

    messages: tuple[WorkerMessage, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenSessionResponse:
    """Messages of the control plane, in order."""

    messages: tuple[ServerMessage, ...]
