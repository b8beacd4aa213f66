"""SIGKILL for the control plane, at every boundary of its work."""

from __future__ import annotations

import random
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Final

import pytest

import postgres_kit
from chaos.planes import Death, Planes
from chaos.site import site
from chaos.storm import Storm
from chaos.workload import Workload
from servo.types.runs import RunState, TaskState

KILLS: Final = {11: 105, 12: 105}
"""How often the control plane dies under each seed; at least 200 times in all."""

EVENTS: Final = (
    "RunCreated",
    *(f"TaskStateChanged {name}" for name in ("ready", "dispatched", "running", "retry_wait")),
    *(f"TaskStateChanged {name}" for name in ("succeeded", "failed", "skipped", "cancelled")),
    *(f"RunStateChanged {name}" for name in ("running", "cancelling", "succeeded", "failed")),
)
"""What a control plane records, each of which is to be the last thing that it does."""


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("seed", KILLS)
def test_runs_come_to_their_end_however_often_the_control_plane_is_killed(
    tmp_path: Path, seed: int
) -> None:
    report = Storm(tmp_path, kills=KILLS[seed], seed=seed).run()
    print(report.as_json())
    assert sum(KILLS.values()) >= 200
    assert report.kills == KILLS[seed]
    assert len(report.boundaries) >= 8
    assert report.tally.runs[RunState.SUCCEEDED] >= 10
    assert report.tally.tasks[TaskState.SUCCEEDED] >= 50


@pytest.mark.slow
def test_the_control_plane_may_die_before_and_after_each_kind_of_event(tmp_path: Path) -> None:
    deaths = [Death(moment, event=event) for event in EVENTS for moment in ("before", "after")]
    random.Random(14).shuffle(deaths)
    report = Storm(tmp_path, kills=len(deaths), seed=14, deaths=deaths).run()
    print(report.as_json())
    assert report.kills == 2 * len(EVENTS)


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_runs_come_to_their_end_when_workers_are_killed_as_well(tmp_path: Path) -> None:
    storm = Storm(tmp_path, kills=30, seed=13, workers=2, worker_kills=8, lease=2.0)
    report = storm.run()
    print(report.as_json())
    assert report.kills == 30
    assert report.worker_kills == 8
    assert report.tally.runs[RunState.SUCCEEDED] >= 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_runs_come_to_their_end_on_postgresql_as_well(tmp_path: Path) -> None:
    chance = random.Random(15)
    # Which commit is the last one is known on SQLite only; here it is a matter of time.
    deaths = [Death("starting", delay=chance.uniform(0.1, 1.2)) for _ in range(20)]
    with postgres_kit.database() as url:
        report = Storm(tmp_path, kills=20, seed=15, deaths=deaths, database=url).run()
    print(report.as_json())
    assert report.kills == 20
    assert report.tally.runs[RunState.SUCCEEDED] >= 1


def test_a_cancellation_reaches_the_worker_although_the_control_plane_died_over_it(
    tmp_path: Path,
) -> None:
    workload = Workload()
    workload.add("g", "slow")
    with site(tmp_path, workload) as here:
        run_id = here.create_run("g.*")
        here.until_running(run_id)
        here.planes.stop()
        life = here.planes.start(Death("after", event="RunStateChanged cancelling"))
        here.planes.until_serving()
        # It dies before it can answer: the question is asked again.
        with here.planes.restarted_after(life):
            here.cancel(run_id)
        ended = here.until_ended(run_id, patience=30)
        assert ended.state is RunState.CANCELLED
        assert ended.tasks[0].state is TaskState.CANCELLED
        here.check()


def test_a_database_that_was_half_made_is_finished_at_the_next_start(tmp_path: Path) -> None:
    died = 0
    planes = Planes(tmp_path)
    try:
        while True:
            planes.database = tmp_path / f"{died}.db"
            life = planes.start(Death("statement", commit=died + 1, event="COMMIT"))
            while not life.ended.wait(0.01) and "serving\n" not in planes.news:
                pass
            if not life.ended.is_set():
                break  # it has not that many commits to make
            assert life.exit_code == -9
            died += 1
            planes.start()
            planes.until_serving()
            planes.stop()
            with closing(sqlite3.connect(planes.database)) as database:
                assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    finally:
        planes.close()
    assert died >= 5
