"""``servo asset``: what the project declares, and what is materialised of it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

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
    from servo.types.assets import AssetDefinition
    from servo.types.dependencies import AssetDependency
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
        click.echo("There are no assets yet.")
    else:
        _output.table(
            ("asset", "partitions", ">materialised", "last", "description"),
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
        for name, lines in _facts(found):
            for index, line in enumerate(lines):
                heading = name if index == 0 else ""
                click.echo(f"{click.style(f'{heading:<13}', bold=True)} {line}")


@asset.command()
@click.argument("old", shell_complete=_complete.asset_keys)
@click.argument("new")
@pass_session
def rename(session: Session, old: str, new: str) -> None:
    """Let the asset NEW be the one that was called OLD: its id and its history are kept.

    Writes the lockfile; the function is renamed by hand, before or after. The other way to say
    the same is @asset(renamed_from="OLD").
    """
    from servo.manifest import Lockfile

    source, target = parse_key(old), parse_key(new)
    lockfile = Lockfile.load(session.project.lockfile_path)
    asset_id = lockfile.rename(source, target)
    lockfile.save()
    click.echo(f"{target} has the id of {source} now: {asset_id}.")
    click.echo("Rename the function if you have not, and deploy.")


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

    deployed: dict[AssetKey, AssetSummary] = {}
    if session.has_store:
        with session.connect() as connection:
            if not connection.is_embedded:
                yield from connection.client.assets.list(selection)
                return
            deployed = {item.definition.key: item for item in connection.client.assets.list()}
    manifest = build_project(session.project, frozen=False, write_lockfile=False)
    chosen = _partitions.selected(selection, manifest.assets) if selection else manifest.assets
    for definition in chosen:
        known = deployed.get(definition.key)
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


def _facts(found: GetAssetResponse) -> Iterator[tuple[str, Sequence[str]]]:
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
    yield "checks", [_check(definition, index) for index in range(len(definition.checks))]
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


def _check(definition: AssetDefinition, index: int) -> str:
    check = definition.checks[index]
    return f"{check.name} ({check.phase}, {check.severity})"
