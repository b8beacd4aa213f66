"""A database whose disk is full, that somebody else has locked, or that another one serves."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from chaos.planes import environment
from chaos.site import site
from chaos.workload import Workload
from plane_kit import KEY
from servo import errors
from servo.types.runs import RunState

HOLDER = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1], isolation_level=None)
database.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.readline()
database.execute("ROLLBACK")
"""


def chains() -> Workload:
    workload = Workload()
    for graph in range(3):
        keys: list[str] = []
        for _ in range(6):
            keys.append(workload.add(f"g{graph}", "table", *keys[-1:]))
    return workload


@pytest.mark.slow
def test_runs_go_on_when_another_process_lets_go_of_the_database(tmp_path: Path) -> None:
    with site(tmp_path, chains(), lease=20.0) as here:
        runs = [here.create_run(f"{name}.*") for name in here.workload.namespaces]
        holder = subprocess.Popen(
            [sys.executable, "-c", HOLDER, str(here.planes.database)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert holder.stdout is not None
        assert holder.stdout.readline() == "locked\n"
        # The control plane waits for five seconds; then it refuses, and says why.
        with pytest.raises(errors.ServoError, match="nother process has locked it"):
            here.ask_once(lambda caller: caller.create_run("g0.*"))
        assert "database is locked" in here.planes.log
        holder.communicate("go on\n", timeout=30)
        runs.append(here.create_run("g1.*"))
        assert {here.until_ended(run_id).state for run_id in runs} == {RunState.SUCCEEDED}
        here.check()


@pytest.mark.slow
def test_runs_go_on_when_a_full_disk_has_room_again(tmp_path: Path) -> None:
    disk = tmp_path / "plane" / "disk"
    disk.mkdir(parents=True)
    # Root may mount as it is; anybody else may in a user namespace.
    namespace = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "-r", "--mount"]
    mount = 'mount -t tmpfs -o size=4m tmpfs "$0" && exec "$@"'
    prefix = (*namespace, "sh", "-c", mount, str(disk))
    with site(tmp_path, chains(), lease=20.0, prefix=prefix, database=disk / "servo.db") as here:
        runs = [here.create_run(f"{name}.*") for name in here.workload.namespaces]
        # The disk as that process sees it.
        ballast = here.planes.root / disk.relative_to("/") / "ballast"
        fill(ballast)
        here.until_logged("no space left for the database")
        with pytest.raises(errors.FilesystemError, match="no space left"):
            while True:
                # Now and then it reads its state again, and says so; `ask` tries once more then.
                here.create_run("g2.*")
        ballast.unlink()
        here.create_run("g1.*")
        for run_id in (*runs, *here.accepted):
            assert here.until_ended(run_id).state is RunState.SUCCEEDED
        here.check()


def fill(ballast: Path) -> None:
    """Take all the room that there is."""
    with ballast.open("wb", buffering=0) as file:
        for size in (65536, 1024, 1):
            try:
                while file.write(b"\0" * size):
                    pass
            except OSError:
                pass


def test_a_second_control_plane_on_one_database_is_told_who_has_it(tmp_path: Path) -> None:
    with site(tmp_path, chains(), workers=0) as here:
        pid = here.planes.lives[-1].pid
        second = subprocess.run(
            [sys.executable, "-m", "servo.controlplane", "--database", str(here.planes.database)],
            env=environment({"SERVO_API_KEY": KEY}),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert second.returncode == errors.ConfigurationError("").exit_code
        assert f"in use by another control plane (process {pid})" in second.stderr
        # As soon as the first one has gone, however it went, the next one may have it.
        here.planes.lives[-1].kill()
        here.planes.lives[-1].wait()
        here.planes.start()
        here.planes.until_serving()
