"""Whether a database is sound: the file, the schema, and what is promised of its contents.

Everything is read in one snapshot, so that a control plane may go on meanwhile, and page by page:
memory depends on the largest run, not on how many there are.
"""

from __future__ import annotations

import hashlib
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from servo import errors
from servo.controlplane.store import checking_assets, checking_runs, migrate
from servo.controlplane.store.findings import MOST, Findings
from servo.controlplane.store.maintenance import (
    PAGE,
    Maintained,
    Progress,
    Workspace,
    beside,
    silent,
    workspaces,
)
from servo.types.deployments import Deployment
from servo.types.events import Event
from servo.types.ids import AssetId, DeploymentId
from servo.types.keys import AssetKey
from servo.types.manifests import ManifestContents

_FEW: Final = 50
_ELSEWHERE: Final = (
    "check it where it can be written, or a copy of it: the file together with those beside it"
)
_LOST: Final = {
    "lost_tasks": "tasks",
    "lost_plans": "plans",
    "lost_logs": "log batches",
    "lost_metrics": "metrics",
}


def check(location: Path | str, progress: Progress = silent) -> Findings:
    """Look at everything.

    Args:
        location: The path of the file, or the URL.
        progress: Told what is being looked at.

    Raises:
        servo.errors.ConfigurationError: There is no such database, or a newer version of Servo
            has written it.
        servo.errors.UnavailableError: The server does not answer.
    """
    found = Findings()
    try:
        with beside(location) as database, database.snapshot():
            if database.is_file and not _check_file(database, found, progress):
                return found
            if _check_schema(database, found):
                _check_contents(database, found, progress)
    except errors.FilesystemError as exc:
        if exc.code == "DATABASE_READ_ONLY":
            found.add("unreadable", str(location), str(exc), _ELSEWHERE)
        else:
            found.add("integrity", str(location), str(exc.__cause__ or exc))
    return found


def _check_file(database: Maintained, found: Findings, progress: Progress) -> bool:
    """Let SQLite look at its pages and references; tell whether the rest can be read."""
    progress("the file", 0, 0)
    name = str(database.location)
    try:
        for (said,) in database.db.execute(f"PRAGMA integrity_check({MOST})"):
            if said != "ok":
                found.add("integrity", name, str(said))
        for table, row, parent, _ in database.db.execute("PRAGMA foreign_key_check"):
            found.add("reference", table, f"row {row} refers to a row of {parent} that is missing")
    except (sqlite3.DatabaseError, UnicodeDecodeError) as exc:
        found.add("integrity", name, str(exc))
    return not found.counts["integrity"]


def _check_schema(database: Maintained, found: Findings) -> bool:
    missing = migrate.pending(database.location)
    if missing:
        found.add(
            "schema",
            database.name,
            f"lacks {len(missing)} of this version's migrations, the first is {missing[0]!r}",
            "run `servo db migrate`",
        )
    for name, digest in list(database.sql.applied_migrations(database.db)):
        if not isinstance(name, str) or hashlib.sha256(name.encode()).hexdigest() != digest:
            found.add("schema", str(name), "the record of this migration is damaged")
    if database.is_file and not missing:
        _check_definitions(database, found)
    return not missing


def _check_definitions(database: Maintained, found: Findings) -> None:
    """Compare what the file says of its tables with what the migrations make."""
    assert isinstance(database.location, Path)
    with closing(sqlite3.connect(":memory:")) as fresh:
        for text in migrate.known(database.location).values():
            fresh.executescript(text)
        wanted = dict(_definitions(fresh))
    has = dict(_definitions(database.db))
    for name, definition in sorted(wanted.items()):
        if has.get(name) != definition:
            what = "is missing" if name not in has else "is not defined as it should be"
            found.add("schema", name, what)


def _definitions(db: sqlite3.Connection) -> Iterator[tuple[str, tuple[str, str, str]]]:
    for kind, name, table, text in db.execute(
        "SELECT type, name, tbl_name, sql FROM sqlite_schema"
        # What SQLite makes for itself comes and goes.
        " WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite~_%' ESCAPE '~' ORDER BY name"
    ):
        # Versions of SQLite differ in how they quote a table that was renamed.
        yield name, (kind, table, _in_between(" ", text).strip())


_in_between: Final = re.compile(r'["\s]+').sub


def _check_contents(database: Maintained, found: Findings, progress: Progress) -> None:
    sql, db = database.sql, database.db
    _check_store_info(database, found)
    for workspace in workspaces(database):
        found.seen["workspaces"] += 1
        progress(f"the history of {workspace.name}", 0, 0)
        _check_history(database, workspace, found)
        _check_assets(database, workspace, found)
        _check_deployments(database, workspace, found)
        total = int(sql.count_runs(db, workspace=workspace.number))
        made = 0
        for number, row in enumerate(_runs(database, workspace.number)):
            progress(f"the runs of {workspace.name}", number, total)
            made += checking_runs.check(database, workspace, row, found)
        progress(f"the materialisations of {workspace.name}", 0, 0)
        checking_assets.check(database, workspace.number, made, found)
    progress("what belongs to nothing", 0, 0)
    _check_orphans(database, found)


def _check_store_info(database: Maintained, found: Findings) -> None:
    """Read what the database says of itself, and until where records may have no check sum."""
    said = dict(list(database.sql.store_values(database.db)))
    for name in sorted(_STORE_INFO.keys() ^ said.keys()):
        what = "is missing" if name in _STORE_INFO else "is not known"
        found.add("store", name, f"this entry of store_info {what}")
    for name, value in said.items():
        if name in _STORE_INFO and not _STORE_INFO[name](value):
            found.add("store", name, f"this entry of store_info has the value {value!r}")
    database.sealed_after.update({"sealed_after_run": "", "sealed_after_deployment": ""} | said)


def _is_ulid(text: str) -> bool:
    try:
        return bool(DeploymentId(text))
    except ValueError:
        return False


def _is_watermark(text: str) -> bool:
    return not text or _is_ulid(text)


_STORE_INFO: Final = {
    "store_id": _is_ulid,
    "sealed_after_run": _is_watermark,
    "sealed_after_deployment": _is_watermark,
}


def _runs(database: Maintained, workspace: int) -> Iterator[Any]:
    after = ""
    while rows := list(
        database.sql.runs_after(database.db, workspace=workspace, after=after, limit=_FEW)
    ):
        yield from rows
        after = rows[-1][0]


def _check_history(database: Maintained, workspace: Workspace, found: Findings) -> None:
    sql, db, number = database.sql, database.db, workspace.number
    count, first, last = sql.first_and_last_event(db, workspace=number)
    found.seen["events"] += count
    begins = workspace.history_after + 1
    if not count:
        if workspace.history_after:
            found.add("history", workspace.name, f"has no event, and should begin with {begins}")
        return
    if first != begins:
        found.add("history", workspace.name, f"begins with event {first}, and should with {begins}")
    if last - first + 1 != count:
        for (end,) in list(sql.ends_of_history(db, workspace=number, limit=MOST)):
            if end != last:
                found.add("history", workspace.name, f"has no event {end + 1}")
    after = 0
    while rows := list(sql.events_of_nobody(db, workspace=number, after=after, limit=PAGE)):
        for sequence, record in rows:
            event = database.intact(Event, record)
            if event is None or (event.sequence, event.run_id) != (sequence, ""):
                found.add("history", workspace.name, f"event {sequence} is damaged")
        after = rows[-1][0]


def _check_assets(database: Maintained, workspace: Workspace, found: Findings) -> None:
    owner: dict[str, str] = {}
    for key, asset_id in sorted(database.verbs.asset_ids(database.db, workspace=workspace.number)):
        try:
            AssetKey.parse(key)
            AssetId(asset_id)
        except ValueError as exc:
            found.add("asset", str(key), f"its id or its key is damaged: {exc}")
        if owner.setdefault(asset_id, key) != key:
            found.add("asset", str(key), f"has the id {asset_id} of {owner[asset_id]}")


def _check_deployments(database: Maintained, workspace: Workspace, found: Findings) -> None:
    sql, db, number = database.sql, database.db, workspace.number
    current = workspace.current_deployment_id
    if current and not sql.deployment_exists(db, workspace=number, deployment_id=current):
        found.add("deployment", workspace.name, f"the current deployment {current} is missing")
    digest = b""
    while rows := list(sql.chunks_after(db, workspace=number, after=digest, limit=_FEW)):
        for digest, data in rows:
            found.seen["chunks"] += 1
            if hashlib.sha256(data).digest() != bytes(digest):
                found.add("chunk", bytes(digest).hex(), "its contents are not what was uploaded")
    after = ""
    while rows := list(sql.deployments_after(db, workspace=number, after=after, limit=_FEW)):
        for after, record, header in rows:
            found.seen["deployments"] += 1
            deployment = database.intact(Deployment, record, deployment=after)
            if database.intact(ManifestContents, header, deployment=after) is None:
                found.add("deployment", after, "its header is damaged")
            if deployment is None or deployment.deployment_id != after:
                found.add("deployment", after, "its record is damaged")
                continue
            for wanted in deployment.chunk_digests:
                if not database.verbs.chunk_exists(db, workspace=number, digest=wanted):
                    found.add("deployment", after, f"its chunk {wanted.hex()} is missing")


def _check_orphans(database: Maintained, found: Findings) -> None:
    sql, db = database.sql, database.db
    for query, what in _LOST.items():
        for run_id, count in list(getattr(sql, query)(db, limit=MOST)):
            found.add("orphan", run_id, f"there is no such run, but {count} {what} of it")
    for _, run_id, first in list(sql.events_of_unknown_runs(db, limit=MOST)):
        found.add("orphan", run_id, f"there is no such run, but events of it from {first} on")
    for (run_id,) in list(sql.stale_forgotten_runs(db, limit=MOST)):
        found.add(
            "forgotten",
            run_id,
            "is noted as forgotten, but is still there or has no events left",
            "run `servo db prune`",
        )
