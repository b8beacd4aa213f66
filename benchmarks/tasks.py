"""What a task costs: assets that do nothing, with durable commits to SQLite and to PostgreSQL.

Three processes of their own, as in use: the control plane, one worker with two slots, and the
client (``drive_runs.py``), which creates each run and follows it to its terminal event.
"""

from __future__ import annotations

import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import projects
from imports import compile_ahead
from measure import (
    HERE,
    PYTHON,
    BenchmarkError,
    Judged,
    Measurement,
    Options,
    environment,
    processor_seconds,
    progress,
    resident_bytes,
    run,
)
from services import Services, postgres

NAME: Final = "tasks"
SUMMARY: Final = "1,000 and 10,000 tasks that do nothing, durable; 1,000 on PostgreSQL"

_FULL: Final = 2


def measure(options: Options) -> Iterator[Measurement]:
    """Measure tasks."""
    compile_ahead()
    check_durability(options.folder)
    chains = 3 if options.quick else 100
    floor: list[float] = []
    sketched: list[float] = []
    with (
        postgres(options.folder) as url,
        _Bench(options, "few", chains) as few,
        _Bench(options, "many", chains * 10) as many,
        _Bench(options, "shared", chains, url) as shared,
    ):
        for _ in range(options.repeat):
            # A disk may take 0.2 ms or 4 ms, depending on what else is written: look each time.
            floor += durable_commit_seconds(options.folder)
            few.run()
            sketched.append(sketch_seconds(options.folder / f"sketch-{len(sketched)}", chains))
            many.run()
            shared.run()
        memory = [(bench.tasks, resident_bytes(bench.services.plane.pid)) for bench in (few, many)]
    yield Measurement(
        benchmark=NAME,
        what="a durable commit on this disk (write, fdatasync), before each run",
        unit="ms",
        samples=tuple(one * 1e3 for one in floor),
        note=f"{min(floor) * 1e3:.2f} to {max(floor) * 1e3:.2f} ms",
    )
    for measured, limit, where in ((few, 1.5, ""), (many, 1.5, ""), (shared, 3.0, "PostgreSQL, ")):
        yield Measurement(
            benchmark=NAME,
            what=f"{where}{measured.tasks:,} tasks, durable, from CreateRun to the terminal event",
            unit="ms/task",
            samples=tuple(one * 1e3 / measured.tasks for one in measured.of("finished")),
            limit=limit,
        )
    yield Measurement(
        benchmark=NAME,
        what=f"{few.tasks:,} tasks beside the protocol and the commits alone",
        unit="ms/task",
        samples=tuple(one * 1e3 / few.tasks for one in few.of("finished")),
        beside="drive_sketch.py",
        beside_samples=tuple(one * 1e3 / few.tasks for one in sketched),
        limit=3,
        judged=Judged.RATIO,
    )
    yield Measurement(
        benchmark=NAME,
        what=f"ten times the tasks: {many.tasks:,}",
        unit="s",
        samples=many.of("finished"),
        beside=f"{few.tasks:,} tasks",
        beside_samples=few.of("finished"),
        limit=11,
        judged=Judged.RATIO,
    )
    if few.processor and many.processor:
        yield Measurement(
            benchmark=NAME,
            what=f"processor time of control plane, worker and runners, {many.tasks:,} tasks",
            unit="s",
            samples=tuple(many.processor),
            beside=f"{few.tasks:,} tasks",
            beside_samples=tuple(few.processor),
            note="hardly depends on what else the machine does",
        )
    for step, what in (
        ("created", "CreateRun answered"),
        ("first_dispatch", "first task given out"),
        ("first_success", "first task succeeded"),
        ("last_success", "last task succeeded"),
    ):
        yield Measurement(
            benchmark=NAME,
            what=f"of {few.tasks:,} tasks: {what}, since CreateRun",
            unit="ms",
            samples=tuple(one * 1e3 for one in few.of(step)),
        )
    for tasks, resident in memory:
        if resident is not None:
            now, most = resident
            yield Measurement(
                benchmark=NAME,
                what=f"memory of the control plane, at most, {tasks:,} tasks a run",
                unit="MB",
                samples=(most / 1e6,),
                limit=300,
                note=f"{now / 1e6:.0f} MB at the end",
            )


class _Bench:
    """Runs of one size, one after another, on a control plane of their own.

    Args:
        options: How.
        name: The name of the project.
        chains: How many chains of ten tasks a run has.
        database: The URL of a PostgreSQL database; by default a SQLite file.
    """

    def __init__(self, options: Options, name: str, chains: int, database: str = "") -> None:
        self.tasks = chains * 10
        self._root = projects.no_op_chains(options.folder / name, chains)
        self.services = Services(
            self._root,
            database=database,
            profile=options.profile and options.profile / name,
        )
        self.processor: list[float] = []
        self._reports: list[dict[str, float]] = []

    def __enter__(self) -> _Bench:
        self.services.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self.services.__exit__()

    def run(self) -> None:
        """Run everything once.

        Raises:
            BenchmarkError: Not every task succeeded.
        """
        command = [PYTHON, str(HERE / "drive_runs.py"), self.services.url, str(self._root)]
        before = processor_seconds(*self.services.pids)
        done = run(command, env=self.services.environment, cwd=self._root)
        after = processor_seconds(*self.services.pids)
        if before is not None and after is not None:
            self.processor.append(after - before)
        report: dict[str, float] = json.loads(done.output)
        if report["succeeded"] != self.tasks:
            raise BenchmarkError(f"not all of {self.tasks} tasks succeeded: {report}")
        self._reports.append(report)
        seconds = report["finished"]
        progress(f"{self.tasks:,} tasks: {seconds:.2f} s, {seconds / self.tasks * 1e3:.2f} ms each")

    def of(self, step: str) -> tuple[float, ...]:
        """Return when something had happened in each run, in seconds since CreateRun."""
        return tuple(one[step] for one in self._reports)


def check_durability(folder: Path) -> None:
    """Make sure that what is measured survives a power cut.

    Raises:
        BenchmarkError: The control plane's connections do not wait for the disk.
    """
    code = (
        "import sys; from pathlib import Path; from servo.controlplane.store import files\n"
        "db = files.connect(Path(sys.argv[1]))\n"
        "print(*(db.execute(f'PRAGMA {name}').fetchone()[0]"
        " for name in ('synchronous', 'journal_mode')))"
    )
    database = folder / "durability.db"
    synchronous, mode = run([PYTHON, "-c", code, database]).output.decode().split()
    if int(synchronous) < _FULL:
        raise BenchmarkError(
            f"the control plane's database has synchronous={synchronous}, not FULL ({_FULL}): "
            f"a commit would not be durable, and what is measured here would mean nothing"
        )
    progress(f"SQLite {sqlite3.sqlite_version}: synchronous={synchronous} (FULL), {mode}")


def sketch_seconds(folder: Path, chains: int) -> float:
    """Return how long chains of ten tasks take where nothing is done but what must be."""
    folder.mkdir()
    done = run([PYTHON, HERE / "drive_sketch.py", folder, str(chains), "10"], env=environment())
    seconds: float = json.loads(done.output)
    progress(f"the protocol alone: {seconds:.2f} s, {seconds / chains * 100:.2f} ms each")
    return seconds


def durable_commit_seconds(folder: Path, count: int = 50) -> list[float]:
    """Return how long it takes until 4 KB more of a file are on the disk."""
    taken = []
    sync = os.fdatasync if sys.platform != "darwin" else os.fsync
    with (folder / "durable").open("wb", buffering=0) as file:
        for _ in range(count):
            began = time.perf_counter()
            file.write(b"\0" * 4096)
            sync(file.fileno())
            taken.append(time.perf_counter() - began)
    return taken
