"""The first failure teaches, many stay readable, and signals leave a run in a known state."""

from __future__ import annotations

import os
import pty
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from servo_project import ServoProject, wait_until

HELPER = """
def ratio(x):
    return 1 / x
"""

ASSETS = """
import pathlib, time
import lib
from servo import StaticDimension, asset

MANY = StaticDimension("n", [str(n) for n in range(60)])


@asset(namespace="raw", max_retries=1, retry_delay_seconds=3)
def bad(ctx):
    return [{"x": lib.ratio(0)}]


@asset(namespace="raw")
def typo(ctx):
    return undefined_name


@asset(namespace="raw", max_retries=1, retry_delay_seconds=600)
def waits(ctx):
    raise ConnectionError("the door is closed")


@asset(namespace="raw", max_retries=0, partitions=[MANY])
def many(ctx):
    raise OSError(f"no file {ctx.partition_key}")


@asset(namespace="raw")
def slow(ctx):
    pathlib.Path("started").touch()
    for _ in range(600):
        time.sleep(0.1)
        ctx.report_progress("still there")
"""


@pytest.fixture(autouse=True)
def default_hangup() -> Iterator[None]:
    """Let commands begin with SIGHUP as a terminal leaves it; they inherit it if it is ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.fixture
def shop(project: ServoProject) -> ServoProject:
    project.write("lib.py", HELPER)
    project.write("assets/shop.py", ASSETS)
    return project


def test_a_first_failure_says_what_where_which_attempt_and_what_comes_next(
    shop: ServoProject,
) -> None:
    done = shop.run("run", "raw.bad")
    assert done.code == 1, done
    first, rest = done.out.partition("↻ ")[2].split("\n", 1)
    assert "raw.bad  attempt 1 of 2 failed: user_code: ZeroDivisionError: " in first
    assert re.search(r"; next attempt in \d s, at \d\d:\d\d:\d\d$", first)
    assert "    at lib.py:3, in ratio\n" in rest
    assert '      File "assets/shop.py", line 11, in bad\n' in rest
    assert "        return 1 / x\n" in rest
    run_id = shop.ok("status", "--json").json["runs"][0]["runId"]
    assert f"    To stop the run: Ctrl-C, or servo cancel {run_id}\n" in rest
    assert "✗ raw.bad  user_code: ZeroDivisionError: division by zero (attempt 2 of 2)" in rest
    # Servo's own frames, and paths of this machine, are nobody's lesson.
    assert "servo/" not in done.out.replace(".servo/", "")
    assert str(shop.root) not in done.out
    for command in ("status", "why"):
        assert "at lib.py:3, in ratio" in shop.ok(command, "latest").out


def test_a_terminal_counts_down_to_the_next_attempt(shop: ServoProject) -> None:
    code, shown = shop.on_terminal("run", "raw.bad")
    assert code == 1, shown
    assert "at lib.py:3, in ratio" in shown
    seconds = re.findall(r"attempt 1 of 2 failed, next attempt in (\d) s", shown)
    assert len(set(seconds)) >= 2, shown


def test_a_typo_is_answered_at_once(shop: ServoProject) -> None:
    done = shop.run("run", "raw.typo")
    assert done.code == 1, done
    assert "NameError: name 'undefined_name' is not defined (not retried: " in done.out
    assert "at assets/shop.py:16, in typo" in done.out
    (task,) = shop.ok("status", "latest", "--json").json["tasks"]
    assert (task["attempt"], task["failure"]["retryable"]) == (1, False)
    assert task["failure"]["category"] == "FAILURE_CATEGORY_USER_CODE"


def test_a_run_has_its_own_number_of_retries_and_so_has_its_rerun(shop: ServoProject) -> None:
    done = shop.run("run", "raw.waits", "--retries", "0")
    assert done.code == 1, done
    assert "retries     at most 0" in shop.ok("status", "latest").out
    again = shop.run("rerun", "latest", "--json")
    assert again.code == 1, again
    assert (again.json["maxRetries"], again.json["tasks"][0]["attempt"]) == (0, 1)
    assert shop.run("run", "raw.waits", "--retries", "-1").code == 2


def test_why_says_in_how_long_an_attempt_is_made_again(shop: ServoProject) -> None:
    run_id = shop.ok("run", "raw.waits", "--no-wait", "--json").json["runId"]
    waiting = "TASK_STATE_RETRY_WAIT"

    def state() -> str:
        found: str = shop.ok("status", run_id, "--json").json["tasks"][0]["state"]
        return found

    wait_until(lambda: state() == waiting, "the first attempt fails")
    said = shop.ok("why", run_id)
    assert re.search(
        r"raw.waits: attempt 1 of 2 failed: ConnectionError: the door is closed; "
        r"it is tried again in (8|9) min( \d+ s)?, at ",
        said.out,
    )
    assert "at assets/shop.py:21, in waits" in said.out
    assert f"stop the run: servo cancel {run_id}" in said.out
    details = shop.ok("why", run_id, "--json").json["chain"][-1]["details"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d+\+00:00", details["retry_at"])
    shop.ok("cancel", run_id)


def test_failures_that_are_alike_are_counted(shop: ServoProject) -> None:
    done = shop.run("run", "raw.many", "--all-partitions")
    assert done.code == 1, done
    assert done.out.count("at assets/shop.py:26, in many") == 1
    assert "the same error in 55 more tasks" in done.out
    assert "and the same in 59 more tasks" in done.out
    assert len(done.out.splitlines()) < 20, done


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_command_that_is_told_to_end_leaves_the_run_and_says_how_to_cancel_it(
    shop: ServoProject, number: signal.Signals, code: int
) -> None:
    process = shop.start("run", "raw.slow")
    wait_until((shop.root / "started").exists, "the task starts")
    process.send_signal(number)
    done = shop.finish(process)
    assert done.code == code, done
    run = shop.ok("status", "latest", "--json").json
    assert run["state"] == "RUN_STATE_RUNNING"
    line = done.out.splitlines()[-1]
    prefix = f"Ended by {number.name}. Run {run['runId']} goes on. Cancel it: servo "
    assert line.startswith(prefix), done
    shop.ok(*shlex.split(line.removeprefix(prefix)))
    assert shop.ok("status", "latest", "--json").json["state"] in (
        "RUN_STATE_CANCELLING",
        "RUN_STATE_CANCELLED",
    )


def test_sigterm_cancels_the_run_where_that_was_asked_for(shop: ServoProject) -> None:
    process = shop.start("run", "raw.slow", "--cancel-on-term")
    wait_until((shop.root / "started").exists, "the task starts")
    process.send_signal(signal.SIGTERM)
    done = shop.finish(process)
    assert done.code == 143, done
    run = shop.ok("status", "latest", "--json").json
    assert (run["state"], run["reason"]) == ("RUN_STATE_CANCELLED", "interrupted by SIGTERM")


def test_sigterm_counts_before_the_run_is_followed(shop: ServoProject) -> None:
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
        os.kill(os.getpid(), signal.SIGTERM)
        super().__init__(run)
_started.RunView = Late
main()
"""
    done = shop.finish(shop.start("run", "raw.slow", program=program))
    assert done.code == 143, done
    assert "goes on. Cancel it: servo cancel " in done.out
    shop.ok("cancel", "latest")


def test_a_command_that_ignores_sighup_goes_on(shop: ServoProject) -> None:
    """`nohup servo run ...` is not told about the end of its terminal."""
    process = subprocess.Popen(
        ["nohup", sys.executable, "-m", "servo.cli.main", "run", "raw.slow"],
        cwd=shop.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=shop.environment({}),
    )
    shop.started.append(process)
    wait_until((shop.root / "started").exists, "the task starts")
    process.send_signal(signal.SIGHUP)
    shop.ok("cancel", "latest")
    assert shop.finish(process).code == 1


def test_a_run_goes_on_when_its_terminal_is_closed(shop: ServoProject) -> None:
    program = """
import fcntl, termios
from servo.cli.main import main
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
main()
"""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", program, "run", "raw.slow"],
        cwd=shop.root,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        text=True,
        env=shop.environment({"TERM": "xterm"}),
        start_new_session=True,
    )
    shop.started.append(process)
    os.close(theirs)
    shown = b""
    while b"raw.slow  " not in shown:
        shown += os.read(ours, 65536)
    wait_until((shop.root / "started").exists, "the task starts")
    os.close(ours)
    assert process.wait(30) == 129
    assert shop.ok("status", "latest", "--json").json["state"] == "RUN_STATE_RUNNING"
    shop.ok("cancel", "latest")
