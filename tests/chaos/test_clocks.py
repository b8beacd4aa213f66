"""Clocks that are set by an hour while runs go on: what is waited for is measured otherwise."""

from __future__ import annotations

import os
import struct
import time
from datetime import timedelta
from pathlib import Path

import pytest

from chaos.planes import HERE
from chaos.site import site
from chaos.workload import Workload
from servo.types.runs import RunState, TaskState

HOUR = 3600.0


class Clock:
    """The clock of some processes.

    Args:
        file: Where it is kept.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self.set(0.0)

    @property
    def environ(self) -> dict[str, str]:
        """What a process needs to go by it."""
        return {"CHAOS_CLOCK": str(self._file), "PYTHONPATH": str(HERE / "clocks")}

    def set(self, ahead: float) -> None:
        """Set it so many seconds ahead of the true time."""
        descriptor = os.open(self._file, os.O_WRONLY | os.O_CREAT)
        os.pwrite(descriptor, struct.pack("d", ahead), 0)
        os.close(descriptor)


@pytest.mark.slow
@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
@pytest.mark.parametrize("whose", ["plane", "worker"])
def test_a_clock_that_jumps_neither_ends_a_lease_nor_holds_a_retry_up(
    tmp_path: Path, whose: str, jump: float
) -> None:
    clock = Clock(tmp_path / "clock")
    workload = Workload()
    workload.add("g", "slow")
    flaky = workload.add("g", "flaky", retry_delay_seconds=2)
    workload.add("g", "table", flaky)
    environ = clock.environ if whose == "plane" else {}
    with site(tmp_path, workload, lease=5.0, workers=0, environ=environ) as here:
        here.workers.environ = clock.environ if whose == "worker" else {}
        here.workers.start()
        run_id = here.create_run("g.*")
        here.until_running(run_id)
        here.until(run_id, lambda run: run.tasks[1].state is TaskState.RETRY_WAIT)
        clock.set(jump)
        began = time.monotonic()
        here.until(run_id, lambda run: run.tasks[2].state is TaskState.SUCCEEDED, patience=30)
        # Longer than a lease: the slow attempt has to keep its own all the time.
        time.sleep(max(0.0, began + 6 - time.monotonic()))
        here.let_go(1)
        ended = here.until_ended(run_id)
        assert ended.state is RunState.SUCCEEDED
        assert [task.attempt for task in ended.tasks] == [1, 2, 1]
        assert ended.created_at is not None
        assert ended.finished_at is not None
        measured = ended.finished_at - ended.created_at
        if whose == "plane":
            # It writes down what its clock says; the jump shows that it was one.
            assert abs(measured - timedelta(seconds=jump)) < timedelta(minutes=2)
        else:
            assert timedelta(0) < measured < timedelta(minutes=2)
        here.check()


@pytest.mark.slow
@pytest.mark.parametrize("jump", [HOUR, -HOUR], ids=["ahead", "back"])
def test_a_retry_is_not_held_up_when_the_clock_was_set_while_nobody_served(
    tmp_path: Path, jump: float
) -> None:
    clock = Clock(tmp_path / "clock")
    workload = Workload()
    workload.add("g", "flaky", retry_delay_seconds=2)
    with site(tmp_path, workload, environ=clock.environ) as here:
        run_id = here.create_run("g.*")
        here.until(run_id, lambda run: run.tasks[0].state is TaskState.RETRY_WAIT)
        here.planes.lives[-1].kill()
        here.planes.lives[-1].wait()
        clock.set(jump)
        here.planes.start()
        ended = here.until_ended(run_id, patience=30)
        assert ended.state is RunState.SUCCEEDED
        here.check()
