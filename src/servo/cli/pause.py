"""``servo pause``, ``servo resume`` and ``servo priority``: a run that waits, or goes first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from servo.cli import _output, _runs
from servo.cli._session import Session, pass_session

if TYPE_CHECKING:
    from servo.types.records import Run


@click.command()
@click.argument("run_id", metavar="RUN")
@_output.json_option
@pass_session
def pause(session: Session, run_id: str, as_json: bool) -> None:
    """Hold a run: what is being executed goes on, nothing else of it starts.

    RUN is the id of a run, a unique beginning of it, or `latest`. `servo resume` lets it go on.
    """
    with session.connect() as connection:
        client = connection.client
        run = client.runs.pause(_runs.resolve(client, run_id))
    busy = run.counts.running + run.counts.dispatched
    left = f"; {_output.count(busy, 'task')} under way will end" if busy else ""
    _print(run, f"Run {run.run_id} is held{left}. Let it go on: servo resume {run.run_id}", as_json)


@click.command()
@click.argument("run_id", metavar="RUN")
@_output.json_option
@pass_session
def resume(session: Session, run_id: str, as_json: bool) -> None:
    """Let a run go on that `servo pause` holds.

    RUN is the id of a run, a unique beginning of it, or `latest`.
    """
    with session.connect() as connection:
        client = connection.client
        run = client.runs.resume(_runs.resolve(client, run_id))
    _print(run, f"Run {run.run_id} goes on.", as_json)


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("run_id", metavar="RUN")
@click.argument("number", type=int)
@_output.json_option
@pass_session
def priority(session: Session, run_id: str, number: int, as_json: bool) -> None:
    """Give a run a priority: tasks of runs with a greater NUMBER go first; 0 is normal.

    RUN is the id of a run, a unique beginning of it, or `latest`. Tasks that are being executed
    are not interrupted.
    """
    with session.connect() as connection:
        client = connection.client
        run = client.runs.set_priority(_runs.resolve(client, run_id), number)
    _print(run, f"Run {run.run_id} has priority {run.priority}.", as_json)


def _print(run: Run, text: str, as_json: bool) -> None:
    if as_json:
        _output.print_json(run)
    else:
        _output.echo(text)
