"""``servo worker``: execute tasks for a control plane."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Final

import click

from servo import errors
from servo.cli._session import Session, pass_session
from servo.cli._state import ServerFile, StateFiles
from servo.config.settings import variable

_KEYS: Final = frozenset({variable("api_key"), variable("api_key_file")})


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
    help="Where tables lie; the same for all workers (default: settings, else below .servo).",
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
    from servo import _posix  # says in one line where workers do not run

    del _posix
    session.override(
        api_url=url, worker_slots=slots, data_root=None if data_root is None else str(data_root)
    )
    project = session.project
    settings = project.settings
    files = StateFiles(project.state_dir)
    settings.read_api_key()  # so that a file that cannot be read is named at once
    # The worker reads the file itself, again and again.
    address, key = settings.api_url, settings.api_key
    if not address:
        server = ServerFile.read(files.server)
        if server is None or not server.is_alive:
            raise errors.ConfigurationError(
                f"no control plane to work for: {str(project.root)!r} has no running "
                f"'servo dev', and neither --url nor SERVO_API_URL is given"
            )
        address, key = server.grpc_url, server.api_key
    command = [
        *(sys.executable, "-P", "-m", "servo.worker"),
        *("--url", address),
        *("--project", str(project.root)),
        *("--slots", str(settings.worker_slots or os.cpu_count() or 1)),
        *("--data-root", str(project.data_root)),
        *("--tenant", settings.tenant_id),
        *("--workspace", settings.workspace_id),
        *("--code-version", code_version or ""),
        *(() if drain_seconds is None else ("--drain-seconds", str(drain_seconds))),
    ]
    environ = os.environ | settings.for_children()
    if key:
        # Where user code looks for it last: not in the environment of any process.
        environ = {name: value for name, value in environ.items() if name not in _KEYS}
        _give_on_stdin(f"{key}\n".encode())
        command.append("--key-from-stdin")
    # Replaces this process, so signals and the exit code are the worker's own.
    os.execve(sys.executable, command, environ)


def _give_on_stdin(data: bytes) -> None:
    """Let the program that replaces this one read something from its standard input."""
    theirs, ours = os.pipe()
    os.write(ours, data)  # far less than a pipe holds
    os.close(ours)
    os.dup2(theirs, 0)
    os.close(theirs)
