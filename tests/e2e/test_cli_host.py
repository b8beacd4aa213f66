"""What becomes of the project's own control plane when something goes wrong around it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import stat
import subprocess
import sys
import time
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
    return [{"a": 1}]

@asset
def quick(ctx):
    return [{"a": 1}]
"""


@pytest.fixture
def shop(project: ServoProject) -> ServoProject:
    project.write("assets/a.py", ASSETS)
    project.write("pyproject.toml", "[tool.servo]\nlease_seconds = 2\n")
    return project


def kill_hosts_that_start(shop: ServoProject, following: subprocess.Popen[str], count: int) -> None:
    """Kill the host and those that take its place, each while it starts."""
    lock = shop.root / ".servo" / "host.lock"
    seen: set[int] = set()
    while len(seen) < count and following.poll() is None:
        pid = 0
        with contextlib.suppress(OSError, ValueError):
            pid = json.loads(lock.read_text())["pid"]
        if pid and pid not in seen:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            seen.add(pid)
        time.sleep(0.05)


def test_a_run_survives_hosts_that_are_killed_while_they_start(shop: ServoProject) -> None:
    following = shop.start("run", "a.waits")
    wait_until((shop.root / "started").exists, "the task runs")
    kill_hosts_that_start(shop, following, 3)
    shop.write("go", "")
    done = shop.finish(following)
    assert done.code == 0, f"{done}\n{shop.host_log}"


@pytest.mark.parametrize("replaced", [False, True])
def test_a_database_that_is_removed_or_replaced_ends_the_run_with_an_error(
    shop: ServoProject, replaced: bool
) -> None:
    following = shop.start("run", "a.waits")
    wait_until((shop.root / "started").exists, "the task runs")
    server = shop.server
    assert server is not None
    state = shop.root / ".servo"
    if replaced:
        (state / "copy").write_bytes((state / "servo.db").read_bytes())
        (state / "copy").rename(state / "servo.db")
    else:
        for path in state.glob("servo.db*"):
            path.unlink()
    shop.write("go", "")
    done = shop.finish(following)
    assert done.code == 74, done
    assert "servo.db' was removed or replaced while its control plane ran" in done.err
    wait_until(lambda: not is_alive(server["pid"]), "the host stops")
    assert "was removed or replaced" in shop.host_log


def test_dev_stops_when_its_database_is_removed(shop: ServoProject) -> None:
    dev = shop.start("dev")
    wait_until(lambda: shop.server is not None, "dev serves")
    shop.ok("run", "a.quick")
    (shop.root / ".servo" / "servo.db").unlink()
    done = shop.finish(dev)
    assert done.code == 74, done
    assert "was removed or replaced" in done.err


def test_the_address_stays_for_commands_that_are_attached_when_dev_ends(
    shop: ServoProject,
) -> None:
    dev = shop.start("dev")
    wait_until(lambda: shop.server is not None, "dev serves")
    following = shop.start("run", "a.waits")
    wait_until((shop.root / "started").exists, "the task runs")
    dev.send_signal(signal.SIGINT)
    assert shop.finish(dev).code == 0
    shop.write("go", "")
    done = shop.finish(following)
    assert done.code == 0, f"{done}\n{shop.host_log}"


def test_what_servo_keeps_is_for_its_owner_only_whatever_the_umask(shop: ServoProject) -> None:
    before = os.umask(0)
    try:
        shop.ok("run", "a.waits", "--no-wait")
    finally:
        os.umask(before)
    state = shop.root / ".servo"
    assert mode(state) == 0o700
    for name in ("server.json", "host.log", "host.lock", "clients.lock", "runs.lock"):
        assert mode(state / name) == 0o600, name
    shop.write("go", "")


def test_a_state_directory_of_an_older_version_is_narrowed(shop: ServoProject) -> None:
    shop.ok("run", "a.quick")
    state = shop.root / ".servo"
    state.chmod(0o777)
    for name in ("host.log", "host.lock", "clients.lock", "servo.db", "state.json"):
        (state / name).chmod(0o666)
    shop.ok("run", "a.quick")
    assert mode(state) == 0o700
    for name in ("host.log", "host.lock", "servo.db"):
        assert mode(state / name) == 0o600, name
    # The lockfile is committed: whoever may enter the directory may read it.
    assert mode(state / "state.json") == 0o666


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_reason_of_a_failed_start_is_told_where_the_log_takes_nothing(
    shop: ServoProject,
) -> None:
    state = shop.root / ".servo"
    state.mkdir()
    (state / "servo.db").write_text("no database at all, but a text that is long enough" * 100)
    (state / "host.log").symlink_to("/dev/full")
    done = shop.run("run", "a.quick")
    assert done.code in (74, 78)
    assert "servo.db" in done.err
    assert "it said nothing" not in done.err


KEY_HUNT = """
import os
from pathlib import Path
from servo import asset

@asset(max_retries=0)
def hunt(ctx):
    key = Path("hidden").read_text()
    found, pid = [], os.getpid()
    while pid > 1:
        for name in ("environ", "cmdline"):
            text = Path(f"/proc/{pid}/{name}").read_bytes().decode()
            if any(word in text for word in key.split()):
                found.append(f"{name} of {pid}")
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    names = [name for name in os.environ if name in (
        "SERVO_API_KEY", "SERVO_API_KEY_FILE", "SERVO_DATABASE_URL")]
    return [{"found": ", ".join(found), "names": ", ".join(names)}]
"""


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs /proc")
def test_user_code_finds_no_key_in_its_environment_and_in_the_processes_above(
    shop: ServoProject,
) -> None:
    shop.write("assets/h.py", KEY_HUNT)
    dev = shop.start("dev", SERVO_DATABASE_URL="postgresql://u:of-the-database@h/d")
    wait_until(lambda: shop.server is not None, "dev serves")
    server = shop.server
    assert server is not None
    shop.write("hidden", server["apiKey"])
    shop.ok("run", "h.hunt", SERVO_DATABASE_URL="postgresql://u:of-the-database@h/d")
    assert shop.data("h/hunt") == [{"found": "", "names": ""}]
    dev.send_signal(signal.SIGINT)
    assert shop.finish(dev).code == 0


def test_a_project_with_modules_named_like_libraries_runs(shop: ServoProject) -> None:
    for name in ("secrets", "queue", "types", "random", "click", "msgspec", "grpc", "calendar"):
        shop.write(f"{name}.py", "X = 1\nraise RuntimeError('the module of the project')\n")
    shop.write(
        "assets/b.py",
        "import random, queue, calendar, logging.handlers\n"
        "from servo import asset\n@asset(max_retries=0)\n"
        "def draw(ctx):\n    return [{'n': random.randint(1, 1), 'q': queue.Queue().qsize()}]\n",
    )
    checked = shop.ok("validate")
    for name in ("secrets", "queue", "random", "click", "msgspec"):
        assert f"{name}.py" in checked.err
    shop.ok("run", "b.draw")
    assert shop.data("b/draw") == [{"n": 1, "q": 0}]


def _nameless() -> list[str]:
    """The command that runs another one as a user that has no name, no entry and no HOME."""
    return [
        *("unshare", "--user", "--map-user=54321", "--map-group=54321"),
        *("env", "-u", "HOME", "-u", "USER", "-u", "LOGNAME"),
    ]


def _has_namespaces() -> bool:
    try:
        return (
            subprocess.run([*_nameless(), "true"], capture_output=True, check=False).returncode == 0
        )
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not _has_namespaces(), reason="needs user namespaces")
@pytest.mark.parametrize(
    "arguments",
    [["validate"], ["config", "show"], ["run", "a.quick"], ["status"], ["keys", "list"]],
    ids=" ".join,
)
def test_a_user_without_a_name_and_without_a_home_uses_every_command(
    shop: ServoProject, arguments: list[str]
) -> None:
    done = subprocess.run(
        [*_nameless(), sys.executable, "-P", "-m", "servo.cli.main", *arguments],
        cwd=shop.root,
        env=shop.environment({}),
        capture_output=True,
        text=True,
        check=False,
        umask=0o077,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("goes_on", [True, False], ids=["goes on", "stays suspended"])
def test_a_command_says_that_it_waits_for_a_suspended_dev(
    shop: ServoProject, goes_on: bool
) -> None:
    dev = shop.start("dev")
    wait_until(lambda: shop.server, "dev serves")
    dev.send_signal(signal.SIGSTOP)
    try:
        status = shop.start("status")
        assert status.stderr is not None
        told = status.stderr.readline()
        assert told == f"'servo dev' (pid {dev.pid}) does not answer yet; waiting for it.\n"
        if goes_on:
            dev.send_signal(signal.SIGCONT)
        done = shop.finish(status)
    finally:
        dev.send_signal(signal.SIGCONT)
    assert done.code == (0 if goes_on else 69)
    assert done.err == (
        ""
        if goes_on
        else f"Error: 'servo dev' (pid {dev.pid}) did not answer within 30 s. "
        "Look at its terminal: it may be suspended (fg), or too busy.\n"
    )
