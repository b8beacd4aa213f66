"""What the shell offers behind a command; user code is never imported for it."""

from __future__ import annotations

import re

import click

from servo import errors

_BEFORE_KEY = re.compile(r"(?:.*[\s()])?(?:[0-9]*\+)?", re.DOTALL)
"""What may stand before a key in a selection: other words, a bracket, ``+`` or ``2+``."""


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


def selections(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Return selections that begin as typed and end with a key of one of the project's assets."""
    before = _BEFORE_KEY.match(incomplete)
    head = before[0] if before else ""
    return [head + key for key in asset_keys(ctx, param, incomplete[len(head) :])]
