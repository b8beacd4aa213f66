"""A project on disk and the command line as its user has it, for end-to-end tests."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import servo

TIMEOUT = 90.0
WITHOUT_PANDAS = Path(__file__).parent / "without_pandas"


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        return json.loads(self.out)

    def __str__(self) -> str:
        return f"exit {self.code}\n--- stdout\n{self.out}\n--- stderr\n{self.err}"


@dataclass
class ServoProject:
    """A project directory; what was started in it is ended by `close`."""

    root: Path
    environ: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    def write(self, path: str, text: str) -> None:
        """Write a file of the project."""
        target = self.root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text)

    def start(self, *arguments: str, program: str = "", **environ: str) -> subprocess.Popen[str]:
        """Start `servo`, or a program that runs it in a way of its own, and return at once."""
        # The installed `servo` does not have the current directory on its import path either.
        entry = ["-c", program] if program else ["-m", "servo.cli.main"]
        process = subprocess.Popen(
            [sys.executable, "-P", *entry, *arguments],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(environ),
        )
        self.started.append(process)
        return process

    def environment(self, more: dict[str, str]) -> dict[str, str]:
        """The variables that commands in the project get: nothing of this process counts."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith("SERVO_") and name not in ("CI", "NO_COLOR")
        }
        source = str(Path(servo.__file__).parents[1])
        ours = {"PYTHONPATH": f"{source}{os.pathsep}{WITHOUT_PANDAS}", "NO_COLOR": "1"}
        return inherited | ours | self.environ | more

    def on_terminal(self, *arguments: str, columns: int = 120) -> tuple[int, str]:
        """Run `servo` with a terminal as its standard streams; return code and what it showed."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "servo.cli.main", *arguments],
            cwd=self.root,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            text=True,
            env=self.environment({"TERM": "xterm", "COLUMNS": str(columns), "LINES": "40"}),
        )
        self.started.append(process)
        os.close(theirs)
        shown = bytearray()
        # Reading a terminal whose other side has been closed is an error on Linux.
        with contextlib.suppress(OSError):
            while data := os.read(ours, 65536):
                shown += data
        os.close(ours)
        return process.wait(TIMEOUT), shown.decode(errors="replace")

    def run(self, *arguments: str, **environ: str) -> Done:
        """Run `servo` to its end."""
        return self.finish(self.start(*arguments, **environ))

    def ok(self, *arguments: str, **environ: str) -> Done:
        """Run `servo`, which has to exit with 0."""
        done = self.run(*arguments, **environ)
        assert done.code == 0, f"servo {' '.join(arguments)}: {done}\n{self.host_log}"
        return done

    def finish(self, process: subprocess.Popen[str]) -> Done:
        """Wait for a process that was started."""
        out, err = process.communicate(timeout=TIMEOUT)
        return Done(process.returncode, out, err)

    @property
    def server(self) -> dict[str, Any] | None:
        """The contents of server.json, while there is one."""
        try:
            found: dict[str, Any] = json.loads((self.root / ".servo" / "server.json").read_text())
        except FileNotFoundError:
            return None
        return found

    @property
    def host_log(self) -> str:
        """What the background host printed."""
        log = self.root / ".servo" / "host.log"
        return log.read_text() if log.exists() else ""

    def ids(self) -> dict[str, str]:
        """The lockfile's ids by asset key."""
        found: dict[str, str] = json.loads((self.root / ".servo" / "state.json").read_text())[
            "assetIds"
        ]
        return found

    def data(self, path: str, *, workspace: str = "default") -> list[dict[str, Any]]:
        """The rows of a table below the data root of a workspace."""
        import pyarrow.parquet as pq

        state = self.root / ".servo"
        other = state / "workspaces" / "default" / workspace / "data"
        root = state / "data" if workspace == "default" else other
        rows: list[dict[str, Any]] = pq.read_table(root / path / "data.parquet").to_pylist()
        return rows

    def close(self) -> None:
        """End everything that was started here, the host included."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
            process.communicate()
        server = self.server
        if server is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(server["pid"], signal.SIGKILL)


def wait_until(condition: Callable[[], object], what: str, timeout: float = 30.0) -> None:
    """Wait for a condition.

    Raises:
        AssertionError: It did not come true in time.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, f"did not happen within {timeout} s: {what}"
        time.sleep(0.02)


def is_alive(pid: int) -> bool:
    """Tell whether a process runs."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie that nobody has waited for has ended all the same.
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
