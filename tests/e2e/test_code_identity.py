"""The code that runs is the code that was deployed: whatever is edited, whatever executes it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servo_project import ServoProject, wait_until

ASSETS = """
import pathlib, time
from lib.near import near
from servo import AssetIn, asset


@asset(max_retries=0)
def slow(ctx):
    pathlib.Path("started").touch()
    while not pathlib.Path("go").exists():
        time.sleep(0.02)
    return [{"v": "slow"}]


@asset(max_retries=0)
def after(ctx, slow: AssetIn["a.slow"]):
    return [{"v": near()}]


@asset(max_retries=0)
def x(ctx):
    return [{"v": f"body one, {near()}"}]
"""
ADDED = "\n\n@asset(max_retries=0)\ndef added(ctx):\n    return [{'v': near()}]\n"
NEAR = "from lib import far\n\n\ndef near():\n    return f'near one, {far.FAR}'\n"
FAR = "FAR = 'far one'\n"
KEY = "a-key-of-the-tests"


class Bench:
    """A project and what executes its runs.

    Attributes:
        project: The project.
        said: The lines of `servo dev`, where that is what executes.
    """

    def __init__(self, root: Path) -> None:
        (root / "assets").mkdir(parents=True)
        (root / "pyproject.toml").write_text("[tool.servo]\n")
        self.project = ServoProject(root)
        self.said: list[str] = []
        self._processes: list[subprocess.Popen[Any]] = []
        self.project.write("assets/a.py", ASSETS)
        self.project.write("lib/near.py", NEAR)
        self.project.write("lib/far.py", FAR)

    def background(self) -> None:
        # A command that stays attached keeps the host, and with it the worker's processes.
        self.project.start("status", "--watch", "--limit", "1")
        wait_until(lambda: self.project.server is not None, "the background host serves")

    def dev(self) -> None:
        dev = self.project.start("dev", PYTHONUNBUFFERED="1")
        assert dev.stdout is not None
        lines = iter(dev.stdout.readline, "")
        threading.Thread(target=self.said.extend, args=[lines], daemon=True).start()
        wait_until(lambda: "Watching" in "".join(self.said), "servo dev watches")

    def separate(self) -> None:
        home = self.project.root.parent / "plane"
        home.mkdir()
        self.project.environ["SERVO_API_KEY"] = KEY
        file = home / "server.json"
        command = [
            *(sys.executable, "-m", "servo.controlplane", "--database", str(home / "servo.db")),
            *("--server-file", str(file), "--listen", "127.0.0.1:0"),
        ]
        log = (home / "log").open("wb")
        with log:
            self._processes.append(
                subprocess.Popen(command, env=self.project.environment({}), stderr=log, cwd=home)
            )
        wait_until(file.exists, "the control plane serves")
        self.project.environ["SERVO_API_URL"] = json.loads(file.read_text())["grpcUrl"]
        self.worker(self.project.root)

    def worker(self, root: Path) -> None:
        self._processes.append(
            subprocess.Popen(
                [sys.executable, "-m", "servo.cli.main", "worker", "--slots", "2"],
                cwd=root,
                env=self.project.environment({}),
                stderr=subprocess.DEVNULL,
            )
        )

    def stop_worker(self) -> None:
        worker = self._processes.pop()
        worker.kill()
        worker.wait()

    def edit(self, path: str, old: str, new: str) -> None:
        text = (self.project.root / path).read_text()
        assert old in text
        self.project.write(path, text.replace(old, new))
        if self.said:
            wait_until(lambda: path in "".join(self.said), f"servo dev sees {path}")
            self.said.append("(edited)")

    def deploy(self) -> None:
        """Deploy to the server, where there is one: runs of the project's own do it themselves."""
        if "SERVO_API_URL" in self.project.environ:
            self.project.ok("deploy", "--no-verify")

    def value(self, name: str) -> Any:
        """Run an asset and return what it made."""
        self.deploy()
        self.project.ok("run", f"a.{name}", "--json")
        (row,) = self.project.data(f"a/{name}")
        return row["v"]

    def close(self) -> None:
        for process in self._processes:
            process.kill()
            process.wait()
        self.project.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    found = Bench(tmp_path / "shop")
    yield found
    found.close()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("going", [False, True], ids=["idle", "while a run is going"])
@pytest.mark.parametrize("server", ["background", "dev", "separate"])
def test_a_run_gets_the_code_as_it_stands(bench: Bench, server: str, going: bool) -> None:
    getattr(bench, server)()
    project = bench.project
    run_id = ""
    bench.deploy()
    if going:
        run_id = project.ok("run", "a.slow", "a.after", "--no-wait", "--json").json["runId"]
        wait_until((project.root / "started").exists, "the first task is executed")
    assert bench.value("x") == "body one, near one, far one"
    bench.edit("assets/a.py", "body one", "body two")
    assert bench.value("x") == "body two, near one, far one"
    bench.edit("lib/near.py", "near one", "near two")
    assert bench.value("x") == "body two, near two, far one"
    bench.edit("lib/far.py", "far one", "far two")
    assert bench.value("x") == "body two, near two, far two"
    project.write("assets/a.py", (project.root / "assets/a.py").read_text() + ADDED)
    assert bench.value("added") == "near two, far two"
    bench.edit("assets/a.py", "def x(", "def renamed(")
    assert bench.value("renamed") == "body two, near two, far two"
    bench.deploy()
    gone = project.run("run", "a.x")
    assert gone.code == 2, gone
    bench.edit("assets/a.py", ADDED, "")
    bench.deploy()
    removed = project.run("run", "a.added")
    assert removed.code == 2, removed
    if not going:
        return
    project.write("go", "")
    wait_until(
        lambda: "RUNNING" not in project.ok("status", run_id, "--json").json["state"],
        "the run ends",
        timeout=60,
    )
    tasks = {
        task["assetKey"]["name"]: task
        for task in project.ok("status", run_id, "--json").json["tasks"]
    }
    assert tasks["slow"]["state"] == "TASK_STATE_SUCCEEDED"
    after = tasks["after"]
    if after["state"] == "TASK_STATE_SUCCEEDED":
        # Where a process still had it.
        (row,) = project.data("a/after")
        assert row["v"] == "near one, far one"
    else:
        assert after["attempt"] == 1
        assert after["failure"]["category"] == "FAILURE_CATEGORY_CONFIGURATION"
        assert "the code is not what was deployed" in after["failure"]["message"]


@pytest.mark.slow
def test_a_worker_with_other_code_does_not_execute_it(bench: Bench, tmp_path: Path) -> None:
    other = tmp_path / "checkout"
    bench.separate()
    bench.stop_worker()
    shutil.copytree(bench.project.root, other, ignore=shutil.ignore_patterns(".servo"))
    bench.edit("lib/far.py", "far one", "far two")
    bench.deploy()
    bench.worker(other)
    done = bench.project.run("run", "a.x")
    assert done.code == 1, done
    assert "the code is not what was deployed: a.x" in done.out.replace("\n", " ")
    assert not list(other.glob(".servo/data/a/x/*"))
    # Given the code that was deployed, the same worker executes it.
    shutil.copy(bench.project.root / "lib/far.py", other / "lib/far.py")
    bench.project.ok("run", "a.x")


@pytest.mark.slow
def test_dev_sees_new_directories_settings_and_says_what_needs_a_restart(bench: Bench) -> None:
    bench.dev()
    project = bench.project

    def heard(text: str) -> None:
        wait_until(lambda: text in "".join(bench.said), f"servo dev says {text!r}")

    project.write("more/deep/h.py", "H = 1\n")
    heard("more/deep/h.py")
    project.write("elsewhere/b.py", "from servo import asset\n\n@asset\ndef b(ctx): return None\n")
    project.write("servo.toml", "paths = ['assets', 'elsewhere']\n")
    heard("servo.toml")
    heard("+ default.b")
    project.write(".env", "OTHER=1\n")
    heard(".env")
    dev = project.started[-1]
    project.write("pyproject.toml", "[tool.servo]\nworker_slots = 3\n")
    assert dev.stderr is not None
    assert "worker_slots changed: restart servo dev" in dev.stderr.readline()
    project.write("servo.toml", "paths = [\n")
    while "servo.toml" not in (line := dev.stderr.readline()):
        assert line
    project.write("servo.toml", "paths = ['assets']\n")
    heard("- default.b")
