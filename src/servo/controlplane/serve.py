"""A control plane in this process: the store, the verbs, the gRPC and the HTTP port together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

import grpc.aio

from servo import errors
from servo._wire import METHODS
from servo.client.transport import SERVER_OPTIONS
from servo.controlplane import health, listener
from servo.controlplane.endpoints import Endpoints
from servo.controlplane.http import HttpApp
from servo.controlplane.identity import Gate
from servo.controlplane.keys import KeyRing
from servo.controlplane.limits import MAX_REQUEST_BYTES, Limiter, RateLimit
from servo.controlplane.plane import Plane
from servo.controlplane.reflection import Reflection
from servo.controlplane.rpc import Router
from servo.controlplane.service import Service
from servo.controlplane.store.sqlite import SqliteStore
from servo.controlplane.tls import TlsConfig

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

    from servo.controlplane.oidc import OidcConfig

MIN_API_KEY: Final = 32
"""Characters that the key of a control plane must have that others than this machine reach."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlPlaneConfig:
    """How a control plane is set up.

    Attributes:
        database: The SQLite file; made when it does not exist.
        api_key: A key for everything; empty when only stored keys and tokens are to open it.
        listen: Host and port for gRPC; port 0 takes a free one. Without TLS only loopback.
        http_listen: Host and port for HTTP; by default a free port of the same host.
        tls: What both ports show and trust; `None` for no TLS.
        oidc: Whose tokens are taken beside keys; `None` for nobody's.
        rate_limit: How many calls each key may make; `None` for any number.
        max_request_bytes: The largest request that is read.
        cors_origins: Origins whose pages browsers let call over HTTP.
        lease_length: How long a lease lasts without a heartbeat.
        cancel_grace: How long a cancelled attempt may take to end by itself.
    """

    database: Path
    api_key: str = ""
    listen: str = "127.0.0.1:0"
    http_listen: str = ""
    tls: TlsConfig | None = None
    oidc: OidcConfig | None = None
    rate_limit: RateLimit | None = None
    max_request_bytes: int = MAX_REQUEST_BYTES
    cors_origins: tuple[str, ...] = ()
    lease_length: timedelta = timedelta(seconds=30)
    cancel_grace: timedelta = timedelta(seconds=10)

    @property
    def http_address(self) -> str:
        """Where HTTP listens."""
        return self.http_listen or f"{self.listen.rpartition(':')[0]}:0"

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

    Args:
        config: How it is set up.
    """

    def __init__(self, config: ControlPlaneConfig) -> None:
        self._config = config
        self._store: SqliteStore | None = None
        self._plane: Plane | None = None
        self._server: grpc.aio.Server | None = None
        self._http: listener.HttpListener | None = None
        self._health: health.Health | None = None
        self._keys: KeyRing | None = None
        self.http_url = ""

    @property
    def store(self) -> SqliteStore:
        """The store of a control plane that was started."""
        if self._store is None:
            raise RuntimeError("the control plane was not started")
        return self._store

    @property
    def keys(self) -> KeyRing:
        """The keys of a control plane that was started."""
        if self._keys is None:
            raise RuntimeError("the control plane was not started")
        return self._keys

    @property
    def active_runs(self) -> int:
        """The number of runs that have not ended."""
        return self._plane.active_runs if self._plane else 0

    @property
    def active_workspaces(self) -> tuple[tuple[str, str], ...]:
        """Tenant and workspace of those that have runs that have not ended."""
        return self._plane.active_workspaces if self._plane else ()

    @property
    def connected_workers(self) -> int:
        """The number of workers that hold a session."""
        return self._plane.connected_workers if self._plane else 0

    @property
    def watchers(self) -> int:
        """The number of streams that follow a run or its log."""
        return self._plane.watchers if self._plane else 0

    async def start(self) -> str:
        """Go on with what had not ended and serve; return the gRPC URL, `http_url` has the other.

        Raises:
            servo.errors.ConfigurationError: The database is in use or too new, a TLS file cannot
                be used, or others could reach the control plane without TLS or without a key.
            servo.errors.FilesystemError: The database cannot be opened.
            servo.errors.UnavailableError: An address cannot be listened on.
        """
        config = self._config
        _check_exposure(config)
        ssl_context = None if config.tls is None else config.tls.ssl_context()
        self._store = SqliteStore(config.database)
        try:
            keys = self._keys = KeyRing(self._store, config.api_key)
            await keys.load()
            if config.is_exposed and keys.is_empty and config.oidc is None:
                raise errors.ConfigurationError(
                    f"nothing could authenticate at {config.listen!r}: set SERVO_API_KEY (at least "
                    f"{MIN_API_KEY} characters), or start it on loopback and make a key with "
                    "'servo keys create'",
                    code="LISTEN_WITHOUT_AUTH",
                )
            plane = self._plane = Plane(
                self._store, lease_length=config.lease_length, cancel_grace=config.cancel_grace
            )
            endpoints = self._endpoints(plane, keys)
            app = HttpApp(
                endpoints,
                lambda: not plane.is_stopping,
                max_request_bytes=config.max_request_bytes,
                cors_origins=config.cors_origins,
            )
            self._http = listener.HttpListener(app, config.http_address, ssl_context)
            port = self._bind_grpc(endpoints)
            self.http_url = self._http.start()
        except errors.ServoError:
            await self.stop()
            raise
        await plane.start()
        assert self._server is not None
        await self._server.start()
        scheme = "grpc" if config.tls is None else "grpcs"
        return f"{scheme}://{config.listen.rpartition(':')[0]}:{port}"

    def _endpoints(self, plane: Plane, keys: KeyRing) -> Endpoints:
        config = self._config
        tokens = None
        if config.oidc is not None:
            from servo.controlplane.oidc import OidcVerifier

            tokens = OidcVerifier(config.oidc)
        gate = Gate(
            keys,
            plane.has_workspace,
            limiter=None if config.rate_limit is None else Limiter(config.rate_limit),
            tokens=tokens,
        )
        return Endpoints(Service(plane, keys), gate)

    def _bind_grpc(self, endpoints: Endpoints) -> int:
        config = self._config
        options = [
            *SERVER_OPTIONS,
            ("grpc.max_receive_message_length", config.max_request_bytes),
        ]
        self._health = health.Health(frozenset(method.service for method in METHODS.values()))
        self._server = grpc.aio.server(options=options)
        self._server.add_generic_rpc_handlers(
            (Router(endpoints), self._health, Reflection(_contract_files))
        )
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
        if self._plane is not None:
            await self._plane.stop()
        if self._http is not None:
            await self._http.stop()
        if self._server is not None:
            await self._server.stop(grace=1)
        if self._store is not None:
            self._store.close()
        self._plane = self._server = self._store = self._http = self._health = None


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


def _contract_files() -> Iterable[FileDescriptorProto]:
    from google.protobuf.descriptor_pb2 import FileDescriptorSet

    from servo._wire import schema

    found = FileDescriptorSet.FromString(schema.descriptor_set())
    return (*found.file, health.describe())
