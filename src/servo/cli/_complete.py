"""What the shell offers behind a command; user code is never imported for it."""

from __future__ import annotations

import click

from servo import errors


def asset_keys(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return the keys of the project's assets that begin as typed, as its lockfile has them."""
    from servo.manifest import Lockfile
    from servo.manifest.project import Project

    try:
        project = Project.load(ctx.find_root().params.get("project"))
        keys = Lockfile.load(project.lockfile_path).asset_ids
    except (errors.ServoError, OSError, ValueError):
        return []  # a shell that completes must not print errors between two keystrokes
    return sorted(key for key in map(str, keys) if key.startswith(incomplete))
