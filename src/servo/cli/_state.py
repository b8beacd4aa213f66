"""The files by which the processes of one project find each other, below ``.servo/``.

``host.lock``
    Held exclusively by the process that hosts the control plane, for as long as it lives. Its
    text says who that is.
``clients.lock``
    Held shared by every command that uses the control plane. A background host that gets it
    exclusively knows that nobody is attached, and keeps it until it is gone: a command that
    arrives in that moment waits, and then starts a host of its own.
``runs.lock``
    Held shared by every command that creates a run. A command whose environment differs from the
    host's takes it exclusively while it asks the host to leave, so that no run begins meanwhile.
``server.json``
    Where the control plane listens, the key it asks for, and the environment of its tasks without
    the values; readable by the owner only. It outlives a host that was killed: the next one takes
    its place, at its address.

The directory is for its owner only, and so is what lies in it.

Locks are advisory ``flock`` locks: the kernel releases them with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from servo import errors
from servo.cli._environment import Environment
from servo.manifest import private

_OWNER_ONLY: Final = 0o600
_OWNER_BYTES: Final = 96


class HostKind(StrEnum):
    """Why a control plane runs."""

    BACKGROUND = "background"
    DEV = "dev"


@dataclass(frozen=True, slots=True)
class ServerFile:
    """The contents of ``server.json``.

    Attributes:
        grpc_url: Address of the control plane, ``grpc://HOST:PORT``.
        api_key: Key that it asks for.
        pid: Process that hosts it.
        http_url: The same over HTTP, ``http://HOST:PORT``; empty in a file of an older version.
        environment: The environment of the tasks; ``None`` in a file of an older version.
        waits: Whether runs wait that were asked for in ``environment``, which this host has not.
        database: Identifies the file of the database; empty in a file of an older version.
    """

    grpc_url: str
    api_key: str = field(repr=False)
    pid: int
    http_url: str = ""
    environment: Environment | None = field(default=None, repr=False)
    waits: bool = False
    database: str = ""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read the file; ``None`` where there is none, or none that makes sense."""
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                grpc_url=str(found["grpcUrl"]),
                http_url=str(found.get("httpUrl", "")),
                api_key=str(found["apiKey"]),
                pid=int(found["pid"]),
                environment=Environment.from_document(found.get("environment")),
                waits=bool(found.get("waits", False)),
                database=str(found.get("database", "")),
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Half-made files do not exist (they are renamed into place), so this one was
            # damaged by somebody else: as good as absent, since a live host is found by its lock.
            return None

    def write(self, path: Path) -> None:
        """Write the file in one step, readable by the owner only."""
        from servo.manifest import atomic

        document: dict[str, object] = {
            "grpcUrl": self.grpc_url,
            "httpUrl": self.http_url,
            "apiKey": self.api_key,
            "pid": self.pid,
        }
        if self.waits:
            document["waits"] = True
        if self.database:
            document["database"] = self.database
        if self.environment is not None:
            document["environment"] = self.environment.to_document()
        atomic.write(path, f"{json.dumps(document)}\n".encode(), mode=_OWNER_ONLY)

    @property
    def is_alive(self) -> bool:
        """Whether a process with that id exists; it may be another one by now."""
        if os.name == "nt":
            return False  # no host runs there, and `os.kill` would send a signal
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


@dataclass(frozen=True, slots=True)
class Owner:
    """What the text of ``host.lock`` says of the host.

    Attributes:
        kind: Why it runs.
        pid: Its process.
        is_busy: Whether runs are active; ``None`` where an older version does not say.
    """

    kind: HostKind
    pid: int
    is_busy: bool | None = None


class FileLock:
    """An ``flock`` lock on one file; released by ``release`` or with the process.

    Args:
        path: The file; it and its directory are created when absent, and never deleted, because
            deleting a lock file lets two processes hold "the" lock.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._handle: int | None = None

    def acquire(self, *, shared: bool = False, wait: bool = False) -> bool:
        """Take the lock.

        Args:
            shared: Let others hold it shared at the same time.
            wait: Wait for it; an interrupt ends the wait.

        Returns:
            Whether the lock is held now.

        Raises:
            FilesystemError: The file cannot be opened or locked.
        """
        from servo._posix import fcntl  # late: commands for a server elsewhere need no lock

        if self._handle is None:
            self._handle = self._open()
        operation = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        try:
            fcntl.flock(self._handle, operation | (0 if wait else fcntl.LOCK_NB))
        except OSError as exc:
            self.release()
            if exc.errno in (errno.EAGAIN, errno.EACCES):
                return False
            raise self._failed("lock", exc) from exc
        return True

    def release(self) -> None:
        """Release the lock if it is held."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def write_owner(self, kind: HostKind, *, is_busy: bool = True) -> None:
        """Say in the file who holds the lock; call it while holding it.

        Args:
            kind: Why this process holds it.
            is_busy: Whether runs are active.
        """
        assert self._handle is not None
        document = {"kind": kind, "pid": os.getpid(), "busy": is_busy}
        text = json.dumps(document).encode()
        # One call, so that a reader sees one text or the other; white space takes what was longer.
        os.pwrite(self._handle, text.ljust(_OWNER_BYTES), 0)
        os.ftruncate(self._handle, max(len(text), _OWNER_BYTES))

    def read_owner(self) -> Owner | None:
        """Return who last said to hold the lock, whether or not it is held now."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return Owner(HostKind(found["kind"]), int(found["pid"]), found.get("busy"))
        return None

    def _open(self) -> int:
        try:
            private.directory(self._path.parent)
            return os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
        except OSError as exc:
            raise self._failed("open", exc) from exc

    def _failed(self, verb: str, error: OSError) -> errors.FilesystemError:
        return errors.FilesystemError(
            f"cannot {verb} {str(self._path)!r}: {error.strerror}. "
            f"Servo keeps its state in that directory and must be able to write there."
        )


@dataclass(frozen=True, slots=True)
class StateFiles:
    """The paths below a project's ``.servo`` directory."""

    directory: Path

    @property
    def server(self) -> Path:
        """Where the control plane listens."""
        return self.directory / "server.json"

    @property
    def database(self) -> Path:
        """The control plane's store."""
        return self.directory / "servo.db"

    @property
    def log(self) -> Path:
        """What the background host and its worker print."""
        return self.directory / "host.log"

    def open_log(self) -> int:
        """Open the log for appending; return the descriptor."""
        return private.open_append(self.log)

    def database_id(self) -> str:
        """Identify the file of the database; empty where there is none.

        A file that was removed or replaced below a running control plane is another one.
        """
        try:
            found = self.database.stat()
        except OSError:
            return ""
        return f"{found.st_dev}:{found.st_ino}"

    def host_lock(self) -> FileLock:
        """The lock of the process that hosts the control plane."""
        return FileLock(self.directory / "host.lock")

    def clients_lock(self) -> FileLock:
        """The lock of the commands that use it."""
        return FileLock(self.directory / "clients.lock")

    def runs_lock(self) -> FileLock:
        """The lock of the commands that create runs."""
        return FileLock(self.directory / "runs.lock")
