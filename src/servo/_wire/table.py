"""Which type of the façade is which message, and the two functions between them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType, ModuleType
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from servo._gen.arco.v1 import (
    asset_pb2,
    asset_service_pb2,
    common_pb2,
    deployment_pb2,
    error_pb2,
    event_pb2,
    key_pb2,
    log_pb2,
    manifest_pb2,
    pool_pb2,
    run_pb2,
    run_service_pb2,
    server_pb2,
    worker_pb2,
)
from servo._wire import (
    asset_service,
    assets,
    attempts,
    checks,
    deployment_service,
    deployments,
    dispatches,
    error_details,
    events,
    explaining,
    key_service,
    keys,
    leases,
    log_service,
    logs,
    manifests,
    partitions,
    plans,
    pool_service,
    run_service,
    runs,
    server_service,
    sessions,
)
from servo.errors import ServoError
from servo.types import access, blockers, pools, requests
from servo.types import sessions as session_types
from servo.types.assets import (
    AssetDefinition,
    CodeLocation,
    ExecutionPolicy,
    IoConfig,
    ResourceRequirements,
    RetryPolicy,
)
from servo.types.checks import (
    Check,
    CheckResult,
    CustomSqlCheck,
    FreshnessCheck,
    NotNullCheck,
    RowCountCheck,
    UniqueCheck,
)
from servo.types.dependencies import AssetDependency
from servo.types.deployments import AssetChange, Deployment
from servo.types.events import (
    DeploymentActivated,
    Event,
    PoolChanged,
    RunCreated,
    RunStateChanged,
    RunUpdated,
    TaskProgressed,
    TaskSpent,
    TaskStateChanged,
)
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch, LogLine
from servo.types.manifests import GitContext, ManifestContents, Schedule
from servo.types.partitions import (
    PartitionDimension,
    PartitionKey,
    PartitionStrategy,
    StaticDimension,
    TenantDimension,
    TimeDimension,
)
from servo.types.plans import Plan, PlanGate, PlannedTask
from servo.types.records import Column, Failure, Materialization, Progress, Run, Task, TaskCounts

T = TypeVar("T")
M = TypeVar("M", bound=Message)


@dataclass(frozen=True, slots=True)
class Row:
    """One type of the façade.

    Attributes:
        message: The generated class.
        to_proto: Fills in an empty message: messages inside messages are filled in where they
            are, which takes half the time of making and copying them.
        from_proto: Reads a message.
    """

    message: type[Message]
    to_proto: Callable[[Any, Any], None]
    from_proto: Callable[[Any], Any]


_word_start = re.compile(r"(?<!^)(?=[A-Z])")


def _row(message: type[M], to_proto: Callable[[T, M], None], from_proto: Callable[[M], T]) -> Row:
    return Row(message, to_proto, from_proto)


def _rows(converters: ModuleType, messages: ModuleType, *types: type) -> dict[type, Row]:
    # A type, its message and its converters have one name, spelt as each of them is spelt.
    rows = {}
    for cls in types:
        name = _word_start.sub("_", cls.__name__).lower()
        rows[cls] = Row(
            getattr(messages, cls.__name__),
            getattr(converters, f"{name}_to_proto"),
            getattr(converters, f"{name}_from_proto"),
        )
    return rows


_DIMENSION: Final = _row(
    asset_pb2.PartitionDimension,
    partitions.partition_dimension_to_proto,
    partitions.partition_dimension_from_proto,
)
_CHECK: Final = _row(asset_pb2.Check, checks.check_to_proto, checks.check_from_proto)
_SELECTION: Final = _row(
    run_pb2.PartitionSelection,
    run_service.partition_selection_to_proto,
    run_service.partition_selection_from_proto,
)

# Unions of the façade are keys as well, since the message for any variant is the same one.
TYPES: Final[Mapping[Any, Row]] = MappingProxyType(
    {
        **_rows(keys, common_pb2, AssetKey, PartitionKey),
        **_rows(partitions, asset_pb2, PartitionStrategy),
        **_rows(
            assets,
            asset_pb2,
            AssetDependency,
            CodeLocation,
            IoConfig,
            RetryPolicy,
            ExecutionPolicy,
            ResourceRequirements,
            AssetDefinition,
        ),
        **_rows(checks, run_pb2, CheckResult),
        **_rows(manifests, manifest_pb2, GitContext, Schedule),
        **_rows(runs, run_pb2, Failure, Column, Materialization, Progress, Task, TaskCounts, Run),
        **_rows(plans, run_pb2, PlannedTask, PlanGate, Plan),
        **_rows(deployments, deployment_pb2, Deployment, AssetChange),
        **_rows(
            events,
            event_pb2,
            DeploymentActivated,
            RunCreated,
            RunStateChanged,
            TaskStateChanged,
            TaskProgressed,
            RunUpdated,
            TaskSpent,
            PoolChanged,
            Event,
        ),
        **_rows(logs, log_pb2, LogLine, LogBatch),
        **_rows(
            leases,
            worker_pb2,
            session_types.Lease,
            session_types.Heartbeat,
            session_types.DispatchReceived,
            session_types.CancelTask,
            session_types.LeaseRevoked,
        ),
        **_rows(
            dispatches,
            worker_pb2,
            session_types.InputPartition,
            session_types.TaskInput,
            session_types.TaskDispatch,
        ),
        **_rows(
            attempts,
            worker_pb2,
            session_types.AttemptStarted,
            session_types.AttemptProgressed,
            session_types.AttemptMetric,
            session_types.AttemptSpent,
            session_types.AttemptSucceeded,
            session_types.AttemptCancelled,
            session_types.AttemptFinished,
            session_types.ResultReceipt,
        ),
        **_rows(
            sessions,
            worker_pb2,
            session_types.WorkerHello,
            session_types.ServerWelcome,
            session_types.CreditGrant,
            session_types.LogReceipt,
            session_types.WorkerDraining,
            session_types.OpenSessionRequest,
            session_types.OpenSessionResponse,
        ),
        **_rows(
            deployment_service,
            deployment_pb2,
            requests.DeployRequest,
            requests.DeployResponse,
            requests.FindMissingChunksRequest,
            requests.FindMissingChunksResponse,
            requests.UploadChunksRequest,
            requests.UploadChunksResponse,
            requests.ReadChunksRequest,
            requests.ReadChunksResponse,
            requests.GetDeploymentRequest,
            requests.GetDeploymentResponse,
            requests.ListDeploymentsRequest,
            requests.ListDeploymentsResponse,
            requests.DiffDeploymentsRequest,
            requests.DiffDeploymentsResponse,
        ),
        **_rows(
            run_service,
            run_pb2,
            requests.PartitionRange,
            requests.PeriodRange,
            requests.DimensionSelection,
            requests.PartitionProduct,
            requests.Rerun,
            requests.CreateRunRequest,
            requests.CreateRunResponse,
            requests.GetRunRequest,
            requests.GetRunResponse,
            requests.ListRunsRequest,
            requests.ListRunsResponse,
            requests.CancelRunRequest,
            requests.CancelRunResponse,
            requests.UpdateRunRequest,
            requests.UpdateRunResponse,
        ),
        **_rows(
            run_service,
            run_service_pb2,
            requests.WatchRunRequest,
            requests.WatchRunResponse,
            requests.WatchEventsRequest,
            requests.WatchEventsResponse,
        ),
        **_rows(
            explaining,
            run_pb2,
            blockers.Blocker,
            blockers.ExplainRequest,
            blockers.ExplainResponse,
        ),
        **_rows(
            pool_service,
            pool_pb2,
            pools.Pool,
            pools.ListPoolsRequest,
            pools.ListPoolsResponse,
            pools.SetPoolRequest,
            pools.SetPoolResponse,
        ),
        **_rows(
            asset_service,
            asset_service_pb2,
            requests.AssetSummary,
            requests.ListAssetsRequest,
            requests.ListAssetsResponse,
            requests.GetAssetRequest,
            requests.GetAssetResponse,
            requests.ListMaterializationsRequest,
            requests.ListMaterializationsResponse,
        ),
        **_rows(log_service, log_pb2, requests.ReadLogsRequest, requests.ReadLogsResponse),
        **_rows(
            server_service,
            server_pb2,
            requests.GetServerInfoRequest,
            requests.GetServerInfoResponse,
        ),
        **_rows(
            key_service,
            key_pb2,
            access.ApiKey,
            access.CreateKeyRequest,
            access.CreateKeyResponse,
            access.ListKeysRequest,
            access.ListKeysResponse,
            access.RevokeKeyRequest,
            access.RevokeKeyResponse,
        ),
        ManifestContents: _row(
            manifest_pb2.AssetManifest,
            manifests.asset_manifest_to_proto,
            manifests.asset_manifest_from_proto,
        ),
        ServoError: _row(
            error_pb2.ErrorDetail,
            error_details.error_detail_to_proto,
            error_details.error_detail_from_proto,
        ),
        PartitionDimension: _DIMENSION,
        TimeDimension: _DIMENSION,
        StaticDimension: _DIMENSION,
        TenantDimension: _DIMENSION,
        Check: _CHECK,
        RowCountCheck: _CHECK,
        NotNullCheck: _CHECK,
        UniqueCheck: _CHECK,
        FreshnessCheck: _CHECK,
        CustomSqlCheck: _CHECK,
        requests.PartitionSelection: _SELECTION,
        requests.AllPartitions: _SELECTION,
        session_types.WorkerMessage: _row(
            worker_pb2.WorkerMessage,
            sessions.worker_message_to_proto,
            sessions.worker_message_from_proto,
        ),
        session_types.ServerMessage: _row(
            worker_pb2.ServerMessage,
            sessions.server_message_to_proto,
            sessions.server_message_from_proto,
        ),
    }
)
"""Each type of the façade that has a message of its own."""


def row_of(cls: Any) -> Row:
    """Find the row of a type or of its nearest base.

    Raises:
        TypeError: It is not part of the contract.
    """
    found = TYPES.get(cls)
    if found is None and isinstance(cls, type):
        found = next((TYPES[base] for base in cls.__mro__ if base in TYPES), None)
    if found is None:
        raise TypeError(f"{cls!r} has no message in arco.v1; use one of the types in servo.types")
    return found
