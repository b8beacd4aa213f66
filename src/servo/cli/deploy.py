"""``servo deploy``: make the project as it stands the current deployment."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from servo import errors
from servo.cli import _build, _output
from servo.cli._session import Session, pass_session

if TYPE_CHECKING:
    from servo.client import Client
    from servo.manifest import AssetManifest
    from servo.types.assets import AssetDefinition
    from servo.types.deployments import AssetChange, Deployment
    from servo.types.keys import AssetKey


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would change, and write nothing.")
@click.option(
    "--output",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Write the manifest, canonical JSON, to FILE as well.",
)
@click.option("--workspace", metavar="W", help="Workspace to deploy to (default: settings).")
@click.option(
    "--frozen/--no-frozen",
    default=None,
    help="Refuse assets without an id in the lockfile (default: where CI is set).",
)
@click.option("--no-verify", is_flag=True, help="Do not build twice to prove it deterministic.")
@_output.json_option
@pass_session
def deploy(
    session: Session,
    /,
    *,
    dry_run: bool,
    output: Path | None,
    workspace: str | None,
    frozen: bool | None,
    no_verify: bool,
    as_json: bool,
) -> None:
    """Make the project as it stands the current deployment.

    The manifest is built twice in two processes and refused if the two differ, then validated
    and sent; only the parts that the control plane lacks travel. Runs that have started keep the
    manifest they started with. With --dry-run --json the manifest is printed; an asset that is
    new has an empty id in it.
    """
    from servo.manifest import build_project

    session.override(workspace_id=workspace)
    project = session.project
    _build.warn_of_clashes(project)
    if dry_run:
        manifest = build_project(project, frozen=frozen, write_lockfile=False, verify=not no_verify)
        _write(manifest, output)
        if as_json:
            click.echo(manifest.to_canonical_json())
        else:
            _print_plan(session, manifest)
        return
    with session.connect() as connection:
        client = connection.client
        before = _current(client)
        manifest = build_project(
            project,
            frozen=frozen,
            verify=not no_verify,
            renames=lambda found: _offer_renames(client, before, found),
        )
        answer = _build.deploy(project, client, manifest)
        _write(manifest, output)
        if as_json:
            _output.print_json(answer)
            return
        assert answer.deployment is not None
        if before is not None and before.deployment_id == answer.deployment.deployment_id:
            _output.echo(f"Nothing changed: {answer.deployment.deployment_id} is current.")
            return
        if before is not None:
            _print_changes(
                client.deployments.diff(before.deployment_id, answer.deployment.deployment_id)
            )
        _output.echo(
            f"Deployed {_output.count(answer.deployment.asset_count, 'asset')} as "
            f"{answer.deployment.deployment_id} to workspace {project.settings.workspace_id!r}."
        )


def _current(client: Client) -> Deployment | None:
    try:
        return client.deployments.get()
    except errors.NotFoundError:
        return None


def _write(manifest: AssetManifest, output: Path | None) -> None:
    if output is None:
        return
    from servo.manifest import atomic

    try:
        atomic.write(output, manifest.to_canonical_json().encode())
    except OSError as exc:
        raise errors.FilesystemError(
            f"cannot write the manifest to {str(output)!r}: {exc.strerror}"
        ) from exc


def _print_plan(session: Session, manifest: AssetManifest) -> None:
    from servo.manifest.diff import diff, possible_renames

    old: Sequence[AssetDefinition] = ()
    if session.has_store:
        with session.connect() as connection:
            before = _current(connection.client)
            if before is not None:
                old = list(connection.client.deployments.read_assets(before))
    changes = diff(old, manifest.assets)
    _print_changes(changes)
    for gone, new in possible_renames(old, manifest.assets):
        _output.echo(_rename_hint(gone, new))
    _output.echo(
        f"{_output.count(len(changes), 'change')}; nothing was written."
        if changes
        else "Nothing would change."
    )


def _print_changes(changes: Sequence[AssetChange]) -> None:
    from servo.manifest.diff import describe

    for change in changes:
        _output.echo(describe(change))


def _rename_hint(gone: AssetKey, new: AssetKey) -> str:
    return (
        f"{gone} has vanished and {new} has the same code. If that is a rename, keep its id and "
        f"history: servo asset rename {gone} {new}"
    )


def _offer_renames(
    client: Client, before: Deployment | None, found: Sequence[AssetDefinition]
) -> dict[AssetKey, AssetKey]:
    """Ask about vanished assets whose code a new one has; nothing is assumed.

    Returns:
        The renames that somebody confirmed, old key to new key.
    """
    from servo.manifest.diff import possible_renames

    if before is None:
        return {}
    confirmed: dict[AssetKey, AssetKey] = {}
    for gone, new in possible_renames(client.deployments.read_assets(before), found):
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            _output.warn(_rename_hint(gone, new))
        elif click.confirm(
            f"{gone} has vanished and {new} has the same code. Is it renamed (keeps id, history)?",
            default=False,
            err=True,
        ):
            confirmed[gone] = new
    return confirmed
