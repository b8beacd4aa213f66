"""``servo run``: materialise assets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import click

from servo import errors
from servo.cli import _build, _complete, _follow, _output, _partitions, _report
from servo.cli._connect import Connection
from servo.cli._run_view import RunView
from servo.cli._session import Session, pass_session
from servo.types.records import Run

if TYPE_CHECKING:
    from servo.types.assets import AssetDefinition
    from servo.types.requests import PartitionSelection

EXIT_RUN_FAILED = 1
EXIT_INTERRUPTED = 130


@click.command()
@click.argument(
    "assets", nargs=-1, required=True, metavar="ASSET...", shell_complete=_complete.asset_keys
)
@click.option(
    "--partition",
    "pairs",
    multiple=True,
    metavar="DIM=VALUE",
    help="One partition; repeat it for several dimensions.",
)
@click.option(
    "--partitions",
    "span",
    metavar="FIRST..LAST",
    help="A range of the time dimension, both ends included.",
)
@click.option("--all-partitions", "every", is_flag=True, help="Every declared partition.")
@click.option("--upstream", is_flag=True, help="Also what the selected assets read.")
@click.option("--downstream", is_flag=True, help="Also what reads the selected assets.")
@click.option(
    "--run-key",
    default="",
    metavar="KEY",
    help="Idempotency key: asking again with it gives the same run.",
)
@click.option(
    "--config",
    "config_pairs",
    multiple=True,
    metavar="NAME=VALUE",
    help="A value that functions see as ctx.config[NAME]; repeatable.",
)
@click.option("--no-wait", is_flag=True, help="Start the run and return.")
@_output.json_option
@pass_session
def run(
    session: Session,
    /,
    *,
    assets: tuple[str, ...],
    pairs: tuple[str, ...],
    span: str | None,
    every: bool,
    upstream: bool,
    downstream: bool,
    run_key: str,
    config_pairs: tuple[str, ...],
    no_wait: bool,
    as_json: bool,
) -> int:
    """Materialise assets, and follow the run until it ends.

    \b
    ASSET is a key or a glob:
      servo run raw.events
      servo run 'mart.*' --partition date=2013-01-05 --upstream
      servo run staging.flights --partitions 2013-01-01..2013-01-31
      servo run '*' --all-partitions

    On the project's own control plane the project is deployed as it stands first. Ctrl-C cancels
    the run; pressed again it leaves without waiting. A run that does not succeed exits with 1.
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped
    config = _parse_config(config_pairs)
    with session.connect(for_run=True) as connection:
        definitions = _definitions(session, connection, assets)
        partitions = _partitions.parse_selection(
            pairs=pairs,
            span=span,
            every=every,
            definitions=_partitions.matching(assets, definitions),
        )
        created, view, interrupted = _start(
            connection,
            assets,
            partitions=partitions,
            upstream=upstream,
            downstream=downstream,
            run_key=run_key,
            config=config,
            wait=not no_wait,
            quiet=as_json,
        )
        if view is None:
            _print_created(created, as_json=as_json)
            return 0
        if as_json:
            _output.print_json(connection.client.runs.get(created.run_id))
        else:
            _report.print_end(view, connection.data_root)
    if interrupted:
        return EXIT_INTERRUPTED
    return 0 if view.succeeded else EXIT_RUN_FAILED


def _definitions(
    session: Session, connection: Connection, selection: Sequence[str]
) -> Sequence[AssetDefinition]:
    if not connection.is_embedded:
        return [item.definition for item in connection.client.assets.list(selection)]
    from servo.manifest import build_project

    # Not frozen, even where CI is set: this store is the project's own and ends with it.
    manifest = build_project(session.project, frozen=False)
    _build.deploy(session.project, connection.client, manifest)
    return manifest.assets


def _start(
    connection: Connection,
    selection: Sequence[str],
    *,
    partitions: PartitionSelection | None,
    upstream: bool,
    downstream: bool,
    run_key: str,
    config: Mapping[str, str],
    wait: bool,
    quiet: bool,
) -> tuple[Run, RunView | None, bool]:
    client = connection.client
    answer = client.runs.create(
        selection,
        partitions=partitions,
        upstream=upstream,
        downstream=downstream,
        run_key=run_key,
        config=config,
    )
    if not answer.created:
        _output.note(f"Run key {run_key!r} names a run that exists already.")
    if not wait:
        return answer.run, None, False
    view = RunView(client.runs.get(answer.run.run_id))
    with _follow.display(view, quiet=quiet) as display:
        if not quiet:
            display.say(
                f"Run {view.run_id}: {_output.count(view.total, 'task')} of "
                f"{_output.count(len(view.assets), 'asset')}"
            )
        interrupted = _follow.follow(client, view, display)
    return answer.run, view, interrupted


def _print_created(run: Run, *, as_json: bool) -> None:
    if as_json:
        _output.print_json(run)
        return
    click.echo(f"Run {run.run_id} started: {_output.count(run.counts.total, 'task')}.")
    click.echo(f"Follow it: servo status {run.run_id} --watch")


def _parse_config(pairs: Sequence[str]) -> dict[str, str]:
    config: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise errors.InvalidArgumentError(f"--config {pair!r} cannot be read; write NAME=VALUE")
        config[name] = value
    return config
