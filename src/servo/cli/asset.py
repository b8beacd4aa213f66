"""``servo asset``: what the project declares, and what is materialised of it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING, Final

import click

from servo import errors
from servo.cli import _complete, _output, _partitions
from servo.cli._session import Session, pass_session
from servo.types.keys import AssetKey
from servo.types.partition_sets import PartitionSet
from servo.types.partitions import (
    PartitionDimension,
    PartitionStrategy,
    StaticDimension,
    TimeDimension,
)
from servo.types.requests import AssetSummary, GetAssetResponse, ListAssetsResponse

if TYPE_CHECKING:
    from servo.types.checks import BaseCheck, CheckResult
    from servo.types.dependencies import AssetDependency
    from servo.types.ids import AssetId
    from servo.types.records import Materialization


@click.group()
def asset() -> None:
    """List, show and rename assets."""


@asset.command("list")
@click.argument(
    "selection", nargs=-1, metavar="[SELECTION]...", shell_complete=_complete.selections
)
@_output.json_option
@pass_session
def list_(session: Session, selection: tuple[str, ...], as_json: bool) -> None:
    """List assets: how they are partitioned, and what is materialised of them.

    SELECTION is a key, a glob such as 'mart.*', or an expression such as +mart.delays,
    'tag:tier=gold' or 'not raw.*'. With a configured server these are the assets that are deployed
    there, else those of the project as it stands.
    """
    found = list(_summaries(session, selection))
    if as_json:
        _output.print_json(ListAssetsResponse(assets=tuple(found)))
    elif not found:
        _output.echo("There are no assets yet.")
    else:
        _output.table(
            ("asset", "~partitions", ">materialised", "last", "~description"),
            (
                (
                    str(item.definition.key),
                    _strategy(item.definition.partitioning),
                    _materialised(item),
                    _last(item.latest_materialization),
                    item.definition.description,
                )
                for item in found
            ),
        )


@asset.command()
@click.argument("key", shell_complete=_complete.asset_keys)
@_output.json_option
@pass_session
def show(session: Session, key: str, as_json: bool) -> None:
    """Show one asset: definition, upstream, downstream, checks, what was produced last."""
    wanted = parse_key(key)
    found = _find(session, wanted)
    if as_json:
        _output.print_json(found)
    else:
        for name, lines in _facts(found, _check_results(session, found)):
            for index, line in enumerate(lines):
                heading = name if index == 0 else ""
                _output.echo(f"{click.style(f'{heading:<13}', bold=True)} {_output.plain(line)}")


@asset.command()
@click.argument("old", shell_complete=_complete.asset_keys)
@click.argument("new")
@click.option(
    "--replace",
    is_flag=True,
    help="Also where NEW has a history of its own: that one is set aside, OLD's is kept.",
)
@pass_session
def rename(session: Session, old: str, new: str, replace: bool) -> None:
    """Let the asset NEW be the one that was called OLD: its id and its history are kept.

    Writes the lockfile; the function is renamed by hand, before or after, and runs go on under
    the name that it has. Where NEW was deployed already, as a new asset without a history, it
    takes over OLD's. The other way to say the same is @asset(renamed_from="OLD").
    """
    from servo.manifest import Lockfile

    source, target = parse_key(old), parse_key(new)
    lockfile = Lockfile.load(session.project.lockfile_path)
    ids = lockfile.asset_ids
    if {str(source), str(target)} <= ids.keys() and source != target and not replace:
        _require_no_history(session, source, target)
        replace = True
    asset_id = lockfile.rename(source, target, replace=replace)
    lockfile.save()
    if lockfile.asset_ids.get(str(target)) != asset_id:
        raise errors.ConflictError(
            f"another command has changed the lockfile meanwhile, so {str(source)!r} was not "
            f"renamed; try again",
            code="LOCKFILE_CHANGED",
        )
    _output.echo(f"{target} has the id of {source} now: {asset_id}.")
    _output.echo("Rename the function if you have not, and deploy.")


@asset.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and write nothing.")
@click.option(
    "--keep",
    multiple=True,
    metavar="KEY",
    help="The asset that keeps the id, where the code and the control plane do not tell.",
)
@_output.json_option
@pass_session
def repair(session: Session, dry_run: bool, keep: tuple[str, ...], as_json: bool) -> None:
    """Repair a lockfile that gives one id to several assets, as older versions could leave it.

    The asset that the code has keeps the id and the history; where it has several, or none, the
    one that the control plane knows by that id. The others get ids of their own with the next
    deploy. Every other fault of a lockfile is for version control to mend.
    """
    import dataclasses
    import json

    from servo.cli import _lockfile_repair
    from servo.manifest import Lockfile

    path = session.project.lockfile_path
    repairs = _lockfile_repair.plan(session, [str(parse_key(key)) for key in keep])
    if repairs and not dry_run:
        Lockfile.repair(path, {one.asset_id: one.kept for one in repairs})
    if as_json:
        found = [dataclasses.asdict(one) for one in repairs]
        document = {
            "dryRun": dry_run,
            "lockfile": str(path),
            "repairs": [
                {"assetId": one["asset_id"], **{k: v for k, v in one.items() if k != "asset_id"}}
                for one in found
            ],
        }
        click.echo(json.dumps(document, sort_keys=True, separators=(",", ":")))
        return
    for one in repairs:
        _output.echo(f"{one.kept} keeps {one.asset_id}: {one.reason}.")
        _output.echo(f"Without an id: {', '.join(one.removed)}.")
    if not repairs:
        _output.echo("Nothing to repair: every id belongs to one asset.")
    elif dry_run:
        _output.echo("Nothing was written.")
    else:
        _output.echo("Repaired. Deploy, and commit the lockfile.")


def _require_no_history(session: Session, source: AssetKey, target: AssetKey) -> None:
    """Check that nothing was made under a key that is to give up its id.

    Raises:
        ConflictError: Something was; the message says what can be done.
    """
    made = 0
    if session.has_store:
        # Where nothing is deployed under that key, nothing can be lost.
        with session.connect() as connection, contextlib.suppress(errors.NotFoundError):
            made = connection.client.assets.get(target).asset.materialized_partitions
    if made:
        raise errors.ConflictError(
            f"{str(target)!r} has a history of its own by now "
            f"({_output.count(made, 'materialised partition')}), and an asset has one. To keep the "
            f"history of {str(source)!r} and set the other aside: servo asset rename --replace "
            f"{source} {target}, then run {target} again where {source} was not run. To keep that "
            f"of {str(target)!r}, do nothing",
            code="RENAME_TWO_HISTORIES",
            context={"old": str(source), "new": str(target)},
        )


def parse_key(text: str) -> AssetKey:
    """Read an asset key given as an argument.

    Raises:
        InvalidArgumentError: It is none; the message shows it and the pattern.
    """
    try:
        return AssetKey.parse(text)
    except ValueError as exc:
        raise errors.InvalidArgumentError(str(exc)) from exc


def _summaries(session: Session, selection: Sequence[str]) -> Iterator[AssetSummary]:
    from servo.manifest import build_project

    deployed: dict[AssetKey | AssetId, AssetSummary] = {}
    if session.has_store:
        with session.connect() as connection:
            if not connection.is_embedded:
                yield from connection.client.assets.list(selection)
                return
            for item in connection.client.assets.list():
                deployed[item.definition.key] = item
                if item.definition.id is not None:
                    deployed[item.definition.id] = item
    manifest = build_project(session.project, frozen=False, write_lockfile=False)
    chosen = _partitions.selected(selection, manifest.assets) if selection else manifest.assets
    for definition in chosen:
        # By its id first: it may have been renamed since.
        known = deployed.get(definition.id or definition.key) or deployed.get(definition.key)
        yield AssetSummary(
            definition=definition,
            latest_materialization=known.latest_materialization if known else None,
            materialized_partitions=known.materialized_partitions if known else 0,
            declared_partitions=_declared(definition.partitioning),
        )


def _declared(partitioning: PartitionStrategy) -> int | None:
    try:
        return PartitionSet.declared(partitioning, now=datetime.now(UTC)).size
    except ValueError:
        # Without a start, or without a tenant, the partitions cannot be counted.
        return None


def _find(session: Session, key: AssetKey) -> GetAssetResponse:
    if session.is_remote:
        with session.connect() as connection:
            return connection.client.assets.get(key)
    found = {item.definition.key: item for item in _summaries(session, ())}
    if key not in found:
        raise errors.NotFoundError(
            f"there is no asset {str(key)!r} in {session.project.name!r}."
            f"{_output.did_you_mean(str(key), map(str, found))}",
            code="ASSET_NOT_FOUND",
        )
    downstream = sorted(
        item.definition.key
        for item in found.values()
        if any(dependency.upstream_key == key for dependency in item.definition.dependencies)
    )
    return GetAssetResponse(asset=found[key], downstream=tuple(downstream))


_MOST_TASKS: Final = 10_000
"""A run with more tasks is not read for the results of one task's checks."""


def _check_results(session: Session, found: GetAssetResponse) -> Mapping[str, CheckResult]:
    """Return how the checks of what was made last ended, by name, as far as that is kept."""
    made = found.asset.latest_materialization
    if made is None or not found.asset.definition.checks or not session.has_store:
        return {}
    with session.connect() as connection:
        runs = connection.client.runs
        try:
            if runs.get(made.run_id, tasks=False).counts.total > _MOST_TASKS:
                return {}
            tasks = runs.get(made.run_id).tasks
        except errors.NotFoundError:
            return {}  # the run has been pruned; what it made is still there
    results = (task.checks for task in tasks if task.task_id == made.task_id)
    return {result.check_name: result for result in chain.from_iterable(results)}


def _facts(
    found: GetAssetResponse, results: Mapping[str, CheckResult]
) -> Iterator[tuple[str, Sequence[str]]]:
    definition = found.asset.definition
    code = definition.code
    yield "asset", [str(definition.key)]
    yield "id", [str(definition.id or "none yet")]
    yield "description", [definition.description] if definition.description else []
    yield "owners", [", ".join(definition.owners)] if definition.owners else []
    yield "tags", [f"{name}={value}" for name, value in sorted(definition.tags.items())]
    yield "partitions", [_strategy(definition.partitioning) or "none"]
    yield "reads", [_dependency(item) for item in definition.dependencies]
    yield "read by", [str(key) for key in found.downstream]
    yield "checks", [_check(check, results.get(check.name)) for check in definition.checks]
    yield "code", [f"{code.file_path}:{code.line_number} {code.module}.{code.function}"]
    yield "materialised", [_materialised(found.asset)]
    last = found.asset.latest_materialization
    if last is not None:
        rows = "" if last.row_count is None else f", {_output.count(last.row_count, 'row')}"
        yield "last", [f"{_last(last)}{rows}, {_output.size(last.byte_size)}", last.path]
        yield "columns", [f"{column.name}: {column.type}" for column in last.columns]


def _strategy(partitioning: PartitionStrategy) -> str:
    return ", ".join(_dimension(dimension) for dimension in partitioning.dimensions)


def _dimension(dimension: PartitionDimension) -> str:
    if isinstance(dimension, TimeDimension):
        zone = "" if dimension.timezone == "UTC" else f" {dimension.timezone}"
        span = f"{dimension.start or ''}..{dimension.end or ''}"
        return f"{dimension.name}: {dimension.granularity} {span}{zone}"
    if isinstance(dimension, StaticDimension):
        return f"{dimension.name}: {_output.count(len(dimension.values), 'value')}"
    return f"{dimension.name}: tenant"


def _materialised(item: AssetSummary) -> str:
    if item.declared_partitions is None:
        return f"{item.materialized_partitions:,}"
    return f"{item.materialized_partitions:,}/{item.declared_partitions:,}"


def _last(made: Materialization | None) -> str:
    return "" if made is None else _output.when(made.created_at)


def _dependency(dependency: AssetDependency) -> str:
    window = (
        f"({dependency.window_start}, {dependency.window_end})"
        if dependency.mapping == "window"
        else ""
    )
    return f"{dependency.upstream_key} as {dependency.parameter_name}, {dependency.mapping}{window}"


def _check(check: BaseCheck, result: CheckResult | None) -> str:
    declared = f"{check.name} ({check.phase}, {check.severity})"
    if result is None:
        return declared
    return f"{declared}: {'passed' if result.passed else f'did not pass, {result.message}'}"
