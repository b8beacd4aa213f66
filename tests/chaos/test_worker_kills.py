"""Workers that are killed, or frozen until nobody believes in them any more."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from chaos.site import site
from chaos.workers import are_gone, descendants, runner_of, until_quiet
from chaos.workload import Workload
from servo.types.runs import RunState, TaskState


def one_slow_task() -> Workload:
    workload = Workload()
    workload.add("g", "slow")
    return workload


def test_the_task_of_a_killed_worker_is_executed_by_another_one(tmp_path: Path) -> None:
    with site(tmp_path, one_slow_task(), lease=1.0, slots=1) as here:
        run_id = here.create_run("g.*")
        here.until_running(run_id)
        first = here.workers.running[0]
        theirs = descendants(first.pid)
        assert theirs
        here.workers.kill(first)
        assert are_gone(theirs), "what the worker had started runs on without it"
        here.workers.start()
        here.until_running(run_id, attempt=2)
        here.let_go(2)
        ended = here.until_ended(run_id)
        assert ended.state is RunState.SUCCEEDED
        here.check()
        lost = [change for change in here.changes(run_id) if change.failure is not None]
        assert [change.failure.reason for change in lost if change.failure] == ["lease_lost"]
        assert f"the lease of task {ended.tasks[0].task_id} ran out" in here.planes.log


def test_worker_and_control_plane_die_together_and_the_run_goes_on(tmp_path: Path) -> None:
    with site(tmp_path, one_slow_task(), lease=1.0, slots=1) as here:
        run_id = here.create_run("g.*")
        here.until_running(run_id)
        here.planes.lives[-1].kill()
        here.workers.kill(here.workers.running[0])
        here.planes.lives[-1].wait()
        here.planes.start()
        here.workers.start()
        here.until_running(run_id, attempt=2)
        here.let_go(2)
        assert here.until_ended(run_id).state is RunState.SUCCEEDED
        here.check()
        assert "going on with 1 runs that had not ended" in here.planes.log


@pytest.mark.parametrize("newer_is_over", [False, True])
def test_the_late_result_of_a_frozen_worker_is_refused(tmp_path: Path, newer_is_over: bool) -> None:
    """Its process for user code goes on, and publishes before or after the newer attempt."""
    with site(tmp_path, one_slow_task(), lease=1.0, slots=1) as here:
        run_id = here.create_run("g.*")
        here.until_running(run_id)
        frozen = here.workers.running[0]
        runner = runner_of(frozen.pid)
        os.kill(frozen.pid, signal.SIGSTOP)
        here.workers.start()
        here.until_running(run_id, attempt=2)
        if newer_is_over:
            here.let_go(2)
            here.until_ended(run_id)
        here.let_go(1)
        here.until_let_go(1)
        until_quiet(runner)
        os.kill(frozen.pid, signal.SIGCONT)
        here.until_logged("was refused", "was taken back")
        here.let_go(2)
        ended = here.until_ended(run_id)
        assert ended.state is RunState.SUCCEEDED
        here.check()
        rows = pq.read_table(here.workers.data_root / "g/a0/data.parquet").to_pylist()
        assert rows == [{"n": 2}]
        done = [c for c in here.changes(run_id) if c.state is TaskState.SUCCEEDED]
        assert [change.attempt for change in done] == [2]


def test_a_worker_that_was_frozen_within_its_lease_goes_on(tmp_path: Path) -> None:
    with site(tmp_path, one_slow_task(), lease=30.0, slots=1) as here:
        run_id = here.create_run("g.*")
        here.until_running(run_id)
        (worker,) = here.workers.running
        for pid in (worker.pid, *descendants(worker.pid)):
            os.kill(pid, signal.SIGSTOP)
        here.let_go(1)
        here.planes.stop()
        here.planes.start()
        here.planes.until_serving()
        for pid in (worker.pid, *descendants(worker.pid)):
            os.kill(pid, signal.SIGCONT)
        ended = here.until_ended(run_id)
        assert (ended.state, ended.tasks[0].attempt) == (RunState.SUCCEEDED, 1)
        here.check()
