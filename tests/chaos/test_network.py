"""A network between worker and control plane that delays, drops, repeats and cuts."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from chaos.proxy import DOWN, UP, Proxy, proxy
from chaos.site import Site, site
from chaos.workload import Workload
from plane_kit import Caller, ScriptedWorker, asset, at_work, plane, sync
from servo.types.events import TaskStateChanged
from servo.types.ids import WorkerId
from servo.types.runs import RunState, TaskState
from servo.types.sessions import ResultReceipt


@contextmanager
def behind_a_proxy(folder: Path, workload: Workload, lease: float) -> Iterator[tuple[Site, Proxy]]:
    with site(folder, workload, lease=lease, workers=0) as here, proxy(here.planes.port) as network:
        here.workers.url = network.url
        here.workers.start()
        yield here, network


def graphs(seed: int) -> Workload:
    workload = Workload()
    chance = random.Random(seed)
    for graph in range(4):
        tables: list[str] = []
        for _ in range(12):
            upstream = chance.sample(tables, min(len(tables), chance.randint(0, 2)))
            tables.append(workload.add(f"g{graph}", "table", *upstream))
    return workload


@pytest.mark.slow
def test_runs_end_well_over_a_network_that_delays_and_cuts(tmp_path: Path) -> None:
    chance = random.Random(21)
    with behind_a_proxy(tmp_path, graphs(21), lease=20.0) as (here, network):
        until = time.monotonic() + 8
        runs = [here.create_run(f"{name}.*") for name in here.workload.namespaces]
        cuts = 0
        while time.monotonic() < until:
            network.delay = chance.choice([0.0, 0.0, 0.02, 0.2])
            time.sleep(chance.uniform(0.05, 0.4))
            network.cut()
            cuts += 1
            if all(here.run(run_id).state.is_terminal for run_id in runs[-2:]):
                runs += [here.create_run(f"{name}.*") for name in here.workload.namespaces]
        network.delay = 0.0
        ended = [here.until_ended(run_id) for run_id in runs]
        assert {run.state for run in ended} == {RunState.SUCCEEDED}
        # What was done once was not done again, whatever was lost on the way.
        assert {task.attempt for run in ended for task in run.tasks} == {1}
        assert network.connections > cuts / 2 > 5
        here.check()


@pytest.mark.slow
@pytest.mark.parametrize("lost", [{UP}, {DOWN}, {UP, DOWN}], ids=["up", "down", "both"])
def test_what_a_network_swallows_for_longer_than_a_lease_is_done_again(
    tmp_path: Path, lost: set[str]
) -> None:
    workload = Workload()
    workload.add("g", "slow")
    workload.add("g", "table")
    with behind_a_proxy(tmp_path, workload, lease=1.0) as (here, network):
        run_id = here.create_run("g.*")
        here.until_running(run_id)
        network.dropped = frozenset(lost)
        here.let_go(1)
        if UP in lost:
            here.until_logged("ran out")
        else:
            here.until_ended(run_id)
        network.dropped = frozenset()
        network.cut()
        here.let_go(2)
        ended = here.until_ended(run_id)
        assert ended.state is RunState.SUCCEEDED
        here.check()
        succeeded = [c for c in here.changes(run_id) if c.state is TaskState.SUCCEEDED]
        assert sorted(change.index for change in succeeded) == [0, 1]


def test_a_result_whose_receipt_was_lost_is_confirmed_when_it_comes_again(tmp_path: Path) -> None:
    workload = Workload()
    workload.add("g", "slow")
    with behind_a_proxy(tmp_path, workload, lease=30.0) as (here, network):
        run_id = here.create_run("g.*")
        here.until_running(run_id)
        network.dropped = frozenset({DOWN})
        here.let_go(1)
        ended = here.until_ended(run_id)
        assert ended.state is RunState.SUCCEEDED
        connections = network.connections
        network.dropped = frozenset()
        network.cut()
        here.until(run_id, lambda _: network.connections > connections)
        # A further run shows that the worker has settled the old one.
        again = here.create_run("g.*")
        here.until_ended(again)
        assert "was refused" not in here.workers.log
        here.check()


@sync
async def test_a_result_that_is_reported_on_two_connections_counts_once(folder: Path) -> None:
    async with plane(folder) as (_, caller):
        await caller.deploy([asset("raw.a")])
        name = WorkerId.generate()
        other = Caller(caller.url)
        first = ScriptedWorker(caller, lambda _: None, credit=1, worker_id=name)
        async with at_work(first):
            run_id = (await caller.create_run("*")).run.run_id
            await first.until(lambda: bool(first.dispatches))
            held = first.dispatches[0]
            second = ScriptedWorker(other, credit=0, worker_id=name)
            async with at_work(second, leases=(held.lease,)):
                result = second.outcome(held)
                second.finish(held.lease, result)
                second.finish(held.lease, result)
                await second.until(lambda: len(receipts(second)) >= 2)
                assert [receipt.accepted for receipt in receipts(second)[:2]] == [True, True]
        changes = [event.payload for event in await caller.watch(run_id)]
        succeeded = [
            change
            for change in changes
            if isinstance(change, TaskStateChanged) and change.state is TaskState.SUCCEEDED
        ]
        assert len(succeeded) == 1
        await other.channel.close()


def receipts(worker: ScriptedWorker) -> list[ResultReceipt]:
    return [message for message in worker.received if isinstance(message, ResultReceipt)]
