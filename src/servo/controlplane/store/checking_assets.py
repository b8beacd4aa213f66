"""Whether what is stored of assets fits together: what was made, and what of it is current."""

from __future__ import annotations

from servo.controlplane.store.findings import MOST, Findings
from servo.controlplane.store.maintenance import PAGE, Maintained, decoded
from servo.types.records import Materialization, Task


def check(database: Maintained, workspace: int, made: int, found: Findings) -> None:
    """Look at the materialisations of a workspace.

    Args:
        database: The database.
        workspace: The store's number of the workspace.
        made: How many of them tasks refer to.
        found: Where problems are noted.
    """
    total = int(database.sql.count_materializations(database.db, workspace=workspace))
    found.seen["materializations"] += total
    if total != made:
        _name_orphans(database, workspace, found)
    _check_current(database, workspace, found)


def _name_orphans(database: Maintained, workspace: int, found: Findings) -> None:
    """Say which materialisations no task refers to; slow, and needed only when there are some."""
    sql, db = database.sql, database.db
    asset_id, after = "", 0
    while rows := list(
        sql.materializations_after(
            db, workspace=workspace, asset_id=asset_id, after=after, limit=PAGE
        )
    ):
        for asset_id, partition_key, sequence, name, record in rows:
            made = database.intact(Materialization, record)
            columns = (asset_id, partition_key, name)
            if made is None or columns != (
                made.asset_id,
                made.partition_key.to_canonical(),
                made.materialization_id,
            ):
                found.add("materialization", name, "its record is damaged")
            elif not sql.run_exists(db, workspace=workspace, run_id=made.run_id):
                found.add("materialization", name, f"its run {made.run_id} is missing")
            elif not _is_of_task(database, made):
                found.add("materialization", name, f"its task {made.task_id} does not know of it")
            else:
                _check_once(database, workspace, made, int(sequence), found)
        asset_id, after = rows[-1][0], rows[-1][2]


def _check_once(
    database: Maintained, workspace: int, made: Materialization, sequence: int, found: Findings
) -> None:
    row = database.sql.materialization_of(
        database.db,
        workspace=workspace,
        asset_id=made.asset_id,
        partition_key=made.partition_key.to_canonical(),
        materialization_id=made.materialization_id,
    )
    if row is not None and row[0] != sequence:
        found.add(
            "materialization", made.materialization_id, f"is stored again under event {sequence}"
        )


def _is_of_task(database: Maintained, made: Materialization) -> bool:
    after = -1
    while rows := list(
        database.sql.tasks_after(database.db, run_id=made.run_id, after=after, limit=PAGE)
    ):
        for _, task_id, _, record in rows:
            if task_id == made.task_id:
                task = decoded(Task, record)
                # That it is damaged was said already.
                known = None if task is None else task.materialization
                return task is None or known == made
        after = rows[-1][0]
    return False


def _check_current(database: Maintained, workspace: int, found: Findings) -> None:
    sql, db = database.sql, database.db
    for asset_id, partition_key, sequence, newest in list(
        sql.current_that_are_not_newest(db, workspace=workspace, limit=MOST)
    ):
        found.add(
            "current",
            f"{asset_id} {partition_key}",
            f"event {sequence} is taken for the newest that made it, and {newest} is",
        )
    for asset_id, partition_key in list(
        sql.partitions_without_current(db, workspace=workspace, limit=MOST)
    ):
        found.add(
            "current", f"{asset_id} {partition_key}", "was made, but nothing of it is current"
        )
    asset_id, after = "", 0
    while rows := list(
        sql.current_after(db, workspace=workspace, asset_id=asset_id, after=after, limit=PAGE)
    ):
        for asset_id, partition_key, _, has_data, path, name, record in rows:
            made = database.intact(Materialization, record)
            if made is None or (bool(has_data), path, name) != (
                made.has_data,
                made.path,
                made.materialization_id,
            ):
                found.add(
                    "current", f"{asset_id} {partition_key}", "is not what was made last of it"
                )
        asset_id, after = rows[-1][0], rows[-1][2]
    for asset_id, counted, stored in list(
        sql.wrong_partition_counts(db, workspace=workspace, limit=MOST)
    ):
        found.add(
            "count", asset_id, f"has {counted} materialised partitions, and {stored} are noted"
        )
