"""``servo rerun``: repeat tasks of a run that has ended."""

from __future__ import annotations

from functools import partial

import click

from servo import errors
from servo.cli import _build, _complete, _limits, _output, _partitions, _runs, _started
from servo.cli._session import Session, any_environment_option, pass_session
from servo.cli.run import parse_config
from servo.types.labels import command
from servo.types.runs import RerunScope


@click.command()
@click.argument("run_id", metavar="RUN")
@click.argument(
    "selection", nargs=-1, metavar="[SELECTION]...", shell_complete=_complete.selections
)
@click.option("--all", "every", is_flag=True, help="Also the tasks that succeeded.")
@click.option(
    "--same-deployment",
    is_flag=True,
    help="With the definitions that the run had, not with those of the current deployment.",
)
@click.option("--upstream", is_flag=True, help="Also what the repeated tasks read.")
@click.option("--downstream", is_flag=True, help="Also what reads the repeated tasks.")
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
    help="A value that functions see as ctx.config[NAME], always as text; given ones replace those "
    "of the run.",
)
@_limits.options
@_started.cancel_on_term
@any_environment_option
@click.option("--no-wait", is_flag=True, help="Start the run and return.")
@_output.json_option
@pass_session
def rerun(
    session: Session,
    /,
    *,
    run_id: str,
    selection: tuple[str, ...],
    every: bool,
    same_deployment: bool,
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
    as_json: bool,
) -> int:
    """Repeat the tasks of a run that did not succeed, as a new run with the same partitions.

    \b
    RUN is the id of a run, a unique beginning of it, or `latest`; SELECTION limits what is
    repeated to some of its assets:
      servo rerun latest
      servo rerun latest 'mart.*'
      servo rerun latest --all

    On the project's own control plane the project is deployed as it stands first, so that what
    was wrong can be mended before. Configuration, priority, limits and budget are those of the
    run where they are not given. A run that has not ended cannot be repeated.
    """  # noqa: D301  # \b is click's mark for a paragraph that must not be wrapped
    for text in filter(_partitions.is_label, selection):
        raise errors.InvalidArgumentError(
            f"{text!r} names one partition, and a rerun repeats what it selects of the assets of a "
            f"run; to run that partition again: {command('run', text)}"
        )
    config, allowed = parse_config(config_pairs), _limits.parse_budget(budget)
    with session.connect(for_run=True, any_environment=any_environment) as connection:
        client = connection.client
        parent = client.runs.get(_runs.resolve(client, run_id), tasks=False)
        if connection.is_embedded and not same_deployment:
            _build.deploy_project(session.project, client)
        create = partial(
            client.runs.rerun,
            parent.run_id,
            scope=RerunScope.ALL if every else RerunScope.UNFINISHED,
            selection=selection,
            upstream=upstream,
            downstream=downstream,
            run_key=run_key,
            deployment_id=parent.deployment_id if same_deployment else "",
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
            heading=f", a rerun of {parent.run_id}",
            cancel_on_term=cancel_on_term,
        )
