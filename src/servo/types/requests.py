"""Requests and responses of the services; each mirrors the message of the same name."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct, field
from msgspec.structs import force_setattr

from servo.types._frozen import check_int
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


class DeployRequest(Struct, frozen=True, kw_only=True):
    """Asks to make a manifest current; no digests: asks whether its content is known."""

    content_fingerprint: str
    header: ManifestContents
    chunk_digests: tuple[bytes, ...] = ()


class DeployResponse(Struct, frozen=True, kw_only=True):
    """What became of a deploy; ``asset_ids`` maps dotted keys to the server's ids."""

    deployment: Deployment | None = None
    created: bool = False
    chunks_needed: bool = False
    asset_ids: Mapping[str, str] = field(default_factory=dict)


class FindMissingChunksRequest(Struct, frozen=True, kw_only=True):
    """Asks which chunks have to be sent."""

    chunk_digests: tuple[bytes, ...]


class FindMissingChunksResponse(Struct, frozen=True, kw_only=True):
    """The digests that the server does not have."""

    missing_digests: tuple[bytes, ...] = ()


class UploadChunksRequest(Struct, frozen=True, kw_only=True):
    """Sends chunks: the bytes of ``ManifestChunk`` messages."""

    chunks: tuple[bytes, ...]


class UploadChunksResponse(Struct, frozen=True, kw_only=True):
    """Confirms that chunks are durable."""

    stored: int = 0


class ReadChunksRequest(Struct, frozen=True, kw_only=True):
    """Asks for chunks of a deployment."""

    chunk_digests: tuple[bytes, ...]


class ReadChunksResponse(Struct, frozen=True, kw_only=True):
    """The chunks asked for, in order."""

    chunks: tuple[bytes, ...] = ()


class GetDeploymentRequest(Struct, frozen=True, kw_only=True):
    """Asks for one deployment; empty for the current one."""

    deployment_id: str = ""


class GetDeploymentResponse(Struct, frozen=True, kw_only=True):
    """One deployment."""

    deployment: Deployment


class ListDeploymentsRequest(Struct, frozen=True, kw_only=True):
    """Asks for deployments, newest first."""

    page_size: int = 0
    page_token: str = ""


class ListDeploymentsResponse(Struct, frozen=True, kw_only=True):
    """A page of deployments."""

    deployments: tuple[Deployment, ...] = ()
    next_page_token: str = ""


class DiffDeploymentsRequest(Struct, frozen=True, kw_only=True):
    """Asks what differs between two deployments."""

    from_deployment_id: str = ""
    to_deployment_id: str = ""


class DiffDeploymentsResponse(Struct, frozen=True, kw_only=True):
    """What differs, sorted by key."""

    changes: tuple[AssetChange, ...] = ()


class PartitionRange(Struct, frozen=True, kw_only=True):
    """A range of periods of the time dimension, both ends inclusive, as it writes them."""

    dimension: str = ""
    first: str
    last: str


class AllPartitions(Struct, frozen=True, kw_only=True):
    """Every declared partition."""


class PeriodRange(Struct, frozen=True, kw_only=True):
    """Periods from one to another, both inclusive, as people write them."""

    first: str
    last: str


class DimensionSelection(Struct, frozen=True, kw_only=True):
    """What is selected of one dimension; without a name, of the only time dimension of an asset."""

    dimension: str = ""
    values: tuple[str, ...] = ()
    ranges: tuple[PeriodRange, ...] = ()


class PartitionProduct(Struct, frozen=True, kw_only=True):
    """Every combination of what is selected of each dimension.

    With ``others``, dimensions that are not named take every declared value.
    """

    dimensions: tuple[DimensionSelection, ...]
    others: bool = False


PartitionSelection = PartitionKey | PartitionRange | AllPartitions | PartitionProduct


class Rerun(Struct, frozen=True, kw_only=True):
    """Asks to repeat tasks of an earlier run, with their partitions."""

    run_id: str
    scope: RerunScope = RerunScope.UNFINISHED


class CreateRunRequest(Struct, frozen=True, kw_only=True):
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
    max_retries: int | None = None

    def __post_init__(self) -> None:
        check_int(self.max_parallelism, "max_parallelism", minimum=0)
        if self.max_retries is not None:
            check_int(self.max_retries, "max_retries", minimum=0)
        check_int(self.timeout_seconds, "timeout_seconds", minimum=0)
        force_setattr(self, "budget", amounts(self.budget, "budget"))


class CreateRunResponse(Struct, frozen=True, kw_only=True):
    """The run; ``created`` is false when the run key named an existing one."""

    run: Run
    created: bool = True


class GetRunRequest(Struct, frozen=True, kw_only=True):
    """Asks for one run with a page of its tasks; a negative size for none."""

    run_id: str
    page_size: int = 0
    page_token: str = ""


class GetRunResponse(Struct, frozen=True, kw_only=True):
    """One run with a page of its tasks."""

    run: Run
    next_page_token: str = ""


class ListRunsRequest(Struct, frozen=True, kw_only=True):
    """Asks for runs, newest first."""

    page_size: int = 0
    page_token: str = ""
    states: tuple[RunState, ...] = ()


class ListRunsResponse(Struct, frozen=True, kw_only=True):
    """A page of runs, without tasks."""

    runs: tuple[Run, ...] = ()
    next_page_token: str = ""


class CancelRunRequest(Struct, frozen=True, kw_only=True):
    """Asks to stop a run."""

    run_id: str
    reason: str = ""


class CancelRunResponse(Struct, frozen=True, kw_only=True):
    """The run after the request was recorded."""

    run: Run


class UpdateRunRequest(Struct, frozen=True, kw_only=True):
    """Asks to hold or resume a run, or to change its priority; ``None`` leaves it as it is."""

    run_id: str
    paused: bool | None = None
    priority: int | None = None


class UpdateRunResponse(Struct, frozen=True, kw_only=True):
    """The run after the change."""

    run: Run


class WatchEventsRequest(Struct, frozen=True, kw_only=True):
    """Asks to follow the history of the workspace from a sequence number."""

    after_sequence: int = 0
    follow: bool = False


class WatchEventsResponse(Struct, frozen=True, kw_only=True):
    """Events in order, at least one."""

    events: tuple[Event, ...]


class WatchRunRequest(Struct, frozen=True, kw_only=True):
    """Asks to follow a run from a sequence number."""

    run_id: str
    after_sequence: int = 0


class WatchRunResponse(Struct, frozen=True, kw_only=True):
    """Events in order, at least one."""

    events: tuple[Event, ...]


class AssetSummary(Struct, frozen=True, kw_only=True):
    """An asset of the current deployment and what is materialised of it."""

    definition: AssetDefinition
    latest_materialization: Materialization | None = None
    materialized_partitions: int = 0
    declared_partitions: int | None = None


class ListAssetsRequest(Struct, frozen=True, kw_only=True):
    """Asks for the assets of the current deployment; an empty selection for all."""

    selection: tuple[str, ...] = ()
    page_size: int = 0
    page_token: str = ""


class ListAssetsResponse(Struct, frozen=True, kw_only=True):
    """A page of assets, sorted by key."""

    assets: tuple[AssetSummary, ...] = ()
    next_page_token: str = ""


class GetAssetRequest(Struct, frozen=True, kw_only=True):
    """Asks for one asset."""

    key: AssetKey


class GetAssetResponse(Struct, frozen=True, kw_only=True):
    """One asset and those that read it."""

    asset: AssetSummary
    downstream: tuple[AssetKey, ...] = ()


class ListMaterializationsRequest(Struct, frozen=True, kw_only=True):
    """Asks for what was produced of an asset, newest first."""

    key: AssetKey
    partition_key: PartitionKey | None = None
    latest_only: bool = False
    page_size: int = 0
    page_token: str = ""


class ListMaterializationsResponse(Struct, frozen=True, kw_only=True):
    """A page of materialisations."""

    materializations: tuple[Materialization, ...] = ()
    next_page_token: str = ""


class ReadLogsRequest(Struct, frozen=True, kw_only=True):
    """Asks for the log of a run; ``task`` is a key, ``key[dimension=value]`` or a task id.

    Raises:
        ValueError: ``tail`` is negative, or ``attempt`` less than 1.
    """

    run_id: str
    task: str = ""
    follow: bool = False
    after_cursor: int = 0
    tail: int | None = None
    since: datetime | None = None
    attempt: int | None = None

    def __post_init__(self) -> None:
        if self.tail is not None and self.tail < 0:
            raise ValueError(f"tail must not be negative, got {self.tail}")
        if self.attempt is not None and self.attempt < 1:
            raise ValueError(f"attempts are numbered from 1, got {self.attempt}")


class ReadLogsResponse(Struct, frozen=True, kw_only=True):
    """Batches in the order in which they arrived, and where to go on."""

    batches: tuple[LogBatch, ...] = ()
    cursor: int = 0


class GetServerInfoRequest(Struct, frozen=True, kw_only=True):
    """Asks who is there."""


class GetServerInfoResponse(Struct, frozen=True, kw_only=True):
    """Who is there."""

    servo_version: str = ""
    protocol_version: int = 0
    store_id: str = ""
    ready: bool = False
    workers: int = 0
    active_runs: int = 0
