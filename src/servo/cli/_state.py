"""The files by which the processes of one project find each other, below ``.servo/``.

``host.lock``
    Held exclusively by the process that hosts the control plane, for as long as it lives. Its
    text says who that is.
``clients.lock``
    Held shared by every command that uses the control plane. A background host that gets it
    exclusively knows that nobody is attached, and keeps it until it is gone: a command that
    arrives in that moment waits, and then starts a host of its own.
``server.json``
    Where the control plane listens, and the key it asks for; readable by the owner only.

Locks are advisory ``flock`` locks: the kernel releases them with the process, however it ends.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, Self

from servo import errors

_OWNER_ONLY: Final = 0o600


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
    """

    grpc_url: str
    api_key: str = field(repr=False)
    pid: int
    http_url: str = ""

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
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            # Half-made files do not exist (they are renamed into place), so this one was
            # damaged by somebody else: as good as absent, since a live host is found by its lock.
            return None

    def write(self, path: Path) -> None:
        """Write the file in one step, readable by the owner only."""
        from servo.manifest import atomic

        document = {
            "grpcUrl": self.grpc_url,
            "httpUrl": self.http_url,
            "apiKey": self.api_key,
            "pid": self.pid,
        }
        atomic.write(path, f"{json.dumps(document)}\n".encode(), mode=_OWNER_ONLY)

    @property
    def is_alive(self) -> bool:
        """Whether a process with that id exists; it may be another one by now."""
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        return True


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

    def write_owner(self, kind: HostKind) -> None:
        """Say in the file who holds the lock; call it while holding it."""
        assert self._handle is not None
        os.ftruncate(self._handle, 0)
        os.pwrite(self._handle, json.dumps({"kind": kind, "pid": os.getpid()}).encode(), 0)

    def read_owner(self) -> tuple[HostKind, int] | None:
        """Return who last said to hold the lock, whether or not it is held now."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self._path.read_text(encoding="utf-8"))
            return HostKind(found["kind"]), int(found["pid"])
        return None

    def _open(self) -> int:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
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
    def data(self) -> Path:
        """The tables."""
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the background host and its worker print."""
        return self.directory / "host.log"

    def host_lock(self) -> FileLock:
        """The lock of the process that hosts the control plane."""
        return FileLock(self.directory / "host.lock")

    def clients_lock(self) -> FileLock:
        """The lock of the commands that use it."""
        return FileLock(self.directory / "clients.lock")
