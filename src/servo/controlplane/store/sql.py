"""The verbs of the store over named queries: what both databases have in common.

A database says how it is connected to, how a change becomes durable, and what its errors mean.
"""

from __future__ import annotations

import heapq
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from importlib import resources
from itertools import islice
from typing import Any, ClassVar, Final, TypeVar

import aiosql

from servo import _wire, errors
from servo.controlplane.store import batch_rows, key_rows
from servo.controlplane.store.batch import Batch
from servo.controlplane.store.stored import CurrentMaterialization, StoredKey, StoredRun
from servo.types.deployments import Deployment
from servo.types.events import Event
from servo.types.logs import LogBatch
from servo.types.partition_keys import PartitionKey
from servo.types.plans import Plan
from servo.types.records import Materialization, Run, Task
from servo.types.requests import CreateRunRequest
from servo.types.runs import RunState

_T = TypeVar("_T")

Query = Callable[[Any, Any], _T]
"""What is done with the named queries and a connection."""

_ALL: Final = 2**63 - 1


class SqlStore(ABC):
    """The verbs of `servo.controlplane.store.store.Store`, for a database that speaks SQL."""

    store_id: str
    adapter: ClassVar[str]
    """The name that aiosql has for the database's driver."""
    cursor_options: ClassVar[dict[str, Any]] = {}
    """How the driver's cursors are made."""

    @abstractmethod
    async def _read(self, query: Query[_T]) -> _T:
        """Run a query; it sees what is durable."""

    @abstractmethod
    async def _change(self, change: Query[_T]) -> _T:
        """Make a change in one transaction and wait until it is durable."""

    async def _records(self, kind: type[_T], query: Query[Iterable[Any]]) -> list[_T]:
        """Return the records that a query finds, decoded where it runs: there may be many."""
        return await self._read(
            lambda sql, db: [_wire.decode(kind, row[0]) for row in query(sql, db)]
        )

    @classmethod
    def queries(cls) -> Any:
        """Return the named queries, for the database's driver."""
        folder = resources.files("servo.controlplane.store")
        text = folder.joinpath("queries.sql").read_text(encoding="utf-8")
        return aiosql.from_str(
            text, cls.adapter, mandatory_parameters=False, kwargs=cls.cursor_options
        )

    # -- writing --------------------------------------------------------------------------

    async def write(self, batch: Batch) -> None:
        """Write a batch and wait until it is durable; all of it, or nothing."""

        def change(sql: Any, db: Any) -> None:
            for name, found in batch_rows.of_batch(batch):
                if found:
                    getattr(sql, name)(db, found)

        await self._change(change)

    async def probe(self) -> None:
        """Write something that changes nothing: whether anything can be written."""
        await self._change(lambda sql, db: sql.touch_store(db))

    async def put_key(self, stored: StoredKey) -> None:
        """Store an API key; durable when it returns."""
        row = key_rows.to_row(stored)
        await self._change(lambda sql, db: sql.put_api_key(db, **row))

    async def revoke_key(self, key_id: str, moment: datetime) -> None:
        """Record that an API key was revoked; durable when it returns."""
        row = {"key_id": key_id, "revoked_at": key_rows.microseconds(moment)}
        await self._change(lambda sql, db: sql.revoke_api_key(db, **row))

    async def workspace(self, tenant_id: str, workspace_id: str) -> int:
        """Return the number of a workspace; made when it does not exist."""
        names = {"tenant_id": tenant_id, "workspace_id": workspace_id}
        number = await self._read(lambda sql, db: sql.workspace_number(db, **names))
        if number is None:

            def change(sql: Any, db: Any) -> Any:
                sql.put_workspace(db, **names)
                return sql.workspace_number(db, **names)

            number = await self._change(change)
        return int(number)

    # -- reading --------------------------------------------------------------------------

    async def workspaces(self) -> list[tuple[int, str, str]]:
        """Return every workspace: its number, its tenant's id and its own."""
        return await self._read(lambda sql, db: list(sql.all_workspaces(db)))

    async def keys(self) -> list[StoredKey]:
        """Return every API key, oldest first."""
        return await self._read(
            lambda sql, db: [key_rows.from_row(row) for row in sql.api_keys(db)]
        )

    async def last_sequence(self, workspace: int) -> int:
        """Return the sequence number of the newest event, 0 when there is none."""
        return await self._read(lambda sql, db: int(sql.last_sequence(db, workspace=workspace)))

    async def history_after(self, workspace: int) -> int:
        """Return up to which event the history was forgotten, 0 when all of it is there."""
        return await self._read(lambda sql, db: int(sql.history_after(db, workspace=workspace)))

    async def current_deployment_id(self, workspace: int) -> str:
        """Return the id of the current deployment, empty when there is none."""
        return await self._read(
            lambda sql, db: str(sql.current_deployment_id(db, workspace=workspace))
        )

    async def asset_ids(self, workspace: int) -> dict[str, str]:
        """Return the id of every asset key."""
        return await self._read(lambda sql, db: dict(sql.asset_ids(db, workspace=workspace)))

    async def pools(self, workspace: int) -> dict[str, int]:
        """Return how many slots every pool has."""
        return await self._read(lambda sql, db: dict(sql.pools(db, workspace=workspace)))

    async def missing_chunks(self, workspace: int, digests: Iterable[bytes]) -> list[bytes]:
        """Return the digests whose chunks are not stored, in the order given."""
        return await self._read(
            lambda sql, db: [
                digest
                for digest in digests
                if not sql.chunk_exists(db, workspace=workspace, digest=digest)
            ]
        )

    async def chunks(self, workspace: int, digests: Sequence[bytes]) -> list[bytes]:
        """Return chunks by their digests.

        Raises:
            servo.errors.NotFoundError: A chunk is not stored.
        """

        def query(sql: Any, db: Any) -> list[bytes]:
            found = [sql.chunk(db, workspace=workspace, digest=digest) for digest in digests]
            for digest, data in zip(digests, found, strict=True):
                if data is None:
                    raise errors.NotFoundError(
                        f"chunk {digest.hex()!r} is not stored; upload it first",
                        code="CHUNK_NOT_FOUND",
                    )
            return found

        return await self._read(query)

    async def deployment(self, workspace: int, deployment_id: str) -> Deployment | None:
        """Return a deployment by its id."""
        row = await self._read(
            lambda sql, db: sql.deployment(db, workspace=workspace, deployment_id=deployment_id)
        )
        return _wire.decode(Deployment, row[0]) if row else None

    async def deployment_by_content(self, workspace: int, fingerprint: str) -> Deployment | None:
        """Return the deployment that has a content fingerprint."""
        row = await self._read(
            lambda sql, db: sql.deployment_by_content(
                db, workspace=workspace, content_fingerprint=fingerprint
            )
        )
        return _wire.decode(Deployment, row[0]) if row else None

    async def deployments(self, workspace: int, before: str, limit: int) -> list[Deployment]:
        """Return deployments with an id below ``before``, newest first."""
        rows = await self._read(
            lambda sql, db: list(
                sql.deployments_before(db, workspace=workspace, before=before, limit=_rows(limit))
            )
        )
        return [_wire.decode(Deployment, row[0]) for row in rows]

    async def run(self, workspace: int, run_id: str) -> Run | None:
        """Return a run without tasks."""
        row = await self._read(lambda sql, db: sql.run(db, workspace=workspace, run_id=run_id))
        return _wire.decode(Run, row[0]) if row else None

    async def run_request(self, workspace: int, run_id: str) -> CreateRunRequest | None:
        """Return what a run was asked for with."""
        row = await self._read(
            lambda sql, db: sql.run_request(db, workspace=workspace, run_id=run_id)
        )
        return _wire.decode(CreateRunRequest, row[0]) if row else None

    async def run_by_key(self, workspace: int, run_key: str) -> Run | None:
        """Return the run that has a run key."""
        row = await self._read(
            lambda sql, db: sql.run_by_key(db, workspace=workspace, run_key=run_key)
        )
        return _wire.decode(Run, row[0]) if row else None

    async def runs(
        self, workspace: int, before: str, limit: int, states: Sequence[RunState] = ()
    ) -> list[Run]:
        """Return runs with an id below ``before``, newest first, without tasks."""
        size = _rows(limit)
        arguments = {"workspace": workspace, "before": before, "limit": size}

        def query(sql: Any, db: Any) -> list[Any]:
            if not states:
                return list(sql.runs_before(db, **arguments))
            # State by state: the pages of a few states merge faster than a database looks for
            # a rare state among a million runs of another.
            pages = [
                list(sql.runs_in_state_before(db, state=state.value, **arguments))
                for state in dict.fromkeys(states)
            ]
            newest_first = heapq.merge(*pages, key=lambda row: row[1], reverse=True)
            return list(islice(newest_first, size))

        return await self._records(Run, query)

    async def run_with_tasks(
        self, workspace: int, run_id: str, first: int, limit: int
    ) -> tuple[Run | None, list[Task]]:
        """Return a run and tasks of it from a position of the plan on."""

        def query(sql: Any, db: Any) -> tuple[Run | None, list[Task]]:
            row = sql.run(db, workspace=workspace, run_id=run_id)
            if row is None:
                return None, []
            rows = sql.tasks_of_run(db, run_id=run_id, first=first, limit=_rows(limit))
            return _wire.decode(Run, row[0]), [_wire.decode(Task, task[0]) for task in rows]

        return await self._read(query)

    async def tasks(self, run_id: str, first: int, limit: int) -> list[Task]:
        """Return tasks of a run from a position of the plan on."""
        return await self._records(
            Task,
            lambda sql, db: sql.tasks_of_run(db, run_id=run_id, first=first, limit=_rows(limit)),
        )

    async def active_runs(self, workspace: int) -> list[StoredRun]:
        """Return the runs that have not ended, oldest first, in full."""
        found = await self._read(
            lambda sql, db: [
                _stored_run(sql, db, row) for row in list(sql.active_runs(db, workspace=workspace))
            ]
        )
        return sorted(found, key=lambda stored: stored.run.run_id)

    async def run_in_full(self, workspace: int, run_id: str) -> StoredRun | None:
        """Return a run with what it was made from and all of its tasks."""

        def query(sql: Any, db: Any) -> StoredRun | None:
            row = sql.run_in_full(db, workspace=workspace, run_id=run_id)
            return None if row is None else _stored_run(sql, db, row)

        return await self._read(query)

    async def events(self, run_id: str, after: int, limit: int) -> list[Event]:
        """Return events of a run with a sequence number above ``after``, in order."""
        return await self._records(
            Event,
            lambda sql, db: sql.events_of_run(db, run_id=run_id, after=after, limit=_rows(limit)),
        )

    async def workspace_events(self, workspace: int, after: int, limit: int) -> list[Event]:
        """Return events of a workspace with a sequence number above ``after``, in order."""
        return await self._records(
            Event,
            lambda sql, db: sql.events_of_workspace(
                db, workspace=workspace, after=after, limit=_rows(limit)
            ),
        )

    async def current_materializations(
        self, workspace: int, asset_ids: Sequence[str]
    ) -> dict[str, dict[PartitionKey, CurrentMaterialization]]:
        """Return what is current in each partition of some assets, by the assets' ids."""
        return await self._read(
            lambda sql, db: {
                asset_id: {
                    PartitionKey.from_canonical(row[0]): CurrentMaterialization(
                        row[1], bool(row[2]), row[3]
                    )
                    for row in sql.current_materializations(
                        db, workspace=workspace, asset_id=asset_id
                    )
                }
                for asset_id in asset_ids
            }
        )

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
        arguments: dict[str, Any] = {
            "workspace": workspace,
            "asset_id": asset_id,
            "before": before,
            "limit": _rows(limit),
        }

        def query(sql: Any, db: Any) -> list[tuple[int, Materialization]]:
            if partition_key is not None:
                arguments["partition_key"] = partition_key
                arguments["limit"] = 1 if latest_only else _rows(limit)
                rows = sql.materializations_of_partition_before(db, **arguments)
            elif latest_only:
                rows = sql.current_materializations_before(db, **arguments)
            else:
                rows = sql.materializations_before(db, **arguments)
            return [(int(row[0]), _wire.decode(Materialization, row[1])) for row in rows]

        return await self._read(query)

    async def count_current_materializations(self, workspace: int, asset_id: str) -> int:
        """Return the number of partitions of an asset that are materialised."""
        found = await self._read(
            lambda sql, db: sql.partition_count(db, workspace=workspace, asset_id=asset_id)
        )
        return int(found or 0)

    async def logs(self, run_id: str, after: int, limit: int) -> list[tuple[int, LogBatch]]:
        """Return log batches of a run after a cursor, each with its own cursor."""
        return await self._read(
            lambda sql, db: [
                (int(row[0]), _wire.decode(LogBatch, row[2]))
                for row in sql.logs_of_run(db, run_id=run_id, after=after, limit=_rows(limit))
            ]
        )

    async def logs_before(self, run_id: str, before: int, limit: int) -> list[tuple[int, LogBatch]]:
        """Return log batches of a run before a cursor, the newest first."""
        return await self._read(
            lambda sql, db: [
                (int(row[0]), _wire.decode(LogBatch, row[2]))
                for row in sql.logs_of_run_before(
                    db, run_id=run_id, before=before, limit=_rows(limit)
                )
            ]
        )


def _rows(limit: int) -> int:
    """Return a limit as both databases have it, where "all" is a number as well."""
    return _ALL if limit < 0 else limit


def _stored_run(sql: Any, db: Any, row: Sequence[Any]) -> StoredRun:
    """Return a run with its tasks, from the row of what it was made from."""
    record, request, plan = row
    run = _wire.decode(Run, record)
    rows = sql.tasks_of_run(db, run_id=run.run_id, first=0, limit=_ALL)
    return StoredRun(
        run,
        _wire.decode(CreateRunRequest, request),
        _wire.decode(Plan, plan),
        [(_wire.decode(Task, task[0]), int(task[1])) for task in rows],
    )
