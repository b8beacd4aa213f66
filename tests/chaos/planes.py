"""Starting, killing and following control planes that are processes of their own."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

import servo
from hostile_kit import free_port
from plane_kit import KEY
from servo_project import WITHOUT_PANDAS

HERE: Final = Path(__file__).resolve().parent
_PATIENCE: Final = 60.0


@dataclass(frozen=True, slots=True)
class Death:
    """When a life ends by itself, with SIGKILL.

    Attributes:
        moment: ``before`` or ``after`` a commit, ``later`` than one, ``starting``, or before a
            ``statement``.
        commit: Which commit, or statement, of the life it is, from 1 on.
        event: Counts only commits that hold an event which is described so, such as
            ``RunStateChanged cancelling``, or statements that hold this text.
        delay: For ``later`` and ``starting``: how much later, seconds.
    """

    moment: str
    commit: int = 1
    event: str = ""
    delay: float = 0.0

    @classmethod
    def at_random(cls, chance: random.Random, most_commits: int) -> Death:
        """Choose a moment."""
        moment = chance.choices(["before", "after", "later", "starting"], [4, 4, 3, 1])[0]
        commit = chance.randint(1, most_commits)
        delay = chance.uniform(0, 0.05 if moment == "starting" else 0.02)
        return cls(moment, commit, delay=delay)


class Life:
    """One process that is a control plane.

    Attributes:
        pid: Its process id.
        exit_code: How it ended; negative for a signal, `None` while it runs.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.exit_code: int | None = None
        self.ended = threading.Event()

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal."""
        if not self.ended.is_set():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def wait(self, patience: float = _PATIENCE) -> int:
        """Wait for its end and return its exit code.

        Raises:
            AssertionError: It does not end.
        """
        assert self.ended.wait(patience), f"control plane {self.pid} did not end in {patience} s"
        assert self.exit_code is not None
        return self.exit_code


@dataclass
class Planes:
    """Control planes on one database and one port, one after the other.

    Attributes:
        folder: Where the database and the log are.
        lease: Seconds that a lease lasts.
        grace: Seconds that a cancelled attempt may take.
        environ: Further variables of their processes.
        prefix: A command that is to start them.
        database: The database, when it does not lie in the folder: a file, or the URL of one.
    """

    folder: Path
    lease: float = 30.0
    grace: float = 1.0
    environ: Mapping[str, str] = field(default_factory=dict)
    prefix: tuple[str, ...] = ()
    database: Path | str = Path()

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.database == Path():
            self.database = self.folder / "servo.db"
        self.log_file = self.folder / "plane.log"
        self.port = free_port()
        self.url = f"grpc://127.0.0.1:{self.port}"
        self.lives: list[Life] = []
        theirs, self._lifeline = os.pipe()
        self._forker = subprocess.Popen(
            [*self.prefix, sys.executable, str(HERE / "plane_process.py"), str(theirs)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=(theirs,),
            env=environment(self.environ),
        )
        os.close(theirs)

    def start(self, death: Death | None = None) -> Life:
        """Start the next life; the one before has ended."""
        assert self._forker.stdin is not None
        self._log_before = len(self.log)
        order = {
            "database": str(self.database),
            "log": str(self.log_file),
            "listen": f"127.0.0.1:{self.port}",
            "key": KEY,
            "lease": self.lease,
            "grace": self.grace,
            "death": None if death is None else asdict(death),
        }
        self._forker.stdin.write(json.dumps(order) + "\n")
        self._forker.stdin.flush()
        life = Life(self._answer()["pid"])
        self.lives.append(life)

        def follow() -> None:
            life.exit_code = self._answer()["exit"]
            life.ended.set()

        threading.Thread(target=follow, daemon=True).start()
        return life

    def _answer(self) -> dict[str, Any]:
        assert self._forker.stdout is not None
        line = self._forker.stdout.readline()
        # Without an answer the forker was ended, and so was its child.
        answer: dict[str, Any] = json.loads(line) if line else {"pid": 0, "exit": -signal.SIGKILL}
        return answer

    @property
    def root(self) -> Path:
        """The file system as their processes see it."""
        return Path(f"/proc/{self._forker.pid}/root")

    @property
    def log(self) -> str:
        """What all lives have written."""
        return self.log_file.read_text(errors="replace") if self.log_file.exists() else ""

    @property
    def news(self) -> str:
        """What the newest life has written."""
        return self.log[self._log_before :]

    def until_serving(self, patience: float = _PATIENCE) -> None:
        """Wait until the newest life serves."""
        deadline = time.monotonic() + patience
        while "serving\n" not in self.news:
            assert not self.lives[-1].ended.is_set(), self.log[-2000:]
            assert time.monotonic() < deadline, self.log[-2000:]
            time.sleep(0.01)

    @contextmanager
    def restarted_after(self, life: Life) -> Iterator[None]:
        """Have the next life start when one has ended, while a block runs."""

        def follow() -> None:
            life.wait()
            self.start()

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        yield
        thread.join(_PATIENCE)

    def stop(self) -> None:
        """End the newest life as an operator does."""
        life = self.lives[-1]
        life.kill(signal.SIGTERM)
        code = life.wait()
        assert code == 0, f"exit code {code}\n{self.log[-2000:]}"

    def close(self) -> None:
        """End whatever is left."""
        os.close(self._lifeline)
        for life in self.lives[-1:]:
            life.kill()
        assert self._forker.stdin is not None
        self._forker.stdin.close()
        try:
            self._forker.wait(5)
        except subprocess.TimeoutExpired:
            self._forker.kill()
            self._forker.wait()
        for life in self.lives[-1:]:
            life.ended.wait(5)
        assert self._forker.stdout is not None
        self._forker.stdout.close()


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a process under test: nothing of this process's settings counts."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("SERVO_")}
    paths = [str(Path(servo.__file__).parents[1]), str(HERE.parent), str(WITHOUT_PANDAS)]
    if "PYTHONPATH" in more:
        paths.insert(0, more["PYTHONPATH"])
    return found | dict(more) | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}
