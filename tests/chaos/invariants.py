"""What holds after every fault, read from the event log and from the data on disk.

Nothing here asks the control plane: it may be wrong about itself. The history is folded once more
with the pure transitions, and compared with the rows, with what callers were promised and with the
files that were published.
"""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import psycopg
import pyarrow.parquet as pq
from msgspec.structs import replace

from servo import _wire
from servo.controlplane import transitions
from servo.io.publish import read_fence
from servo.types.events import Event, RunCreated, RunStateChanged, TaskStateChanged
from servo.types.plans import Plan
from servo.types.records import Materialization, Run, Task
from servo.types.runs import RunState, TaskState

_GIVEN_OUT: Final = frozenset({TaskState.DISPATCHED, TaskState.RUNNING})


@dataclass(frozen=True, slots=True)
class Tally:
    """How much there was to look at.

    Attributes:
        runs: How many runs ended in each state.
        tasks: How many tasks ended in each state.
        attempts: How often a task was given to a worker.
        events: The length of the history.
        tables: How many current tables were read to their last row.
        overtaken: How many of them are newer than what is recorded as current: a worker published,
            died, and its run was cancelled.
    """

    runs: Counter[RunState]
    tasks: Counter[TaskState]
    attempts: int
    events: int
    tables: int
    overtaken: int


@dataclass(slots=True)
class History:
    """Everything that a database tells.

    Attributes:
        events: The events of each workspace, in the order of their sequence numbers.
        runs: The stored runs by their ids.
        tasks: The stored tasks of each run, by position.
        plans: The plan of each run.
        made: For each workspace, the sequence numbers under which something was materialised.
        current: What is current in each partition of each asset.
    """

    events: dict[int, list[Event]] = field(default_factory=lambda: defaultdict(list))
    runs: dict[str, Run] = field(default_factory=dict)
    tasks: dict[str, list[Task]] = field(default_factory=lambda: defaultdict(list))
    plans: dict[str, Plan] = field(default_factory=dict)
    made: dict[int, dict[int, Materialization]] = field(default_factory=lambda: defaultdict(dict))
    current: dict[tuple[int, str, str], int] = field(default_factory=dict)

    @classmethod
    def read(cls, database: Path | str) -> History:
        """Read a database that no control plane has open."""
        if isinstance(database, str):
            with psycopg.connect(database) as server:
                return cls._read(server)
        with closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert db.execute("PRAGMA foreign_key_check").fetchall() == []
            return cls._read(db)

    @classmethod
    def _read(cls, db: Any) -> History:
        found = cls()
        for workspace, sequence, record in db.execute(
            "SELECT workspace, sequence, record FROM events ORDER BY workspace, sequence"
        ):
            event = _wire.decode(Event, record)
            assert event.sequence == sequence
            found.events[workspace].append(event)
        for run_id, record in db.execute("SELECT run_id, record FROM runs"):
            found.runs[run_id] = _wire.decode(Run, record)
        for run_id, record in db.execute(
            "SELECT run_id, record FROM tasks ORDER BY run_id, task_index"
        ):
            found.tasks[run_id].append(_wire.decode(Task, record))
        for run_id, plan in db.execute("SELECT run_id, plan FROM run_plans"):
            found.plans[run_id] = _wire.decode(Plan, plan)
        for workspace, sequence, record in db.execute(
            "SELECT workspace, sequence, record FROM materializations"
        ):
            found.made[workspace][sequence] = _wire.decode(Materialization, record)
        for *key, sequence in db.execute(
            "SELECT workspace, asset_id, partition_key, sequence FROM current_materializations"
        ):
            found.current[(key[0], key[1], key[2])] = sequence
        return found


def check(
    database: Path | str,
    data_root: Path | None,
    *,
    accepted: Iterable[str],
    leftovers: bool = False,
) -> Tally:
    """Look for anything that was lost, doubled, stuck or half done.

    Args:
        database: The database, after its last control plane has ended.
        data_root: Where the tables lie; `None` where the workers wrote none.
        accepted: The runs that callers were told of.
        leftovers: Whether staged files may be left: attempts died and nothing followed them.

    Returns:
        What was looked at.

    Raises:
        AssertionError: Something is; the message says what.
    """
    history = History.read(database)
    for events in history.events.values():
        _has_no_gaps(events)
    for run_id in accepted:
        assert run_id in history.runs, f"run {run_id} was accepted and is lost"
    _keys_are_unique(history.runs.values())
    by_run: dict[str, list[Event]] = defaultdict(list)
    for events in history.events.values():
        for event in events:
            by_run[event.run_id].append(event)
    for run_id, run in history.runs.items():
        tasks = history.tasks[run_id]
        _fold(run, tasks, history.plans[run_id], by_run[run_id])
        _has_ended(run, tasks)
    for workspace, events in history.events.items():
        _successes_are_materializations(events, history.made[workspace])
    tables, overtaken = (
        (0, 0) if data_root is None else _tables_are_whole(history, data_root, leftovers)
    )
    every_task = [task for tasks in history.tasks.values() for task in tasks]
    return Tally(
        runs=Counter(run.state for run in history.runs.values()),
        tasks=Counter(task.state for task in every_task),
        attempts=sum(
            isinstance(event.payload, TaskStateChanged)
            and event.payload.state is TaskState.DISPATCHED
            for events in history.events.values()
            for event in events
        ),
        events=sum(map(len, history.events.values())),
        tables=tables,
        overtaken=overtaken,
    )


def _has_no_gaps(events: list[Event]) -> None:
    numbers = [event.sequence for event in events]
    assert numbers == list(range(1, len(numbers) + 1)), "the history has gaps"


def _keys_are_unique(runs: Iterable[Run]) -> None:
    again = [key for key, count in Counter(run.run_key for run in runs).items() if count > 1]
    assert not [key for key in again if key], f"run keys that made several runs: {again}"


def _has_ended(run: Run, tasks: list[Task]) -> None:
    assert run.state.is_terminal, f"run {run.run_id} is stuck: {run.state} ({run.reason})"
    stuck = [f"{task.asset_key} {task.state}" for task in tasks if not task.state.is_terminal]
    assert not stuck, f"run {run.run_id} has ended, and these tasks have not: {stuck}"


def _fold(run: Run, tasks: list[Task], plan: Plan, events: list[Event]) -> None:
    """Fold the history of a run again; it has to give what is stored."""
    created = [event.payload for event in events if isinstance(event.payload, RunCreated)]
    assert len(created) == 1, f"run {run.run_id} was created {len(created)} times"
    folded = created[0].run
    now = [
        Task(
            task_id=task.task_id,
            index=task.index,
            asset_key=task.asset_key,
            partition_key=task.partition_key,
            state=TaskState.BLOCKED,
        )
        for task in tasks
    ]
    token: dict[int, int] = {}
    results: Counter[tuple[int, int]] = Counter()
    for event in events:
        change = event.payload
        assert not folded.state.is_terminal, f"run {run.run_id} went on after its end: {event}"
        if isinstance(change, RunStateChanged):
            folded = transitions.apply_to_run(folded, change, event.occurred_at)
        elif isinstance(change, TaskStateChanged):
            index, before = change.index, now[change.index]
            now[index] = transitions.apply_to_task(before, change, event.occurred_at)
            if change.state is TaskState.DISPATCHED:
                _may_start(run, plan, now, index)
                token[index] = event.sequence
            elif before.state in _GIVEN_OUT and change.state not in _GIVEN_OUT:
                results[index, token[index]] += 1
    twice = [key for key, count in results.items() if count > 1]
    assert not twice, f"attempts of run {run.run_id} that ended twice: {twice}"
    stored = [replace(task, progress=None) for task in tasks]
    assert now == stored, _difference(run, now, stored)
    counts = transitions.count_states(Counter(task.state for task in now))
    assert replace(folded, counts=counts, last_sequence=events[-1].sequence) == run, (
        f"the history of run {run.run_id} gives\n{folded}\nand what is stored is\n{run}"
    )


def _difference(run: Run, folded: list[Task], stored: list[Task]) -> str:
    pairs = [f"{one}\n{other}" for one, other in zip(folded, stored, strict=True) if one != other]
    return f"the history of run {run.run_id} gives other tasks than are stored:\n{pairs[0]}"


def _may_start(run: Run, plan: Plan, now: list[Task], index: int) -> None:
    planned = plan.tasks[index]
    wanted = {
        *planned.upstream,
        *(task for gate in planned.gates for task in plan.gates[gate].tasks),
    }
    for upstream in wanted:
        assert now[upstream].state is TaskState.SUCCEEDED, (
            f"{now[index].asset_key} of run {run.run_id} was given out while its upstream "
            f"{now[upstream].asset_key} was {now[upstream].state}"
        )


def _successes_are_materializations(
    events: Iterable[Event], made: Mapping[int, Materialization]
) -> None:
    told = {
        event.sequence: event.payload.materialization
        for event in events
        if isinstance(event.payload, TaskStateChanged) and event.payload.materialization is not None
    }
    assert told == dict(made), "the materialisations are not those that the history tells of"


class _Tokens:
    """Which leases were given out for each partition, and which of them ended well."""

    def __init__(self, history: History) -> None:
        self.given: dict[tuple[str, str], set[int]] = defaultdict(set)
        self.made: dict[tuple[str, str], dict[int, Materialization]] = defaultdict(dict)
        for events in history.events.values():
            newest: dict[tuple[str, int], int] = {}
            for event in events:
                change = event.payload
                if not isinstance(change, TaskStateChanged):
                    continue
                task = history.tasks[event.run_id][change.index]
                partition = (str(task.asset_key), task.partition_key.to_canonical())
                if change.state is TaskState.DISPATCHED:
                    newest[event.run_id, change.index] = event.sequence
                    self.given[partition].add(event.sequence)
                elif change.materialization is not None:
                    token = newest[event.run_id, change.index]
                    self.made[partition][token] = change.materialization


def _table_is_whole(path: Path, current: Materialization, tokens: _Tokens) -> bool:
    """Read a table to its last row; tell whether it is the one that is recorded as current.

    A file is never replaced by that of an older lease. So it is that of the newest one that ended
    well, or of a newer one: its worker published and died, and the run was cancelled meanwhile.
    """
    partition = (str(current.asset_key), current.partition_key.to_canonical())
    assert path.is_file(), f"{current.asset_key} is recorded and {path} does not exist"
    rows = pq.read_table(path, partitioning=None).num_rows
    fence = read_fence(path)
    assert fence is not None, f"{path} does not say who published it"
    token, made = fence[1], tokens.made[partition]
    assert token in tokens.given[partition], f"{path} was published by a lease {token} of nobody"
    assert token >= max(made), (
        f"{path} was published by the lease {token}, and {max(made)} was recorded as done"
    )
    if token in made:
        assert rows == made[token].row_count, (
            f"{path} has {rows} rows, recorded are {made[token].row_count}"
        )
        assert made[token] == current, f"{path} is not what is recorded as current"
    return token in made


def _tables_are_whole(history: History, data_root: Path, leftovers: bool) -> tuple[int, int]:
    """Read every current table; nothing else may lie there."""
    newest: dict[tuple[int, str, str], int] = {}
    for workspace, made in history.made.items():
        for sequence, one in sorted(made.items()):
            newest[workspace, one.asset_id, one.partition_key.to_canonical()] = sequence
    assert newest == history.current, "what is current is not what was made last"
    tokens = _Tokens(history)
    published: dict[Path, bool] = {}
    for (workspace, *_), sequence in newest.items():
        one = history.made[workspace][sequence]
        if one.has_data:
            path = data_root / one.path
            published[path] = _table_is_whole(path, one, tokens)
    staged = [] if leftovers else [path.name for path in data_root.rglob(".staging-*")]
    assert not staged, f"staged files were left behind: {staged}"
    return len(published), sum(not is_current for is_current in published.values())
