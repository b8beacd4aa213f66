"""Measure, in a process like a runner, what keeping attempts apart costs; print JSON.

    python drive_state.py FOLDER ATTEMPTS ROUNDS

A round is some attempts of an asset that does nothing: the comparison alone, all that surrounds
the function in a runner, the attempts with that, and without it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from servo import asset
from servo.types.ids import RunId, TaskId
from servo.types.partition_keys import PartitionKey
from servo.types.sessions import Lease, TaskDispatch
from servo.worker.execute import execute
from servo.worker.reporting import OutboxReporter
from servo.worker.runner import _Runner

_LIBRARIES = ("asyncio", "csv", "multiprocessing", "ssl", "tempfile", "concurrent.futures", "numpy")
_LOGGERS = 100


class Reporter(OutboxReporter):
    """Keeps what Servo writes into the log of an attempt: here it must be nothing."""

    notes: tuple[str, ...] = ()

    def note(self, level: str, text: str) -> None:
        """Keep a note."""
        self.notes += (text,)


@asset
def nothing(ctx: Any) -> None:
    """Do nothing."""


def main(folder: Path, attempts: int, rounds: int) -> dict[str, list[float]]:
    """Return microseconds of each round by what was measured."""
    channel, remote = socket.socketpair()
    cancels, _ = os.pipe()
    runner = _Runner(channel, cancels, folder, folder, [])
    lease = Lease(task_id=TaskId.generate(), attempt=1, token=1)
    runner._outbox.begin(lease)
    runner._current = reporter = Reporter(runner._outbox, lease)
    dispatch = TaskDispatch(
        lease=lease, run_id=RunId.generate(), asset=nothing.definition, partition_key=PartitionKey()
    )
    guarded = replace(runner._environment, find=lambda definition: nothing)
    bare = replace(guarded, user_code=contextlib.nullcontext)

    def surround() -> None:
        with runner._user_code():
            pass

    found: dict[str, list[float]] = {}
    for name in ("few", "many"):
        if name == "many":
            _load()
        steps: dict[str, Callable[[], object]] = {
            "check": lambda: runner._state.put_back(runner._state.leftovers()),
            "surround": surround,
            "guarded": lambda: execute(dispatch, guarded, reporter),
            "bare": lambda: execute(dispatch, bare, reporter),
        }
        for step in steps.values():
            step()
        if reporter.notes:
            raise SystemExit(f"an attempt that does nothing had something to say: {reporter.notes}")
        for _ in range(rounds):
            for step, call in steps.items():
                began = time.perf_counter()
                for _ in range(attempts):
                    call()
                taken = time.perf_counter() - began
                found.setdefault(f"{name}-{step}", []).append(taken / attempts * 1e6)
    del remote
    return found


def _load() -> None:
    """Load what many projects load, and as many loggers as large libraries have."""
    for name in _LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    for number in range(_LOGGERS):
        logging.getLogger(f"library.part{number}")


if __name__ == "__main__":
    report = os.dup(1)
    answer = main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
    os.write(report, json.dumps(answer).encode())
