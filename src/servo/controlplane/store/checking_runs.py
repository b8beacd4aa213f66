"""Whether what is stored of a run is what its history says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from msgspec.structs import replace

from servo.controlplane.folding import RunFold
from servo.controlplane.reported import wrong_record
from servo.controlplane.store.findings import Findings
from servo.controlplane.store.maintenance import PAGE, Maintained, Workspace
from servo.controlplane.transitions import InvalidTransitionError
from servo.types.events import Event, RunCreated
from servo.types.logs import LogBatch
from servo.types.plans import Plan
from servo.types.records import Materialization, Run, Task
from servo.types.requests import CreateRunRequest


def check(database: Maintained, workspace: Workspace, row: Sequence[Any], found: Findings) -> int:
    """Look at one run with everything that belongs to it.

    Args:
        database: The database.
        workspace: The workspace.
        row: The run's row.
        found: Where problems are noted.

    Returns:
        How many materialisations its tasks have made that are stored.
    """
    run_id, state, run_key, record = row
    found.seen["runs"] += 1
    run = database.intact(Run, record, run=run_id)
    if run is None or (run.run_id, run.state, _column(run.run_key)) != (
        run_id,
        state,
        _column(run_key),
    ):
        found.add("run", run_id, "its record is damaged")
        return 0
    _check_references(database, workspace.number, run, found)
    stored = _tasks(database, run_id, found)
    if stored is None:
        return 0
    tasks = [task for task, _ in stored]
    tokens = [token for _, token in stored]
    _check_plan(database, run_id, len(tasks), found)
    _check_logs(database, run_id, found)
    fold = _fold(database, workspace, run, tasks, found)
    if fold is not None:
        _compare(fold, run, tasks, tokens, found)
    return _check_materializations(database, workspace.number, tasks, fold, found)


def _column(text: str) -> str:
    """Return a text as either database has it in a column: PostgreSQL has no NUL."""
    return text.replace("\0", "\u2400")


def _check_references(database: Maintained, workspace: int, run: Run, found: Findings) -> None:
    sql, db = database.sql, database.db
    if run.deployment_id and not sql.deployment_exists(
        db, workspace=workspace, deployment_id=run.deployment_id
    ):
        found.add("run", run.run_id, f"its deployment {run.deployment_id} is missing")
    for what, other in (("parent", run.parent_run_id), ("first run", run.root_run_id)):
        if other and not sql.run_exists(db, workspace=workspace, run_id=other):
            found.add("run", run.run_id, f"its {what} {other} is missing")


def _tasks(database: Maintained, run_id: str, found: Findings) -> list[tuple[Task, int]] | None:
    """Return the tasks of a run and their tokens; `None` where they cannot be made sense of."""
    tasks: list[tuple[Task, int]] = []
    after = -1
    while rows := list(
        database.sql.tasks_after(database.db, run_id=run_id, after=after, limit=PAGE)
    ):
        for index, task_id, token, record in rows:
            task = database.intact(Task, record, run=run_id)
            if task is None or (task.index, task.task_id) != (index, task_id):
                found.add("task", f"{run_id} task {index}", "its record is damaged")
                return None
            if index != len(tasks):
                found.add("task", f"{run_id} task {len(tasks)}", "is missing")
                return None
            tasks.append((task, int(token)))
        after = rows[-1][0]
    found.seen["tasks"] += len(tasks)
    return tasks


def _check_plan(database: Maintained, run_id: str, tasks: int, found: Findings) -> None:
    row = database.sql.run_plan(database.db, run_id=run_id)
    if row is None:
        found.add("run", run_id, "its plan is missing")
        return
    plan = database.intact(Plan, row[1], run=run_id)
    if plan is None or database.intact(CreateRunRequest, row[0], run=run_id) is None:
        found.add("run", run_id, "its plan is damaged")
    elif len(plan.tasks) != tasks:
        found.add("run", run_id, f"has {tasks} tasks, and {len(plan.tasks)} in its plan")


def _check_logs(database: Maintained, run_id: str, found: Findings) -> None:
    # The first ones may have been forgotten.
    after, count, expected = 0, 0, 0
    while rows := list(
        database.sql.logs_after(database.db, run_id=run_id, after=after, limit=PAGE)
    ):
        for after, task_id, record in rows:
            lines = database.intact(LogBatch, record, run=run_id)
            if lines is None or lines.task_id != task_id:
                found.add("log", f"{run_id} log batch {after}", "its record is damaged")
            elif expected not in (0, after):
                found.add("log", f"{run_id} log batch {expected}", "is missing")
            count, expected = count + 1, after + 1
    found.seen["log batches"] += count


def _events(database: Maintained, workspace: int, run_id: str) -> Iterator[Event | int]:
    """Yield the events of a run; of one that is damaged its number."""
    after = 0
    while rows := list(
        database.sql.events_of_run_after(database.db, run_id=run_id, after=after, limit=PAGE)
    ):
        for place, sequence, record in rows:
            event = database.intact(Event, record, run=run_id)
            expected = (workspace, sequence, run_id)
            if event is None or (place, event.sequence, event.run_id) != expected:
                yield int(sequence)
            else:
                yield event
        after = rows[-1][1]


def _fold(
    database: Maintained,
    workspace: Workspace,
    run: Run,
    tasks: Sequence[Task],
    found: Findings,
) -> RunFold | None:
    """Return what the events of a run make of it; `None` where they do not tell all of it."""
    fold: RunFold | None = None
    last, is_partial = 0, False
    for event in _events(database, workspace.number, run.run_id):
        if isinstance(event, int):
            found.add("history", run.run_id, f"event {event} is damaged")
            return None
        last = event.sequence
        try:
            if isinstance(event.payload, RunCreated) and fold is None:
                fold = RunFold(event, tasks)
            elif fold is not None:
                fold.apply(event)
            elif workspace.history_after:
                is_partial = True
            else:
                found.add("history", run.run_id, f"begins with event {last}, not with its creation")
                return None
        except (InvalidTransitionError, ValueError, IndexError) as exc:
            found.add("history", run.run_id, f"event {last} does not fit those before it: {exc}")
            return None
    if is_partial:
        fold = None
    # What was forgotten of its history lies before what is kept.
    if last != run.last_sequence and (last or run.last_sequence > workspace.history_after):
        found.add(
            "history", run.run_id, f"ends with event {last}, and should with {run.last_sequence}"
        )
        return None
    return fold


def _compare(
    fold: RunFold,
    run: Run,
    tasks: Sequence[Task],
    tokens: Sequence[int],
    found: Findings,
) -> None:
    if (
        fold.run != replace(run, spent={}, tasks=())
        or _numbers(run.spent) != fold.spent
        or run.tasks
    ):
        found.add("fold", run.run_id, "is not stored as its events make it")
    for told, task, token, given in zip(fold.tasks, tasks, tokens, fold.tokens, strict=True):
        # How far an attempt is, is no part of the history.
        if told != replace(task, progress=None):
            found.add(
                "fold",
                f"{run.run_id} task {task.index}",
                f"is stored as {task.state}, and its events make it {told.state}"
                if task.state is not told.state
                else "is not stored as its events make it",
            )
        if token != given:
            found.add(
                "fold",
                f"{run.run_id} task {task.index}",
                f"its token is {token}, and it was last given out under {given}",
            )


def _numbers(amounts: Mapping[str, str]) -> Mapping[str, Decimal] | None:
    try:
        return {unit: Decimal(text) for unit, text in amounts.items()}
    except InvalidOperation:
        return None


def _check_materializations(
    database: Maintained,
    workspace: int,
    tasks: Sequence[Task],
    fold: RunFold | None,
    found: Findings,
) -> int:
    count = 0
    for task in tasks:
        made = task.materialization
        if made is None:
            continue
        row = database.sql.materialization_of(
            database.db,
            workspace=workspace,
            asset_id=made.asset_id,
            partition_key=made.partition_key.to_canonical(),
            materialization_id=made.materialization_id,
        )
        name = f"{made.run_id} task {task.index}"
        if wrong := wrong_record(made):
            found.add("materialization", name, f"its record has {wrong}")
        if row is None:
            found.add("materialization", name, f"{made.materialization_id} is missing")
            continue
        count += 1
        sequence, record = row
        if database.intact(Materialization, record, run=made.run_id) != made:
            found.add(
                "materialization", name, f"{made.materialization_id} is not what the task made"
            )
        if fold is not None and sequence != fold.made.get(task.index):
            found.add(
                "materialization",
                name,
                f"{made.materialization_id} has the sequence {sequence}, and was made by event "
                f"{fold.made.get(task.index)}",
            )
    return count
