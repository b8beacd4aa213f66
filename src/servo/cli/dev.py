"""``servo dev``: the project's control plane and worker, with its code reloaded on change."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from servo import errors
from servo.cli import _build, _environment, _output, _watch
from servo.cli._session import Session, any_environment_option, pass_session
from servo.cli._state import HostKind
from servo.cli.host import AlreadyHostedError, Host

if TYPE_CHECKING:
    from servo.manifest.project import Project

_TAKEOVER_INTERVAL: Final = 0.2


@click.command()
@any_environment_option
@pass_session
def dev(session: Session, any_environment: bool) -> None:
    """Serve the project while you work on it: control plane, worker, reload on change.

    Prints its address and writes it to .servo/server.json (readable only by you), where the other
    commands find it. When a file changes, the manifest is built anew and swapped; with an error
    in it the last good one stays. Ctrl-C ends it; runs that are active go on when a control plane
    runs again.

    Functions see the environment of this command; `servo run` in a terminal with another one says
    what differs instead.
    """
    project = session.project
    _build.warn_of_clashes(project)
    asyncio.run(_serve(project, any_environment=any_environment))


async def _serve(project: Project, *, any_environment: bool) -> None:
    host = Host(project, HostKind.DEV, eager_worker=True, any_environment=any_environment)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, host.stopping.set)
    if not await _take_over(host):
        return
    try:
        server = await host.start()
        _output.echo(
            f"Control plane at {server.grpc_url} and {server.http_url} (pid {server.pid}), its "
            f"worker starts."
        )
        if host.differences:
            _output.warn(
                f"unfinished runs were asked for in another environment, so no worker starts: "
                f"{_environment.listed(host.differences)}. 'servo cancel RUN' ends them; 'servo "
                f"dev --any-environment' goes on with them in this one."
            )
        serving = asyncio.create_task(host.serve())
        reloading = asyncio.create_task(_reload_on_change(project, host))
        # Whichever ends first, by a signal or by an error, ends the other.
        done, _ = await asyncio.wait({serving, reloading}, return_when=asyncio.FIRST_COMPLETED)
        host.stopping.set()
        await asyncio.gather(serving, reloading)
        for task in done:
            task.result()
        _output.echo("Stopping.")
    finally:
        await host.close()


async def _take_over(host: Host) -> bool:
    """Become the host; waits for a background host to finish. False when interrupted."""
    told = False
    while not host.stopping.is_set():
        try:
            host.claim(patience=0.0)
        except AlreadyHostedError as exc:
            if exc.kind is HostKind.DEV:
                raise errors.ConfigurationError(
                    f"'servo dev' runs for this project already (pid {exc.pid}); use that one, or "
                    f"end it first",
                    code="DEV_ALREADY_RUNNING",
                    context={"pid": exc.pid},
                ) from exc
            if not told:
                _output.echo(
                    f"Waiting for the control plane in the background (pid {exc.pid}): it ends "
                    f"with its last run and its last command."
                )
                told = True
            await asyncio.sleep(_TAKEOVER_INTERVAL)
        else:
            return True
    return False


async def _reload_on_change(project: Project, host: Host) -> None:
    roots = [*project.asset_paths, *_more_sources(project)]
    await _rebuild(project)
    shown = ", ".join(str(project.relative(path)) for path in roots)
    _output.echo(f"Watching {shown}. Ctrl-C ends.")
    async for changed in _watch.changes(roots, host.stopping):
        names = sorted(str(project.relative(path)) for path in changed)
        _output.echo(f"Changed: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}")
        await _rebuild(project)
        host.reload_workers()


def _more_sources(project: Project) -> list[Path]:
    """Return what assets may import from the project besides their own directories."""
    candidates = [project.root / "src", project.root / "pyproject.toml"]
    known = project.asset_paths
    return [
        path
        for path in candidates
        if path.exists() and not any(path.is_relative_to(asset_path) for asset_path in known)
    ]


async def _rebuild(project: Project) -> None:
    """Build and deploy in a process of its own, so that this one never holds user code."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "servo.cli.main", "--project", str(project.root)),
        *("deploy", "--no-verify", "--no-frozen"),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        # The project's own control plane, even where a server is configured.
        env=os.environ | project.settings.for_children() | {"SERVO_API_URL": "embedded"},
        process_group=0,
    )
    output, problems = await process.communicate()
    if process.returncode == 0:
        _output.echo(output.decode(errors="replace").rstrip())
        return
    _output.echo(problems.decode(errors="replace").rstrip(), err=True)
    _output.warn("the last good manifest stays in use")
