"""What is left on the screen when a run has ended."""

from __future__ import annotations

from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import Final

import click

from servo.cli import _failures, _follow, _output
from servo.cli._run_view import AssetView, RunView, TaskView
from servo.types.labels import command
from servo.types.runs import RunState, TaskState

_SHOWN_FAILURES: Final = 10
_SHOWN_WARNINGS: Final = 5


def print_assets(view: RunView, data_root: Path | None = None) -> None:
    """Print one line for each asset of a run.

    Args:
        view: The run.
        data_root: Where the tables lie, if that is on this machine.
    """
    columns = ["asset", ">ok", ">failed", ">skipped"]
    any_cancelled = bool(view.states[TaskState.CANCELLED])
    if any_cancelled:
        columns.append(">cancelled")
    columns += [">rows", ">size"]
    if data_root is not None:
        columns.append("where")
    rows = []
    for asset in view.assets.values():
        states = asset.states
        row = [
            str(asset.key),
            f"{states[TaskState.SUCCEEDED]}/{asset.total}",
            str(states[TaskState.FAILED] or ""),
            str(states[TaskState.SKIPPED] or ""),
        ]
        if any_cancelled:
            row.append(str(states[TaskState.CANCELLED] or ""))
        row += [
            f"{asset.rows:,}" if states[TaskState.SUCCEEDED] else "",
            _output.size(asset.byte_size) if asset.byte_size else "",
        ]
        if data_root is not None:
            row.append(_where(asset, data_root))
        rows.append(row)
    _output.table(columns, rows)


def _where(asset: AssetView, data_root: Path) -> str:
    if not asset.byte_size:
        return ""
    path = data_root / asset.key.namespace / asset.key.name
    # Relative to where the reader is, when that is not up and down the tree.
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def print_end(view: RunView, data_root: Path | None = None) -> None:
    """Print how a run ended: its assets, what went wrong, and how to see more.

    Args:
        view: The run after its last event.
        data_root: Where the tables lie, if that is on this machine.
    """
    print_assets(view, data_root)
    warnings = [(task, check) for task, check in view.all_warnings if not task.is_told]
    for task, check in warnings[:_SHOWN_WARNINGS]:
        _output.echo(
            f"{click.style('!', fg='yellow')} {task.label}  {check.check_name}: {check.message}"
        )
    if len(warnings) > _SHOWN_WARNINGS:
        _output.echo(f"  and {_output.count(len(warnings) - _SHOWN_WARNINGS, 'more warning')}")
    failed = [task for task in view.tasks if task.state is TaskState.FAILED]
    kinds: dict[object, list[TaskView]] = {}
    for task in failed:
        kind = task.failure and _failures.kind_of(task.asset, task.failure)
        kinds.setdefault(kind, []).append(task)
    alone = len(failed) == 1 and failed[0].is_told  # it stands a few lines above
    for first, *alike in islice(() if alone else kinds.values(), _SHOWN_FAILURES):
        _output.echo(_follow.task_line(first, also_success=False))
        if alike:
            _output.echo(f"  and the same in {_output.count(len(alike), 'more task')}")
    rest = sum(map(len, islice(kinds.values(), _SHOWN_FAILURES, None)))
    if rest:
        _output.echo(f"  and {_output.count(rest, 'more failure')}")
    seconds = view.elapsed_until(view.finished_at) if view.finished_at else 0.0
    took = f" in {_output.duration(timedelta(seconds=seconds))}" if seconds else ""
    _output.echo(
        f"Run {view.run_id} {_output.state(str(view.state))}{took}"
        + (f": {view.reason}" if view.reason and view.state is not RunState.SUCCEEDED else "")
    )
    if failed:
        shown = command("logs", view.run_id, "--task", failed[0].label)
        _output.echo(f"What they wrote: {shown}")
