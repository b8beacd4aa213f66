"""``servo run``: materialise assets."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import click

from servo import errors
from servo.cli import _build, _complete, _dry_run, _limits, _output, _partitions, _started
from servo.cli._connect import Connection
from servo.cli._session import Session, any_environment_option, pass_session
from servo.types.requests import CreateRunRequest, PartitionSelection

if TYPE_CHECKING:
    from servo.types.assets import AssetDefinition


@click.command()
@click.argument(
    "assets", nargs=-1, required=True, metavar="SELECTION...", shell_complete=_complete.selections
)
@click.option(
    "--partition",
    "pairs",
    multiple=True,
    metavar="DIM=VALUE[,VALUE]...",
    help="Partitions by dimension: a value, a list, or a range of a time dimension; repeatable.",
)
@click.option(
    "--partitions",
    "span",
    metavar="FIRST..LAST",
    help="A range of the time dimension, both ends included; other dimensions take all values "
    "that --partition does not limit.",
)
@click.option(
    "--all-partitions",
    "every",
    is_flag=True,
    help="Every declared partition; with --partition every value of the other dimensions.",
)
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
    help="A value that functions see as ctx.config[NAME], always as text; repeatable.",
)
@_limits.options
@_started.cancel_on_term
@any_environment_option
@click.option("--no-wait", is_flag=True, help="Start the run and return.")
@click.option(
    "--dry-run",
    is_flag=True,
    help="Print what would run and what is materialized already; deploys and starts nothing.",
)
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
    priority: int,
    max_parallelism: int | None,
    timeout: int | None,
    budget: tuple[str, ...],
    retries: int | None,
    code_version: str,
    cancel_on_term: bool,
    any_environment: bool,
    no_wait: bool,
    dry_run: bool,
    as_json: bool,
) -> int:
    """Materialise assets, and follow the run until it ends.

    \b
    SELECTION is a key, a glob, or an expression; several are added up, `not ...` is taken away:
      servo run raw.events
      servo run 'mart.*' --partition date=2013-01-05 --upstream
      servo run 'mart.sales[date=2013-01-05]'    a partition by its name, as it is printed
      servo run staging.flights --partitions 2013-01-01..2013-01-31
      servo run '*' --all-partitions
      servo run '*' --all-partitions --dry-run    only what that would run
      servo run mart.sales --partition region=north,south --partitions 2013-01-01..2013-01-31
      servo run mart.sales --partition region=north --partition date=2013-01-01..2013-01-07
      servo run mart.sales --partition 'region="a, b"' --all-partitions    a value with a comma
      servo run +mart.delays 'not raw.*'     all that it reads, but not what raw has
      servo run raw.flights+2                and two levels of what reads it
      servo run 'tag:tier=gold and owner:ada@example.com'

    On the project's own control plane the project is deployed as it stands first. Ctrl-C cancels
    the run; pressed again it leaves without waiting. With SIGTERM and SIGHUP the command ends and
    the run goes on, unless --cancel-on-term is given. A run that does not succeed exits with 1.

    Functions see the environment of this command. Where a control plane with another one has runs
    to do, nothing is started, and the exit code is 78.
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped
    config, allowed = parse_config(config_pairs), _limits.parse_budget(budget)
    assets, pairs = _partitions.labelled(assets, pairs)
    choice = _Choice(pairs, span, every)
    if dry_run:
        with _dry_run.planning(session) as planned:
            definitions = [planned.catalog.assets[key] for key in planned.catalog.select(assets)]
            request = CreateRunRequest(
                selection=assets,
                partitions=choice.partitions(definitions),
                upstream=upstream,
                downstream=downstream,
            )
            _dry_run.show(planned, request, as_json=as_json)
        return 0
    with session.connect(for_run=True, any_environment=any_environment) as connection:
        partitions = choice.partitions(_selected(session, connection, assets))
        create = partial(
            connection.client.runs.create,
            assets,
            partitions=partitions,
            upstream=upstream,
            downstream=downstream,
            run_key=run_key,
            config=config,
            priority=priority,
            max_parallelism=max_parallelism or 0,
            timeout_seconds=timeout or 0,
            budget=allowed,
            code_version_id=code_version,
            max_retries=retries,
        )
        return _started.start(
            connection,
            create,
            wait=not no_wait,
            as_json=as_json,
            heading="",
            cancel_on_term=cancel_on_term,
        )


@dataclass(frozen=True, slots=True)
class _Choice:
    """The options that say which partitions are meant."""

    pairs: tuple[str, ...]
    span: str | None
    every: bool

    def partitions(self, definitions: Sequence[AssetDefinition]) -> PartitionSelection | None:
        return _partitions.parse_selection(
            pairs=self.pairs, span=self.span, every=self.every, definitions=definitions
        )


def _selected(
    session: Session, connection: Connection, selection: Sequence[str]
) -> Sequence[AssetDefinition]:
    if not connection.is_embedded:
        return [item.definition for item in connection.client.assets.list(selection)]
    manifest = _build.deploy_project(session.project, connection.client)
    selected = _partitions.selected(selection, manifest.assets)
    _build.require_libraries(selected)
    return selected


def parse_config(pairs: Sequence[str]) -> dict[str, str]:
    """Read what ``--config`` was given.

    Raises:
        InvalidArgumentError: A text is no ``NAME=VALUE``.
    """
    config: dict[str, str] = {}
    for pair in pairs:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise errors.InvalidArgumentError(f"--config {pair!r} cannot be read; write NAME=VALUE")
        config[name] = value
    return config
