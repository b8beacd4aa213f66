"""From the project's source to a control plane."""

from __future__ import annotations

import getpass
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from servo import _extras, errors
from servo.cli import _output
from servo.types.checks import CheckType

if TYPE_CHECKING:
    from servo.client import Client
    from servo.manifest import AssetManifest, Project
    from servo.types.assets import AssetDefinition
    from servo.types.requests import DeployResponse


def warn_of_clashes(project: Project) -> None:
    """Say which modules of a project hide others, or are hidden by them."""
    from servo.manifest._import_path import clashes

    for clash in clashes(project):
        _output.warn(str(clash))


def deploy_project(project: Project, client: Client) -> AssetManifest:
    """Deploy a project as it stands to its own control plane, and return its manifest."""
    from servo.manifest import build_project

    warn_of_clashes(project)
    # Not frozen, even where CI is set: this store is the project's own and ends with it.
    manifest = build_project(project, frozen=False)
    deploy(project, client, manifest)
    return manifest


def deploy(project: Project, client: Client, manifest: AssetManifest) -> DeployResponse:
    """Deploy a manifest; the server's ids win and go to the lockfile."""
    from servo.manifest import Lockfile, extract_git_context

    answer = client.deployments.deploy(
        manifest.stamped(
            deployed_by=_user(),
            git=extract_git_context(project.root),
            code_version_id=project.code_version_id,
        )
    )
    if answer.asset_ids:
        lockfile = Lockfile.load(project.lockfile_path)
        if lockfile.update_from_server(answer.asset_ids):
            lockfile.save()
    return answer


def missing_libraries(
    definitions: Sequence[AssetDefinition],
) -> Iterator[errors.ConfigurationError]:
    """Say what assets need, as far as their definitions tell, and this environment lacks."""
    for package, purpose, wants in (
        ("pyarrow", "reading, checking and writing data", _wants_tables),
        ("duckdb", "a custom_sql check", _wants_queries),
    ):
        keys = [str(one.key) for one in definitions if wants(one)]
        if keys and not _extras.is_installed(package):
            more = f" and {_output.count(len(keys) - 1, 'other asset')}" if len(keys) > 1 else ""
            yield _extras.missing(package, f"{purpose} ({keys[0]}{more})")


def _wants_tables(asset: AssetDefinition) -> bool:
    return bool(asset.dependencies or asset.checks)


def _wants_queries(asset: AssetDefinition) -> bool:
    return any(one.check_type is CheckType.CUSTOM_SQL for one in asset.checks)


def require_libraries(definitions: Sequence[AssetDefinition]) -> None:
    """Refuse to go on where this environment, which will execute the assets, lacks a library.

    Raises:
        ConfigurationError: It does.
    """
    for lacking in missing_libraries(definitions):
        raise lacking


def _user() -> str:
    try:
        # A variable may hold bytes that are no text, which cannot be sent.
        return getpass.getuser().encode(errors="replace").decode()
    except (OSError, KeyError):
        # Containers often run under a number that has no name.
        return ""
