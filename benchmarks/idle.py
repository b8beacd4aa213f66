"""What a hundred workers cost that have nothing to do."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Iterator
from typing import Final

from measure import (
    HERE,
    PYTHON,
    BenchmarkError,
    Measurement,
    Options,
    processor_seconds,
    progress,
)
from services import Services

NAME: Final = "idle"
SUMMARY: Final = "processor time of the control plane for 100 idle workers"

_WORKERS: Final = 100
_SECONDS: Final = 30.0
_QUICK_SECONDS: Final = 1.0
_MOST_ROUNDS: Final = 3


def measure(options: Options) -> Iterator[Measurement]:
    """Look at a control plane without workers and with a hundred, in turn."""
    seconds = _QUICK_SECONDS if options.quick else _SECONDS
    alone, with_workers = [], []
    with Services(options.folder / NAME, slots=0) as services:
        for _ in range(min(options.repeat, _MOST_ROUNDS)):
            alone.append(_percent(services, seconds))
            command = [PYTHON, str(HERE / "drive_idle.py"), services.url, str(_WORKERS)]
            workers = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=services.environment
            )
            try:
                assert workers.stdout is not None
                if workers.stdout.readline() != b"welcome\n":
                    raise BenchmarkError(f"{_WORKERS} workers could not join")
                with_workers.append(_percent(services, seconds))
            finally:
                workers.communicate()
            progress(
                f"{_WORKERS} workers: {with_workers[-1]:.2f} % of a core, none: {alone[-1]:.2f} %"
            )
    yield Measurement(
        benchmark=NAME,
        what=f"the control plane with {_WORKERS} idle workers, each on a connection of its own",
        unit="% of a core",
        samples=tuple(with_workers),
        limit=2,
        note=f"{seconds:g} s each, heartbeats every 10 s as negotiated; without workers "
        f"{statistics.median(alone):.2f} %",
    )


def _percent(services: Services, seconds: float) -> float:
    before, began = processor_seconds(services.plane.pid), time.perf_counter()
    time.sleep(seconds)
    after, elapsed = processor_seconds(services.plane.pid), time.perf_counter() - began
    if before is None or after is None:
        raise BenchmarkError("the processor time of a process cannot be read on this system")
    return (after - before) / elapsed * 100
