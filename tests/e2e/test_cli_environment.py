"""Tasks see the environment of the command that asked for them, or the command says why not."""

from __future__ import annotations

import os
import signal
from itertools import islice
from pathlib import Path

import pytest

from servo_project import ServoProject, is_alive, wait_until

ASSETS = """
import os, time
from pathlib import Path
from servo import asset

@asset(max_retries=5, retry_delay_seconds=1)
def waits(ctx):
    Path("started").touch()
    while not Path("go").exists():
        time.sleep(0.02)
    return [{"secret": os.environ.get("MY_SECRET")}]

@asset(max_retries=0)
def quick(ctx):
    return [{"secret": os.environ.get("MY_SECRET"), "workspace": os.environ["SERVO_WORKSPACE_ID"]}]
"""
SECRET = "hunter2-and-more"


@pytest.fixture
def shop(project: ServoProject) -> ServoProject:
    project.write("assets/a.py", ASSETS)
    project.write("pyproject.toml", "[tool.servo]\nlease_seconds = 2\ncancel_grace_seconds = 1\n")
    return project


def release(shop: ServoProject) -> None:
    shop.write("go", "")


def pid(shop: ServoProject) -> int:
    server = shop.server
    return 0 if server is None else int(server["pid"])


def test_a_busy_host_with_another_environment_is_named_and_no_run_is_created(
    shop: ServoProject,
) -> None:
    shop.ok("run", "a.waits", "--no-wait", MY_SECRET=SECRET, ONLY_THERE="1")
    wait_until((shop.root / "started").exists, "the task runs")
    refused = shop.run("run", "a.quick", "--json", MY_SECRET="two", ONLY_HERE="1")
    assert refused.code == 78
    assert refused.json["code"] == "ENVIRONMENT_DIFFERS"
    for phrase in (
        "MY_SECRET has another value",
        "ONLY_HERE is set here only",
        "ONLY_THERE is not set here",
        "--any-environment",
    ):
        assert phrase in refused.err
    assert SECRET not in str(refused)
    assert len(shop.ok("status", "--json").json["runs"]) == 1
    # Where the difference is accepted, the environment of the host counts.
    shop.ok("run", "a.quick", "--any-environment", MY_SECRET="two")
    assert shop.data("a/quick")[0]["secret"] == SECRET
    release(shop)
    wait_until(lambda: shop.server is None, "the host leaves")
    assert shop.data("a/waits")[0]["secret"] == SECRET


def test_no_value_of_a_variable_is_written_to_the_disk(shop: ServoProject) -> None:
    shop.ok("run", "a.waits", "--no-wait", MY_SECRET=SECRET)
    wait_until((shop.root / "started").exists, "the task runs")
    shop.run("run", "a.quick", MY_SECRET="another-value")
    for path in (shop.root / ".servo").rglob("*"):
        if path.is_file():
            assert SECRET.encode() not in path.read_bytes(), path
    release(shop)


def test_an_idle_host_makes_room_for_one_with_the_environment_of_the_command(
    shop: ServoProject,
) -> None:
    # What looks on keeps the host alive, and goes on with the next one.
    looking = shop.start("events", "--follow", MY_SECRET="one")
    shop.ok("run", "a.quick", MY_SECRET="one")
    assert shop.data("a/quick")[0]["secret"] == "one"
    first = pid(shop)
    assert is_alive(first)
    shop.ok("run", "a.quick", MY_SECRET="two")
    assert shop.data("a/quick")[0]["secret"] == "two"
    assert pid(shop) not in (0, first)
    wait_until(lambda: not is_alive(first), "the first host has gone")
    assert looking.stdout is not None
    asked = (line for line in looking.stdout if "asked for a.quick" in line)
    # It comes to the next host some time after that was found by the command.
    assert len(list(islice(asked, 2))) == 2
    looking.send_signal(signal.SIGINT)
    assert shop.finish(looking).code == 130


def test_variables_of_the_terminal_and_the_activated_interpreter_make_no_difference(
    shop: ServoProject,
) -> None:
    looking = shop.start("events", "--follow")
    shop.ok("run", "a.quick")
    first = pid(shop)
    path = f"{shop.root / '.venv' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    interpreter = Path(os.sys.executable).parent  # type: ignore[attr-defined]
    other = {
        "TERM": "screen", "COLUMNS": "77", "SSH_TTY": "/dev/pts/9", "TMUX_PANE": "%3",
        "VSCODE_PID": "1", "SHLVL": "9", "WINDOWID": "3", "TRACEPARENT": "", "PS1": "$ ",
        "VIRTUAL_ENV": "/somewhere", "PATH": f"{interpreter}{os.pathsep}{os.environ['PATH']}",
    }  # fmt: skip
    shop.ok("run", "a.quick", **other)
    assert pid(shop) == first
    shop.ok("run", "a.quick", PATH=path)
    assert pid(shop) != first
    looking.kill()


def test_what_the_project_says_does_not_matter_makes_no_difference(shop: ServoProject) -> None:
    shop.write("servo.toml", 'environment_ignore = ["MY_TOOL_*"]\n')
    shop.ok("run", "a.waits", "--no-wait", MY_TOOL_SESSION="1")
    shop.ok("run", "a.quick", MY_TOOL_SESSION="2")
    release(shop)


def test_a_changed_setting_counts_wherever_it_is_written(shop: ServoProject) -> None:
    shop.ok("run", "a.waits", "--no-wait", SERVO_WORKER_SLOTS="2")
    shop.write(".env", "SERVO_WORKER_SLOTS=2\n")
    shop.ok("run", "a.quick")
    shop.write(".env", "SERVO_WORKER_SLOTS=3\n")
    refused = shop.run("run", "a.quick")
    assert refused.code == 78
    assert "setting worker_slots has another value" in refused.err
    release(shop)


def test_workspaces_share_a_host_and_each_task_sees_its_own(shop: ServoProject) -> None:
    shop.ok("run", "a.waits", "--no-wait")
    shop.ok("run", "a.quick", SERVO_WORKSPACE_ID="other")
    assert shop.data("a/quick", workspace="other")[0]["workspace"] == "other"
    release(shop)


def test_dev_keeps_its_environment_and_others_are_told_how_to_get_theirs(
    shop: ServoProject,
) -> None:
    dev = shop.start("dev", MY_SECRET="of-dev")
    wait_until(lambda: pid(shop) == dev.pid, "dev serves")
    refused = shop.run("run", "a.quick", MY_SECRET="mine")
    assert refused.code == 78
    assert f"'servo dev' (pid {dev.pid}) has another environment" in refused.err
    assert "MY_SECRET has another value" in refused.err
    shop.ok("run", "a.quick", "--any-environment", MY_SECRET="mine")
    assert shop.data("a/quick")[0]["secret"] == "of-dev"
    shop.ok("run", "a.quick", MY_SECRET="of-dev")
    shop.ok("status", MY_SECRET="mine")
    dev.send_signal(signal.SIGINT)
    assert shop.finish(dev).code == 0
    assert shop.server is None


def test_an_unfinished_run_waits_for_its_environment_when_its_host_was_killed(
    shop: ServoProject,
) -> None:
    shop.ok("run", "a.waits", "--no-wait", MY_SECRET="right")
    wait_until((shop.root / "started").exists, "the task runs")
    os.kill(pid(shop), signal.SIGKILL)
    (shop.root / "started").unlink()
    release(shop)
    # A command that looks brings the control plane back, and does not execute anything with it.
    looked = shop.ok("status", "latest", MY_SECRET="wrong")
    assert "MY_SECRET has another value" in looked.err
    refused = shop.run("run", "a.quick", MY_SECRET="wrong")
    assert refused.code == 78
    assert "unfinished runs" in refused.err
    assert not (shop.root / "started").exists()
    # One that has it goes on.
    shop.ok("run", "a.quick", MY_SECRET="right")
    wait_until(lambda: shop.server is None, "everything is done")
    assert shop.data("a/waits")[0]["secret"] == "right"


def test_an_unfinished_run_of_another_environment_can_be_cancelled_or_adopted(
    shop: ServoProject,
) -> None:
    for accepted in (False, True):
        (shop.root / "go").unlink(missing_ok=True)
        shop.ok("run", "a.waits", "--no-wait", MY_SECRET="right")
        wait_until((shop.root / "started").exists, "the task runs")
        os.kill(pid(shop), signal.SIGKILL)
        (shop.root / "started").unlink()
        release(shop)
        if accepted:
            shop.ok("run", "a.quick", "--any-environment", MY_SECRET="wrong")
            wait_until(lambda: shop.server is None, "everything is done")
            assert shop.data("a/waits")[0]["secret"] == "wrong"
        else:
            shop.ok("cancel", "latest", MY_SECRET="wrong")
            wait_until(lambda: shop.server is None, "the run has ended, and the host has left")
            shop.ok("run", "a.quick", MY_SECRET="wrong")
            assert shop.data("a/quick")[0]["secret"] == "wrong"


def test_dev_with_another_environment_leaves_unfinished_runs_alone(shop: ServoProject) -> None:
    first = shop.start("dev", MY_SECRET="right")
    wait_until(lambda: pid(shop) == first.pid, "dev serves")
    shop.ok("run", "a.waits", "--no-wait", MY_SECRET="right")
    wait_until((shop.root / "started").exists, "the task runs")
    first.send_signal(signal.SIGINT)
    shop.finish(first)
    (shop.root / "started").unlink()
    second = shop.start("dev", MY_SECRET="wrong")
    wait_until(lambda: pid(shop) == second.pid, "dev serves again")
    refused = shop.run("run", "a.quick", MY_SECRET="right")
    assert refused.code == 78
    assert f"'servo dev' (pid {second.pid}) executes nothing" in refused.err
    assert not (shop.root / "started").exists()
    second.send_signal(signal.SIGINT)
    done = shop.finish(second)
    assert "MY_SECRET has another value" in done.err
    release(shop)
    shop.ok("run", "a.quick", MY_SECRET="right")
    wait_until(lambda: shop.server is None, "everything is done")
    assert shop.data("a/waits")[0]["secret"] == "right"


def test_a_command_that_follows_a_run_takes_it_back_from_a_host_without_its_environment(
    shop: ServoProject,
) -> None:
    following = shop.start("run", "a.waits", MY_SECRET="right")
    wait_until((shop.root / "started").exists, "the task runs")
    os.kill(following.pid, signal.SIGSTOP)
    os.kill(pid(shop), signal.SIGKILL)
    looking = shop.start("events", "--follow", MY_SECRET="wrong")
    wait_until(lambda: (shop.server or {}).get("waits"), "another command brought a host back")
    release(shop)
    os.kill(following.pid, signal.SIGCONT)
    assert shop.finish(following).code == 0
    assert shop.data("a/waits")[0]["secret"] == "right"
    looking.kill()
