from __future__ import annotations

import contextlib
import os
import signal
from datetime import date
from pathlib import Path

import pytest

from servo_project import ServoProject, is_alive, wait_until

ASSETS = '''
from typing import Annotated, Any
from servo import AssetIn, DailyPartition, asset, row_count

DAYS = DailyPartition("date", start="2025-01-01", end="2025-01-03")


@asset(namespace="raw")
def orders(ctx):
    """Orders."""
    print("three orders")
    return [{"day": day, "amount": 10 * day} for day in (1, 2, 3)]


@asset(namespace="mart", partitions=DAYS, checks=[row_count(min_rows=1)])
def daily(ctx, orders: Annotated[list[dict[str, Any]], AssetIn["raw.orders"]]):
    """Revenue of a day."""
    day = ctx.partition_key.dimensions["date"].day
    return [{"amount": order["amount"]} for order in orders if order["day"] == day]


@asset(namespace="side")
def effect(ctx):
    """Leaves nothing."""
'''

BROKEN = """
from servo import AssetIn, asset


@asset(namespace="raw", max_retries=0)
def bad(ctx):
    raise ValueError("no such order")


@asset(namespace="raw")
def after(ctx, bad: AssetIn["raw.bad"]):
    return [{"a": 1}]
"""

SLOW = """
import pathlib, time
from servo import asset


@asset(namespace="raw", max_retries=1, retry_delay_seconds=0)
def slow(ctx):
    pathlib.Path("started").touch()
    for _ in range(600):
        time.sleep(0.1)
        ctx.report_progress("still there")
"""


def test_everything_is_made_and_nothing_stays_behind(project: ServoProject) -> None:
    project.write("assets/shop.py", ASSETS)
    done = project.ok("run", "*", "--all-partitions")
    assert "5 tasks of 3 assets" in done.out
    assert project.data("mart/daily/date=2025-01-02") == [{"amount": 20}]
    wait_until(lambda: project.server is None, "the host leaves")


def test_json_is_one_document_with_the_run_and_its_tasks(project: ServoProject) -> None:
    project.write("assets/shop.py", ASSETS)
    run = project.ok("run", "mart.daily", "--partition", "date=2025-01-02", "--upstream", "--json")
    document = run.json
    assert document["state"] == "RUN_STATE_SUCCEEDED"
    assert len(document["runId"]) == 26
    assert [
        (task["assetKey"], task["partitionKey"], task["state"], task["attempt"])
        for task in document["tasks"]
    ] == [
        ({"namespace": "raw", "name": "orders"}, {"dimensions": {}}, "TASK_STATE_SUCCEEDED", 1),
        (
            {"namespace": "mart", "name": "daily"},
            {"dimensions": {"date": f"d:{date(2025, 1, 2)}"}},
            "TASK_STATE_SUCCEEDED",
            1,
        ),
    ]


def test_a_failed_run_exits_with_1_and_says_why(project: ServoProject) -> None:
    project.write("assets/shop.py", BROKEN)
    done = project.run("run", "*")
    assert done.code == 1, done
    assert "✗ raw.bad  user_code: " in done.out
    assert "no such order" in done.out
    assert "servo logs" in done.out
    logs = project.ok("logs", "latest", "--task", "raw.bad")
    assert "ValueError: no such order" in logs.out
    assert 'raise ValueError("no such order")' in logs.out
    skipped = project.ok("status", "latest", "--json").json["tasks"][1]
    assert skipped["state"] == "TASK_STATE_SKIPPED"
    assert "raw.bad" in skipped["reason"]


def test_a_failed_run_is_a_document_too(project: ServoProject) -> None:
    project.write("assets/shop.py", BROKEN)
    done = project.run("run", "raw.bad", "--json")
    assert done.code == 1, done
    assert done.json["tasks"][0]["failure"]["message"].endswith("no such order")


def test_a_run_that_is_not_waited_for_goes_on(project: ServoProject) -> None:
    project.write("assets/shop.py", ASSETS)
    started = project.ok("run", "*", "--all-partitions", "--no-wait", "--json").json
    assert started["tasks"] == []
    watched = project.ok("status", started["runId"][:20], "--watch", "--json").json
    assert watched["runId"] == started["runId"]
    assert watched["state"] == "RUN_STATE_SUCCEEDED"
    assert len(watched["tasks"]) == 5


def test_the_same_run_key_is_the_same_run(project: ServoProject) -> None:
    project.write("assets/shop.py", ASSETS)
    first = project.ok("run", "side.effect", "--run-key", "nightly", "--json").json
    again = project.ok("run", "side.effect", "--run-key", "nightly", "--json").json
    assert again["runId"] == first["runId"]
    other = project.run("run", "raw.orders", "--run-key", "nightly", "--json")
    assert other.code == 2, other
    assert other.json["code"] == "RUN_KEY_CONFLICT"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("raw.ordrs",), "raw.ordrs"),
        (("mart.daily",), "--all-partitions"),
        (("mart.daily", "--partition", "dat=2025-01-01"), "no dimension 'dat'"),
        (("mart.daily", "--partition", "date=2026-01-01"), "2026-01-01"),
        (("mart.daily", "--partition", "date=2025-01-01"), "--upstream"),
        (("mart.daily", "--partition", "date=soon"), "soon"),
        (("mart.daily", "--partitions", "2025-01-03..2025-01-01"), "2025-01-0"),
        (("raw.orders", "--config", "x"), "NAME=VALUE"),
    ],
)
def test_what_cannot_be_run_is_refused_with_the_reason(
    project: ServoProject, arguments: tuple[str, ...], says: str
) -> None:
    project.write("assets/shop.py", ASSETS)
    done = project.run("run", *arguments)
    assert done.code == 2, done
    assert says in done.err


def test_ctrl_c_cancels_the_run(project: ServoProject) -> None:
    project.write("assets/shop.py", SLOW)
    process = project.start("run", "raw.slow")
    wait_until((project.root / "started").exists, "the task starts")
    process.send_signal(signal.SIGINT)
    done = project.finish(process)
    assert done.code == 130, done
    run = project.ok("status", "latest", "--json").json
    assert run["state"] == "RUN_STATE_CANCELLED"


def test_ctrl_c_counts_before_the_run_is_followed(project: ServoProject) -> None:
    """The run goes on otherwise, and nobody is told."""
    project.write("assets/shop.py", SLOW)
    # The command that follows the run is slow to begin, and sees the first task running by then.
    program = """
import os, signal, time
from pathlib import Path
from servo.cli import _started
from servo.cli.main import main
class Late(_started.RunView):
    def __init__(self, run):
        while not Path("started").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)
        super().__init__(run)
_started.RunView = Late
main()
"""
    done = project.finish(project.start("run", "raw.slow", program=program))
    assert done.code == 130, done
    run = project.ok("status", "latest", "--json").json
    assert run["state"] == "RUN_STATE_CANCELLED"


def test_a_run_can_be_cancelled_from_elsewhere(project: ServoProject) -> None:
    project.write("assets/shop.py", SLOW)
    run_id = project.ok("run", "raw.slow", "--no-wait", "--json").json["runId"]
    wait_until((project.root / "started").exists, "the task starts")
    project.ok("cancel", run_id)
    done = project.run("status", run_id, "--watch", "--json")
    assert done.code == 1, done
    assert done.json["state"] == "RUN_STATE_CANCELLED"


def test_a_killed_terminal_does_not_lose_the_run(project: ServoProject) -> None:
    project.write("assets/shop.py", SLOW)
    process = project.start("run", "raw.slow")
    wait_until((project.root / "started").exists, "the task starts")
    process.kill()
    process.wait()
    run = project.ok("status", "latest", "--json").json
    assert run["state"] == "RUN_STATE_RUNNING"
    project.ok("cancel", "latest")


def test_a_killed_control_plane_goes_on_with_the_run(project: ServoProject) -> None:
    project.write("assets/shop.py", SLOW.replace("range(600)", "range(20)"))
    project.environ["SERVO_LEASE_SECONDS"] = "2"
    run_id = project.ok("run", "raw.slow", "--no-wait", "--json").json["runId"]
    wait_until((project.root / "started").exists, "the task starts")
    server = project.server
    assert server is not None
    os.kill(server["pid"], signal.SIGKILL)
    wait_until(lambda: not is_alive(server["pid"]), "the host is dead")
    run = project.ok("status", run_id, "--watch", "--json").json
    assert run["state"] == "RUN_STATE_SUCCEEDED", project.host_log
    assert [task["state"] for task in run["tasks"]] == ["TASK_STATE_SUCCEEDED"]


def test_a_command_that_follows_a_run_survives_that_the_control_plane_is_killed(
    project: ServoProject,
) -> None:
    project.write("assets/shop.py", SLOW.replace("range(600)", "range(30)"))
    project.environ["SERVO_LEASE_SECONDS"] = "2"
    running = project.start("run", "raw.slow", "--json")
    wait_until((project.root / "started").exists, "the task starts")
    killed = project.server
    assert killed is not None
    os.kill(killed["pid"], signal.SIGKILL)
    done = project.finish(running)
    assert done.code == 0, f"{done}\n{project.host_log}"
    assert done.json["state"] == "RUN_STATE_SUCCEEDED"


def test_a_killed_worker_is_replaced_and_its_task_made_again(project: ServoProject) -> None:
    project.write("assets/shop.py", SLOW.replace("range(600)", "range(20)"))
    project.environ["SERVO_LEASE_SECONDS"] = "1"
    running = project.start("run", "raw.slow", "--json")
    wait_until((project.root / "started").exists, "the task starts")
    os.kill(worker_of(project), signal.SIGKILL)
    done = project.finish(running)
    assert done.code == 0, f"{done}\n{project.host_log}"
    (task,) = done.json["tasks"]
    assert (task["state"], task["attempt"]) == ("TASK_STATE_SUCCEEDED", 2)


def worker_of(project: ServoProject) -> int:
    """Find the process of the project's worker: a child of its host."""
    server = project.server
    assert server is not None
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == server["pid"] and b"servo.worker" in (entry / "cmdline").read_bytes():
                    return int(entry.name)
    raise AssertionError("the host has no worker")


def test_two_commands_at_once_share_one_control_plane(project: ServoProject) -> None:
    project.write("assets/shop.py", ASSETS)
    both = [project.start("deploy", "--no-verify", "--json") for _ in range(2)]
    first, second = (project.finish(process) for process in both)
    assert (first.code, second.code) == (0, 0), f"{first}\n{second}\n{project.host_log}"
    deployments = {done.json["deployment"]["deploymentId"] for done in (first, second)}
    assert len(deployments) == 1
    assert sorted(project.ids()) == ["mart.daily", "raw.orders", "side.effect"]


def test_config_reaches_the_function(project: ServoProject) -> None:
    project.write(
        "assets/a.py",
        "from servo import asset\n\n@asset\ndef a(ctx):\n    return [{'x': ctx.config['who']}]\n",
    )
    project.ok("run", "a.a", "--config", "who=Ada=Lovelace")
    assert project.data("a/a") == [{"x": "Ada=Lovelace"}]


def test_a_store_that_is_no_database_is_named(project: ServoProject) -> None:
    project.write("assets/shop.py", ASSETS)
    project.write(".servo/servo.db", "this is no database" * 100)
    done = project.run("run", "side.effect")
    assert done.code in (74, 78), done
    assert "servo.db" in done.err


def test_a_terminal_gets_a_live_display_and_a_drawn_table(project: ServoProject) -> None:
    project.write("assets/shop.py", ASSETS)
    code, shown = project.on_terminal("run", "*", "--all-partitions")
    assert code == 0, shown
    assert "/5 tasks" in shown
    assert "─────" in shown
    assert "succeeded" in shown


def test_a_terminal_shows_a_failure_at_once(project: ServoProject) -> None:
    project.write("assets/shop.py", BROKEN)
    code, shown = project.on_terminal("run", "*")
    assert code == 1, shown
    assert "✗ raw.bad  user_code: " in shown
