"""``servo why``: what keeps a run, a task or an asset from being done."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

import click

from servo import errors
from servo.cli import _complete, _failures, _output, _partitions, _runs
from servo.cli._session import Session, pass_session
from servo.cli.asset import parse_key
from servo.types.blockers import Blocker, BlockerKind, ExplainResponse
from servo.types.ids import Ulid

if TYPE_CHECKING:
    from servo.client import Client

_INDENT: Final = "  "


@click.command()
@click.argument("subject", metavar="RUN|TASK|ASSET", shell_complete=_complete.asset_keys)
@click.option(
    "--partition",
    "pairs",
    multiple=True,
    metavar="DIM=VALUE",
    help="The partition of the asset; repeat it for several dimensions.",
)
@_output.json_option
@pass_session
def why(session: Session, subject: str, pairs: tuple[str, ...], as_json: bool) -> None:
    """Say why something is not done, down to the one thing that keeps it, and what to do.

    \b
    It is about a run (an id, a unique beginning of one, or `latest`), a task (its id), or an asset
    in its newest run:
      servo why latest
      servo why mart.delays --partition date=2013-01-05
      servo why 'mart.delays[date=2013-01-05]'
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped
    with session.connect() as connection:
        chain = _ask(connection.client, subject, pairs)
        if as_json:
            _output.print_json(ExplainResponse(chain=chain))
            return
        for depth, link in enumerate(chain):
            _output.echo(f"{_INDENT * depth}{_output.plain(_sentence(link))}")
        for line in _excerpt(connection.client, chain):
            _output.echo(line)
    if chain and chain[-1].kind is not BlockerKind.SUCCEEDED:
        remedy = _output.plain(_remedy(chain[-1]))
        _output.echo(f"{_INDENT * len(chain)}{click.style('To do:', bold=True)} {remedy}")


def _sentence(link: Blocker) -> str:
    """Return the message of a link, with times as people say them where it has any."""
    details = link.details
    if link.kind is not BlockerKind.RETRY_WAIT or not {"task", "retry_at"} <= details.keys():
        return link.message
    attempt = f"attempt {details['attempt']}"
    if details.get("max_attempts", "0") != "0":
        attempt += f" of {details['max_attempts']}"
    sentence = f"{details['task']}: {attempt} failed: {details.get('failure', '')}"
    if not details["retry_at"]:
        return sentence
    retry_at = datetime.fromisoformat(details["retry_at"])
    return f"{sentence}; it is tried again {_failures.next_attempt(retry_at)}"


def _excerpt(client: Client, chain: Sequence[Blocker]) -> list[str]:
    """Return the lines of the log that explain the failure at which a chain ends."""
    if not chain or chain[-1].kind not in (BlockerKind.RETRY_WAIT, BlockerKind.FAILED):
        return []
    details = chain[-1].details
    if not {"run_id", "task_id", "attempt"} <= details.keys():
        return []
    excerpt = _failures.read(client, details["run_id"], details["task_id"], int(details["attempt"]))
    message = details.get("failure") or chain[-1].message.partition(" failed: ")[2]
    return _failures.lines_of(excerpt, message, _INDENT * (len(chain) + 1))


def _remedy(link: Blocker) -> str:
    if link.remedy:
        return link.remedy
    if link.kind is BlockerKind.RETRY_WAIT and "run_id" in link.details:
        stop = _failures.command("cancel", link.details["run_id"])
        return f"wait, or mend what is wrong and stop the run: {stop}"
    return "nothing but wait"


def _ask(client: Client, subject: str, pairs: Sequence[str]) -> tuple[Blocker, ...]:
    if _is_ulid(subject):
        _refuse_partition(subject, pairs)
        return _ask_by_id(client, subject.upper())
    # The id of a run begins with a digit, the name of an asset never does.
    if subject.lower() == _runs.LATEST or subject[:1].isdigit():
        _refuse_partition(subject, pairs)
        return client.runs.why(run_id=_runs.resolve(client, subject))
    if "[" not in subject:
        key = parse_key(subject)
        if not pairs:
            return client.runs.why(asset=key)
        definition = client.assets.get(key).asset.definition
        return client.runs.why(asset=key, partition=_partitions.parse_key(pairs, [definition]))
    _refuse_partition(subject, pairs)
    key, partition = _partitions.parse_label(
        subject, lambda key: client.assets.get(key).asset.definition
    )
    return client.runs.why(asset=key, partition=partition)


def _ask_by_id(client: Client, found: str) -> tuple[Blocker, ...]:
    with contextlib.suppress(errors.NotFoundError):
        return client.runs.why(run_id=found)
    try:
        return client.runs.why(task_id=found)
    except errors.NotFoundError as exc:
        raise errors.NotFoundError(
            f"there is no run and no task {found!r}; `servo status` lists the runs, and "
            "`servo status RUN --json` has the ids of its tasks",
            code="RUN_NOT_FOUND",
            context={"id": found},
        ) from exc


def _is_ulid(text: str) -> bool:
    try:
        Ulid(text)
    except ValueError:
        return False
    return True


def _refuse_partition(subject: str, pairs: Sequence[str]) -> None:
    if pairs:
        raise errors.InvalidArgumentError(
            f"--partition goes with the key of an asset, and {subject!r} names more than that; "
            "leave --partition out"
        )
