"""From the project's source to a control plane."""

from __future__ import annotations

import getpass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from servo.client import Client
    from servo.manifest import AssetManifest, Project
    from servo.types.requests import DeployResponse


def deploy_project(project: Project, client: Client) -> AssetManifest:
    """Deploy a project as it stands to its own control plane, and return its manifest."""
    from servo.manifest import build_project

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


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # Containers often run under a number that has no name.
        return ""
