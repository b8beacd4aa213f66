"""The processes that are measured: a control plane, a worker, a PostgreSQL server."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

from measure import HERE, PYTHON, BenchmarkError, environment, progress

_START_SECONDS: Final = 60.0
_STOP_SECONDS: Final = 60.0


class Services:
    """A control plane and a worker, each in a process of its own; may be started again.

    Args:
        root: The project, or any folder; state is kept below it.
        slots: How many tasks the worker executes at once; 0 for no worker.
        database: The ``postgresql://`` URL of a database; by default a SQLite file.
        profile: Where to put the profiles of both and of the runners; none by default.
    """

    url: str
    plane: subprocess.Popen[bytes]

    def __init__(
        self, root: Path, *, slots: int = 2, database: str = "", profile: Path | None = None
    ) -> None:
        self._root = root
        self._slots = slots
        self._profile = profile
        self._state = root / ".servo"
        self._stack = contextlib.ExitStack()
        self.database = database or str(self._state / "servo.db")
        self.pids: list[int] = []
        self.environment = environment(SERVO_API_KEY=secrets.token_urlsafe(24))

    def __enter__(self) -> Services:
        self._state.mkdir(parents=True, exist_ok=True)
        self.pids.clear()
        with self._stack:
            server_file = self._state / "server.json"
            self.plane = self._start(
                "servo.controlplane",
                # What calls it is no crowd of strangers.
                *("--database", self.database, "--server-file", server_file, "--rate-limit", 0),
            )
            self.url = json.loads(self._await(server_file))["grpcUrl"]
            if self._slots:
                self._start(
                    "servo.worker",
                    *("--url", self.url, "--project", self._root, "--slots", self._slots),
                )
            # Leave them running: they are stopped at the end of the block.
            self._stack = self._stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _start(self, module: str, *arguments: object) -> subprocess.Popen[bytes]:
        log = self._stack.enter_context((self._state / f"{module}.log").open("ab"))
        command = [PYTHON, *self._profiler(module), "-m", module, *map(str, arguments)]
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=self._root,
            env=self.environment | self._runner_profiler(),
        )
        self.pids.append(process.pid)
        self._stack.callback(_stop, process)
        return process

    def _profiler(self, module: str) -> list[str]:
        if self._profile is None:
            return []
        self._profile.mkdir(parents=True, exist_ok=True)
        return ["-m", "cProfile", "-o", str(self._profile / f"{module}.prof")]

    def _runner_profiler(self) -> dict[str, str]:
        if self._profile is None:
            return {}
        # Runners are started by the worker; `profiling/sitecustomize.py` finds them.
        path = os.pathsep.join([str(HERE / "profiling"), self.environment["PYTHONPATH"]])
        return {"PYTHONPATH": path, "BENCHMARK_PROFILES": str(self._profile.resolve())}

    def _await(self, path: Path) -> bytes:
        deadline = time.monotonic() + _START_SECONDS
        while not path.exists():
            if self.plane.poll() is not None or time.monotonic() > deadline:
                log = (self._state / "servo.controlplane.log").read_text()[-2000:]
                raise BenchmarkError(f"the control plane did not start:\n{log}")
            time.sleep(0.01)
        return path.read_bytes()


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str]:
    """Run a PostgreSQL server for a block; give the URL of a database with the tables of Servo.

    Raises:
        BenchmarkError: It does not start, or its commits are not durable.
    """
    with (folder / "postgres.log").open("wb") as log:
        process = subprocess.Popen(
            [PYTHON, str(HERE / "drive_postgres.py"), str(folder / "postgres")],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment(),
        )  # fmt: skip
        try:
            yield _database(process.stdout, folder / "postgres.log")
        finally:
            # It drops the database and stops the server when its input ends.
            process.communicate()


def _database(output: IO[bytes] | None, log: Path) -> str:
    assert output is not None
    line = output.readline()
    if not line:
        raise BenchmarkError(f"the PostgreSQL server did not start:\n{log.read_text()[-2000:]}")
    said: dict[str, str] = json.loads(line)
    if said["fsync"] != "on" or said["synchronous_commit"] not in ("on", "remote_apply"):
        raise BenchmarkError(
            f"the PostgreSQL server has fsync={said['fsync']} and synchronous_commit="
            f"{said['synchronous_commit']}: a commit would not be durable, and what is measured "
            "here would mean nothing"
        )
    progress(f"PostgreSQL {said['server_version']}: fsync=on")
    return said["url"]


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
