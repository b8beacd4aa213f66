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
@pass_session
def worker(session: Session, url: str | None, slots: int | None, data_root: Path | None) -> None:
    """Execute tasks of this project for a control plane, until SIGTERM or Ctrl-C.

    Without a configured server the worker joins the project's running `servo dev`. The API key
    comes from SERVO_API_KEY, or from the file that SERVO_API_KEY_FILE names.
    """
    session.override(api_url=url, worker_slots=slots)
    project = session.project
    settings = project.settings
    files = StateFiles(project.state_dir)
    address, key = settings.api_url, settings.read_api_key()
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
    ]
    # Replaces this process, so signals and the exit code are the worker's own.
    os.execve(sys.executable, command, os.environ | settings.for_children(api_key=key))
