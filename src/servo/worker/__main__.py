"""``python -m servo.worker``: a worker until it is told to stop.

The key for the control plane comes from the settings (``SERVO_API_KEY``, or a file that
``SERVO_API_KEY_FILE`` names and that is read again for each session), or from standard input. A
command line can be read by everybody on the machine, an environment by every process of the user.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from datetime import timedelta
from pathlib import Path

from servo import errors
from servo.client import Tls, TokenFile
from servo.config.logs import configure_logging
from servo.io import ownership
from servo.manifest.project import Project
from servo.worker.worker import Worker, WorkerConfig


def main(arguments: list[str] | None = None) -> int:
    """Run a worker; return its exit code."""
    given = _parse(arguments)
    try:
        project = Project.load(given.project)
        settings = project.settings
        configure_logging(settings)
        path = settings.api_key_file
        key = _line(sys.stdin.fileno()) if given.key_from_stdin else settings.api_key
        data_root = given.data_root or project.data_root_of(given.tenant, given.workspace)
        ownership.claim(data_root, tenant_id=given.tenant, workspace_id=given.workspace)
        config = WorkerConfig(
            url=given.url,
            api_key=key or (TokenFile(path) if path else ""),
            tls=Tls(ca=settings.tls_ca, cert=settings.tls_cert, key=settings.tls_key),
            project=project.root,
            import_roots=project.import_roots,
            data_root=data_root,
            slots=given.slots,
            tenant_id=given.tenant,
            workspace_id=given.workspace,
            code_version_id=given.code_version or project.code_version_id,
            drain_timeout=_duration(given.drain_seconds),
        )
        asyncio.run(_run(config, exit_with_stdin=given.exit_with_stdin))
    except errors.ServoError as exc:
        print(f"servo worker: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)


def _line(descriptor: int) -> str:
    """Read one line and not a byte more, because what follows is waited for in another way."""
    found = bytearray()
    while (byte := os.read(descriptor, 1)) not in (b"", b"\n"):
        found += byte
    return found.decode()


async def _run(config: WorkerConfig, *, exit_with_stdin: bool) -> None:
    worker = Worker(config)
    worker.handle_signals()
    if exit_with_stdin:
        loop = asyncio.get_running_loop()
        descriptor = sys.stdin.fileno()

        def readable() -> None:
            if not os.read(descriptor, 1024):
                loop.remove_reader(descriptor)
                worker.kill()

        loop.add_reader(descriptor, readable)
    await worker.run()


def _parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m servo.worker",
        description="Execute attempts for a control plane. The first SIGTERM or SIGINT finishes "
        "what runs, the second one ends it, SIGHUP loads changed code. The key for the control "
        "plane is read from SERVO_API_KEY, or from the file that SERVO_API_KEY_FILE names.",
    )
    parser.add_argument("--url", required=True, help="the control plane, grpc://HOST:PORT")
    parser.add_argument("--project", type=Path, required=True, help="the project's root")
    parser.add_argument(
        "--slots", type=int, default=0, help="attempts at once; default: one for each core"
    )
    parser.add_argument("--data-root", type=Path, help="where data lies; default: settings")
    parser.add_argument("--tenant", default="default", help="the tenant to serve")
    parser.add_argument("--workspace", default="default", help="the workspace to serve")
    parser.add_argument(
        "--code-version",
        default="",
        help="the version of the code to announce; default: SERVO_CODE_VERSION_ID, else the commit",
    )
    parser.add_argument(
        "--drain-seconds",
        type=float,
        help="how long attempts may go on after the first signal; default: as long as they take",
    )
    parser.add_argument(
        "--key-from-stdin",
        action="store_true",
        help="read the key from the first line of standard input instead of the settings",
    )
    parser.add_argument(
        "--exit-with-stdin",
        action="store_true",
        help="end at once when standard input ends: for whoever starts a worker and must not "
        "leave it behind",
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
