"""Forgetting what is old: runs with all that belongs to them, the history, logs, deployments.

What is kept, and why, is decided by `servo.controlplane.store.lineage`. What is removed goes in
batches, each a transaction after which the database is sound, so that it can be interrupted at
any time and begun again. See ``docs/adr/0016-forgetting.md``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final

from servo.controlplane.store import lineage, pruning_deployments
from servo.controlplane.store.key_rows import microseconds
from servo.controlplane.store.maintenance import (
    PAGE,
    Maintained,
    Progress,
    Workspace,
    alone,
    beside,
    silent,
    workspaces,
)

_RUNS_AT_ONCE: Final = 50
_LOGS_AT_ONCE: Final = 500
_EVENTS_AT_ONCE: Final = 10_000
_WORTH_IT: Final = 20
"""A file is written anew when at least one of so many pages is free."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is to be forgotten.

    Attributes:
        runs_before: Runs that ended before are forgotten, and deployments made before that
            nothing uses; `None` keeps all of them.
        logs_before: Logs of runs that ended before are forgotten, also where the run stays;
            `None` keeps those of every run that stays.
        keep_runs: So many runs that have ended stay in each workspace, however old they are.
    """

    runs_before: datetime | None = None
    logs_before: datetime | None = None
    keep_runs: int = 0


@dataclass(slots=True)
class Pruned:
    """What was forgotten of a workspace, or would be.

    Attributes:
        name: How people call the workspace: tenant and workspace.
        gone: How many of each thing: runs, tasks, materializations, log_batches, log_bytes,
            events, deployments, chunks.
        kept: How many runs stay, by the reason: active, young, newest, lineage, named.
        history_after: The history begins after this event.
        held_by: The run whose first event is why no more of the history goes; empty if it is
            not a run.
    """

    name: str
    gone: Counter[str] = field(default_factory=Counter)
    kept: Counter[str] = field(default_factory=Counter)
    history_after: int = 0
    held_by: str = ""


def plan(location: Path | str, wanted: Wanted, progress: Progress = silent) -> list[Pruned]:
    """Say what would be forgotten; control planes may be at work meanwhile.

    Args:
        location: The path of the file, or the URL.
        wanted: What is to be forgotten.
        progress: Told what is being done.

    Raises:
        servo.errors.ConfigurationError: There is no such database.
        servo.errors.FilesystemError: It cannot be read.
        servo.errors.UnavailableError: The server does not answer.
    """
    with beside(location) as database, database.snapshot():
        return [
            _decide(database, workspace, wanted, progress) for workspace in workspaces(database)
        ]


def prune(location: Path | str, wanted: Wanted, progress: Progress = silent) -> list[Pruned]:
    """Forget what is old; nobody else may be at work on the database.

    Args:
        location: The path of the file, or the URL.
        wanted: What is to be forgotten.
        progress: Told what is being done.

    Raises:
        servo.errors.ConfigurationError: There is no such database, a control plane is at work on
            it, or its schema is not the one of this version of Servo.
        servo.errors.FilesystemError: It refuses a write.
        servo.errors.UnavailableError: The server does not answer.
    """
    done = []
    with alone(location) as database:
        for workspace in workspaces(database):
            with database.transaction():
                pruned = _decide(database, workspace, wanted, progress)
            _drop_logs(database, wanted, progress, pruned)
            _drop_runs(database, workspace, progress, pruned)
            _drop_history(database, workspace, progress, pruned)
            if wanted.runs_before is not None:
                progress("forgetting deployments", 0, 0)
                pruning_deployments.drop(database, workspace, wanted.runs_before)
            done.append(pruned)
    return done


def compact(location: Path | str, progress: Progress = silent) -> int:
    """Give the space of what was removed back to the disk; return how many bytes that is.

    A SQLite file is written anew where that is worth it, which takes as much space again for a
    moment; PostgreSQL reuses the space, and its ``VACUUM FULL`` gives it back.

    Args:
        location: The path of the file, or the URL.
        progress: Told what is being done.

    Raises:
        servo.errors.ConfigurationError: A control plane is at work on it.
        servo.errors.FilesystemError: There is no room for it; nothing is lost.
        servo.errors.UnavailableError: The server does not answer.
    """
    with alone(location) as database:
        progress("compacting", 0, 0)
        if not database.is_file:
            database.db.execute("VACUUM (ANALYZE)")
            return 0
        pages, free, size = (
            int(database.db.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        if free * _WORTH_IT < pages:
            return 0
        database.db.execute("VACUUM")
        database.db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        left = int(database.db.execute("PRAGMA page_count").fetchone()[0])
        return (pages - left) * size


def _decide(
    database: Maintained, workspace: Workspace, wanted: Wanted, progress: Progress
) -> Pruned:
    """Decide run by run, into temporary tables, and count what goes."""
    sql, db = database.sql, database.db
    lineage.decide(database, workspace, wanted.runs_before, wanted.keep_runs, progress)
    pruned = Pruned(name=workspace.name, gone=Counter(runs=0))
    for kept, count in list(sql.runs_by_reason(db)):
        if kept:
            pruned.kept[kept] = int(count)
        else:
            pruned.gone["runs"] = int(count)
    tasks, made = sql.forgotten_size(db)
    batches, size = sql.log_size(db, before=_logs_before(wanted))
    first, holder = _history(database, workspace, wanted)
    pruned.history_after, pruned.held_by = first, holder
    pruned.gone.update(
        tasks=int(tasks),
        materializations=int(made),
        log_batches=int(batches),
        log_bytes=int(size),
        events=first - workspace.history_after,
    )
    if wanted.runs_before is not None:
        pruned.gone.update(pruning_deployments.count(database, workspace, wanted.runs_before))
    return pruned


def _logs_before(wanted: Wanted) -> int:
    return 0 if wanted.logs_before is None else microseconds(wanted.logs_before)


def _history(database: Maintained, workspace: Workspace, wanted: Wanted) -> tuple[int, str]:
    """Return up to where the history can go, and which run is in the way of more."""
    floor, before = workspace.history_after, wanted.runs_before
    count, _, last = database.sql.first_and_last_event(database.db, workspace=workspace.number)
    if before is None or not count:
        return floor, ""
    # The newest event stays: the next one is numbered after it.
    end, holder = int(last) - 1, ""
    row = database.sql.holder_of_history(database.db)
    if row is not None and row[2] - 1 < end:
        end, holder = int(row[2]) - 1, str(row[0])
    young = lineage.first_event_since(database, workspace, before)
    if young - 1 < end:
        end, holder = young - 1, ""
    return max(end, floor), holder


def _drop_logs(database: Maintained, wanted: Wanted, progress: Progress, pruned: Pruned) -> None:
    sql, db, done = database.sql, database.db, 0
    after, before = "", _logs_before(wanted)
    while rows := list(sql.runs_with_old_logs(db, before=before, after=after, limit=PAGE)):
        for (after,) in rows:
            progress("forgetting logs", done, pruned.gone["log_batches"])
            last = int(sql.last_log(db, run_id=after))
            for up_to in _steps(0, last, _LOGS_AT_ONCE):
                with database.transaction():
                    done += sql.drop_logs(db, run_id=after, up_to=up_to)


def _drop_runs(
    database: Maintained, workspace: Workspace, progress: Progress, pruned: Pruned
) -> None:
    """Forget runs, the newest first: a run that is there never names one that is gone."""
    sql, db, done = database.sql, database.db, 0
    while rows := list(sql.runs_to_forget(db, limit=_RUNS_AT_ONCE)):
        progress("forgetting runs", done, pruned.gone["runs"])
        runs: list[dict[str, Any]] = [
            {"run_id": run_id, "workspace": workspace.number, "last_sequence": int(last)}
            for run_id, last in rows
        ]
        noted = [run for run in runs if run["last_sequence"] > workspace.history_after]
        with database.transaction():
            if noted:
                sql.put_forgotten_runs(db, noted)
            sql.drop_metrics(db, runs)
            sql.drop_materializations(db, runs)
            sql.drop_tasks(db, runs)
            sql.drop_plans(db, runs)
            sql.drop_runs(db, runs)
            sql.drop_facts(db, runs)
        done += len(runs)


def _drop_history(
    database: Maintained, workspace: Workspace, progress: Progress, pruned: Pruned
) -> None:
    sql, db, begins = database.sql, database.db, workspace.history_after
    for up_to in _steps(begins, pruned.history_after, _EVENTS_AT_ONCE):
        progress("forgetting events", up_to - begins, pruned.gone["events"])
        with database.transaction():
            place = {"workspace": workspace.number, "up_to": up_to}
            sql.drop_events(db, **place)
            sql.begin_history_after(db, **place)
            sql.drop_forgotten_runs(db, **place)


def _steps(first: int, last: int, size: int) -> Iterator[int]:
    """Yield where each of the steps from one number to another ends."""
    while first < last:
        first = min(first + size, last)
        yield first
