"""What people look at while a database holds a million tasks and runs go on."""

from __future__ import annotations

import contextlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from measure import HERE, PYTHON, BenchmarkError, Measurement, Options, percentile, progress, run
from services import Services, postgres

NAME: Final = "rows"
SUMMARY: Final = "reading beside 1,000,000 tasks and runs that go on, SQLite and PostgreSQL"

_QUICK_ROWS: Final = 2_000
_CALLS: Final = 200
_QUICK_CALLS: Final = 5
_LIMIT: Final = 50
_SECONDS: Final = 7_200


def measure(options: Options) -> Iterator[Measurement]:
    """Fill a database of each kind, then call what shows it."""
    tasks = _QUICK_ROWS if options.quick else options.rows
    yield from _measure(options, "SQLite", tasks, "")
    with postgres(options.folder) as url:
        yield from _measure(options, "PostgreSQL", tasks, url)


def _measure(options: Options, kind: str, tasks: int, database: str) -> Iterator[Measurement]:
    services = Services(options.folder / kind, slots=0, database=database)
    calls = _QUICK_CALLS if options.quick else _CALLS
    driver, names = HERE / "drive_rows.py", services.environment
    with services:
        run([PYTHON, driver, "deploy", services.url], env=names)
    done = run([PYTHON, driver, "fill", services.database, str(tasks)], env=names, timeout=_SECONDS)
    filled = json.loads(done.output)
    progress(f"{kind}: {tasks:,} tasks in {done.seconds:.0f} s, {_size(filled, services.database)}")
    rounds: list[dict[str, list[float]]] = []
    with services, _runs(services) as going_on:
        for _ in range(options.repeat):
            done = run([PYTHON, driver, "read", services.url, str(calls)], env=names)
            rounds.append(json.loads(done.output))
            if going_on.poll() is not None:
                raise BenchmarkError("the runs that should go on meanwhile have failed")
    for name in rounds[0]:
        samples = tuple(percentile(one[name], 95) for one in rounds)
        every = [value for one in rounds for value in one[name]]
        progress(f"{kind}: {name}: p95 {samples[-1]:.1f} ms, at most {max(every):.1f} ms")
        yield Measurement(
            benchmark=NAME,
            what=f"{kind}, {tasks:,} tasks, runs going on: {name}: p95",
            unit="ms",
            samples=samples,
            limit=_LIMIT,
            note=f"{len(every):,} calls: median {percentile(every, 50):.1f} ms, at most "
            f"{max(every):.1f} ms",
        )


def _size(filled: dict[str, Any], database: str) -> str:
    path = Path(database)
    size: int = filled.get("bytes") or path.stat().st_size
    return f"{size / 1e6:,.0f} MB"


@contextlib.contextmanager
def _runs(services: Services) -> Iterator[subprocess.Popen[bytes]]:
    """Let runs of 100 tasks follow each other while a block runs."""
    command = [PYTHON, str(HERE / "drive_load.py"), services.url, "forever", "live.*"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=services.environment)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
