"""``servo dev``: the project's control plane and worker, with its code reloaded on change."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Final

import click

from servo import errors
from servo.cli import _build, _dev_lines, _environment, _output, _watch
from servo.cli._session import Session, any_environment_option, pass_session
from servo.cli._state import HostKind
from servo.cli.host import AlreadyHostedError, Host
from servo.config.files import DOTENV, PYPROJECT, SERVO_TOML

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
    in it the last good one stays. Every Python file that assets can import is watched, and so are
    servo.toml, pyproject.toml and .env. Runs that are active keep the code they began with as long
    as a process of the worker has it. Ctrl-C ends it; runs that are active go on when a control
    plane runs again.

    Functions see the environment of this command; `servo run` in a terminal with another one says
    what differs instead.
    """
    project = session.project
    _build.warn_of_clashes(project)

    def load() -> Project:
        from servo.manifest.project import Project

        return Project.load(project.root, flags=session.flags, profile=session.profile)

    asyncio.run(_serve(project, load, any_environment=any_environment))


async def _serve(project: Project, load: Callable[[], Project], *, any_environment: bool) -> None:
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
        elif host.active_runs:
            _output.echo(f"Going on with {_output.count(host.active_runs, 'unfinished run')}.")
        showing = asyncio.create_task(_dev_lines.follow(host))
        serving = asyncio.create_task(host.serve())
        reloading = asyncio.create_task(_reload_on_change(project, host, load))
        # Whichever ends first, by a signal or by an error, ends the other.
        done, _ = await asyncio.wait({serving, reloading}, return_when=asyncio.FIRST_COMPLETED)
        host.stopping.set()
        await asyncio.gather(serving, reloading, showing)
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


async def _reload_on_change(project: Project, host: Host, load: Callable[[], Project]) -> None:
    def watched() -> _watch.Watched:
        return _watched(project)

    # Before the first build: what is edited meanwhile is seen afterwards.
    seen = await asyncio.to_thread(_watch.snapshot, watched())
    await _rebuild(project)
    _output.echo(f"Watching {_shown(project)} and the settings. Ctrl-C ends.")
    async for changed in _watch.changes(watched, host.stopping, since=seen):
        names = sorted(str(project.relative(path)) for path in changed)
        _output.echo(f"Changed: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}")
        if not changed.isdisjoint(watched().files):
            project = _with_new_settings(project, load)
        await _rebuild(project)
        host.reload_workers()


def _watched(project: Project) -> _watch.Watched:
    """Return what a deployment is made of: everything that assets may import, and the settings."""
    return _watch.Watched(
        roots=(*project.import_roots, *project.asset_paths),
        files=tuple(project.root / name for name in (PYPROJECT, SERVO_TOML, DOTENV)),
    )


def _shown(project: Project) -> str:
    roots = (*project.import_roots, *project.asset_paths)
    outermost = [
        path for path in roots if not any(path != one and path.is_relative_to(one) for one in roots)
    ]
    names = [project.relative(path) for path in dict.fromkeys(outermost)]
    return ", ".join("the project" if name == "." else name for name in names)


def _with_new_settings(project: Project, load: Callable[[], Project]) -> Project:
    """Take over the settings that the next build uses; name those that were read once."""
    try:
        new = load()
    except errors.ServoError:
        return project  # the build that follows says what is wrong
    names = [name for name in _READ_ONCE if _value(new, name) != _value(project, name)]
    if names:
        _output.warn(f"{', '.join(names)} changed: restart servo dev to use what is set now")
    if _shown(new) != _shown(project):
        _output.echo(f"Watching {_shown(new)} and the settings.")
    return new


def _value(project: Project, name: str) -> object:
    return getattr(project.settings, name)


_READ_ONCE: Final = (
    "import_roots",
    "data_root",
    "lease_seconds",
    "cancel_grace_seconds",
    "worker_slots",
    "code_version_id",
    "log_level",
    "log_format",
    "debug",
)
"""Settings of the control plane and the worker, which go on with what they were started with."""


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
