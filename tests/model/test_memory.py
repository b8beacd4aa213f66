"""A run that has ended is gone from memory with its last event, without a search for garbage."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator
from pathlib import Path

import pytest

from model.engine import Engine, MoodyStore
from model.players import PlayedWorker
from plane_kit import asset
from servo.controlplane.caller import Caller
from servo.types import AssetKey, MaterializationId, PartitionKey
from servo.types.records import Materialization
from servo.types.requests import CreateRunRequest
from servo.types.sessions import AttemptFinished, AttemptStarted, AttemptSucceeded

CHAINS = tuple(
    asset(f"raw.{chain}{place}", *([f"raw.{chain}{place - 1}"] if place else []))
    for chain in "ab"
    for place in range(4)
)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    store = MoodyStore(tmp_path / "servo.db")
    engine = Engine(store, [Caller(tenant_id="tenant", workspace_id="workspace")])
    engine.deploy(0, CHAINS)
    gc.collect()
    gc.disable()
    yield engine
    gc.enable()
    engine.close()
    store.close()


def start(engine: Engine, selection: str = "*") -> tuple[str, weakref.ref[object]]:
    run, _ = engine.create_run(0, CreateRunRequest(selection=(selection,), timeout_seconds=3600))
    return run.run_id, weakref.ref(engine.workspaces[0].active[run.run_id].machine)


def work(engine: Engine, worker: PlayedWorker) -> None:
    """Give out what is ready, and let all of it succeed."""
    engine.commit()
    for lease in list(worker.attempts.values()):
        del worker.attempts[lease.token]
        made = Materialization(
            materialization_id=str(MaterializationId.generate()),
            asset_key=AssetKey("raw", "a0"),
            partition_key=PartitionKey(),
            has_data=False,
        )
        succeeded = AttemptSucceeded(materialization=made)
        engine.receive(
            worker,
            AttemptStarted(lease=lease),
            AttemptFinished(lease=lease, outcome=succeeded),
        )


def test_a_run_that_is_done_is_gone(engine: Engine) -> None:
    worker = PlayedWorker()
    engine.connect(worker, ())
    engine.grant(worker, 100)
    _, machine = start(engine)
    for _ in range(5):
        work(engine, worker)
    assert not engine.workspaces[0].active
    assert machine() is None
    assert not any(
        engine.workspaces[0].materialized.of(one) for one in engine.workspaces[0].asset_ids
    )


def test_a_run_that_was_stopped_is_gone(engine: Engine) -> None:
    run_id, machine = start(engine)
    engine.cancel(0, run_id)
    engine.commit()
    assert not engine.workspaces[0].active
    assert machine() is None


def test_what_a_run_read_is_let_go_while_others_go_on(engine: Engine) -> None:
    workspace = engine.workspaces[0]
    worker = PlayedWorker()
    engine.connect(worker, ())
    engine.grant(worker, 100)
    start(engine)
    for _ in range(5):
        work(engine, worker)
    held, _ = start(engine, "raw.b*")
    engine.act(0, lambda workspace: workspace.update_run(held, paused=True))
    start(engine, "raw.a*")
    known = workspace.materialized.of(workspace.asset_ids["raw.a0"])
    assert len(known) == 1
    for _ in range(5):
        work(engine, worker)
    assert list(workspace.active) == [held]
    assert not workspace.materialized.of(workspace.asset_ids["raw.a0"])
    assert len(workspace.materialized.of(workspace.asset_ids["raw.b0"])) == 1
