"""Two ``servo dev`` in one project: one serves, the other is told so and harms nothing."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from servo_project import ServoProject, is_alive, wait_until

ASSETS = """
from servo import asset

@asset
def numbers(ctx):
    return [{"n": n} for n in range(10)]
"""


@pytest.fixture
def project(tmp_path: Path) -> Iterator[ServoProject]:
    root = tmp_path / "shop"
    (root / "assets").mkdir(parents=True)
    (root / "pyproject.toml").write_text("[tool.servo]\n")
    found = ServoProject(root)
    found.write("assets/raw.py", ASSETS)
    yield found
    found.close()


@pytest.mark.slow
def test_of_two_that_start_at_once_one_serves_and_the_other_is_told_so(
    project: ServoProject,
) -> None:
    both = [project.start("dev"), project.start("dev")]
    wait_until(lambda: any(one.poll() is not None for one in both), "one of them gives way", 60)
    (loser,) = [one for one in both if one.poll() is not None]
    (winner,) = [one for one in both if one.poll() is None]
    told = project.finish(loser)
    assert told.code == 78
    assert f"'servo dev' runs for this project already (pid {winner.pid})" in told.err
    wait_until(lambda: project.server is not None, "the other one serves", 60)
    assert (project.server or {})["pid"] == winner.pid
    # What the one that gave way left behind is in nobody's way.
    assert project.ok("run", "raw.numbers", "--json").json["state"] == "RUN_STATE_SUCCEEDED"
    assert len(project.data("raw/numbers")) == 10


@pytest.mark.slow
def test_a_killed_one_leaves_the_project_to_the_next(project: ServoProject) -> None:
    first = project.start("dev")
    wait_until(lambda: project.server is not None, "the first one serves", 60)
    first.send_signal(signal.SIGKILL)
    first.wait(30)
    assert not is_alive(first.pid)
    second = project.start("dev")
    wait_until(lambda: (project.server or {}).get("pid") == second.pid, "the second one serves", 60)
    assert project.ok("run", "raw.numbers", "--json").json["state"] == "RUN_STATE_SUCCEEDED"
