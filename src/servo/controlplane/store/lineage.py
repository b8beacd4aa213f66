"""Which runs have to stay.

The lineage of a materialisation is the run and the task that made it, and the lineage of what that
task could read: for each asset that it reads, what was current when its last attempt was given out.
Where a partition reads the same partition of its upstream only that one counts, else all of them.
A materialisation lives as long as it is the newest of its partition.

A run stays when it has not ended, is young, is among the newest, is part of the lineage of a
living materialisation, or is named as parent or first run by one that stays.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import product
from typing import Any, Final

from servo import _wire, errors
from servo.controlplane.store.key_rows import microseconds
from servo.controlplane.store.maintenance import (
    PAGE,
    Maintained,
    Progress,
    Workspace,
    decoded,
)
from servo.types.assets import AssetDefinition
from servo.types.dependencies import DependencyMapping
from servo.types.events import Event
from servo.types.keys import AssetKey
from servo.types.partitions import PartitionStrategy
from servo.types.records import Run, Task

_CHUNKS_AT_ONCE: Final = 20
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

Ids = dict[AssetKey, set[str]]
"""The ids under which assets were materialised."""


def decide(
    database: Maintained,
    workspace: Workspace,
    before: datetime | None,
    keep_runs: int,
    progress: Progress,
) -> None:
    """Fill the temporary tables ``run_facts``, with why each run is kept, and ``made``.

    Args:
        database: The database, in a transaction.
        workspace: The workspace.
        before: Runs that ended before need not stay; `None` keeps all of them.
        keep_runs: How many runs that have ended stay, however old they are.
        progress: Told what is being done.

    Raises:
        servo.errors.FilesystemError: Something that has to be read is damaged.
    """
    sql, db = database.sql, database.db
    for drop in (sql.drop_run_facts, sql.drop_makers, sql.drop_made):
        drop(db)
    sql.make_run_facts(db)
    sql.make_makers(db)
    sql.make_made(db)
    ids = _read_runs(database, workspace, before, progress)
    sql.keep_newest(db, limit=keep_runs)
    if before is None:
        return
    progress("looking for lineage", 0, 0)
    sql.put_made(db, workspace=workspace.number)
    sql.index_made_by_asset(db)
    sql.index_made_by_partition(db)
    sql.index_made_by_run(db)
    _need_inputs(database, _edges(database, workspace, ids))
    sql.keep_lineage(db)
    while sql.keep_named(db):
        pass


def first_event_since(database: Maintained, workspace: Workspace, before: datetime) -> int:
    """Return the number of the first event that is not older; one more than the newest, if none.

    The clock may have been set back meanwhile. That decides only about events that belong to no
    run that stays.

    Raises:
        servo.errors.FilesystemError: An event is damaged.
    """
    sql, db = database.sql, database.db
    _, _, last = sql.first_and_last_event(db, workspace=workspace.number)
    low, high = workspace.history_after + 1, int(last) + 1
    while low < high:
        middle = (low + high) // 2
        row = sql.event_at(db, workspace=workspace.number, sequence=middle)
        event = decoded(Event, row[0]) if row else None
        if event is None:
            raise damaged(f"event {middle} of {workspace.name}")
        if event.occurred_at < before:
            low = middle + 1
        else:
            high = middle
    return low


def damaged(what: str) -> errors.FilesystemError:
    """Return what is said of something that cannot be read."""
    return errors.FilesystemError(
        f"{what} is damaged, so nothing can be decided about what is old; nothing was removed. "
        "`servo db check` lists what is wrong, `servo db restore` brings a backup back",
        code="DATABASE_DAMAGED",
    )


def _read_runs(
    database: Maintained, workspace: Workspace, before: datetime | None, progress: Progress
) -> Ids:
    """Note what matters of each run, and which task made what."""
    sql, db, after, ids, done = database.sql, database.db, "", Ids(), 0
    total = int(sql.count_runs(db, workspace=workspace.number))
    while rows := list(sql.runs_after(db, workspace=workspace.number, after=after, limit=PAGE)):
        facts = []
        for after, _, _, record in rows:
            progress("looking at runs", done, total)
            done += 1
            run = decoded(Run, record)
            if run is None:
                raise damaged(f"run {after}")
            facts.append(_facts(run, before))
            if before is not None:
                _read_tasks(database, run, ids)
        sql.put_run_facts(db, facts)
    return ids


def _facts(run: Run, before: datetime | None) -> dict[str, Any]:
    ended_at = run.finished_at or run.created_at or _EPOCH
    if not run.state.is_terminal:
        kept = "active"
    elif before is None or ended_at >= before:
        kept = "young"
    else:
        kept = ""
    return {
        "run_id": run.run_id,
        "finished_at": microseconds(ended_at),
        "deployment_id": run.deployment_id,
        "parent_run_id": run.parent_run_id,
        "root_run_id": run.root_run_id,
        "last_sequence": run.last_sequence,
        "kept": kept,
    }


def _read_tasks(database: Maintained, run: Run, ids: Ids) -> None:
    after = -1
    while rows := list(
        database.sql.tasks_after(database.db, run_id=run.run_id, after=after, limit=PAGE)
    ):
        makers = []
        for after, _, token, record in rows:
            task = decoded(Task, record)
            if task is None:
                raise damaged(f"task {after} of run {run.run_id}")
            made = task.materialization
            if made is not None:
                ids.setdefault(made.asset_key, set()).add(made.asset_id)
                makers.append(
                    {
                        "materialization_id": made.materialization_id,
                        "run_id": run.run_id,
                        "token": int(token),
                    }
                )
        if makers:
            database.sql.put_makers(database.db, makers)


def _edges(database: Maintained, workspace: Workspace, ids: Ids) -> dict[str, dict[str, bool]]:
    """Return for each asset's id those that it has ever read, and if only the same partition.

    Of all deployments together: an asset may have read another one in an earlier one only.
    """
    strategies: dict[AssetKey, set[PartitionStrategy]] = {}
    reads: dict[tuple[AssetKey, AssetKey], bool] = {}
    for asset in _assets(database, workspace):
        strategies.setdefault(asset.key, set()).add(asset.partitioning)
        for dependency in asset.dependencies:
            pair = (asset.key, dependency.upstream_key)
            is_identity = dependency.mapping is DependencyMapping.IDENTITY
            reads[pair] = reads.get(pair, True) and is_identity
    edges: dict[str, dict[str, bool]] = {}
    for (reader, upstream), is_identity in reads.items():
        both = strategies[reader] | strategies.get(upstream, set())
        same = is_identity and len(both) == 1
        for own, other in product(ids.get(reader, ()), ids.get(upstream, ())):
            found = edges.setdefault(own, {})
            found[other] = found.get(other, True) and same
    return edges


def _assets(database: Maintained, workspace: Workspace) -> Iterator[AssetDefinition]:
    after = b""
    while rows := list(
        database.sql.chunks_after(
            database.db, workspace=workspace.number, after=after, limit=_CHUNKS_AT_ONCE
        )
    ):
        for after, data in rows:
            try:
                yield from _wire.decode_chunk(bytes(data))
            except errors.ServoError as exc:
                raise damaged(f"chunk {bytes(after).hex()}") from exc


def _need_inputs(database: Maintained, edges: dict[str, dict[str, bool]]) -> None:
    """Mark what is needed until nothing more is."""
    sql, db = database.sql, database.db
    waiting = deque(asset_id for (asset_id,) in list(sql.assets_made(db)))
    queued = set(waiting)
    while waiting:
        reader = waiting.popleft()
        queued.discard(reader)
        for upstream, same in edges.get(reader, {}).items():
            need = sql.need_inputs_of_same_partition if same else sql.need_inputs
            if need(db, reader=reader, upstream=upstream) and upstream not in queued:
                queued.add(upstream)
                waiting.append(upstream)
