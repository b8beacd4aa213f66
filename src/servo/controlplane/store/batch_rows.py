"""A batch as rows: which named query writes what, in an order that references allow."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

from msgspec.structs import asdict, replace

from servo import _wire
from servo.controlplane.store.batch import Batch, NewDeployment, NewRun
from servo.controlplane.store.seals import sealed
from servo.types.records import Materialization

Row = dict[str, Any]


def _sealed(value: object) -> bytes:
    return sealed(_wire.encode(value))


def digest_of(data: bytes) -> bytes:
    """Return the address of a chunk: the SHA-256 of its bytes."""
    return hashlib.sha256(data).digest()


def of_batch(batch: Batch) -> Iterator[tuple[str, Iterable[Row]]]:
    """Yield the name of a query and the rows that it writes, until all of a batch is written.

    Rows are made while they are written: those of a run with 100,000 tasks are large together.
    """
    yield "put_chunks", [{"workspace": w, "digest": d, "data": c} for w, d, c in batch.chunks]
    for workspace, new in batch.deployments:
        yield from _of_deployment(workspace, new)
    runs = [_of_new_run(workspace, new) for workspace, new in batch.new_runs]
    yield "put_runs", runs
    yield "put_run_plans", runs
    events = (
        {
            "workspace": workspace,
            "sequence": event.sequence,
            "run_id": event.run_id,
            "record": _sealed(event),
        }
        for workspace, event in batch.events
    )
    yield "put_events", events
    yield (
        "update_runs",
        [
            {"run_id": run_id, "state": run.state.value, "record": _sealed(run)}
            for run_id, run in batch.run_rows.items()
        ],
    )
    tasks = (
        {
            "run_id": run_id,
            "task_index": index,
            "task_id": task.task_id,
            "token": token,
            "record": _sealed(task),
        }
        for (run_id, index), (task, token) in batch.tasks.items()
    )
    yield "put_tasks", tasks
    made = [_of_materialization(*entry) for entry in batch.materializations]
    yield "put_materializations", made
    yield "put_current_materializations", made
    yield (
        "put_logs",
        [
            {"run_id": run_id, "task_id": lines.task_id, "record": _sealed(lines)}
            for run_id, lines in batch.logs
        ],
    )
    yield (
        "put_metrics",
        [asdict(metric) for metric in batch.metrics],
    )
    for workspace, name, slots in batch.pools:
        if slots is None:
            yield "drop_pools", [{"workspace": workspace, "name": name}]
        else:
            yield "put_pools", [{"workspace": workspace, "name": name, "slots": slots}]


def _of_deployment(workspace: int, new: NewDeployment) -> Iterator[tuple[str, list[Row]]]:
    deployment = new.deployment
    row: Row = {"workspace": workspace, "deployment_id": deployment.deployment_id}
    if new.header is not None:
        written = {
            "content_fingerprint": deployment.content_fingerprint,
            "record": _sealed(replace(deployment, current=False)),
            "header": _sealed(new.header),
        }
        yield "put_deployments", [row | written]
    moved = [
        {"workspace": workspace, "asset_key": key, "asset_id": asset_id}
        for key, asset_id in new.asset_ids.items()
    ]
    yield "drop_asset_ids", moved
    yield "put_asset_ids", moved
    yield "set_current_deployment", [row]


def _of_new_run(workspace: int, new: NewRun) -> Row:
    return {
        "run_id": new.run.run_id,
        "workspace": workspace,
        "state": new.run.state.value,
        "run_key": new.run.run_key,
        "record": _sealed(new.run),
        "request": _sealed(new.request),
        "plan": _sealed(new.plan),
    }


def _of_materialization(workspace: int, sequence: int, made: Materialization) -> Row:
    return {
        "workspace": workspace,
        "asset_id": made.asset_id,
        "partition_key": made.partition_key.to_canonical(),
        "sequence": sequence,
        "materialization_id": made.materialization_id,
        "has_data": made.has_data,
        "path": made.path,
        "record": _sealed(made),
    }
