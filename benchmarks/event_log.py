"""How large the history gets: all events of tasks that succeed, as they are stored.

The run is a real one, with a control plane and a worker of their own; a task that does nothing has
the same events as one that does a lot, and no two are longer than what its run adds.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Final

import projects
from imports import compile_ahead
from measure import HERE, PYTHON, BenchmarkError, Measurement, Options, progress, run
from services import Services

NAME: Final = "event_log"
SUMMARY: Final = "bytes of history that a task leaves behind"

_LIMIT: Final = 1024
_KINDS: Final = ("ready", "dispatched", "running", "succeeded")


def measure(options: Options) -> Iterator[Measurement]:
    """Measure the history of one run."""
    compile_ahead()
    chains = 10 if options.quick else 2000
    root = projects.no_op_chains(options.folder / "project", chains)
    with Services(root, slots=2) as services:
        command = [PYTHON, str(HERE / "drive_runs.py"), services.url, str(root)]
        run(command, env=services.environment, cwd=root, timeout=1800)
    database = root / ".servo" / "servo.db"
    with closing(sqlite3.connect(database)) as db:
        (tasks,) = db.execute("SELECT count(*) FROM tasks").fetchone()
        (events, records) = db.execute(
            "SELECT count(*), sum(length(record)) FROM events"
        ).fetchone()
        if tasks < chains * 10 or events < tasks * len(_KINDS):
            raise BenchmarkError(f"{tasks} tasks have left {events} events")
        stored = _stored(db, options.folder / "events.db")
    progress(f"{tasks:,} tasks: {events:,} events, {records:,} bytes, {stored:,} with their keys")
    yield Measurement(
        benchmark=NAME,
        what=f"history of {tasks:,} tasks: the events' records",
        unit="bytes/task",
        samples=(records / tasks,),
        note=f"{events / tasks:.2f} events a task",
    )
    yield Measurement(
        benchmark=NAME,
        what=f"history of {tasks:,} tasks: the table of events with its index",
        unit="bytes/task",
        samples=(stored / tasks,),
        limit=_LIMIT,
        note=f"{stored / tasks / 1e3:.2f} GB for a million tasks",
    )


def _stored(db: sqlite3.Connection, copy: Path) -> int:
    """Return how many bytes the events take with their keys, alone in a file."""
    statements = [
        row[0]
        for row in db.execute(
            "SELECT sql FROM sqlite_schema WHERE tbl_name = 'events' AND sql IS NOT NULL"
        )
    ]
    with closing(sqlite3.connect(copy)) as alone:
        for statement in statements:
            alone.execute(statement)
        alone.executemany(
            "INSERT INTO events VALUES (?, ?, ?, ?)",
            db.execute("SELECT workspace, sequence, run_id, record FROM events ORDER BY sequence"),
        )
        alone.commit()
    return copy.stat().st_size
