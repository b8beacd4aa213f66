# Generated from src/servo/client/_aio/_client.py by scripts/_unasync.py; edit that instead.
"""The client: a control plane as Python objects."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from servo.client._auth import Credentials, KeyProvider
from servo.client._breaker import breaker_for
from servo.client._metadata import Metadata, identity, metadata_of
from servo.client._options import (
    UNSET,
    Limits,
    Timeout,
    Unset,
    checked_timeout,
    options_of,
    retries_of,
)
from servo.client._retries import Retries
from servo.client._sync._assets import Assets
from servo.client._sync._calls import Calls, Transport
from servo.client._sync._deployments import Deployments
from servo.client._sync._events import Events
from servo.client._sync._grpc import GrpcTransport
from servo.client._sync._interceptors import Interceptor, InterceptorFunction, Users
from servo.client._sync._keys import Keys
from servo.client._sync._logs import Logs
from servo.client._sync._pools import Pools
from servo.client._sync._retry import Retry
from servo.client._sync._runs import Runs
from servo.client._sync._server import Server
from servo.client._sync._steps import Auth, Deadline, Errors, Identity, RequestId
from servo.client._sync._traced import Tracing
from servo.client._sync._workers import Workers
from servo.client._tls import Tls
from servo.client.transport import MAX_RESPONSE_BYTES, Address

if TYPE_CHECKING:
    from servo.config.settings import Settings


class Client:
    """A connection to a control plane; may be used by several threads.

    It connects with the first call. Close it when done, or use it in a ``with`` statement::

        with Client("grpc://127.0.0.1:7433", api_key=key) as client:
            created = client.runs.create(["raw.*"])
            for event in client.runs.watch(created.run.run_id):
                print(event)

    Args:
        url: ``grpc://HOST:PORT`` or ``http://HOST:PORT``, ``grpcs://`` or ``https://`` for TLS.
        api_key: Key of the control plane, a `TokenFile`, or a function that returns the key and is
            asked for each call.
        tenant_id: Tenant to act for.
        workspace_id: Workspace to act in.
        source: Tool that calls, recorded by the control plane.
        timeout: Seconds that a call may take with all of its attempts, and that streams are opened
            again while the control plane cannot be reached; 0 fails at once, ``None`` is no limit.
            30 when left out, and then deploying and planning may take longer.
        retries: How often a call that does no harm twice is repeated, 2 when left out; or a policy.
        interceptors: What sees every attempt, outermost first: objects with ``unary`` and
            ``stream``, or functions of ``(call, proceed)``.
        metadata: What every call carries besides; wins over what the client would say itself.
        tls: Whom to trust, and who one is; the system's authorities when left out.
        max_response_bytes: The largest answer that is taken.
        clock: Seconds, monotonic; for tests.

    Attributes:
        deployments: Deploying, and what was deployed.
        runs: Starting, reading, holding, stopping and following runs.
        events: Everything that has happened.
        pools: How many attempts may use something at once.
        assets: Assets and what was produced of them.
        logs: What attempts wrote.
        server: The control plane itself.
        keys: API keys.
        workers: The session of a worker.

    Raises:
        ConfigurationError: The URL is malformed, an identity or the key cannot be sent, or the key
            would be sent in plain text to another machine.
    """

    deployments: Deployments
    runs: Runs
    events: Events
    pools: Pools
    assets: Assets
    logs: Logs
    server: Server
    keys: Keys
    workers: Workers

    def __init__(
        self,
        url: str,
        *,
        api_key: str | KeyProvider | None = None,
        tenant_id: str = "default",
        workspace_id: str = "default",
        source: str = "sdk",
        timeout: Timeout = UNSET,
        retries: Retries | int | None = None,
        interceptors: Iterable[Interceptor | InterceptorFunction] = (),
        metadata: Mapping[str, str] | None = None,
        tls: Tls | None = None,
        max_response_bytes: int = MAX_RESPONSE_BYTES,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._address = Address.parse(url, http=True)
        self._identity = Identity(identity(tenant_id, workspace_id, source))
        self._auth = Auth(Credentials(api_key, self._address) if api_key else None)
        self._users = Users(interceptors)
        self._clock = clock
        self._breaker = breaker_for(self._address.origin, clock)
        self._transport = _transport(url, self._address, tls or Tls(), max_response_bytes)
        self._settle(metadata_of(metadata), Limits.of(timeout, retries))

    @classmethod
    def from_settings(cls, settings: Settings, **options: Any) -> Self:
        """Make a client for the control plane that settings name.

        Args:
            settings: What `servo.config.load` found.
            options: Arguments of the client that win over the settings.

        Raises:
            ConfigurationError: No control plane is configured, or a setting cannot be used.
        """
        return cls(**{**options_of(settings), **options})

    def with_options(
        self,
        *,
        timeout: Timeout = UNSET,
        retries: Retries | int | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> Self:
        """Return a client for some calls; it shares the connection of this one.

        Args:
            timeout: Seconds that each of its calls may take; this client's when left out.
            retries: How often its calls are repeated; as this client's when left out.
            metadata: What its calls carry in addition.

        Raises:
            ConfigurationError: An option makes no sense.
        """
        limits = self._limits
        changed = Limits(
            timeout=limits.timeout if isinstance(timeout, Unset) else checked_timeout(timeout),
            is_given=limits.is_given or not isinstance(timeout, Unset),
            retries=limits.retries if retries is None else retries_of(retries),
        )
        more = Metadata(self._metadata)
        more.update(metadata_of(metadata))
        other = object.__new__(type(self))
        other.__dict__.update(self.__dict__)
        other._settle(more, changed)
        return other

    def _settle(self, metadata: Metadata, limits: Limits) -> None:
        self._metadata = metadata
        self._limits = limits
        self._calls = calls = Calls(
            self._transport,
            (
                Errors(),
                self._identity,
                RequestId(),
                self._auth,
                Deadline(),
                Retry(limits.retries, self._breaker),
                Tracing(),
                self._users,
            ),
            url=self._url,
            address=self._address,
            metadata=metadata,
            limits=limits,
            clock=self._clock,
        )
        self.deployments = Deployments(calls)
        self.runs = Runs(calls)
        self.events = Events(calls)
        self.pools = Pools(calls)
        self.assets = Assets(calls)
        self.logs = Logs(calls)
        self.server = Server(calls)
        self.keys = Keys(calls)
        self.workers = Workers(calls)

    def close(self) -> None:
        """Close the connection; calls that are under way fail."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._url!r})"


def _transport(url: str, address: Address, tls: Tls, max_bytes: int) -> Transport:
    if not address.is_http:
        return GrpcTransport(url, address, tls, max_bytes)
    from servo.client._sync._http import HttpTransport

    return HttpTransport(url, address, tls, max_bytes)
