"""From a project to a client: the configured server, a running host, or one started now.

A command that is going to need the control plane opens a `Connection` as early as it can: a host
that has to be started then starts while the command does its own work. See
``docs/adr/0010-embedded-host.md``.
"""

from __future__ import annotations

import contextlib
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from servo import errors
from servo.cli import _environment, _output
from servo.cli._state import HostKind, Owner, ServerFile, StateFiles

if TYPE_CHECKING:
    from servo.client import Client
    from servo.config.settings import Settings
    from servo.manifest.project import Project

HOST_LOST_RACE: Final = 3
"""Exit code of a host that found another one in its place."""

# Windows has neither the signal nor hosts.
ASK_TO_LEAVE: Final[signal.Signals] = getattr(signal, "SIGUSR1", signal.SIGTERM)
"""Asks an idle host in the background to leave for one with another environment."""

_START_TIMEOUT: Final = 30.0
_PATIENCE: Final = 4.0
"""How long a command waits for an answer before it says so, seconds."""
_POLL_INTERVAL: Final = 0.01
_PROBE_TIMEOUT: Final = 5.0
_LOG_TAIL_BYTES: Final = 4000
_WATCH_INTERVAL: Final = 0.25
_COURTESY: Final = 2.0
"""How long a command waits for another one that is about to start a host, or to end, seconds."""
_LEAVE_TIMEOUT: Final = 20.0
"""How long a host that was asked to leave may take: longer than it gives itself."""
_LEAST_FREE_BYTES: Final = 64 * 1024
_MOST_HOSTS: Final = 20
"""A host that is lost that often in one command is not replaced any more: it has a reason."""


class Connection:
    """A client of the project's control plane, and the reason why it stays there.

    While a connection is open, a control plane in the background does not go away. Use it as a
    context manager.

    Args:
        project: The project.
        for_run: A run will be created, so a host that is started here starts its worker at once,
            and its tasks must have the environment of this process.
        any_environment: The environment of the tasks may differ.
    """

    def __init__(
        self, project: Project, *, for_run: bool = False, any_environment: bool = False
    ) -> None:
        self._project = project
        self._settings = project.settings
        self._root = project.root
        self._files = StateFiles(project.state_dir)
        self._for_run = for_run
        self._any_environment = any_environment
        self._attached = self._files.clients_lock()
        self._creating = self._files.runs_lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._reason: int | None = None
        self._open: Client | None = None
        self._server: ServerFile | None = None
        self._lost: errors.ServoError | None = None
        self._left = threading.Event()

    @cached_property
    def _facts(self) -> dict[str, str]:
        return _environment.facts(os.environ, self._project)

    @property
    def is_embedded(self) -> bool:
        """Whether the control plane is the project's own, not a configured server."""
        return not self._settings.api_url

    @property
    def data_root(self) -> Path | None:
        """Where the tables of an embedded control plane lie."""
        return self._project.data_root if self.is_embedded else None

    def __enter__(self) -> Self:
        if self.is_embedded:
            # Waits only for a host that is just about to leave.
            self._attached.acquire(shared=True, wait=True)
            if self._for_run:
                self._check_data_root()
                self._creating.acquire(shared=True, wait=True)
            if not self._is_hosted():
                self._start_host()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._left.set()
        if self._for_run and self._lost is None and self._is_database_lost():
            self._lost = database_lost(self._files.database)
        if self._open is not None:
            self._open.close()
        if self._reason is not None:
            os.close(self._reason)
        self._creating.release()
        self._attached.release()
        if self._lost is not None and (error is None or isinstance(error, Exception)):
            # What the client said of it is a consequence.
            raise self._lost from error

    def _check_data_root(self) -> None:
        """Refuse tables of another workspace before a run is created.

        Raises:
            ConfigurationError: The data root belongs to another workspace.
        """
        from servo.io import ownership

        settings, root = self._settings, self._project.data_root
        ownership.check(root, tenant_id=settings.tenant_id, workspace_id=settings.workspace_id)
        former = self._project.state_dir / "data"
        is_new = root != former and not settings.data_root and not root.exists()
        if is_new and former.exists() and not (former / ownership.MARKER).exists():
            _output.note(
                f"Tables of workspace {settings.workspace_id!r} go to {str(root)!r}. Those in "
                f"{str(former)!r} stay where they are: move them if they are of this workspace, or "
                f"set data_root."
            )

    @cached_property
    def client(self) -> Client:
        """The client; the first use waits until the control plane answers.

        Raises:
            UnavailableError: The configured server cannot be reached, or no host came up.
            ConfigurationError: The host refused to start; the message is its own. Or a run is to
                be created, and the host has another environment and cannot be replaced now.
            FilesystemError: The host cannot start, for example because the disk is full.
        """
        if self.is_embedded:
            self._open = self._await_host()
            threading.Thread(target=self._replace_lost_hosts, daemon=True).start()
        else:
            self._open = self._dial(self._settings)
            self._open.server.info()
        return self._open

    def _dial(self, settings: Settings) -> Client:
        from servo.client import Client
        from servo.client.transport import trace_metadata

        return Client.from_settings(settings, source="cli", metadata=trace_metadata(os.environ))

    def _is_hosted(self) -> bool:
        probe = self._files.host_lock()
        free = probe.acquire(shared=True)
        probe.release()
        return not free

    def _current_server(self) -> ServerFile | None:
        """Return where the host of this moment serves, once it does.

        The file may be that of a host that was killed, whose successor has not written its own.
        """
        server = ServerFile.read(self._files.server)
        owner = self._files.host_lock().read_owner()
        is_current = server is not None and owner is not None and owner.pid == server.pid
        return server if is_current and self._is_hosted() else None

    def _start_host(self) -> None:
        command = [sys.executable, "-u", "-P", "-m", "servo.cli.host"]
        command += ["--project", str(self._root)]
        if self._for_run:
            command.append("--with-worker")
        if self._any_environment:
            command.append("--any-environment")
        if self._reason is not None:
            os.close(self._reason)
        self._reason, theirs = os.pipe()
        os.set_blocking(self._reason, False)
        try:
            log = self._files.open_log()
        except OSError:
            log = os.open(os.devnull, os.O_WRONLY)
        try:
            self._child = subprocess.Popen(
                [*command, "--reason-fd", str(theirs)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: Ctrl-C and a closed terminal are for the command, not for runs.
                start_new_session=True,
                cwd=self._root,
                env=os.environ | self._settings.for_children(),
                pass_fds=(theirs,),
            )
        finally:
            os.close(log)
            os.close(theirs)

    def _replace_lost_hosts(self) -> None:
        """Start a host whenever there is none; it takes the place of one that was killed."""
        for _ in range(_MOST_HOSTS):
            while self._is_hosted():
                self._look_at_server()
                if self._left.wait(_WATCH_INTERVAL):
                    return
            self._look_at_server()
            # A command that creates a run may have asked the host to leave, and starts its own.
            if self._left.wait(0 if self._for_run else _COURTESY):
                return
            if self._is_hosted():
                continue
            self._start_host()
            # It takes the lock some time after it was started.
            deadline = time.monotonic() + _START_TIMEOUT
            while not self._is_hosted() and time.monotonic() < deadline:
                if self._left.wait(_POLL_INTERVAL):
                    return

    def _look_at_server(self) -> None:
        """Give up when what this command talks to is gone, and take over a host that waits."""
        if self._is_database_lost():
            self._give_up(database_lost(self._files.database))
            return
        server = self._current_server()
        if server is None or self._server is None:
            return
        if server.grpc_url != self._server.grpc_url:
            self._give_up(
                errors.UnavailableError(
                    f"the control plane was lost and another one listens at {server.grpc_url}, "
                    f"because the address of the first was taken",
                    hint="Nothing that was recorded is lost: 'servo status latest --watch'.",
                )
            )
        elif self._for_run and server.waits and self._differences(server) == []:
            # One that another command started in the place of the lost one, without this
            # environment.
            self._ask_to_leave()

    def _give_up(self, error: errors.ServoError) -> None:
        self._lost = error
        self._left.set()
        if self._open is not None:
            self._open.close()

    def _is_database_lost(self) -> bool:
        known = self._server.database if self._server is not None else ""
        return bool(known) and self._files.database_id() != known

    def _await_host(self) -> Client:
        deadline = time.monotonic() + _START_TIMEOUT
        notice = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            if time.monotonic() > notice:
                owner = self._files.host_lock().read_owner()
                _output.echo(f"{_name_of(owner)} does not answer yet; waiting for it.", err=True)
                notice = math.inf
            server = self._current_server()
            if server is not None:
                if self._for_run and not self._has_environment(server):
                    # That may have taken long; the next host has all of the time again.
                    deadline = time.monotonic() + _START_TIMEOUT
                    notice = time.monotonic() + _PATIENCE
                    continue
                client = self._try_dial(server)
                if client is not None:
                    self._server = server
                    self._note_waiting(server)
                    return client
            code = None if self._child is None else self._child.poll()
            if code not in (None, 0, HOST_LOST_RACE):
                raise self._host_failed(code)
            if (self._child is None or code is not None) and not self._is_hosted():
                self._start_host()
            time.sleep(_POLL_INTERVAL)
        owner = self._files.host_lock().read_owner()
        raise errors.UnavailableError(
            f"{_name_of(owner)} did not answer within {_START_TIMEOUT:.0f} s",
            hint="Look at its terminal: it may be suspended (fg), or too busy."
            if _is_dev(owner)
            else f"Its log is {str(self._files.log)!r}.",
        )

    def _differences(self, server: ServerFile) -> list[str]:
        if server.environment is None:  # a host of an older version
            return []
        return server.environment.differences(self._facts, self._settings.environment_ignore)

    def _has_environment(self, server: ServerFile) -> bool:
        """Tell whether tasks would have this command's environment; make room for a host if not.

        Raises:
            ConfigurationError: They would not, and the host cannot be replaced now.
        """
        differences = [] if self._any_environment else self._differences(server)
        if not differences and not server.waits:
            return True
        if differences and server.waits:
            raise _unfinished(differences)
        owner = self._files.host_lock().read_owner()
        if owner is not None and owner.kind is HostKind.DEV and not differences:
            raise _dev_waits(owner)
        if differences:
            if owner is None or owner.kind is HostKind.DEV or owner.is_busy is not False:
                raise _environment_differs(owner, differences)
            self._creating.release()
            # A child of a command that has just ended may hold its lock for a moment longer.
            patience = time.monotonic() + _COURTESY
            while not self._creating.acquire():
                if time.monotonic() > patience:
                    raise _environment_differs(owner, differences)
                time.sleep(_POLL_INTERVAL)
        self._ask_to_leave()
        deadline = time.monotonic() + _LEAVE_TIMEOUT
        while self._current_server() == server:
            if time.monotonic() > deadline:
                raise _environment_differs(owner, differences)
            time.sleep(_POLL_INTERVAL)
        self._creating.acquire(shared=True, wait=True)
        return False

    def _ask_to_leave(self) -> None:
        owner = self._files.host_lock().read_owner()
        # The signal would end one of an older version, which does not say whether it is busy.
        if owner is None or owner.kind is HostKind.DEV or owner.is_busy is None:
            return
        if self._is_hosted():
            with contextlib.suppress(ProcessLookupError):
                os.kill(owner.pid, ASK_TO_LEAVE)

    def _note_waiting(self, server: ServerFile) -> None:
        if server.waits:
            _output.warn(
                f"Unfinished runs wait for the environment in which they were asked for: "
                f"{_environment.listed(self._differences(server)) or 'a command that has it'}. "
                f"A 'servo run' or 'servo dev' that has it goes on with them; with "
                f"--any-environment they go on with another one; 'servo cancel RUN' ends one."
            )

    def _try_dial(self, server: ServerFile) -> Client | None:
        settings = replace(
            self._settings, api_url=server.grpc_url, api_key=server.api_key, api_key_file=""
        )
        client = self._dial(settings)
        try:
            client.server.wait_ready(_PROBE_TIMEOUT)
        except (errors.UnavailableError, errors.DeadlineError, errors.PermissionDeniedError):
            # The file belongs to a host that has just gone, or to another one on the same port.
            client.close()
            return None
        return client

    def _host_failed(self, code: int | None) -> errors.ServoError:
        code_told, _, told = self._read_reason().partition("\n")
        if told:
            code = int(code_told)
        reason = told or self._last_line()
        if not reason and shutil.disk_usage(self._files.directory).free < _LEAST_FREE_BYTES:
            reason = f"no space is left on the disk of {str(self._files.directory)!r}"
        kind = (
            errors.FilesystemError
            if code == errors.FilesystemError("").exit_code
            else errors.ConfigurationError
        )
        return kind(
            f"the embedded control plane did not start (exit {code}): {reason or 'it said nothing'}"
            f"{'' if reason.endswith('.') else '.'} See {str(self._files.log)!r}."
        )

    def _read_reason(self) -> str:
        """Return what a host that ended before it served wrote into its pipe."""
        assert self._reason is not None
        try:
            return os.read(self._reason, _LOG_TAIL_BYTES).decode(errors="replace").strip()
        except BlockingIOError:
            return ""

    def _last_line(self) -> str:
        tail = ""
        with contextlib.suppress(OSError), self._files.log.open("rb") as log:
            log.seek(max(self._files.log.stat().st_size - _LOG_TAIL_BYTES, 0))
            tail = log.read().decode(errors="replace").strip()
        return tail.rpartition("\n")[2].removeprefix("Error: ")


def _is_dev(owner: Owner | None) -> bool:
    return owner is not None and owner.kind is HostKind.DEV


def _name_of(owner: Owner | None) -> str:
    what = "'servo dev'" if _is_dev(owner) else "the control plane in the background"
    return what if owner is None else f"{what} (pid {owner.pid})"


def _environment_differs(owner: Owner | None, differences: list[str]) -> errors.ConfigurationError:
    end = (
        "Start 'servo dev' again with this environment"
        if _is_dev(owner)
        else "It has runs to do; try again when they have ended (servo status)"
    )
    return errors.ConfigurationError(
        f"{_name_of(owner)} has another environment than this command: "
        f"{_environment.listed(differences)}; no run was created, because its tasks would not see "
        f"what this command sees",
        code="ENVIRONMENT_DIFFERS",
        hint=f"{end}; or pass --any-environment to use the other environment; or name variables "
        f"that do not matter in environment_ignore.",
        context={"differences": ", ".join(differences)},
    )


def _dev_waits(owner: Owner) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        f"'servo dev' (pid {owner.pid}) executes nothing: unfinished runs were asked for in this "
        f"command's environment, and it has another one",
        code="ENVIRONMENT_DIFFERS",
        hint="End it and start it again with this environment, or with --any-environment.",
    )


def _unfinished(differences: list[str]) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        f"there are unfinished runs that were asked for in another environment: "
        f"{_environment.listed(differences)}; no run was created, because theirs would go on with "
        f"the wrong one",
        code="ENVIRONMENT_DIFFERS",
        hint="Run a command with that environment, or cancel them (servo status, servo cancel "
        "RUN); or pass --any-environment to go on with this one.",
        context={"differences": ", ".join(differences)},
    )


def database_lost(path: Path) -> errors.FilesystemError:
    """Build the error for a database that was removed or replaced below a running host."""
    return errors.FilesystemError(
        f"the database {str(path)!r} was removed or replaced while its control plane ran; what "
        f"was recorded since then is lost, runs included",
        code="DATABASE_LOST",
        hint="Put the file back (servo db restore BACKUP), or start again without it. Stop the "
        "control plane before you touch the file.",
        context={"database": str(path)},
    )
