"""Starting, freezing and killing workers that are processes of their own."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.planes import HERE, environment
from plane_kit import KEY


@dataclass
class Workers:
    """The workers of a project.

    Attributes:
        project: The project's root.
        url: Where they find the control plane.
        slots: Attempts that each executes at once.
        environ: Further variables of their processes.
    """

    project: Path
    url: str
    slots: int = 2
    environ: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.running: list[subprocess.Popen[bytes]] = []
        self.killed = 0

    @property
    def data_root(self) -> Path:
        """Where the tables lie."""
        return self.project / ".servo" / "data"

    @property
    def log(self) -> str:
        """What all of them have written."""
        found = self.project / "workers.log"
        return found.read_text(errors="replace") if found.exists() else ""

    def start(self, url: str = "") -> subprocess.Popen[bytes]:
        """Start one more."""
        with (self.project / "workers.log").open("ab") as log:
            process = subprocess.Popen(
                [
                    *(sys.executable, str(HERE / "worker_process.py")),
                    *("--url", url or self.url),
                    *("--project", str(self.project)),
                    *("--data-root", str(self.data_root)),
                    *("--slots", str(self.slots)),
                    "--exit-with-stdin",
                ],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                env=environment({"SERVO_API_KEY": KEY} | dict(self.environ)),
            )
        self.running.append(process)
        return process

    def kill(self, worker: subprocess.Popen[bytes]) -> None:
        """End one as the kernel does when memory is short."""
        worker.kill()
        worker.wait()
        assert worker.stdin is not None
        worker.stdin.close()
        self.running.remove(worker)
        self.killed += 1

    def close(self) -> None:
        """End all of them."""
        for worker in list(self.running):
            with contextlib.suppress(ProcessLookupError):
                os.kill(worker.pid, signal.SIGCONT)
            self.kill(worker)


@contextmanager
def running(project: Path, url: str, count: int = 1, **options: object) -> Iterator[Workers]:
    """Have workers while a block runs."""
    workers = Workers(project, url, **options)  # type: ignore[arg-type]  # those of the class
    try:
        for _ in range(count):
            workers.start()
        yield workers
    finally:
        workers.close()


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has started, and those that they have."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        for task in Path(f"/proc/{parent}/task").glob("*/children"):
            with contextlib.suppress(OSError):
                children = [int(child) for child in task.read_text().split()]
                found += children
                waiting += children
    return found


def runner_of(worker: int) -> int:
    """Return the process that executes user code for a worker with one slot."""
    (found,) = (pid for pid in descendants(worker) if not descendants(pid))
    return found


def until_quiet(pid: int, patience: float = 30.0) -> None:
    """Wait until a process has done all that it had to do, and sleeps.

    Raises:
        AssertionError: It does not come to rest.
    """
    deadline, since, before = time.monotonic() + patience, time.monotonic(), ""
    while time.monotonic() < since + 0.5:
        assert time.monotonic() < deadline, f"process {pid} does not come to rest"
        # The name, in parentheses, may hold anything; the fields that count come after it.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        now = " ".join(fields[10:12])
        if state != "S" or now != before:
            since, before = time.monotonic(), now
        time.sleep(0.01)


def are_gone(pids: list[int], patience: float = 20.0) -> bool:
    """Wait until none of some processes is left; say whether that came about."""
    deadline = time.monotonic() + patience
    while any(Path(f"/proc/{pid}/cmdline").exists() for pid in pids):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
