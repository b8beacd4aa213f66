"""The session between a worker and the control plane; mirrors ``proto/arco/v1/worker.proto``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from msgspec import Struct, field
from msgspec.structs import force_setattr

from servo.errors import ServoError
from servo.types.amounts import Amounts, amounts
from servo.types.assets import AssetDefinition
from servo.types.checks import CheckResult
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch
from servo.types.partitions import PartitionKey, PartitionStrategy
from servo.types.records import Failure, Materialization, Progress

PROTOCOL_VERSION = 1


class Lease(Struct, frozen=True, kw_only=True, gc=False):
    """The right to execute one attempt; ``token`` fences older leases of the same task."""

    task_id: str
    attempt: int
    token: int


class WorkerHello(Struct, frozen=True, kw_only=True, gc=False):
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


class ServerWelcome(Struct, frozen=True, kw_only=True, gc=False):
    """Answers a hello."""

    protocol_version: int
    capabilities: tuple[str, ...] = ()
    heartbeat_interval: timedelta
    lease_length: timedelta
    store_id: str
    tenant_id: str = ""
    workspace_id: str = ""
    servo_version: str = ""


class InputPartition(Struct, frozen=True, kw_only=True, gc=False):
    """One partition of an input; ``path`` is relative to the data root."""

    partition_key: PartitionKey
    materialization_id: str = ""
    has_data: bool = False
    path: str = ""


class TaskInput(Struct, frozen=True, kw_only=True, gc=False):
    """One input of a task."""

    parameter_name: str
    upstream_key: AssetKey
    partitions: tuple[InputPartition, ...] = ()
    partitioning: PartitionStrategy = PartitionStrategy()


class TaskDispatch(Struct, frozen=True, kw_only=True, gc=False):
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


class CancelTask(Struct, frozen=True, kw_only=True, gc=False):
    """Asks the worker to end an attempt."""

    lease: Lease
    reason: str = ""
    grace_period: timedelta = timedelta(seconds=10)


class ResultReceipt(Struct, frozen=True, kw_only=True):
    """Answers a result; ``accepted`` means it is durable."""

    lease: Lease
    accepted: bool
    error: ServoError | None = None


class LeaseRevoked(Struct, frozen=True, kw_only=True, gc=False):
    """The lease is no longer the worker's own; the attempt must not publish."""

    lease: Lease
    reason: str = ""


class LogReceipt(Struct, frozen=True, kw_only=True, gc=False):
    """How many log batches of this session are durable."""

    batches: int


ServerMessage = (
    ServerWelcome | TaskDispatch | CancelTask | ResultReceipt | LeaseRevoked | LogReceipt
)


class DispatchReceived(Struct, frozen=True, kw_only=True, gc=False):
    """The worker has received a dispatch."""

    lease: Lease


class AttemptStarted(Struct, frozen=True, kw_only=True, gc=False):
    """The attempt has begun; the time is the worker's and only recorded."""

    lease: Lease
    started_at: datetime | None = None


class AttemptProgressed(Struct, frozen=True, kw_only=True, gc=False):
    """The attempt made progress."""

    lease: Lease
    progress: Progress


class AttemptMetric(Struct, frozen=True, kw_only=True, gc=False):
    """The attempt reported a number."""

    lease: Lease
    name: str
    value: float
    reported_at: datetime | None = None


class AttemptSpent(Struct, frozen=True, kw_only=True, gc=False):
    """The attempt spent something; ``spent`` is all that it has spent since it began.

    Raises:
        ValueError: An amount is malformed.
    """

    lease: Lease
    spent: Amounts = field(default_factory=dict)

    def __post_init__(self) -> None:
        force_setattr(self, "spent", amounts(self.spent, "spent"))


class AttemptSucceeded(Struct, frozen=True, kw_only=True, gc=False):
    """The attempt succeeded and its data is published."""

    materialization: Materialization


class AttemptCancelled(Struct, frozen=True, kw_only=True, gc=False):
    """The attempt was ended because it was cancelled."""

    reason: str = ""


class AttemptFinished(Struct, frozen=True, kw_only=True, gc=False):
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
            force_setattr(self, "spent", amounts(self.spent, "spent"))


class Heartbeat(Struct, frozen=True, kw_only=True, gc=False):
    """The worker is alive and still holds these leases."""

    leases: tuple[Lease, ...] = ()


class CreditGrant(Struct, frozen=True, kw_only=True, gc=False):
    """Allows the control plane to push further attempts, in addition to earlier grants."""

    attempts: int


class WorkerDraining(Struct, frozen=True, kw_only=True, gc=False):
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


class OpenSessionRequest(Struct, frozen=True, kw_only=True, gc=False):
    """Messages of the worker, in order."""

    messages: tuple[WorkerMessage, ...]


class OpenSessionResponse(Struct, frozen=True, kw_only=True, gc=False):
    """Messages of the control plane, in order."""

    messages: tuple[ServerMessage, ...]
