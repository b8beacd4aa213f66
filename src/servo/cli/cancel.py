"""``servo cancel``: stop a run."""

from __future__ import annotations

import click

from servo.cli import _output, _runs
from servo.cli._session import Session, pass_session
from servo.types.runs import RunState


@click.command()
@click.argument("run_id")
@click.option("--reason", default="", metavar="TEXT", help="Why, for people.")
@_output.json_option
@pass_session
def cancel(session: Session, run_id: str, reason: str, as_json: bool) -> None:
    """Stop a run: nothing new is started, and what is running is ended.

    RUN_ID is the id of a run, a unique beginning of it, or `latest`.
    """
    with session.connect() as connection:
        client = connection.client
        run = client.runs.cancel(_runs.resolve(client, run_id), reason)
    if as_json:
        _output.print_json(run)
    elif run.state.is_terminal and run.state is not RunState.CANCELLED:
        _output.echo(f"Run {run.run_id} has ended already: {_output.state(str(run.state))}.")
    else:
        _output.echo(f"Run {run.run_id} is {_output.state(str(run.state))}.")
