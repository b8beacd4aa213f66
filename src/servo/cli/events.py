"""``servo events``: everything that has happened, and what happens."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final

import click

from servo import errors
from servo.cli import _event_text, _output, _runs
from servo.cli._session import Session, pass_session
from servo.types.labels import command, task_label

if TYPE_CHECKING:
    from servo.client import Client
    from servo.types.events import Event
    from servo.types.records import Task

EXIT_INTERRUPTED: Final = 130
_NAMED_RUNS: Final = 50
_NAMED_TASKS: Final = 1000


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what happens, until Ctrl-C.")
@click.option(
    "--since",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Only what happened after the event with this number.",
)
@click.option("--run", "run_text", metavar="RUN", help="Only events of this run.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@pass_session
def events(
    session: Session, *, follow: bool, since: int, run_text: str | None, as_json: bool
) -> int:
    """Show the history: every change of a run, a task, a deployment or a pool, in order.

    \b
    Events are numbered without gaps, so that a reader can go on where it was:
      servo events                       all of them
      servo events --follow --since 120  those after number 120, and whatever happens
      servo events --run latest          those of one run; with --follow until it ends
      servo events --json                one JSON object a line, for programs

    RUN is the id of a run, a unique beginning of it, or `latest`. --follow goes on when the
    control plane is started again.
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped
    last = since
    with session.connect() as connection:
        client = connection.client
        found = (
            client.events.watch(since, follow=follow)
            if run_text is None
            else _of_run(client, _runs.resolve(client, run_text), since, follow=follow)
        )
        names = _TaskNames(client)
        try:
            for event in found:
                if as_json:
                    _output.print_json(event)
                else:
                    _output.echo(_event_text.line(event, names.label))
                last = event.sequence
        except KeyboardInterrupt:
            again = command("events", "--follow", "--since", str(last))
            _output.note(f"Go on after event {last}: {again}")
            return EXIT_INTERRUPTED
    if last == since and not as_json:
        _output.echo(f"Nothing has happened after event {since}." if since else "No events yet.")
    return 0


def _of_run(client: Client, run_id: str, since: int, *, follow: bool) -> Iterator[Event]:
    newest = client.runs.get(run_id, tasks=False).last_sequence
    if not follow and newest <= since:
        return
    with client.runs.watch(run_id, after_sequence=since) as found:
        for event in found:
            # What a watched run says of its progress is no part of the history.
            if event.sequence:
                yield event
            if not follow and event.sequence >= newest:
                return


class _TaskNames:
    """Names tasks, which events only number; those of the runs that were read last are kept."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._tasks: OrderedDict[str, Sequence[Task]] = OrderedDict()

    def label(self, run_id: str, index: int) -> str:
        """Return the asset and partition of a task; its number where they are not known."""
        tasks = self._tasks.get(run_id)
        if tasks is None:
            tasks = self._tasks[run_id] = self._read(run_id)
            if len(self._tasks) > _NAMED_RUNS:
                self._tasks.popitem(last=False)
        if index >= len(tasks):
            return f"task {index}"
        task = tasks[index]
        return task_label(task)

    def _read(self, run_id: str) -> Sequence[Task]:
        try:
            run = self._client.runs.get(run_id, tasks=False)
            if run.counts.total > _NAMED_TASKS:
                return ()
            return self._client.runs.get(run_id).tasks
        except errors.NotFoundError:
            # The history may go back further than the runs that are kept.
            return ()
