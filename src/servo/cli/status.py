"""``servo status``: recent runs, or one run with its tasks."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from servo.cli import _failures, _follow, _output, _report, _runs
from servo.cli._run_view import RunView, warning_text, warnings_of
from servo.cli._session import Session, pass_session
from servo.types.labels import command, task_label
from servo.types.records import Run, Task
from servo.types.runs import RunState, TaskState

if TYPE_CHECKING:
    from servo.client import Client

_ALL_TASKS_UP_TO: Final = 30
_WATCH_INTERVAL: Final = 1.0


@click.command()
@click.argument("run_id", required=False)
@click.option("--watch", is_flag=True, help="Follow until the run ends, or until Ctrl-C.")
@click.option(
    "--limit", type=click.IntRange(min=1), default=20, show_default=True, help="Runs to show."
)
@_output.json_option
@pass_session
def status(
    session: Session, run_id: str | None, watch: bool, limit: int, as_json: bool
) -> int | None:
    """Show recent runs, or one run and its tasks.

    RUN_ID is the id of a run, a unique beginning of it, or `latest`. With --watch the command
    ends with the run, and exits 1 if it failed.
    """
    with session.connect() as connection:
        client = connection.client
        if run_id is not None:
            found = _runs.resolve(client, run_id)
            return _one(client, found, connection.data_root, watch=watch, as_json=as_json)
        if watch and not as_json:
            _watch_list(client, limit)
        else:
            _list(client, limit, as_json=as_json)
    return None


def _list(client: Client, limit: int, *, as_json: bool) -> None:
    runs = list(islice(client.runs.list(), limit))
    if as_json:
        from servo.types.requests import ListRunsResponse

        _output.print_json(ListRunsResponse(runs=tuple(runs)))
    elif not runs:
        _output.echo("No runs yet. Start one: servo run '*' --all-partitions")
    else:
        _print_runs(runs)


def _watch_list(client: Client, limit: int) -> None:
    try:
        while True:
            click.clear()
            _list(client, limit, as_json=False)
            time.sleep(_WATCH_INTERVAL)
    except KeyboardInterrupt:
        return


def _print_runs(runs: Sequence[Run]) -> None:
    any_cancelled = any(run.counts.cancelled for run in runs)
    cancelled = (">cancelled",) if any_cancelled else ()
    _output.table(
        (
            *("run", "state", "created", ">took", ">tasks", ">ok", ">failed", ">skipped"),
            *cancelled,
            "~selection",
        ),
        (
            (
                run.run_id,
                f"{run.state}, held" if run.paused else str(run.state),
                _output.when(run.created_at),
                _output.elapsed(run.started_at or run.created_at, run.finished_at),
                str(run.counts.total),
                str(run.counts.succeeded),
                str(run.counts.failed),
                str(run.counts.skipped),
                *((str(run.counts.cancelled),) if any_cancelled else ()),
                " ".join(run.selection),
            )
            for run in runs
        ),
    )


def _one(client: Client, run_id: str, data_root: Path | None, *, watch: bool, as_json: bool) -> int:
    run = client.runs.get(run_id)
    if watch and not run.state.is_terminal:
        view = RunView(run)
        try:
            with _follow.display(client, view, quiet=as_json, can_cancel=False) as display:
                for event in client.runs.watch(run_id, after_sequence=view.sequence):
                    display.changed(view.apply(event))
        except KeyboardInterrupt:
            _output.note(f"Run {run_id} goes on.")
            return 130
        run = client.runs.get(run_id)
    if as_json:
        _output.print_json(run)
    else:
        _print_run(run, data_root)
        _print_failures(client, run)
    failed = run.state.is_terminal and run.state is not RunState.SUCCEEDED
    return 1 if watch and failed else 0


def _print_failures(client: Client, run: Run) -> None:
    """Explain the first failures, one of each kind; the table has the others."""
    digest = _failures.Digest()
    for task in run.tasks:
        failure = task.failure
        if failure is None or task.state not in _FAILED:
            continue
        if digest.detail(task.asset_key, failure, task.index) is _failures.Detail.EXPLAINED:
            excerpt = _failures.read(client, run.run_id, task.task_id, task.attempt)
            if not excerpt.place and not excerpt.lines and task.retry_at is None:
                continue  # the table says it all
            name = task_label(task)
            attempt = _failures.attempt_of(task.attempt, failure)
            following = (
                f"; next attempt {_failures.next_attempt(task.retry_at)}" if task.retry_at else ""
            )
            message = _output.plain(failure.message)
            _output.echo(f"\n{name}  {attempt} failed: {message}{following}")
            for line in _failures.lines_of(excerpt, failure.message):
                _output.echo(line)
    if run.state is RunState.RUNNING and any(task.retry_at for task in run.tasks):
        _output.echo(f"\nTo stop the run: {_failures.command('cancel', run.run_id)}")


_FAILED: Final = frozenset({TaskState.FAILED, TaskState.RETRY_WAIT})


def _print_run(run: Run, data_root: Path | None) -> None:
    _output.echo(
        f"Run {run.run_id}  {_output.state(str(run.state))}  {_output.plain(run.reason)}".rstrip()
    )
    facts = (
        ("selection", " ".join(run.selection)),
        ("run key", run.run_key),
        ("deployment", run.deployment_id),
        ("rerun of", run.parent_run_id),
        ("held", "yes" if run.paused else ""),
        ("ends as", str(run.ends_as or "")),
        ("priority", str(run.priority or "")),
        ("parallelism", f"at most {run.max_parallelism}" if run.max_parallelism else ""),
        ("retries", "" if run.max_retries is None else f"at most {run.max_retries}"),
        ("time limit", _limit(run)),
        ("code", run.code_version_id),
        ("spent", _spent(run)),
        ("created", _output.when(run.created_at)),
        ("took", _output.elapsed(run.started_at, run.finished_at)),
        ("tables", "" if data_root is None else str(data_root)),
    )
    for name, value in facts:
        if value:
            _output.echo(f"  {name:<11} {_output.one_line(value)}")
    _output.echo()
    if len(run.tasks) <= _ALL_TASKS_UP_TO:
        _print_tasks(run.tasks)
    else:
        _report.print_assets(RunView(run), data_root)
        remarkable = [task for task in run.tasks if task.state in _REMARKABLE]
        remarkable += [task for task in run.tasks if task.waiting]
        remarkable += [
            task
            for task in run.tasks
            if task.state is TaskState.SUCCEEDED and warnings_of(task.checks)
        ]
        if remarkable:
            _output.echo()
            _print_tasks(remarkable[:_ALL_TASKS_UP_TO])
            if len(remarkable) > _ALL_TASKS_UP_TO:
                rest = _output.count(len(remarkable) - _ALL_TASKS_UP_TO, "more task")
                _output.echo(f"and {rest}: {command('status', run.run_id, '--json')}")


_REMARKABLE: Final = frozenset(
    {
        TaskState.RUNNING,
        TaskState.DISPATCHED,
        TaskState.RETRY_WAIT,
        TaskState.FAILED,
        TaskState.CANCELLED,
        TaskState.SKIPPED,
    }
)


def _print_tasks(tasks: Sequence[Task]) -> None:
    _output.table(
        ("task", "state", ">attempt", ">took", ">rows", "~why"),
        (
            (
                task_label(task),
                str(task.state),
                str(task.attempt or ""),
                _output.elapsed(task.started_at, task.finished_at),
                _rows(task),
                _why(task),
            )
            for task in tasks
        ),
    )


def _rows(task: Task) -> str:
    made = task.materialization
    return "" if made is None or made.row_count is None else f"{made.row_count:,}"


def _limit(run: Run) -> str:
    seconds = timedelta(seconds=run.timeout_seconds)
    return _output.duration(seconds) if run.timeout_seconds else ""


def _spent(run: Run) -> str:
    shown = []
    for unit in sorted(run.spent.keys() | run.budget.keys()):
        limit = f" of {run.budget[unit]}" if unit in run.budget else ""
        shown.append(f"{run.spent.get(unit, '0')}{limit} {unit}")
    return ", ".join(shown)


def _why(task: Task) -> str:
    if task.waiting:
        return task.waiting
    if task.failure is not None and task.state is not TaskState.SUCCEEDED:
        return f"{task.failure.category}: {task.failure.message}"
    if task.state is TaskState.SUCCEEDED and (warnings := warnings_of(task.checks)):
        return warning_text(warnings)
    if task.progress is not None and not task.state.is_terminal:
        return task.progress.message
    return task.reason
