"""``servo worker``: execute tasks for a control plane."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from servo import errors
from servo.cli._session import Session, pass_session
from servo.cli._state import ServerFile, StateFiles


@click.command()
@click.option("--url", metavar="URL", help="Control plane, grpc://HOST:PORT (default: settings).")
@click.option(
    "--slots",
    type=click.IntRange(min=1),
    metavar="N",
    help="Attempts to execute at once (default: one per core).",
)
@click.option(
    "--data-root",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="DIR",
    help="Where tables lie; the same for all workers (default: .servo/data).",
)
@click.option(
    "--code-version",
    metavar="ID",
    help="The version of the code to announce (default: settings, else the commit).",
)
@click.option(
    "--drain-seconds",
    type=click.FloatRange(min=0),
    metavar="N",
    help="How long attempts may go on after the first SIGTERM (default: as long as they take).",
)
@pass_session
def worker(
    session: Session,
    /,
    *,
    url: str | None,
    slots: int | None,
    data_root: Path | None,
    code_version: str | None,
    drain_seconds: float | None,
) -> None:
    """Execute tasks of this project for a control plane, until SIGTERM or Ctrl-C.

    Without a configured server the worker joins the project's running `servo dev`. The API key
    comes from SERVO_API_KEY, or from the file that SERVO_API_KEY_FILE names, which is read again
    for each session: replace the file, then revoke the old key.
    """
    session.override(api_url=url, worker_slots=slots)
    project = session.project
    settings = project.settings
    files = StateFiles(project.state_dir)
    settings.read_api_key()  # so that a file that cannot be read is named at once
    # The worker reads the file itself, again and again.
    address, key = settings.api_url, settings.api_key or None
    if not address:
        server = ServerFile.read(files.server)
        if server is None or not server.is_alive:
            raise errors.ConfigurationError(
                f"no control plane to work for: {str(project.root)!r} has no running "
                f"'servo dev', and neither --url nor SERVO_API_URL is given"
            )
        address, key = server.grpc_url, server.api_key
    command = [
        *(sys.executable, "-m", "servo.worker"),
        *("--url", address),
        *("--project", str(project.root)),
        *("--slots", str(settings.worker_slots or os.cpu_count() or 1)),
        *("--data-root", str(data_root or files.data)),
        *("--tenant", settings.tenant_id),
        *("--workspace", settings.workspace_id),
        *("--code-version", code_version or ""),
        *(() if drain_seconds is None else ("--drain-seconds", str(drain_seconds))),
    ]
    # Replaces this process, so signals and the exit code are the worker's own.
    os.execve(sys.executable, command, os.environ | settings.for_children(api_key=key))
