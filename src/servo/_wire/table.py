"""Which type of the façade is which message, and the two functions between them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final, TypeVar

from google.protobuf.message import Message

from servo._gen.arco.v1 import (
    asset_pb2,
    asset_service_pb2,
    common_pb2,
    deployment_pb2,
    error_pb2,
    event_pb2,
    log_pb2,
    manifest_pb2,
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
    keys,
    leases,
    log_service,
    logs,
    manifests,
    partitions,
    plans,
    run_service,
    runs,
    server_service,
    sessions,
)
from servo.errors import ServoError
from servo.types.assets import (
    AssetDefinition,
    CodeLocation,
    ExecutionPolicy,
    IoConfig,
    ResourceRequirements,
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
from servo.types.dependencies import (
    AssetDependency,
)
from servo.types.deployments import (
    AssetChange,
    Deployment,
)
from servo.types.events import (
    DeploymentActivated,
    Event,
    RunCreated,
    RunStateChanged,
    TaskProgressed,
    TaskStateChanged,
)
from servo.types.keys import (
    AssetKey,
)
from servo.types.logs import (
    LogBatch,
    LogLine,
)
from servo.types.manifests import (
    GitContext,
    ManifestContents,
    Schedule,
)
from servo.types.partitions import (
    PartitionDimension,
    PartitionKey,
    PartitionStrategy,
    StaticDimension,
    TenantDimension,
    TimeDimension,
)
from servo.types.plans import (
    Plan,
    PlanGate,
    PlannedTask,
)
from servo.types.records import (
    Column,
    Failure,
    Materialization,
    Progress,
    Run,
    Task,
    TaskCounts,
)
from servo.types.requests import (
    AllPartitions,
    AssetSummary,
    CancelRunRequest,
    CancelRunResponse,
    CreateRunRequest,
    CreateRunResponse,
    DeployRequest,
    DeployResponse,
    DiffDeploymentsRequest,
    DiffDeploymentsResponse,
    FindMissingChunksRequest,
    FindMissingChunksResponse,
    GetAssetRequest,
    GetAssetResponse,
    GetDeploymentRequest,
    GetDeploymentResponse,
    GetRunRequest,
    GetRunResponse,
    GetServerInfoRequest,
    GetServerInfoResponse,
    ListAssetsRequest,
    ListAssetsResponse,
    ListDeploymentsRequest,
    ListDeploymentsResponse,
    ListMaterializationsRequest,
    ListMaterializationsResponse,
    ListRunsRequest,
    ListRunsResponse,
    PartitionRange,
    PartitionSelection,
    ReadChunksRequest,
    ReadChunksResponse,
    ReadLogsRequest,
    ReadLogsResponse,
    UploadChunksRequest,
    UploadChunksResponse,
    WatchRunRequest,
    WatchRunResponse,
)
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptStarted,
    AttemptSucceeded,
    CancelTask,
    CreditGrant,
    DispatchReceived,
    Heartbeat,
    InputPartition,
    Lease,
    LeaseRevoked,
    LogReceipt,
    OpenSessionRequest,
    OpenSessionResponse,
    ResultReceipt,
    ServerMessage,
    ServerWelcome,
    TaskDispatch,
    TaskInput,
    WorkerDraining,
    WorkerHello,
    WorkerMessage,
)

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


def _row(message: type[M], to_proto: Callable[[T, M], None], from_proto: Callable[[M], T]) -> Row:
    return Row(message, to_proto, from_proto)


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
        AssetKey: _row(common_pb2.AssetKey, keys.asset_key_to_proto, keys.asset_key_from_proto),
        PartitionKey: _row(
            common_pb2.PartitionKey,
            keys.partition_key_to_proto,
            keys.partition_key_from_proto,
        ),
        PartitionStrategy: _row(
            asset_pb2.PartitionStrategy,
            partitions.partition_strategy_to_proto,
            partitions.partition_strategy_from_proto,
        ),
        AssetDependency: _row(
            asset_pb2.AssetDependency,
            assets.asset_dependency_to_proto,
            assets.asset_dependency_from_proto,
        ),
        CodeLocation: _row(
            asset_pb2.CodeLocation,
            assets.code_location_to_proto,
            assets.code_location_from_proto,
        ),
        IoConfig: _row(asset_pb2.IoConfig, assets.io_config_to_proto, assets.io_config_from_proto),
        ExecutionPolicy: _row(
            asset_pb2.ExecutionPolicy,
            assets.execution_policy_to_proto,
            assets.execution_policy_from_proto,
        ),
        ResourceRequirements: _row(
            asset_pb2.ResourceRequirements,
            assets.resource_requirements_to_proto,
            assets.resource_requirements_from_proto,
        ),
        AssetDefinition: _row(
            asset_pb2.AssetDefinition,
            assets.asset_definition_to_proto,
            assets.asset_definition_from_proto,
        ),
        CheckResult: _row(
            run_pb2.CheckResult,
            checks.check_result_to_proto,
            checks.check_result_from_proto,
        ),
        GitContext: _row(
            manifest_pb2.GitContext,
            manifests.git_context_to_proto,
            manifests.git_context_from_proto,
        ),
        Schedule: _row(
            manifest_pb2.Schedule,
            manifests.schedule_to_proto,
            manifests.schedule_from_proto,
        ),
        Failure: _row(run_pb2.Failure, runs.failure_to_proto, runs.failure_from_proto),
        Column: _row(run_pb2.Column, runs.column_to_proto, runs.column_from_proto),
        Materialization: _row(
            run_pb2.Materialization,
            runs.materialization_to_proto,
            runs.materialization_from_proto,
        ),
        Progress: _row(run_pb2.Progress, runs.progress_to_proto, runs.progress_from_proto),
        Task: _row(run_pb2.Task, runs.task_to_proto, runs.task_from_proto),
        TaskCounts: _row(
            run_pb2.TaskCounts, runs.task_counts_to_proto, runs.task_counts_from_proto
        ),
        Run: _row(run_pb2.Run, runs.run_to_proto, runs.run_from_proto),
        PlannedTask: _row(
            run_pb2.PlannedTask,
            plans.planned_task_to_proto,
            plans.planned_task_from_proto,
        ),
        PlanGate: _row(run_pb2.PlanGate, plans.plan_gate_to_proto, plans.plan_gate_from_proto),
        Plan: _row(run_pb2.Plan, plans.plan_to_proto, plans.plan_from_proto),
        Deployment: _row(
            deployment_pb2.Deployment,
            deployments.deployment_to_proto,
            deployments.deployment_from_proto,
        ),
        AssetChange: _row(
            deployment_pb2.AssetChange,
            deployments.asset_change_to_proto,
            deployments.asset_change_from_proto,
        ),
        DeploymentActivated: _row(
            event_pb2.DeploymentActivated,
            events.deployment_activated_to_proto,
            events.deployment_activated_from_proto,
        ),
        RunCreated: _row(
            event_pb2.RunCreated,
            events.run_created_to_proto,
            events.run_created_from_proto,
        ),
        RunStateChanged: _row(
            event_pb2.RunStateChanged,
            events.run_state_changed_to_proto,
            events.run_state_changed_from_proto,
        ),
        TaskStateChanged: _row(
            event_pb2.TaskStateChanged,
            events.task_state_changed_to_proto,
            events.task_state_changed_from_proto,
        ),
        TaskProgressed: _row(
            event_pb2.TaskProgressed,
            events.task_progressed_to_proto,
            events.task_progressed_from_proto,
        ),
        Event: _row(event_pb2.Event, events.event_to_proto, events.event_from_proto),
        LogLine: _row(log_pb2.LogLine, logs.log_line_to_proto, logs.log_line_from_proto),
        LogBatch: _row(log_pb2.LogBatch, logs.log_batch_to_proto, logs.log_batch_from_proto),
        Lease: _row(worker_pb2.Lease, leases.lease_to_proto, leases.lease_from_proto),
        Heartbeat: _row(
            worker_pb2.Heartbeat, leases.heartbeat_to_proto, leases.heartbeat_from_proto
        ),
        DispatchReceived: _row(
            worker_pb2.DispatchReceived,
            leases.dispatch_received_to_proto,
            leases.dispatch_received_from_proto,
        ),
        CancelTask: _row(
            worker_pb2.CancelTask,
            leases.cancel_task_to_proto,
            leases.cancel_task_from_proto,
        ),
        LeaseRevoked: _row(
            worker_pb2.LeaseRevoked,
            leases.lease_revoked_to_proto,
            leases.lease_revoked_from_proto,
        ),
        InputPartition: _row(
            worker_pb2.InputPartition,
            dispatches.input_partition_to_proto,
            dispatches.input_partition_from_proto,
        ),
        TaskInput: _row(
            worker_pb2.TaskInput,
            dispatches.task_input_to_proto,
            dispatches.task_input_from_proto,
        ),
        TaskDispatch: _row(
            worker_pb2.TaskDispatch,
            dispatches.task_dispatch_to_proto,
            dispatches.task_dispatch_from_proto,
        ),
        AttemptStarted: _row(
            worker_pb2.AttemptStarted,
            attempts.attempt_started_to_proto,
            attempts.attempt_started_from_proto,
        ),
        AttemptProgressed: _row(
            worker_pb2.AttemptProgressed,
            attempts.attempt_progressed_to_proto,
            attempts.attempt_progressed_from_proto,
        ),
        AttemptMetric: _row(
            worker_pb2.AttemptMetric,
            attempts.attempt_metric_to_proto,
            attempts.attempt_metric_from_proto,
        ),
        AttemptSucceeded: _row(
            worker_pb2.AttemptSucceeded,
            attempts.attempt_succeeded_to_proto,
            attempts.attempt_succeeded_from_proto,
        ),
        AttemptCancelled: _row(
            worker_pb2.AttemptCancelled,
            attempts.attempt_cancelled_to_proto,
            attempts.attempt_cancelled_from_proto,
        ),
        AttemptFinished: _row(
            worker_pb2.AttemptFinished,
            attempts.attempt_finished_to_proto,
            attempts.attempt_finished_from_proto,
        ),
        ResultReceipt: _row(
            worker_pb2.ResultReceipt,
            attempts.result_receipt_to_proto,
            attempts.result_receipt_from_proto,
        ),
        WorkerHello: _row(
            worker_pb2.WorkerHello,
            sessions.worker_hello_to_proto,
            sessions.worker_hello_from_proto,
        ),
        ServerWelcome: _row(
            worker_pb2.ServerWelcome,
            sessions.server_welcome_to_proto,
            sessions.server_welcome_from_proto,
        ),
        CreditGrant: _row(
            worker_pb2.CreditGrant,
            sessions.credit_grant_to_proto,
            sessions.credit_grant_from_proto,
        ),
        LogReceipt: _row(
            worker_pb2.LogReceipt,
            sessions.log_receipt_to_proto,
            sessions.log_receipt_from_proto,
        ),
        WorkerDraining: _row(
            worker_pb2.WorkerDraining,
            sessions.worker_draining_to_proto,
            sessions.worker_draining_from_proto,
        ),
        OpenSessionRequest: _row(
            worker_pb2.OpenSessionRequest,
            sessions.open_session_request_to_proto,
            sessions.open_session_request_from_proto,
        ),
        OpenSessionResponse: _row(
            worker_pb2.OpenSessionResponse,
            sessions.open_session_response_to_proto,
            sessions.open_session_response_from_proto,
        ),
        DeployRequest: _row(
            deployment_pb2.DeployRequest,
            deployment_service.deploy_request_to_proto,
            deployment_service.deploy_request_from_proto,
        ),
        DeployResponse: _row(
            deployment_pb2.DeployResponse,
            deployment_service.deploy_response_to_proto,
            deployment_service.deploy_response_from_proto,
        ),
        FindMissingChunksRequest: _row(
            deployment_pb2.FindMissingChunksRequest,
            deployment_service.find_missing_chunks_request_to_proto,
            deployment_service.find_missing_chunks_request_from_proto,
        ),
        FindMissingChunksResponse: _row(
            deployment_pb2.FindMissingChunksResponse,
            deployment_service.find_missing_chunks_response_to_proto,
            deployment_service.find_missing_chunks_response_from_proto,
        ),
        UploadChunksRequest: _row(
            deployment_pb2.UploadChunksRequest,
            deployment_service.upload_chunks_request_to_proto,
            deployment_service.upload_chunks_request_from_proto,
        ),
        UploadChunksResponse: _row(
            deployment_pb2.UploadChunksResponse,
            deployment_service.upload_chunks_response_to_proto,
            deployment_service.upload_chunks_response_from_proto,
        ),
        ReadChunksRequest: _row(
            deployment_pb2.ReadChunksRequest,
            deployment_service.read_chunks_request_to_proto,
            deployment_service.read_chunks_request_from_proto,
        ),
        ReadChunksResponse: _row(
            deployment_pb2.ReadChunksResponse,
            deployment_service.read_chunks_response_to_proto,
            deployment_service.read_chunks_response_from_proto,
        ),
        GetDeploymentRequest: _row(
            deployment_pb2.GetDeploymentRequest,
            deployment_service.get_deployment_request_to_proto,
            deployment_service.get_deployment_request_from_proto,
        ),
        GetDeploymentResponse: _row(
            deployment_pb2.GetDeploymentResponse,
            deployment_service.get_deployment_response_to_proto,
            deployment_service.get_deployment_response_from_proto,
        ),
        ListDeploymentsRequest: _row(
            deployment_pb2.ListDeploymentsRequest,
            deployment_service.list_deployments_request_to_proto,
            deployment_service.list_deployments_request_from_proto,
        ),
        ListDeploymentsResponse: _row(
            deployment_pb2.ListDeploymentsResponse,
            deployment_service.list_deployments_response_to_proto,
            deployment_service.list_deployments_response_from_proto,
        ),
        DiffDeploymentsRequest: _row(
            deployment_pb2.DiffDeploymentsRequest,
            deployment_service.diff_deployments_request_to_proto,
            deployment_service.diff_deployments_request_from_proto,
        ),
        DiffDeploymentsResponse: _row(
            deployment_pb2.DiffDeploymentsResponse,
            deployment_service.diff_deployments_response_to_proto,
            deployment_service.diff_deployments_response_from_proto,
        ),
        PartitionRange: _row(
            run_pb2.PartitionRange,
            run_service.partition_range_to_proto,
            run_service.partition_range_from_proto,
        ),
        CreateRunRequest: _row(
            run_pb2.CreateRunRequest,
            run_service.create_run_request_to_proto,
            run_service.create_run_request_from_proto,
        ),
        CreateRunResponse: _row(
            run_pb2.CreateRunResponse,
            run_service.create_run_response_to_proto,
            run_service.create_run_response_from_proto,
        ),
        GetRunRequest: _row(
            run_pb2.GetRunRequest,
            run_service.get_run_request_to_proto,
            run_service.get_run_request_from_proto,
        ),
        GetRunResponse: _row(
            run_pb2.GetRunResponse,
            run_service.get_run_response_to_proto,
            run_service.get_run_response_from_proto,
        ),
        ListRunsRequest: _row(
            run_pb2.ListRunsRequest,
            run_service.list_runs_request_to_proto,
            run_service.list_runs_request_from_proto,
        ),
        ListRunsResponse: _row(
            run_pb2.ListRunsResponse,
            run_service.list_runs_response_to_proto,
            run_service.list_runs_response_from_proto,
        ),
        CancelRunRequest: _row(
            run_pb2.CancelRunRequest,
            run_service.cancel_run_request_to_proto,
            run_service.cancel_run_request_from_proto,
        ),
        CancelRunResponse: _row(
            run_pb2.CancelRunResponse,
            run_service.cancel_run_response_to_proto,
            run_service.cancel_run_response_from_proto,
        ),
        WatchRunRequest: _row(
            run_service_pb2.WatchRunRequest,
            run_service.watch_run_request_to_proto,
            run_service.watch_run_request_from_proto,
        ),
        WatchRunResponse: _row(
            run_service_pb2.WatchRunResponse,
            run_service.watch_run_response_to_proto,
            run_service.watch_run_response_from_proto,
        ),
        AssetSummary: _row(
            asset_service_pb2.AssetSummary,
            asset_service.asset_summary_to_proto,
            asset_service.asset_summary_from_proto,
        ),
        ListAssetsRequest: _row(
            asset_service_pb2.ListAssetsRequest,
            asset_service.list_assets_request_to_proto,
            asset_service.list_assets_request_from_proto,
        ),
        ListAssetsResponse: _row(
            asset_service_pb2.ListAssetsResponse,
            asset_service.list_assets_response_to_proto,
            asset_service.list_assets_response_from_proto,
        ),
        GetAssetRequest: _row(
            asset_service_pb2.GetAssetRequest,
            asset_service.get_asset_request_to_proto,
            asset_service.get_asset_request_from_proto,
        ),
        GetAssetResponse: _row(
            asset_service_pb2.GetAssetResponse,
            asset_service.get_asset_response_to_proto,
            asset_service.get_asset_response_from_proto,
        ),
        ListMaterializationsRequest: _row(
            asset_service_pb2.ListMaterializationsRequest,
            asset_service.list_materializations_request_to_proto,
            asset_service.list_materializations_request_from_proto,
        ),
        ListMaterializationsResponse: _row(
            asset_service_pb2.ListMaterializationsResponse,
            asset_service.list_materializations_response_to_proto,
            asset_service.list_materializations_response_from_proto,
        ),
        ReadLogsRequest: _row(
            log_pb2.ReadLogsRequest,
            log_service.read_logs_request_to_proto,
            log_service.read_logs_request_from_proto,
        ),
        ReadLogsResponse: _row(
            log_pb2.ReadLogsResponse,
            log_service.read_logs_response_to_proto,
            log_service.read_logs_response_from_proto,
        ),
        GetServerInfoRequest: _row(
            server_pb2.GetServerInfoRequest,
            server_service.get_server_info_request_to_proto,
            server_service.get_server_info_request_from_proto,
        ),
        GetServerInfoResponse: _row(
            server_pb2.GetServerInfoResponse,
            server_service.get_server_info_response_to_proto,
            server_service.get_server_info_response_from_proto,
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
        PartitionSelection: _SELECTION,
        AllPartitions: _SELECTION,
        WorkerMessage: _row(
            worker_pb2.WorkerMessage,
            sessions.worker_message_to_proto,
            sessions.worker_message_from_proto,
        ),
        ServerMessage: _row(
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
