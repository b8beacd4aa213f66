"""The store in one SQLite file: one writer, a durable commit per batch, readers beside it.

The file belongs to one process at a time; an advisory lock beside it says so. Writes happen in
one thread and reads in another, each with its own connection, so that a slow disk or a long
listing never stops the event loop. ``synchronous=FULL`` makes a commit survive a power cut.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import aiosql

from servo import _wire, errors
from servo.controlplane.store import files, key_rows
from servo.controlplane.store.batch import Batch
from servo.controlplane.store.migrate import migrate
from servo.controlplane.store.stored import CurrentMaterialization, StoredKey, StoredRun
from servo.types.deployments import Deployment
from servo.types.events import Event
from servo.types.ids import DeploymentId
from servo.types.logs import LogBatch
from servo.types.manifests import ManifestContents
from servo.types.partition_keys import PartitionKey
from servo.types.plans import Plan
from servo.types.records import Materialization, Run, Task
from servo.types.requests import CreateRunRequest
from servo.types.runs import RunState

_T = TypeVar("_T")

_Row = dict[str, Any]
_MAX_PAGES = 2**32 - 2
ALL_ROWS = -1
"""The limit that means no limit, as SQLite has it."""


class SqliteStore:
    """The verbs of the store; see the module's docstring.

    Args:
        path: The database file; made when it does not exist.

    Raises:
        servo.errors.ConfigurationError: Another process uses the file, or its schema is newer
            than this version of Servo.
        servo.errors.FilesystemError: The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        text = resources.files("servo.controlplane.store").joinpath("queries.sql").read_text()
        self._sql: Any = aiosql.from_str(text, "sqlite3", mandatory_parameters=False)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = files.lock(path)
            migrate(path)
            self._writer = files.connect(path)
            self._reader = files.connect(path)
            self._reader.execute("PRAGMA query_only = ON")
            new_id = DeploymentId.generate()
            self._sql.put_store_value(self._writer, name="store_id", value=new_id)
        except (OSError, sqlite3.Error) as exc:
            raise errors.FilesystemError(
                f"cannot open the database {str(path)!r}: {exc}; check the disk and the rights "
                "on its folder",
                code="DATABASE_UNUSABLE",
            ) from exc
        self.store_id: str = self._sql.store_value(self._writer, name="store_id")
        self._write_thread = ThreadPoolExecutor(1, "servo-store-writer")
        self._read_thread = ThreadPoolExecutor(1, "servo-store-reader")

    def close(self) -> None:
        """Finish the write under way and give the file back."""
        self._write_thread.shutdown()
        self._read_thread.shutdown()
        self._reader.close()
        self._writer.close()
        os.close(self._lock)

    # -- writing --------------------------------------------------------------------------

    def limit_size(self, max_pages: int) -> None:
        """Let the database grow to so many pages of 4 KB and no further; 0 lifts the limit."""
        self._writer.execute(f"PRAGMA max_page_count = {max_pages or _MAX_PAGES}")

    async def write(self, batch: Batch) -> None:
        """Write a batch and wait until it is durable; all of it, or nothing.

        Raises:
            servo.errors.FilesystemError: The disk refused; nothing was written.
        """
        await self._in_write_thread(lambda: self._write(batch))

    async def _in_write_thread(self, write: Callable[[], object]) -> None:
        loop = asyncio.get_running_loop()
        try:
            await loop.run_in_executor(self._write_thread, write)
        except sqlite3.Error as exc:
            raise errors.FilesystemError(
                f"the control plane's database refused a write ({exc}); nothing was recorded. "
                "Free some disk space or check the disk, then try again",
                code="DATABASE_WRITE_FAILED",
            ) from exc

    def _write(self, batch: Batch) -> None:
        self._writer.execute("BEGIN IMMEDIATE")
        try:
            self._write_rows(batch)
            self._writer.execute("COMMIT")
        except BaseException:  # also an interrupt; raised again
            # A failed COMMIT (disk full) may have ended the transaction by itself.
            if self._writer.in_transaction:
                self._writer.execute("ROLLBACK")
            raise

    def _write_rows(self, batch: Batch) -> None:
        sql, db = self._sql, self._writer
        encode = _wire.encode
        if batch.chunks:
            rows = [{"workspace": w, "digest": d, "data": c} for w, d, c in batch.chunks]
            sql.put_chunks(db, rows)
        for workspace, new in batch.deployments:
            self._write_deployment(workspace, new.deployment, new.header, new.asset_ids)
        if batch.new_runs:
            rows = [
                {
                    "run_id": new.run.run_id,
                    "workspace": workspace,
                    "state": new.run.state.value,
                    "run_key": new.run.run_key,
                    "record": encode(new.run),
                    "request": encode(new.request),
                    "plan": encode(new.plan),
                }
                for workspace, new in batch.new_runs
            ]
            sql.put_runs(db, rows)
            sql.put_run_plans(db, rows)
        if batch.events:
            sql.put_events(
                db,
                [
                    {
                        "workspace": workspace,
                        "sequence": event.sequence,
                        "run_id": event.run_id,
                        "record": encode(event),
                    }
                    for workspace, event in batch.events
                ],
            )
        if batch.run_rows:
            rows = [
                {"run_id": run_id, "state": run.state.value, "record": encode(run)}
                for run_id, run in batch.run_rows.items()
            ]
            sql.update_runs(db, rows)
        if batch.tasks:
            sql.put_tasks(
                db,
                [
                    {
                        "run_id": run_id,
                        "task_index": index,
                        "task_id": task.task_id,
                        "token": token,
                        "record": encode(task),
                    }
                    for (run_id, index), (task, token) in batch.tasks.items()
                ],
            )
        if batch.materializations:
            rows = [
                {
                    "workspace": workspace,
                    "asset_id": made.asset_id,
                    "partition_key": made.partition_key.to_canonical(),
                    "sequence": sequence,
                    "materialization_id": made.materialization_id,
                    "has_data": made.has_data,
                    "path": made.path,
                    "record": encode(made),
                }
                for workspace, sequence, made in batch.materializations
            ]
            sql.put_materializations(db, rows)
            sql.put_current_materializations(db, rows)
        if batch.logs:
            rows = [
                {"run_id": run_id, "task_id": lines.task_id, "record": encode(lines)}
                for run_id, lines in batch.logs
            ]
            sql.put_logs(db, rows)
        if batch.metrics:
            rows = [
                {name: getattr(metric, name) for name in metric.__slots__}
                for metric in batch.metrics
            ]
            sql.put_metrics(db, rows)

    def _write_deployment(
        self,
        workspace: int,
        deployment: Deployment,
        header: ManifestContents | None,
        asset_ids: dict[str, str],
    ) -> None:
        sql, db = self._sql, self._writer
        if header is not None:
            row = {
                "deployment_id": deployment.deployment_id,
                "workspace": workspace,
                "content_fingerprint": deployment.content_fingerprint,
                "record": _wire.encode(replace(deployment, current=False)),
                "header": _wire.encode(header),
            }
            sql.put_deployments(db, [row])
        rows = [
            {"workspace": workspace, "asset_key": key, "asset_id": asset_id}
            for key, asset_id in asset_ids.items()
        ]
        if rows:
            sql.drop_asset_ids(db, rows)
            sql.put_asset_ids(db, rows)
        sql.set_current_deployment(db, workspace=workspace, deployment_id=deployment.deployment_id)

    async def put_key(self, stored: StoredKey) -> None:
        """Store an API key; durable when it returns.

        Raises:
            servo.errors.FilesystemError: The disk refused.
        """
        row = key_rows.to_row(stored)
        await self._in_write_thread(lambda: self._sql.put_api_key(self._writer, **row))

    async def revoke_key(self, key_id: str, moment: datetime) -> None:
        """Record that an API key was revoked; durable when it returns.

        Raises:
            servo.errors.FilesystemError: The disk refused.
        """
        row = {"key_id": key_id, "revoked_at": key_rows.microseconds(moment)}
        await self._in_write_thread(lambda: self._sql.revoke_api_key(self._writer, **row))

    # -- reading --------------------------------------------------------------------------

    async def _read(self, query: Callable[[Any, sqlite3.Connection], _T]) -> _T:
        """Run a query in the reader's thread; it sees what is durable."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._read_thread, query, self._sql, self._reader)

    def workspace(self, tenant_id: str, workspace_id: str) -> int:
        """Return the number of a workspace; made when it does not exist. Blocks briefly."""
        names = {"tenant_id": tenant_id, "workspace_id": workspace_id}
        number = self._sql.workspace_number(self._writer, **names)
        if number is None:
            future = self._write_thread.submit(self._sql.put_workspace, self._writer, **names)
            future.result()
            number = self._sql.workspace_number(self._writer, **names)
        return int(number)

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

    async def current_deployment_id(self, workspace: int) -> str:
        """Return the id of the current deployment, empty when there is none."""
        return await self._read(
            lambda sql, db: str(sql.current_deployment_id(db, workspace=workspace))
        )

    async def asset_ids(self, workspace: int) -> dict[str, str]:
        """Return the id of every asset key."""
        return await self._read(lambda sql, db: dict(sql.asset_ids(db, workspace=workspace)))

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

        def query(sql: Any, db: sqlite3.Connection) -> list[bytes]:
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
                sql.deployments_before(db, workspace=workspace, before=before, limit=limit)
            )
        )
        return [_wire.decode(Deployment, row[0]) for row in rows]

    async def run(self, workspace: int, run_id: str) -> Run | None:
        """Return a run without tasks."""
        row = await self._read(lambda sql, db: sql.run(db, workspace=workspace, run_id=run_id))
        return _wire.decode(Run, row[0]) if row else None

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
        arguments: _Row = {"workspace": workspace, "before": before, "limit": limit}

        def query(sql: Any, db: sqlite3.Connection) -> list[Any]:
            if states:
                names = json.dumps([state.value for state in states])
                return list(sql.runs_in_states_before(db, states=names, **arguments))
            return list(sql.runs_before(db, **arguments))

        return [_wire.decode(Run, row[0]) for row in await self._read(query)]

    async def run_with_tasks(
        self, workspace: int, run_id: str, first: int, limit: int
    ) -> tuple[Run | None, list[Task]]:
        """Return a run and tasks of it from a position of the plan on."""

        def query(sql: Any, db: sqlite3.Connection) -> tuple[Any, list[Any]]:
            row = sql.run(db, workspace=workspace, run_id=run_id)
            if row is None:
                return None, []
            return row, list(sql.tasks_of_run(db, run_id=run_id, first=first, limit=limit))

        row, rows = await self._read(query)
        found = _wire.decode(Run, row[0]) if row else None
        return found, [_wire.decode(Task, task[0]) for task in rows]

    async def tasks(self, run_id: str, first: int, limit: int) -> list[Task]:
        """Return tasks of a run from a position of the plan on."""
        rows = await self._read(
            lambda sql, db: list(sql.tasks_of_run(db, run_id=run_id, first=first, limit=limit))
        )
        return [_wire.decode(Task, row[0]) for row in rows]

    async def active_runs(self, workspace: int) -> list[StoredRun]:
        """Return the runs that have not ended, oldest first, in full."""

        def query(sql: Any, db: sqlite3.Connection) -> list[StoredRun]:
            found = []
            for record, request, plan in list(sql.active_runs(db, workspace=workspace)):
                run = _wire.decode(Run, record)
                rows = sql.tasks_of_run(db, run_id=run.run_id, first=0, limit=ALL_ROWS)
                tasks = [(_wire.decode(Task, row[0]), int(row[1])) for row in rows]
                found.append(
                    StoredRun(
                        run,
                        _wire.decode(CreateRunRequest, request),
                        _wire.decode(Plan, plan),
                        tasks,
                    )
                )
            return found

        return await self._read(query)

    async def events(self, run_id: str, after: int, limit: int) -> list[Event]:
        """Return events of a run with a sequence number above ``after``, in order."""
        rows = await self._read(
            lambda sql, db: list(sql.events_of_run(db, run_id=run_id, after=after, limit=limit))
        )
        return [_wire.decode(Event, row[0]) for row in rows]

    async def current_materializations(
        self, workspace: int, asset_id: str
    ) -> dict[PartitionKey, CurrentMaterialization]:
        """Return what is current in each partition of an asset."""
        rows = await self._read(
            lambda sql, db: list(
                sql.current_materializations(db, workspace=workspace, asset_id=asset_id)
            )
        )
        return {
            PartitionKey.from_canonical(row[0]): CurrentMaterialization(
                row[1], bool(row[2]), row[3]
            )
            for row in rows
        }

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
        arguments: _Row = {
            "workspace": workspace,
            "asset_id": asset_id,
            "before": before,
            "limit": limit,
        }

        def query(sql: Any, db: sqlite3.Connection) -> list[Any]:
            if partition_key is not None:
                arguments["partition_key"] = partition_key
                arguments["limit"] = 1 if latest_only else limit
                return list(sql.materializations_of_partition_before(db, **arguments))
            if latest_only:
                return list(sql.current_materializations_before(db, **arguments))
            return list(sql.materializations_before(db, **arguments))

        rows = await self._read(query)
        return [(int(row[0]), _wire.decode(Materialization, row[1])) for row in rows]

    async def count_current_materializations(self, workspace: int, asset_id: str) -> int:
        """Return the number of partitions of an asset that are materialised."""
        return await self._read(
            lambda sql, db: int(
                sql.count_current_materializations(db, workspace=workspace, asset_id=asset_id)
            )
        )

    async def logs(self, run_id: str, after: int, limit: int) -> list[tuple[int, LogBatch]]:
        """Return log batches of a run after a cursor, each with its own cursor."""
        rows = await self._read(
            lambda sql, db: list(sql.logs_of_run(db, run_id=run_id, after=after, limit=limit))
        )
        return [(int(row[0]), _wire.decode(LogBatch, row[2])) for row in rows]


def digest_of(data: bytes) -> bytes:
    """Return the address of a chunk: the SHA-256 of its bytes."""
    return hashlib.sha256(data).digest()
