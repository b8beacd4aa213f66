"""Forgetting deployments that nothing uses any more, and the chunks that only they have."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from servo.controlplane.store import lineage
from servo.controlplane.store.maintenance import PAGE, Maintained, Workspace, decoded
from servo.types.deployments import Deployment


def count(database: Maintained, workspace: Workspace, before: datetime) -> Counter[str]:
    """Return how many deployments and chunks can go.

    Args:
        database: The database, after `servo.controlplane.store.lineage.decide`.
        workspace: The workspace.
        before: Those made since stay.

    Raises:
        servo.errors.FilesystemError: Something that has to be read is damaged.
    """
    used = _used_digests(database, workspace, before)
    return Counter(
        deployments=sum(1 for _ in _unused(database, workspace, before)),
        chunks=sum(digest not in used for digest in _digests(database, workspace)),
    )


def drop(database: Maintained, workspace: Workspace, before: datetime) -> None:
    """Forget them, in batches.

    Args:
        database: The database, after `servo.controlplane.store.lineage.decide` and without the
            runs that go.
        workspace: The workspace.
        before: Those made since stay.

    Raises:
        servo.errors.FilesystemError: Something that has to be read is damaged.
    """
    sql, db = database.sql, database.db
    used = _used_digests(database, workspace, before)
    gone = [
        {"workspace": workspace.number, "deployment_id": deployment_id}
        for deployment_id in _unused(database, workspace, before)
    ]
    if gone:
        with database.transaction():
            sql.drop_deployments(db, gone)
    page: list[dict[str, Any]] = []
    for digest in _digests(database, workspace):
        if digest not in used:
            page.append({"workspace": workspace.number, "digest": digest})
        if len(page) == PAGE:
            with database.transaction():
                sql.drop_chunks(db, page)
            page = []
    if page:
        with database.transaction():
            sql.drop_chunks(db, page)


def _deployments(database: Maintained, workspace: Workspace) -> Iterator[tuple[str, Deployment]]:
    after = ""
    while rows := list(
        database.sql.deployments_after(
            database.db, workspace=workspace.number, after=after, limit=PAGE
        )
    ):
        for after, record, _ in rows:
            deployment = decoded(Deployment, record)
            if deployment is None:
                raise lineage.damaged(f"deployment {after}")
            yield after, deployment


def _is_used(
    database: Maintained, workspace: Workspace, deployment: Deployment, before: datetime
) -> bool:
    """Whether a deployment is current, young, or that of a run that stays."""
    if deployment.deployment_id == workspace.current_deployment_id:
        return True
    if deployment.created_at is None or deployment.created_at >= before:
        return True
    return bool(database.sql.run_is_used(database.db, deployment_id=deployment.deployment_id))


def _unused(database: Maintained, workspace: Workspace, before: datetime) -> Iterator[str]:
    for deployment_id, deployment in _deployments(database, workspace):
        if not _is_used(database, workspace, deployment, before):
            yield deployment_id


def _used_digests(database: Maintained, workspace: Workspace, before: datetime) -> set[bytes]:
    return {
        digest
        for _, deployment in _deployments(database, workspace)
        if _is_used(database, workspace, deployment, before)
        for digest in deployment.chunk_digests
    }


def _digests(database: Maintained, workspace: Workspace) -> Iterator[bytes]:
    after = b""
    while rows := list(
        database.sql.digests_after(database.db, workspace=workspace.number, after=after, limit=PAGE)
    ):
        yield from (bytes(digest) for (digest,) in rows)
        after = bytes(rows[-1][0])
