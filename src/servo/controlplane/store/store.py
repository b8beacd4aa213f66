"""What the control plane asks of a store, whatever database lies below it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from servo.controlplane.store.batch import Batch
from servo.controlplane.store.stored import CurrentMaterialization, StoredKey, StoredRun
from servo.types.deployments import Deployment
from servo.types.events import Event
from servo.types.logs import LogBatch
from servo.types.partition_keys import PartitionKey
from servo.types.records import Materialization, Run, Task
from servo.types.requests import CreateRunRequest
from servo.types.runs import RunState


class Store(Protocol):
    """The verbs of a store.

    Reads see what is durable. Those that are given a ``limit`` take a negative one for "all".

    Raises:
        servo.errors.UnavailableError: From any verb: the database does not answer, or another
            control plane has taken over.
    """

    store_id: str
    """Identifies the database for as long as it exists."""

    def close(self) -> None:
        """Finish the write under way and give the database back."""

    # -- writing --------------------------------------------------------------------------

    async def write(self, batch: Batch) -> None:
        """Write a batch and wait until it is durable; all of it, or nothing.

        Raises:
            servo.errors.FilesystemError: The database refused; nothing was written.
        """

    async def probe(self) -> None:
        """Write something that changes nothing: whether anything can be written.

        Raises:
            servo.errors.FilesystemError: The database refused.
        """

    async def put_key(self, stored: StoredKey) -> None:
        """Store an API key; durable when it returns.

        Raises:
            servo.errors.FilesystemError: The database refused.
        """

    async def revoke_key(self, key_id: str, moment: datetime) -> None:
        """Record that an API key was revoked; durable when it returns.

        Raises:
            servo.errors.FilesystemError: The database refused.
        """

    async def workspace(self, tenant_id: str, workspace_id: str) -> int:
        """Return the number of a workspace; made when it does not exist."""

    # -- reading --------------------------------------------------------------------------

    async def workspaces(self) -> list[tuple[int, str, str]]:
        """Return every workspace: its number, its tenant's id and its own."""

    async def keys(self) -> list[StoredKey]:
        """Return every API key, oldest first."""

    async def last_sequence(self, workspace: int) -> int:
        """Return the sequence number of the newest event, 0 when there is none."""

    async def history_after(self, workspace: int) -> int:
        """Return up to which event the history was forgotten, 0 when all of it is there."""

    async def current_deployment_id(self, workspace: int) -> str:
        """Return the id of the current deployment, empty when there is none."""

    async def asset_ids(self, workspace: int) -> dict[str, str]:
        """Return the id of every asset key."""

    async def pools(self, workspace: int) -> dict[str, int]:
        """Return how many slots every pool has."""

    async def missing_chunks(self, workspace: int, digests: Iterable[bytes]) -> list[bytes]:
        """Return the digests whose chunks are not stored, in the order given."""

    async def chunks(self, workspace: int, digests: Sequence[bytes]) -> list[bytes]:
        """Return chunks by their digests.

        Raises:
            servo.errors.NotFoundError: A chunk is not stored.
        """

    async def deployment(self, workspace: int, deployment_id: str) -> Deployment | None:
        """Return a deployment by its id."""

    async def deployment_by_content(self, workspace: int, fingerprint: str) -> Deployment | None:
        """Return the deployment that has a content fingerprint."""

    async def deployments(self, workspace: int, before: str, limit: int) -> list[Deployment]:
        """Return deployments with an id below ``before``, newest first."""

    async def run(self, workspace: int, run_id: str) -> Run | None:
        """Return a run without tasks."""

    async def run_request(self, workspace: int, run_id: str) -> CreateRunRequest | None:
        """Return what a run was asked for with."""

    async def run_by_key(self, workspace: int, run_key: str) -> Run | None:
        """Return the run that has a run key."""

    async def runs(
        self, workspace: int, before: str, limit: int, states: Sequence[RunState] = ()
    ) -> list[Run]:
        """Return runs with an id below ``before``, newest first, without tasks."""

    async def run_with_tasks(
        self, workspace: int, run_id: str, first: int, limit: int
    ) -> tuple[Run | None, list[Task]]:
        """Return a run and tasks of it from a position of the plan on."""

    async def tasks(self, run_id: str, first: int, limit: int) -> list[Task]:
        """Return tasks of a run from a position of the plan on."""

    async def active_runs(self, workspace: int) -> list[StoredRun]:
        """Return the runs that have not ended, oldest first, in full."""

    async def run_in_full(self, workspace: int, run_id: str) -> StoredRun | None:
        """Return a run with what it was made from and all of its tasks."""

    async def events(self, run_id: str, after: int, limit: int) -> list[Event]:
        """Return events of a run with a sequence number above ``after``, in order."""

    async def workspace_events(self, workspace: int, after: int, limit: int) -> list[Event]:
        """Return events of a workspace with a sequence number above ``after``, in order."""

    async def current_materializations(
        self, workspace: int, asset_ids: Sequence[str]
    ) -> dict[str, dict[PartitionKey, CurrentMaterialization]]:
        """Return what is current in each partition of some assets, by the assets' ids."""

    async def materializations(
        self,
        workspace: int,
        asset_id: str,
        *,
        before: int,
        limit: int,
        partition_key: str | None = None,
        latest_only: bool = False,
    ) -> list[tuple[int, Materialization]]:
        """Return materialisations with a sequence number below ``before``, newest first."""

    async def count_current_materializations(self, workspace: int, asset_id: str) -> int:
        """Return the number of partitions of an asset that are materialised."""

    async def logs(self, run_id: str, after: int, limit: int) -> list[tuple[int, LogBatch]]:
        """Return log batches of a run after a cursor, each with its own cursor."""

    async def logs_before(self, run_id: str, before: int, limit: int) -> list[tuple[int, LogBatch]]:
        """Return log batches of a run before a cursor, the newest first."""
