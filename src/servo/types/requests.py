"""Requests and responses of the services; each mirrors the message of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from servo.types._frozen import check_int, set_field
from servo.types.amounts import Amounts, amounts
from servo.types.assets import AssetDefinition
from servo.types.deployments import AssetChange, Deployment
from servo.types.events import Event
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch
from servo.types.manifests import ManifestContents
from servo.types.partitions import PartitionKey
from servo.types.records import Materialization, Run
from servo.types.runs import RerunScope, RunState


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployRequest:
    """Asks to make a manifest current; no digests: asks whether its content is known."""

    content_fingerprint: str
    header: ManifestContents
    chunk_digests: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployResponse:
    """What became of a deploy; ``asset_ids`` maps dotted keys to the server's ids."""

    deployment: Deployment | None = None
    created: bool = False
    chunks_needed: bool = False
    asset_ids: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FindMissingChunksRequest:
    """Asks which chunks have to be sent."""

    chunk_digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FindMissingChunksResponse:
    """The digests that the server does not have."""

    missing_digests: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadChunksRequest:
    """Sends chunks: the bytes of ``ManifestChunk`` messages."""

    chunks: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadChunksResponse:
    """Confirms that chunks are durable."""

    stored: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadChunksRequest:
    """Asks for chunks of a deployment."""

    chunk_digests: tuple[bytes, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadChunksResponse:
    """The chunks asked for, in order."""

    chunks: tuple[bytes, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class GetDeploymentRequest:
    """Asks for one deployment; empty for the current one."""

    deployment_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetDeploymentResponse:
    """One deployment."""

    deployment: Deployment


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDeploymentsRequest:
    """Asks for deployments, newest first."""

    page_size: int = 0
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListDeploymentsResponse:
    """A page of deployments."""

    deployments: tuple[Deployment, ...] = ()
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffDeploymentsRequest:
    """Asks what differs between two deployments."""

    from_deployment_id: str = ""
    to_deployment_id: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiffDeploymentsResponse:
    """What differs, sorted by key."""

    changes: tuple[AssetChange, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PartitionRange:
    """A range of periods of the time dimension, both ends inclusive, as it writes them."""

    dimension: str = ""
    first: str
    last: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AllPartitions:
    """Every declared partition."""


PartitionSelection = PartitionKey | PartitionRange | AllPartitions


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerun:
    """Asks to repeat tasks of an earlier run, with their partitions."""

    run_id: str
    scope: RerunScope = RerunScope.UNFINISHED


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRunRequest:
    """Asks for a run.

    Raises:
        TypeError: An amount of the budget is a float.
        ValueError: A limit is negative, or the budget is malformed.
    """

    selection: tuple[str, ...]
    partitions: PartitionSelection | None = None
    upstream: bool = False
    downstream: bool = False
    run_key: str = ""
    deployment_id: str = ""
    config: Mapping[str, str] = field(default_factory=dict)
    priority: int = 0
    max_parallelism: int = 0
    timeout_seconds: int = 0
    budget: Amounts = field(default_factory=dict)
    code_version_id: str = ""
    rerun: Rerun | None = None

    def __post_init__(self) -> None:
        check_int(self.max_parallelism, "max_parallelism", minimum=0)
        check_int(self.timeout_seconds, "timeout_seconds", minimum=0)
        set_field(self, "budget", amounts(self.budget, "budget"))


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateRunResponse:
    """The run; ``created`` is false when the run key named an existing one."""

    run: Run
    created: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRunRequest:
    """Asks for one run with a page of its tasks; a negative size for none."""

    run_id: str
    page_size: int = 0
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetRunResponse:
    """One run with a page of its tasks."""

    run: Run
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRunsRequest:
    """Asks for runs, newest first."""

    page_size: int = 0
    page_token: str = ""
    states: tuple[RunState, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListRunsResponse:
    """A page of runs, without tasks."""

    runs: tuple[Run, ...] = ()
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRunRequest:
    """Asks to stop a run."""

    run_id: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CancelRunResponse:
    """The run after the request was recorded."""

    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRunRequest:
    """Asks to hold or resume a run, or to change its priority; ``None`` leaves it as it is."""

    run_id: str
    paused: bool | None = None
    priority: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateRunResponse:
    """The run after the change."""

    run: Run


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEventsRequest:
    """Asks to follow the history of the workspace from a sequence number."""

    after_sequence: int = 0
    follow: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchEventsResponse:
    """Events in order, at least one."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRunRequest:
    """Asks to follow a run from a sequence number."""

    run_id: str
    after_sequence: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchRunResponse:
    """Events in order, at least one."""

    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssetSummary:
    """An asset of the current deployment and what is materialised of it."""

    definition: AssetDefinition
    latest_materialization: Materialization | None = None
    materialized_partitions: int = 0
    declared_partitions: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAssetsRequest:
    """Asks for the assets of the current deployment; an empty selection for all."""

    selection: tuple[str, ...] = ()
    page_size: int = 0
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListAssetsResponse:
    """A page of assets, sorted by key."""

    assets: tuple[AssetSummary, ...] = ()
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetAssetRequest:
    """Asks for one asset."""

    key: AssetKey


@dataclass(frozen=True, slots=True, kw_only=True)
class GetAssetResponse:
    """One asset and those that read it."""

    asset: AssetSummary
    downstream: tuple[AssetKey, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMaterializationsRequest:
    """Asks for what was produced of an asset, newest first."""

    key: AssetKey
    partition_key: PartitionKey | None = None
    latest_only: bool = False
    page_size: int = 0
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListMaterializationsResponse:
    """A page of materialisations."""

    materializations: tuple[Materialization, ...] = ()
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLogsRequest:
    """Asks for the log of a run; ``task`` is a key, ``key[dimension=value]`` or a task id."""

    run_id: str
    task: str = ""
    follow: bool = False
    after_cursor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadLogsResponse:
    """Batches in the order in which they arrived, and where to go on."""

    batches: tuple[LogBatch, ...] = ()
    cursor: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class GetServerInfoRequest:
    """Asks who is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GetServerInfoResponse:
    """Who is there."""

    servo_version: str = ""
    protocol_version: int = 0
    store_id: str = ""
    ready: bool = False
    workers: int = 0
    active_runs: int = 0
