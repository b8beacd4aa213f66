"""``servo db`` in a project, with real control planes beside it."""

from __future__ import annotations

import json
import signal

from servo_project import ServoProject, wait_until

ASSET = """
from servo import AssetIn, asset


@asset(namespace="raw")
def numbers(ctx) -> list[dict]:
    print("counting")
    return [{"n": 1}]


@asset(namespace="mart")
def total(ctx, numbers: AssetIn["raw.numbers"]) -> list[dict]:
    return [{"total": 1}]
"""


def run_twice(project: ServoProject) -> None:
    project.write("assets/numbers.py", ASSET)
    project.ok("deploy")
    project.ok("run", "*")
    project.ok("run", "*")
    wait_until(lambda: project.server is None, "the control plane in the background leaves")


def test_a_project_is_checked_backed_up_pruned_and_goes_on(project: ServoProject) -> None:
    run_twice(project)
    checked = project.ok("db", "check", "--json").json
    assert checked["ok"] is True
    assert checked["seen"]["runs"] == 2
    project.ok("db", "backup", "saved.db")
    forgotten = project.ok("db", "prune", "--older-than", "0s", "--json").json["workspaces"][0]
    assert forgotten["forgotten"]["runs"] == 1
    assert forgotten["kept"] == {"lineage": 1}
    (run,) = project.ok("status", "--json").json["runs"]
    assert "counting" in project.ok("logs", run["runId"]).out
    assert project.ok("db", "check", "--json").json["ok"] is True
    project.ok("run", "*")
    assert len(project.ok("status", "--json").json["runs"]) == 2
    begins = forgotten["history_after"] + 1
    first, *_ = project.ok("events", "--json").out.splitlines()
    assert int(json.loads(first)["sequence"]) == begins
    wait_until(lambda: project.server is None, "the control plane in the background leaves")
    project.ok("db", "restore", "saved.db", "--force")
    assert len(project.ok("status", "--json").json["runs"]) == 2
    assert project.ok("db", "check", "--json").json["ok"] is True


def test_servo_dev_keeps_others_from_changing_its_database(project: ServoProject) -> None:
    project.write("assets/numbers.py", ASSET)
    dev = project.start("dev")
    wait_until(lambda: project.server is not None, "the control plane serves")
    refused = project.run("db", "prune", "--older-than", "0s")
    assert refused.code == 78, refused
    assert f"process {dev.pid}" in refused.err
    assert "Ctrl-C in `servo dev`" in refused.err
    project.ok("db", "check")
    project.ok("db", "backup", "saved.db")
    dev.send_signal(signal.SIGINT)
    dev.communicate(timeout=60)
    project.ok("db", "prune", "--older-than", "0s")


def test_an_interrupted_prune_leaves_a_sound_database(project: ServoProject) -> None:
    run_twice(project)
    pruning = project.start("db", "prune", "--older-than", "0s")
    pruning.send_signal(signal.SIGINT)
    pruning.communicate(timeout=60)
    assert project.ok("db", "check", "--json").json["ok"] is True
    project.ok("db", "prune", "--older-than", "0s")
    assert len(project.ok("status", "--json").json["runs"]) == 1
