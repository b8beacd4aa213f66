"""Holding, explaining, bounding and following runs on the command line."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from typing import Any

import pytest

from servo_project import ServoProject, wait_until

SHOP = """
import pathlib, time
from servo import AssetIn, asset


@asset(namespace="raw", pools=["warehouse"])
def slow(ctx):
    pathlib.Path("started").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return [{"a": 1}]


@asset(namespace="mart")
def after(ctx, slow: AssetIn["raw.slow"]):
    return [{"b": 2}]
"""
QUICK = """
from servo import asset


@asset(namespace="raw", max_retries=0)
def quick(ctx):
    if not ctx.config.get("fine"):
        raise ValueError("not fine")
"""
NOBODY = "01ARZ3NDEKTSV4RRFFQ69G5FAV"


@pytest.fixture(scope="module")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServoProject]:
    root = tmp_path_factory.mktemp("deployed")
    (root / "pyproject.toml").write_text("[tool.servo]\n")
    found = ServoProject(root)
    found.write("assets/shop.py", QUICK)
    found.ok("deploy")
    yield found
    found.close()


def state_of(project: ServoProject, index: int) -> str:
    task = project.ok("status", "latest", "--json").json["tasks"][index]
    return str(task["state"])


def chain(project: ServoProject, *subject: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = project.ok("why", *subject, "--json").json["chain"]
    return found


def test_a_run_is_explained_held_and_resumed(project: ServoProject) -> None:
    project.write("assets/shop.py", SHOP)
    run_id = project.ok("run", "*", "--no-wait", "--json").json["runId"]
    wait_until((project.root / "started").exists, "the first task is executed")

    said = project.ok("why", "mart.after").out.splitlines()
    assert said[0].startswith("mart.after waits for raw.slow, which is ")
    assert said[1].startswith("  raw.slow is being executed by worker ")
    assert said[2] == "    To do: nothing but wait"
    task_id = project.ok("status", "latest", "--json").json["tasks"][1]["taskId"]
    assert chain(project, task_id) == chain(project, "mart.after")
    assert chain(project, run_id.lower())[-1]["kind"] == "BLOCKER_KIND_EXECUTING"

    held = project.ok("pause", "latest").out
    assert held.startswith(f"Run {run_id} is held; 1 task under way will end.")
    (project.root / "go").touch()
    wait_until(lambda: state_of(project, 1) == "TASK_STATE_READY", "only the pause is in the way")
    assert chain(project, "latest")[-1] | {"details": {}} == {
        "kind": "BLOCKER_KIND_PAUSED",
        "subject": "run",
        "subjectId": run_id,
        "message": f"run {run_id} is held",
        "remedy": f"servo resume {run_id}",
        "details": {},
    }
    shown = project.ok("status", run_id[:20]).out
    assert "  held        yes" in shown
    assert f"run {run_id} is held" in shown
    assert "running, held" in project.ok("status").out
    assert project.ok("priority", "latest", "-5").out == f"Run {run_id} has priority -5.\n"

    assert project.ok("resume", "latest", "--json").json["paused"] is False
    watched = project.ok("status", "latest", "--watch", "--json").json
    assert (watched["state"], watched["priority"]) == ("RUN_STATE_SUCCEEDED", -5)
    assert chain(project, "mart.after")[-1]["kind"] == "BLOCKER_KIND_SUCCEEDED"
    for command in ("pause", "resume"):
        refused = project.run(command, "latest", "--json")
        assert (refused.code, refused.json["code"]) == (2, "RUN_HAS_ENDED")


def test_a_pool_bounds_what_starts_and_says_so(project: ServoProject) -> None:
    project.write("assets/shop.py", SHOP)
    (project.root / "go").touch()
    assert project.ok("pools", "list").out.startswith("There are no pools.")
    assert project.ok("pools", "set", "warehouse", "0").out == "Pool warehouse has 0 slots.\n"
    project.ok("run", "raw.slow", "--no-wait")
    pool = {"name": "warehouse", "slots": 0, "used": 0, "waiting": 1}
    wait_until(
        lambda: project.ok("pools", "list", "--json").json["pools"] == [pool], "the task waits"
    )
    assert "waiting for pool warehouse 0/0" in project.ok("status", "latest").out
    link = chain(project, "raw.slow")[-1]
    assert (link["kind"], link["subjectId"]) == ("BLOCKER_KIND_POOL", "warehouse")
    assert "servo pools set warehouse" in project.ok("why", "raw.slow").out
    assert project.ok("pools", "set", "warehouse", "2", "--json").json["slots"] == 2
    assert "succeeded" in project.ok("status", "latest", "--watch").out
    assert project.ok("pools", "remove", "warehouse").out == "Pool warehouse is removed.\n"
    missing = project.run("pools", "remove", "warehouse", "--json")
    assert (missing.code, missing.json["code"]) == (2, "POOL_NOT_FOUND")


def test_the_history_is_printed_without_a_gap_and_goes_on_where_one_was(
    project: ServoProject,
) -> None:
    project.write("assets/shop.py", QUICK)
    assert project.ok("events").out == "No events yet.\n"
    project.ok("run", "*", "--config", "fine=1")
    lines = project.ok("events", "--json").out.splitlines()
    events = [json.loads(line) for line in lines]
    assert [int(event["sequence"]) for event in events] == list(range(1, len(events) + 1))
    assert project.ok("events", "--json", "--since", "3").out.splitlines() == lines[3:]
    run_id = events[-1]["runId"]
    of_run = [line for line in lines if run_id in line]
    assert project.ok("events", "--json", "--run", "latest").out.splitlines() == of_run
    followed = project.ok("events", "--json", "--follow", "--run", run_id[:20], "--since", "4")
    assert followed.out.splitlines() == lines[4:]

    text = project.ok("events").out.splitlines()
    assert [int(line.split()[0]) for line in text] == list(range(1, len(events) + 1))
    assert any(f"run {run_id}  raw.quick  succeeded" in line for line in text)
    ahead = project.run("events", "--since", str(len(events) + 1), "--json")
    assert (ahead.code, ahead.json["code"]) == (2, "UNKNOWN_SEQUENCE")


def test_whoever_follows_the_history_sees_what_happens_until_ctrl_c(project: ServoProject) -> None:
    project.write("assets/shop.py", QUICK)
    project.ok("run", "*", "--config", "fine=1")
    count = len(project.ok("events").out.splitlines())
    following = project.start("events", "--follow", "--since", str(count - 1))
    assert following.stdout is not None
    assert following.stdout.readline().split()[0] == str(count)
    project.ok("pools", "set", "warehouse", "3")
    assert following.stdout.readline().rstrip().endswith("pool warehouse  3 slots")
    following.send_signal(signal.SIGINT)
    done = project.finish(following)
    assert done.code == 130, done
    assert done.err == (
        f"Go on after event {count + 1}: servo events --follow --since {count + 1}\n"
    )


def test_what_a_run_may_take_is_said_when_it_is_asked_for(project: ServoProject) -> None:
    project.write("assets/shop.py", QUICK)
    limits = ("--priority", "7", "--max-parallelism", "2", "--timeout", "15m")
    paid = ("--budget", "usd=1.50", "--budget", "tokens=100")
    run = project.run("run", "*", *limits, *paid, "--json")
    assert run.code == 1, run
    assert run.json["priority"] == 7
    assert run.json["maxParallelism"] == 2
    assert run.json["timeoutSeconds"] == 900
    assert run.json["budget"] == {"tokens": "100", "usd": "1.50"}
    shown = project.ok("status", "latest").out
    assert "  spent       0 of 100 tokens, 0 of 1.50 usd" in shown
    assert "  time limit  15 min 0 s" in shown

    project.ok("run", "raw.quick", "--config", "fine=1")
    facts, _, _ = project.ok("status", "latest").out.partition("\n\n")
    assert [line.split()[0] for line in facts.splitlines()] == [
        "Run", "selection", "deployment", "created", "took", "tables",
    ]  # fmt: skip

    project.ok("rerun", run.json["runId"], "--config", "fine=1")
    assert f"  rerun of    {run.json['runId']}" in project.ok("status", "latest").out
    assert f"repeats run {run.json['runId']}" in project.ok("events").out


def test_a_run_for_code_that_no_worker_has_says_so_at_once(project: ServoProject) -> None:
    project.write("assets/shop.py", QUICK)
    project.ok("run", "*", "--no-wait", "--code-version", "v-none")
    assert "CODE_VERSION_NOT_AVAILABLE" in project.ok("status", "latest").out
    link = chain(project, "latest")[-1]
    assert (link["kind"], link["subjectId"]) == ("BLOCKER_KIND_CODE_VERSION", "v-none")
    assert "is cancelled." in project.ok("cancel", "latest").out
    assert "is cancelled." in project.ok("cancel", "latest").out
    project.ok("run", "*", "--config", "fine=1")
    assert "has ended already: succeeded." in project.ok("cancel", "latest").out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("run", "*", "--budget", "usd"), "write UNIT=AMOUNT"),
        (("run", "*", "--timeout", "soon"), "is no length of time"),
        (("run", "*", "--max-parallelism", "0"), "0 is not in the range"),
        (("why", NOBODY), "there is no run and no task"),
        (("why", "raw.nothing"), "there is no asset 'raw.nothing'"),
        (("why", "Not A Key"), "Not A Key"),
        (("why", "latest", "--partition", "date=2025-01-01"), "leave --partition out"),
        (("why", "raw.quick[date=2025-01-01]"), "no dimension 'date'"),
        (("pause", NOBODY), "there is no run"),
        (("pools", "set", "Big-Pool", "3"), "Invalid name of a pool 'Big-Pool'"),
        (("pools", "set", "pool", "many"), "'many' is not a valid integer"),
        (("events", "--since", "x"), "'x' is not a valid integer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_makes_no_sense_is_refused_with_what_would(
    deployed: ServoProject, arguments: tuple[str, ...], says: str
) -> None:
    done = deployed.run(*arguments)
    assert done.code == 2, done
    assert says in done.err
