"""What a command that starts a run does: ask for it, follow it, and say how it ended."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from servo.cli import _follow, _output, _report
from servo.cli._run_view import RunView
from servo.types.labels import command

if TYPE_CHECKING:
    from servo.cli._connect import Connection
    from servo.types.records import Run
    from servo.types.requests import CreateRunResponse

EXIT_RUN_FAILED: Final = 1
_EXIT_SIGNAL: Final = 128
"""What shells add to the number of the signal that ended a command."""

cancel_on_term = click.option(
    "--cancel-on-term", is_flag=True, help="SIGTERM cancels the run instead of leaving it alone."
)


def start(
    connection: Connection,
    create: Callable[[], CreateRunResponse],
    *,
    wait: bool,
    as_json: bool,
    heading: str,
    cancel_on_term: bool = False,
) -> int:
    """Ask for a run and follow it until it ends, unless nobody wants to wait for it.

    Args:
        connection: Where the run will be.
        create: Asks the control plane for it.
        wait: Whether to follow it.
        as_json: Whether to print the run as a document instead of its progress.
        heading: What follows the id in the first line that is shown.
        cancel_on_term: Whether SIGTERM cancels the run.

    Returns:
        The exit code of the command.
    """
    client = connection.client
    with _follow.Interrupts() as interrupts:
        answer = create()
        if not answer.created:
            _output.note(f"Run key {answer.run.run_key!r} names a run that exists already.")
        if not wait:
            _print_started(answer.run, as_json=as_json)
            try:
                interrupts.release()
            except _follow.Terminated as exc:
                return _EXIT_SIGNAL + exc.number
            return 0
        view = RunView(client.runs.get(answer.run.run_id))
        with _follow.display(client, view, quiet=as_json) as display:
            if not as_json:
                display.say(
                    f"Run {view.run_id}{heading}: {_output.count(view.total, 'task')} of "
                    f"{_output.count(len(view.assets), 'asset')}"
                )
            try:
                cause = _follow.follow(
                    client, view, display, interrupts, cancel_on_term=cancel_on_term
                )
            except _follow.Terminated as exc:
                return _EXIT_SIGNAL + exc.number
    if as_json:
        _output.print_json(client.runs.get(answer.run.run_id))
    else:
        _report.print_end(view, connection.data_root)
    if cause is not None:
        return _EXIT_SIGNAL + cause
    return 0 if view.succeeded else EXIT_RUN_FAILED


def _print_started(run: Run, *, as_json: bool) -> None:
    if as_json:
        _output.print_json(run)
        return
    _output.echo(f"Run {run.run_id} started: {_output.count(run.counts.total, 'task')}.")
    _output.echo(f"Follow it: {command('status', run.run_id, '--watch')}")
