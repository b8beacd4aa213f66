"""The HTTP side of the control plane: the method table over the Connect protocol, as ASGI.

``POST /arco.v1.Service/Method`` with JSON or protobuf, for unary RPCs and server streams; what
needs both directions at once (a worker's session) is for gRPC. Beside it ``GET /healthz`` says
that the process lives, ``GET /readyz`` that it serves.
"""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, MutableMapping
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import Any, Final

from servo import _wire, errors
from servo._wire import Method, MethodKind
from servo.controlplane import connect
from servo.controlplane.connect import Codec, RequestTooLargeError, UnimplementedError
from servo.controlplane.endpoints import Endpoint, Served, note_failure, too_large
from servo.controlplane.identity import REQUEST_ID_HEADER, request_id_of
from servo.controlplane.limits import MAX_REQUEST_BYTES, HttpLimits

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = dict[str, str]

_DRAINED_BYTES: Final = 64 * 1024 * 1024
_MAX_AGE: Final = "7200"
_ALLOWED_HEADERS: Final = (
    "authorization, connect-protocol-version, connect-timeout-ms, content-type, traceparent, "
    "tracestate, x-servo-request-id, x-servo-source, x-servo-tenant-id, x-servo-workspace-id"
)
_EXPOSED_HEADERS: Final = "retry-after, x-servo-request-id"


class HttpApp:
    """An ASGI application.

    Args:
        endpoints: The verbs by path.
        is_ready: Tells whether the control plane serves.
        max_request_bytes: The largest body that is read.
        cors_origins: Origins whose pages browsers let in, such as ``http://localhost:5173``.
        is_own_name: Tells whether a host is one that is answered for; by default every one is.
        max_calls_per_tenant: How many calls of one tenant are answered at a time: each takes a
            connection, and a stream keeps it.
    """

    def __init__(
        self,
        endpoints: Served,
        is_ready: Callable[[], bool],
        *,
        max_request_bytes: int = MAX_REQUEST_BYTES,
        cors_origins: Iterable[str] = (),
        is_own_name: Callable[[str], bool] = lambda host: True,
        max_calls_per_tenant: int | None = None,
    ) -> None:
        self._max_calls = max_calls_per_tenant or HttpLimits().most_connections // 2
        self._calls: Counter[str] = Counter()
        self._is_own_name = is_own_name
        self._endpoints = endpoints
        self._is_ready = is_ready
        self._max_request_bytes = max_request_bytes
        self._cors_origins = frozenset(cors_origins)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        if scope["type"] != "http":
            return
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        exchange = _Exchange(headers, receive, send, self._cors_headers(headers))
        path, verb = scope["path"], scope["method"]
        if not self._is_own_name(headers.get("host", "")):
            await exchange.refuse(
                421,
                f"the host {headers['host'][:100]!r} is not answered for here; call a loopback "
                "address, or start the control plane with --http-host",
            )
        elif verb == "OPTIONS" and "access-control-request-method" in headers:
            await exchange.respond(204)
        elif path in ("/healthz", "/readyz"):
            if verb not in ("GET", "HEAD"):
                await exchange.refuse(405, "only GET is answered here", {"allow": "GET, HEAD"})
                return
            ready = path == "/healthz" or self._is_ready()
            document = {"status": "ok" if ready else "stopping"}
            await exchange.respond(200 if ready else 503, _json(document))
        elif (endpoint := self._endpoints.by_path.get(path)) is None:
            await exchange.refuse(404, "there is no such RPC; the path is /arco.v1.SERVICE/METHOD")
        elif verb != "POST":
            await exchange.refuse(405, "an RPC is called with POST", {"allow": "POST"})
        else:
            await self._call(endpoint, exchange)

    def _cors_headers(self, headers: Headers) -> Headers:
        if not self._cors_origins:
            return {}
        answer = {"vary": "origin"}
        if headers.get("origin") in self._cors_origins:
            answer["access-control-allow-origin"] = headers["origin"]
            answer["access-control-expose-headers"] = _EXPOSED_HEADERS
            if "access-control-request-method" in headers:
                answer["access-control-allow-methods"] = "POST"
                answer["access-control-allow-headers"] = _ALLOWED_HEADERS
                answer["access-control-max-age"] = _MAX_AGE
        return answer

    async def _call(self, endpoint: Endpoint, exchange: _Exchange) -> None:
        kind = endpoint.method.kind
        codec = connect.codec_of(exchange.headers.get("content-type", ""), kind)
        if codec is None:
            # A stream over HTTP/1.1 goes one way only, whatever its content type.
            accepted = ", ".join(connect.content_types(kind))
            reason = f"the content type must be one of {accepted}"
            await exchange.refuse(415, reason, {"accept-post": accepted})
        elif kind is MethodKind.UNARY:
            await self._unary(endpoint, exchange, codec)
        else:
            await self._stream(endpoint, exchange, codec)

    async def _unary(self, endpoint: Endpoint, exchange: _Exchange, codec: Codec) -> None:
        method = endpoint.method
        try:
            # Before the body: who may not call does not get us to read megabytes.
            caller = await self._endpoints.gate.admit(method, exchange.identity)
            timeout = connect.timeout_of(exchange.headers, method.kind)
            async with self._place_of(caller), _deadline(timeout, method.path):
                body = await exchange.body(method, self._limit(method))
                request = await self._decoded(caller, codec, method, body)
                response = await endpoint.verb(caller, request)
                data = await self._encoded(caller, codec, method, response)
        except _CallerGoneError:
            return  # an answer takes a while to make, and very many may go at once
        except Exception as exc:  # everything ends here, as an answer
            await exchange.fail(exc, method.path)
            return
        await exchange.respond(200, data, codec.content_type(method.kind))

    def _place_of(self, caller: Any) -> _Place:
        return _Place(self._calls, self._endpoints.tenant_of(caller), self._max_calls)

    def _limit(self, method: Method[Any, Any]) -> int:
        return min(self._max_request_bytes, method.max_request_bytes)

    async def _decoded(
        self, caller: Any, codec: Codec, method: Method[Any, Any], data: bytes
    ) -> Any:
        tenant_id = self._endpoints.tenant_of(caller)
        decode = partial(codec.decode, method)
        return await self._endpoints.converter.decode(tenant_id, decode, data)

    async def _encoded(
        self, caller: Any, codec: Codec, method: Method[Any, Any], response: Any
    ) -> bytes:
        tenant_id = self._endpoints.tenant_of(caller)
        encode = partial(codec.encode, method)
        return await self._endpoints.converter.encode(tenant_id, encode, response)

    async def _stream(self, endpoint: Endpoint, exchange: _Exchange, codec: Codec) -> None:
        method = endpoint.method
        # What a stream ends with is part of its last message; until then all is well.
        await exchange.start(200, {"content-type": codec.content_type(method.kind)})
        end = connect.end_of_stream()
        try:
            if method.kind is MethodKind.BIDI_STREAM:
                raise UnimplementedError(
                    f"{method.name} is served over gRPC only: HTTP/1.1 cannot carry messages both "
                    "ways at once"
                )
            caller = await self._endpoints.gate.admit(method, exchange.identity)
            timeout = connect.timeout_of(exchange.headers, method.kind)
            async with self._place_of(caller), _deadline(timeout, method.path):
                limit = self._limit(method) + connect.ENVELOPE_BYTES
                body = connect.only_message(await exchange.body(method, limit))
                request = await self._decoded(caller, codec, method, body)
                responses = endpoint.verb(caller, request)
                async with (
                    aclosing(responses),
                    self._endpoints.while_valid(caller),
                    exchange.while_connected(),
                ):
                    async for response in responses:
                        async with self._endpoints.taken_in_time(response):
                            data = await self._encoded(caller, codec, method, response)
                            await exchange.write(connect.envelope(data))
        except _CallerGoneError:
            return
        except Exception as exc:  # everything ends here, as the end of the stream
            end = connect.end_of_stream(exchange.failure(exc, method.path))
        await exchange.write(end, more=False)


class _CallerGoneError(errors.UnavailableError):
    """The caller went away in the middle of its request; there is nobody to answer."""


class _Place:
    """Counts a call of a tenant while a block runs.

    Raises:
        servo.errors.RateLimitedError: There are too many.
    """

    __slots__ = ("_calls", "_most", "_tenant_id")

    def __init__(self, calls: Counter[str], tenant_id: str, most: int) -> None:
        self._calls = calls
        self._tenant_id = tenant_id
        self._most = most

    async def __aenter__(self) -> None:
        if self._calls[self._tenant_id] >= self._most:
            raise errors.RateLimitedError(
                f"{self._most} calls of tenant {self._tenant_id!r} are being answered over HTTP; "
                "end some streams, or call over gRPC",
                code="TENANT_BUSY",
                retry_after=1.0,
            )
        self._calls[self._tenant_id] += 1

    async def __aexit__(self, *_: object) -> None:
        self._calls[self._tenant_id] -= 1
        if not self._calls[self._tenant_id]:
            del self._calls[self._tenant_id]


class _Exchange:
    """One request and its response."""

    def __init__(self, headers: Headers, receive: Receive, send: Send, extra: Headers) -> None:
        self.headers = headers
        self.request_id = request_id_of(headers)
        self.identity: dict[str, str | bytes] = {**headers, REQUEST_ID_HEADER: self.request_id}
        self._receive = receive
        self._send = send
        self._extra = extra | {
            REQUEST_ID_HEADER: self.request_id,
            "cache-control": "no-store",
            "x-content-type-options": "nosniff",
        }
        self._is_read = False

    @property
    def _is_drained(self) -> bool:
        """Whether to pass over what is left of the body, so that its sender sees the answer."""
        announced = self.headers.get("content-length", "")
        if not announced:
            return "transfer-encoding" not in self.headers
        return announced.isdigit() and len(announced) < 12 and int(announced) <= _DRAINED_BYTES

    async def body(self, method: Method[Any, Any], limit: int) -> bytes:
        """Read the body; how long it may take is up to the listener.

        Raises:
            RequestTooLargeError: It is larger than ``limit``.
        """
        parts, size = [], 0
        announced = self.headers.get("content-length", "0")
        if int(announced) > limit:
            raise too_large(method, limit)
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise _CallerGoneError("the caller went away in the middle of the request")
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > limit:
                raise too_large(method, limit)
            if not message.get("more_body"):
                self._is_read = True
                return b"".join(parts)

    def while_connected(self) -> AbstractAsyncContextManager[None]:
        """End a block, as if it were done, when the caller goes away."""
        return _while_connected(self._receive)

    def failure(self, exc: Exception, path: str) -> _wire.ConnectFailure:
        """Return what the caller is told of an error."""
        incident = note_failure(exc, path, self.request_id)
        return _wire.connect_failure_for(exc, incident=incident)

    async def fail(self, exc: Exception, path: str) -> None:
        """Answer with an error of the protocol."""
        failure = self.failure(exc, path)
        status = 413 if isinstance(exc, RequestTooLargeError) else failure.http_status
        extra = dict(failure.headers)
        if status == 401:
            extra["www-authenticate"] = "Bearer"
        await self.respond(status, _json(failure.document), extra=extra)

    async def refuse(self, status: int, reason: str, extra: Headers | None = None) -> None:
        """Answer what is no call of an RPC."""
        code = "unimplemented" if status in (404, 405) else "unknown"
        document = {"code": code, "message": reason}
        await self.respond(status, _json(document), extra=extra)

    async def respond(
        self,
        status: int,
        body: bytes = b"",
        content_type: str = "application/json",
        extra: Headers | None = None,
    ) -> None:
        """Answer with a whole body."""
        headers = {"content-type": content_type, "content-length": str(len(body))}
        await self.start(status, headers | (extra or {}))
        await self.write(body, more=False)

    async def start(self, status: int, headers: Headers) -> None:
        """Send status and headers."""
        found = headers | self._extra
        if status >= 400 and not self._is_read and not self._is_drained:
            found["connection"] = "close"
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [
                    (name.encode(), value.encode("latin-1")) for name, value in found.items()
                ],
            }
        )

    async def write(self, data: bytes, *, more: bool = True) -> None:
        """Send a part of the body."""
        await self._send({"type": "http.response.body", "body": data, "more_body": more})


@asynccontextmanager
async def _while_connected(receive: Receive) -> AsyncIterator[None]:
    """End a block, as if it were done, when the caller goes away."""
    gone = asyncio.timeout(None)

    async def watch() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        if not gone.expired():
            gone.reschedule(asyncio.get_running_loop().time())

    watching = asyncio.create_task(watch())
    try:
        async with gone:
            yield
    except TimeoutError:
        if not gone.expired():
            raise
    finally:
        watching.cancel()


@asynccontextmanager
async def _deadline(seconds: float | None, path: str) -> AsyncIterator[None]:
    """End a block when the caller does not wait any longer."""
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as exc:
        if not limit.expired():
            raise
        raise errors.DeadlineError(
            f"{path} was not done within the {seconds:g} s that the caller gave it"
        ) from exc


def _json(document: object) -> bytes:
    return json.dumps(document).encode()
