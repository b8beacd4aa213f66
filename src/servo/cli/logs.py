"""``servo logs``: what the attempts of a run wrote."""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from servo import _terminal
from servo.cli import _limits, _output, _runs
from servo.cli._session import Session, pass_session
from servo.types.labels import task_label
from servo.types.logs import LogBatch, LogLine, LogStream

if TYPE_CHECKING:
    from servo.client import Client

_COLORS: Final = {LogStream.STDERR: "yellow", LogStream.LOG: "cyan"}
_LEVEL_COLORS: Final = {"WARNING": "yellow", "ERROR": "red", "CRITICAL": "red"}


@click.command()
@click.argument("run_id")
@click.option(
    "--task",
    default="",
    metavar="TASK",
    help="Only this asset (`mart.sales`), task (`mart.sales[date=2013-01-05]`) or task id.",
)
@click.option(
    "--tail",
    type=click.IntRange(min=0),
    default=None,
    metavar="N",
    help="Only the last N lines, and with --follow what comes after them.",
)
@click.option(
    "--since",
    type=_limits.Moment(),
    default=None,
    metavar="TIME",
    help="Only lines written since then: 90s, 15m, 2h or 1d ago, or a time such as "
    "2013-01-05T07:30 (local unless it has an offset).",
)
@click.option(
    "--attempt",
    type=click.IntRange(min=1),
    default=None,
    metavar="N",
    help="Only lines of attempt N of each task.",
)
@click.option("--follow", "-f", is_flag=True, help="Wait for more until the run ends.")
@click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object for each line written."
)
@pass_session
def logs(
    session: Session,
    *,
    run_id: str,
    task: str,
    tail: int | None,
    since: datetime | None,
    attempt: int | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Show what the attempts of a run wrote: stdout, stderr and ctx.log.

    \b
    RUN_ID is the id of a run, a unique beginning of it, or `latest`:
      servo logs latest --follow
      servo logs latest --task 'mart.sales[date=2013-01-05]' --attempt 2
      servo logs latest --tail 20 --follow      the last 20 lines, and what comes
      servo logs latest --since 15m

    Times are those of the workers, as they wrote the lines.
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped
    with session.connect() as connection:
        client = connection.client
        found = _runs.resolve(client, run_id)
        labels = _labels(client, found)
        read = client.logs.read(
            found, task=task, follow=follow, tail=tail, since=since, attempt=attempt
        )
        for batch in read:
            label = labels.get(batch.task_id, batch.task_id)
            for line in batch.lines:
                if as_json:
                    click.echo(_json(label, batch, line))
                else:
                    _output.echo(_text(label, batch, line))


def _labels(client: Client, run_id: str) -> dict[str, str]:
    return {task.task_id: task_label(task) for task in client.runs.get(run_id).tasks}


def _text(label: str, batch: LogBatch, line: LogLine) -> str:
    attempt = f"#{batch.attempt}" if batch.attempt > 1 else ""
    head = click.style(f"{label}{attempt} {line.stream}", fg=_COLORS.get(line.stream, "green"))
    level = ""
    if line.level:
        shown = _output.one_line(line.level)
        level = click.style(shown, fg=_LEVEL_COLORS.get(line.level)) + " "
    cut = click.style(" [cut: the line was too long]", dim=True) if line.truncated else ""
    gap = ""
    if line.dropped_after:
        gap = click.style(
            f"\n{label}{attempt} [{line.dropped_after} lines were dropped here: written too fast]",
            fg="yellow",
        )
    # Tools color their output on purpose; everything else of theirs stays visible and in its line.
    text = _terminal.escaped(line.text, colors=True, lines=False)
    return f"{head} | {level}{text}{cut}{gap}"


def _json(label: str, batch: LogBatch, line: LogLine) -> str:
    document = {
        "attempt": batch.attempt,
        "droppedAfter": line.dropped_after,
        "level": line.level,
        "number": line.number,
        "stream": str(line.stream),
        "task": label,
        "taskId": batch.task_id,
        "text": line.text,
        "truncated": line.truncated,
        "writtenAt": None if line.written_at is None else line.written_at.isoformat(),
    }
    return json.dumps(document, ensure_ascii=False, separators=(",", ":"))
