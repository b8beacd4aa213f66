"""Why something is not done: a chain of blockers that ends where something can be done."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Struct, field

from servo.types.keys import AssetKey
from servo.types.partitions import PartitionKey

__all__ = ["Blocker", "BlockerKind", "ExplainRequest", "ExplainResponse"]


class BlockerKind(StrEnum):
    """What keeps something from happening; the comments in ``run.proto`` say what each means."""

    NONE = "none"
    NO_WORKER = "no_worker"
    WORKERS_BUSY = "workers_busy"
    CODE_VERSION = "code_version"
    POOL = "pool"
    ASSET_LIMIT = "asset_limit"
    RUN_LIMIT = "run_limit"
    TENANT_LIMIT = "tenant_limit"
    PAUSED = "paused"
    UPSTREAM = "upstream"
    RETRY_WAIT = "retry_wait"
    EXECUTING = "executing"
    FAILED = "failed"
    CANCELLED = "cancelled"
    BUDGET = "budget"
    SUCCEEDED = "succeeded"
    NOT_REQUESTED = "not_requested"
    PARTITION = "partition"
    DATABASE = "database"


class Blocker(Struct, frozen=True, kw_only=True):
    """One link of a chain.

    Attributes:
        kind: What keeps it.
        subject: What the keeper is: ``run``, ``task``, ``asset``, ``pool``, ``worker``, ``tenant``,
            ``code_version``, ``budget`` or ``database``.
        subject_id: The id or name of that object.
        message: What keeps it, in a line.
        remedy: What to do about it; empty when waiting is all.
        details: Numbers and names, for machines.
    """

    kind: BlockerKind
    subject: str
    subject_id: str
    message: str = ""
    remedy: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


class ExplainRequest(Struct, frozen=True, kw_only=True):
    """Asks why a run, a task or an asset is not done: one of the three.

    Attributes:
        run_id: The run, or empty.
        task_id: The task, or empty.
        asset_key: The asset, in its newest run, or ``None``.
        partition_key: The partition of the asset; ``None`` for any.

    Raises:
        ValueError: It is about nothing, or about more than one thing.
    """

    run_id: str = ""
    task_id: str = ""
    asset_key: AssetKey | None = None
    partition_key: PartitionKey | None = None

    def __post_init__(self) -> None:
        given = [name for name in ("run_id", "task_id", "asset_key") if getattr(self, name)]
        if len(given) != 1:
            raise ValueError(
                f"say what the question is about: one of run_id, task_id and asset_key, got "
                f"{' and '.join(given) or 'none of them'}"
            )


class ExplainResponse(Struct, frozen=True, kw_only=True):
    """The chain: each link is kept by the next one."""

    chain: tuple[Blocker, ...] = ()
