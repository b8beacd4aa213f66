"""A control plane in this process: the store, the verbs, the gRPC and the HTTP port together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import grpc.aio

from servo import errors
from servo._wire import METHODS
from servo.client import Tls
from servo.client.transport import SERVER_OPTIONS
from servo.controlplane import health, listener
from servo.controlplane.forward import Front, Relay
from servo.controlplane.keys import KeyRing
from servo.controlplane.limits import MAX_REQUEST_BYTES, RateLimit, connections_of_a_port
from servo.controlplane.pace import WatchLimits
from servo.controlplane.reflection import Reflection
from servo.controlplane.store import address
from servo.controlplane.store.store import Store
from servo.controlplane.term import Term
from servo.controlplane.tls import TlsConfig

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    from servo.controlplane.leader import Election
    from servo.controlplane.oidc import OidcConfig

MIN_API_KEY: Final = 32
"""Characters that the key of a control plane must have that others than this machine reach."""
_EVERYWHERE: Final = ("0.0.0.0", "::")


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneConfig:
    """How a control plane is set up.

    Attributes:
        database: The SQLite file, made when it does not exist; or the ``postgresql://`` URL of a
            database that several control planes may share.
        api_key: A key for everything; empty when only stored keys and tokens are to open it.
        listen: Host and port for gRPC; port 0 takes a free one. Without TLS only loopback.
        http_listen: Host and port for HTTP; by default a free port of the same host.
        advertise: Host and port for gRPC at which the other control planes on the database reach
            this one; by default where it listens.
        peer_ca: PEM file of the authorities that the others' certificates are checked with; by
            default the system's.
        tls: What both ports show and trust; `None` for no TLS.
        oidc: Whose tokens are taken beside keys; `None` for nobody's.
        rate_limit: How many calls each key may make; `None` for any number.
        max_request_bytes: The largest request that is read, at most 4 MiB; most RPCs take less.
        cors_origins: Origins whose pages browsers let call over HTTP.
        http_hosts: Names that HTTP answers for on loopback, beside those of loopback itself.
        lease_length: How long a lease lasts without a heartbeat.
        cancel_grace: How long a cancelled attempt may take to end by itself.
        watch_limits: How slow those who watch may be.
        max_tasks_per_tenant: Attempts that one tenant may have under way; 0 for no limit.
        max_tasks: Attempts that all tenants may have under way together, shared fairly; 0 for no
            limit.
    """

    database: Path | str
    api_key: str = ""
    listen: str = "127.0.0.1:0"
    http_listen: str = ""
    advertise: str = ""
    peer_ca: Path | None = None
    tls: TlsConfig | None = None
    oidc: OidcConfig | None = None
    rate_limit: RateLimit | None = None
    max_request_bytes: int = MAX_REQUEST_BYTES
    cors_origins: tuple[str, ...] = ()
    http_hosts: tuple[str, ...] = ()
    lease_length: timedelta = timedelta(seconds=30)
    cancel_grace: timedelta = timedelta(seconds=10)
    watch_limits: WatchLimits = WatchLimits()
    max_tasks_per_tenant: int = 0
    max_tasks: int = 0

    @property
    def location(self) -> Path | str:
        """The path of the file, or the URL.

        Raises:
            servo.errors.ConfigurationError: It is neither.
        """
        return self.database if isinstance(self.database, Path) else address.parse(self.database)

    @property
    def http_address(self) -> str:
        """Where HTTP listens."""
        return self.http_listen or f"{self.listen.rpartition(':')[0]}:0"

    @property
    def is_own_name(self) -> listener.OwnNames:
        """Tells for which hosts HTTP answers.

        Raises:
            servo.errors.ConfigurationError: Its address is malformed.
        """
        return listener.OwnNames(self.http_address, self.http_hosts)

    @property
    def is_exposed(self) -> bool:
        """Whether others than this machine can reach it.

        Raises:
            servo.errors.ConfigurationError: An address is malformed.
        """
        addresses = (self.listen, self.http_address)
        return not all(listener.is_loopback(listener.split(one)[0]) for one in addresses)


class ControlPlane:
    """A control plane that others reach over gRPC and HTTP.

    With a SQLite file it schedules as long as it serves. Of several on one PostgreSQL database
    one schedules, and the others pass on to it what they are asked.

    Args:
        config: How it is set up.
    """

    def __init__(self, config: ControlPlaneConfig) -> None:
        self._config = config
        self._term: Term | None = None
        self._relay: Relay | None = None
        self._election: Election | None = None
        self._server: grpc.aio.Server | None = None
        self._http: listener.HttpListener | None = None
        self._health: health.Health | None = None
        self.grpc_url = ""
        self.http_url = ""

    @property
    def is_scheduling(self) -> bool:
        """Whether it is this one, of those that share a database, that schedules."""
        return self._term is not None

    @property
    def store(self) -> Store:
        """The store of a control plane that schedules."""
        return self._current.store

    @property
    def keys(self) -> KeyRing:
        """The keys of a control plane that schedules."""
        return self._current.keys

    @property
    def _current(self) -> Term:
        if self._term is None:
            raise RuntimeError("the control plane was not started, or another one schedules")
        return self._term

    @property
    def active_runs(self) -> int:
        """The number of runs that have not ended."""
        return self._term.plane.active_runs if self._term else 0

    @property
    def active_workspaces(self) -> tuple[tuple[str, str], ...]:
        """Tenant and workspace of those that have runs that have not ended."""
        return self._term.plane.active_workspaces if self._term else ()

    @property
    def connected_workers(self) -> int:
        """The number of workers that hold a session."""
        return self._term.plane.connected_workers if self._term else 0

    @property
    def watchers(self) -> int:
        """The number of streams that follow a run or its log."""
        return self._term.plane.watchers if self._term else 0

    async def start(self) -> str:
        """Go on with what had not ended and serve; return the gRPC URL, `http_url` has the other.

        Raises:
            servo.errors.ConfigurationError: The database is in use, too new or too old, a TLS file
                cannot be used, or others could reach the control plane without TLS or a key.
            servo.errors.FilesystemError: The database cannot be opened.
            servo.errors.UnavailableError: An address cannot be listened on, or the database does
                not answer.
        """
        config = self._config
        _check_exposure(config)
        ssl_context = None if config.tls is None else config.tls.ssl_context()
        database = config.location
        try:
            if isinstance(database, Path):
                handler, app = await self._prepare_alone(database)
            else:
                handler, app = await self._prepare_shared(database)
            self._http = listener.HttpListener(app, config.http_address, ssl_context)
            port = self._bind_grpc(handler)
            self.http_url = self._http.start()
            url = self.grpc_url = f"{self._scheme}://{config.listen.rpartition(':')[0]}:{port}"
            if self._term is not None:
                await self._term.begin()
            assert self._server is not None
            await self._server.start()
            if isinstance(database, str):
                own_address = f"{self._scheme}://{config.advertise}" if config.advertise else url
                from servo.controlplane.leader import Election

                self._election = Election(database, own_address, self._lead, self._follow)
                await self._election.start()
        except errors.ServoError:
            await self.stop()
            raise
        return url

    @property
    def _scheme(self) -> str:
        return "grpc" if self._config.tls is None else "grpcs"

    async def _prepare_alone(self, path: Path) -> tuple[grpc.GenericRpcHandler, Any]:
        from servo.controlplane.store.sqlite import SqliteStore

        term = self._term = Term(self._config, SqliteStore(path))
        await term.keys.load()
        self._require_keys(term.keys.is_empty)
        return term.router, term.app

    async def _prepare_shared(self, url: str) -> tuple[grpc.GenericRpcHandler, Any]:
        from servo.controlplane.store.postgres import check

        config = self._config
        _check_advertised(config)
        has_keys = await asyncio.to_thread(check, url)
        self._require_keys(not config.api_key and not has_keys)
        tls = config.tls
        shown = (None, None) if tls is None or tls.client_ca is None else (tls.cert, tls.key)
        self._relay = Relay(Tls(ca=config.peer_ca, cert=shown[0], key=shown[1]))
        front = Front(lambda: self._term, self._relay, config)
        return front, front

    def _require_keys(self, is_empty: bool) -> None:
        config = self._config
        shared = isinstance(config.location, str)
        if not is_empty or config.oidc is not None or not (config.is_exposed or shared):
            return
        which = "the same for every control plane on the database" if shared else "for everything"
        raise errors.ConfigurationError(
            f"nothing could authenticate at {config.listen!r}: set SERVO_API_KEY, {which} (at "
            f"least {MIN_API_KEY} characters), or start it on loopback and make a key with "
            "'servo keys create'",
            code="LISTEN_WITHOUT_AUTH",
        )

    @asynccontextmanager
    async def _lead(self, epoch: int, lost: asyncio.Event) -> AsyncIterator[None]:
        """Schedule while a block runs."""
        from servo.controlplane.store.postgres import PostgresStore

        database = self._config.location
        assert isinstance(database, str)
        store = await asyncio.to_thread(PostgresStore, database, epoch)
        term = Term(self._config, store, on_lost=lost.set)
        try:
            await term.keys.load()
            await term.begin()
            self._term = term
            yield
        finally:
            self._term = None
            await term.end()

    def _follow(self, leader: str) -> None:
        assert self._relay is not None
        self._relay.follow(leader)

    def _bind_grpc(self, handler: grpc.GenericRpcHandler) -> int:
        config = self._config
        options = [
            *SERVER_OPTIONS,
            ("grpc.max_receive_message_length", min(config.max_request_bytes, MAX_REQUEST_BYTES)),
            ("grpc.max_allowed_incoming_connections", connections_of_a_port()),
        ]
        self._health = health.Health(frozenset(method.service for method in METHODS.values()))
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers((handler, self._health, Reflection(_contract_files)))
        try:
            if config.tls is None:
                return self._server.add_insecure_port(config.listen)
            return self._server.add_secure_port(config.listen, config.tls.grpc_credentials())
        except RuntimeError as exc:
            raise errors.UnavailableError(
                f"cannot listen on {config.listen!r}: {exc}", code="LISTEN_FAILED"
            ) from exc

    async def stop(self) -> None:
        """Record what is under way and stop serving; runs go on at the next start."""
        if self._health is not None:
            self._health.stop()
        if self._election is not None:
            await self._election.stop()
        term, self._term = self._term, None
        if term is not None:
            await term.plane.stop()
        if self._http is not None:
            await self._http.stop()
        if self._server is not None:
            await self._server.stop(grace=1)
        if self._relay is not None:
            await self._relay.close()
        if term is not None:
            term.store.close()
        self._election = self._relay = self._server = self._http = self._health = None


def _check_exposure(config: ControlPlaneConfig) -> None:
    if not config.is_exposed:
        return
    if config.tls is None:
        raise errors.ConfigurationError(
            f"cannot listen on {config.listen!r} and {config.http_address!r} without TLS: keys "
            "would cross the network in the clear. Give --tls-cert and --tls-key, or listen on "
            "loopback (127.0.0.1, localhost or [::1]) behind a proxy that has TLS",
            code="LISTEN_NOT_LOOPBACK",
        )
    if 0 < len(config.api_key) < MIN_API_KEY:
        raise errors.ConfigurationError(
            f"the API key for {config.listen!r} has {len(config.api_key)} characters; one that the "
            f"network can try needs {MIN_API_KEY} random ones, such as `openssl rand -hex 32` "
            "makes",
            code="API_KEY_TOO_SHORT",
        )


def _check_advertised(config: ControlPlaneConfig) -> None:
    host, _ = listener.split(config.advertise or config.listen)
    if host in _EVERYWHERE:
        raise errors.ConfigurationError(
            f"the other control planes on the database cannot reach {host!r}; give --advertise "
            "HOST:PORT, the address of this one that they can reach",
            code="ADVERTISE_MISSING",
        )


def _contract_files() -> Iterable[FileDescriptorProto]:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from servo._wire import schema

    found = FileDescriptorSet.FromString(schema.descriptor_set())
    return (*found.file, health.describe())
