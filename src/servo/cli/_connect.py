"""From a project to a client: the configured server, a running host, or one started now.

A command that is going to need the control plane opens a `Connection` as early as it can: a host
that has to be started then starts while the command does its own work. See
``docs/adr/0010-embedded-host.md``.
"""

from __future__ import annotations

import os
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
from servo.cli._state import ServerFile, StateFiles

if TYPE_CHECKING:
    from servo.client import Client
    from servo.config.settings import Settings
    from servo.manifest.project import Project

HOST_LOST_RACE: Final = 3
"""Exit code of a host that found another one in its place."""

_START_TIMEOUT: Final = 30.0
_POLL_INTERVAL: Final = 0.01
_PROBE_TIMEOUT: Final = 5.0
_LOG_TAIL_BYTES: Final = 4000
_WATCH_INTERVAL: Final = 0.25
_MOST_HOSTS: Final = 20
"""A host that is lost that often in one command is not replaced any more: it has a reason."""


class Connection:
    """A client of the project's control plane, and the reason why it stays there.

    While a connection is open, a control plane in the background does not go away. Use it as a
    context manager.

    Args:
        project: The project.
        for_run: A run will be created, so a host that is started here starts its worker at once.
    """

    def __init__(self, project: Project, *, for_run: bool = False) -> None:
        self._settings = project.settings
        self._root = project.root
        self._files = StateFiles(project.state_dir)
        self._for_run = for_run
        self._attached = self._files.clients_lock()
        self._child: subprocess.Popen[bytes] | None = None
        self._open: Client | None = None
        self._left = threading.Event()

    @property
    def is_embedded(self) -> bool:
        """Whether the control plane is the project's own, not a configured server."""
        return not self._settings.api_url

    @property
    def data_root(self) -> Path | None:
        """Where the tables of an embedded control plane lie."""
        return self._files.data if self.is_embedded else None

    def __enter__(self) -> Self:
        if self.is_embedded:
            # Waits only for a host that is just about to leave.
            self._attached.acquire(shared=True, wait=True)
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
        if self._open is not None:
            self._open.close()
        self._attached.release()

    @cached_property
    def client(self) -> Client:
        """The client; the first use waits until the control plane answers.

        Raises:
            UnavailableError: The configured server cannot be reached, or no host came up.
            ConfigurationError: The host refused to start; the message is its own.
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

    def _start_host(self) -> None:
        command = [sys.executable, "-m", "servo.cli.host", "--project", str(self._root)]
        if self._for_run:
            command.append("--with-worker")
        with self._files.log.open("ab") as log:
            self._child = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Its own session: Ctrl-C and a closed terminal are for the command, not for runs.
                start_new_session=True,
                cwd=self._root,
                env=os.environ | {"PYTHONUNBUFFERED": "1"} | self._settings.for_children(),
            )

    def _replace_lost_hosts(self) -> None:
        """Start a host whenever there is none; it takes the place of one that was killed."""
        for _ in range(_MOST_HOSTS):
            while self._is_hosted():
                if self._left.wait(_WATCH_INTERVAL):
                    return
            if self._left.is_set():
                return
            self._start_host()
            # It takes the lock some time after it was started.
            deadline = time.monotonic() + _START_TIMEOUT
            while not self._is_hosted() and time.monotonic() < deadline:
                if self._left.wait(_POLL_INTERVAL):
                    return

    def _await_host(self) -> Client:
        deadline = time.monotonic() + _START_TIMEOUT
        while time.monotonic() < deadline:
            server = ServerFile.read(self._files.server)
            if server is not None and server.is_alive and self._is_hosted():
                client = self._try_dial(server)
                if client is not None:
                    return client
            code = None if self._child is None else self._child.poll()
            if code not in (None, 0, HOST_LOST_RACE):
                raise self._host_failed(code)
            if (self._child is None or code is not None) and not self._is_hosted():
                self._start_host()
            time.sleep(_POLL_INTERVAL)
        raise errors.UnavailableError(
            f"the control plane of {str(self._root)!r} did not answer within "
            f"{_START_TIMEOUT:.0f} s; its log is {str(self._files.log)!r}"
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
        tail = ""
        if self._files.log.exists():
            with self._files.log.open("rb") as log:
                log.seek(max(self._files.log.stat().st_size - _LOG_TAIL_BYTES, 0))
                tail = log.read().decode(errors="replace").strip()
        last_line = tail.rpartition("\n")[2].removeprefix("Error: ")
        return errors.ConfigurationError(
            f"the embedded control plane did not start (exit {code}): {last_line} "
            f"See {str(self._files.log)!r}."
        )
