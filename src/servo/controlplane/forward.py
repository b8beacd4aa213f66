"""Passing calls on to the control plane that schedules, while this process does not.

A call goes on as the bytes that came, with the caller's identity beside them: who may do what is
settled where the call is answered. One that was passed on already is not passed on again.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeGuard

import grpc
import grpc.aio

from servo import _wire, errors
from servo._wire import METHODS, Method, MethodKind
from servo.client import Tls
from servo.client.transport import Address, dial
from servo.controlplane.converting import Converter
from servo.controlplane.endpoints import Endpoint
from servo.controlplane.http import HttpApp, Receive, Send
from servo.controlplane.identity import TENANT_HEADER
from servo.controlplane.inbox import Inbox

if TYPE_CHECKING:
    from servo.controlplane.serve import ControlPlaneConfig
    from servo.controlplane.term import Term

FORWARDED_HEADER: Final = "x-servo-forwarded"
"""Marks a call that was passed on."""

_RETRY_AFTER: Final = 1.0
_PASSED_ON: Final = ("authorization", "traceparent", "tracestate")
_PREFIX: Final = "x-servo-"
_GONE: Final = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
_UNLIMITED: Final = -1

Context = grpc.aio.ServicerContext[bytes, bytes]
Headers = Mapping[str, str | bytes]
_Metadata = tuple[tuple[str, str | bytes], ...]


class Relay:
    """The way to the control plane that schedules.

    Args:
        tls: Whom to trust there, and who one is; for addresses that begin with ``grpcs://``.
    """

    def __init__(self, tls: Tls | None = None) -> None:
        self._tls = tls
        self._channel: grpc.aio.Channel | None = None
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def is_open(self) -> bool:
        """Whether there is somebody to pass calls on to."""
        return self._channel is not None

    def follow(self, url: str) -> None:
        """Pass calls on to another address from now on; what is under way to the old one ends.

        Args:
            url: The address; empty while there is none.
        """
        if self._channel is not None:
            closing = asyncio.create_task(self._channel.close())
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)
            self._channel = None
        if url:
            Address.parse(url).refuse_plain_text()
            self._channel = dial(url, aio=True, max_receive_bytes=_UNLIMITED, tls=self._tls)

    async def close(self) -> None:
        """End what is under way."""
        self.follow("")
        await asyncio.gather(*self._closing)

    def channel_for(self, headers: Headers) -> grpc.aio.Channel:
        """Return the way that a call takes.

        Raises:
            servo.errors.UnavailableError: There is none, or it has come that way already.
        """
        if self._channel is None or FORWARDED_HEADER in headers:
            raise _no_leader()
        return self._channel


class Front(grpc.GenericRpcHandler):
    """Answers what comes to both ports: here while this process schedules, else by passing it on.

    Args:
        current: Returns the term of this process; `None` while another one schedules.
        relay: The way to that one.
        config: How the control plane is set up.
    """

    def __init__(
        self, current: Callable[[], Term | None], relay: Relay, config: ControlPlaneConfig
    ) -> None:
        self._current = current
        self._grpc = GrpcRelay(relay)
        self._http = HttpApp(
            HttpRelay(relay),
            lambda: relay.is_open,
            max_request_bytes=config.max_request_bytes,
            cors_origins=config.cors_origins,
            is_own_name=config.is_own_name,
        )

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a path, as grpc asks for it."""
        term = self._current()
        return (self._grpc if term is None else term.router).service(handler_call_details)

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request, as ASGI has it."""
        term = self._current()
        await (self._http if term is None else term.app)(scope, receive, send)


class GrpcRelay(grpc.GenericRpcHandler):
    """Passes gRPC calls on, whatever they say.

    Args:
        relay: The way there.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self._inbox = Inbox()
        self._handlers = {path: self._handler(method) for path, method in METHODS.items()}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a path, as grpc asks for it."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, method: Method[Any, Any]) -> grpc.RpcMethodHandler[bytes, bytes]:
        # All of them take a stream: see `servo.controlplane.inbox`.
        if method.kind is MethodKind.UNARY:
            return grpc.stream_unary_rpc_method_handler(self._unary(method.path))
        if method.kind is MethodKind.SERVER_STREAM:
            return grpc.stream_stream_rpc_method_handler(self._server_stream(method.path))
        return grpc.stream_stream_rpc_method_handler(self._session(method.path))

    async def _message(self, context: Context, metadata: _Metadata) -> bytes:
        try:
            return await self._inbox.read(str(dict(metadata).get(TENANT_HEADER, "")), context)
        except errors.ServoError as exc:
            await _abort(context, exc)

    def _unary(self, path: str) -> Callable[[object, Context], Awaitable[bytes]]:
        async def handle(_: object, context: Context) -> bytes:
            channel, metadata = await self._way(context)
            data = await self._message(context, metadata)
            rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(path)
            try:
                return await rpc(data, metadata=metadata, timeout=context.time_remaining())
            except (grpc.aio.AioRpcError, asyncio.CancelledError) as exc:
                await _end(context, exc)

        return handle

    def _server_stream(self, path: str) -> Callable[[object, Context], Awaitable[None]]:
        async def handle(_: object, context: Context) -> None:
            channel, metadata = await self._way(context)
            data = await self._message(context, metadata)
            rpc: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(path)
            await _copy(rpc(data, metadata=metadata, timeout=context.time_remaining()), context)

        return handle

    def _session(self, path: str) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
        async def handle(requests: AsyncIterator[bytes], context: Context) -> None:
            channel, metadata = await self._way(context)
            rpc: grpc.aio.StreamStreamMultiCallable[bytes, bytes] = channel.stream_stream(path)
            await _copy(rpc(requests, metadata=metadata, timeout=context.time_remaining()), context)

        return handle

    async def _way(self, context: Context) -> tuple[grpc.aio.Channel, _Metadata]:
        headers = dict(context.invocation_metadata() or ())
        try:
            return self._relay.channel_for(headers), _passed_on(headers)
        except errors.UnavailableError as exc:
            await _abort(context, exc)


class HttpRelay:
    """What `servo.controlplane.http.HttpApp` asks of its endpoints, answered somewhere else.

    Args:
        relay: The way there.
    """

    def __init__(self, relay: Relay) -> None:
        self._relay = relay
        self.converter = Converter()
        self.by_path: Mapping[str, Endpoint] = {
            path: Endpoint(method, self._verb(method)) for path, method in METHODS.items()
        }

    @property
    def gate(self) -> HttpRelay:
        """What lets calls in: itself, since everybody may be passed on."""
        return self

    async def admit(self, method: Method[Any, Any], headers: Headers) -> Headers:
        """Return what came with a call; whom it is from is settled where it goes."""
        del method
        return headers

    def tenant_of(self, caller: Headers) -> str:
        """Return the tenant that a call names; whether it may is settled where it goes."""
        return str(caller.get(TENANT_HEADER, ""))

    def while_valid(self, caller: Headers) -> AbstractAsyncContextManager[None]:
        """Leave a stream open: whether the credential is still good is settled where it goes."""
        del caller
        return nullcontext()

    def taken_in_time(self, response: object) -> AbstractAsyncContextManager[None]:
        """Wait for a slow caller: how slow it may be is settled where the response comes from."""
        del response
        return nullcontext()

    def _verb(self, method: Method[Any, Any]) -> Callable[..., Any]:
        async def unary(headers: Headers, request: object) -> Any:
            channel = self._relay.channel_for(headers)
            rpc: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method.path)
            try:
                data = await rpc(method.encode_request(request), metadata=_passed_on(headers))
            except (grpc.aio.AioRpcError, asyncio.CancelledError) as exc:
                raise _error(exc) from exc
            return method.decode_response(data)

        async def stream(headers: Headers, request: object) -> AsyncGenerator[Any]:
            channel = self._relay.channel_for(headers)
            rpc: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(method.path)
            call = rpc(method.encode_request(request), metadata=_passed_on(headers))
            try:
                async for data in call:
                    yield method.decode_response(data)
            except (grpc.aio.AioRpcError, asyncio.CancelledError) as exc:
                raise _error(exc) from exc
            finally:
                call.cancel()

        return unary if method.kind is MethodKind.UNARY else stream


def _passed_on(headers: Headers) -> _Metadata:
    found = [
        (name, value)
        for name, value in headers.items()
        if name in _PASSED_ON or name.startswith(_PREFIX)
    ]
    return (*found, (FORWARDED_HEADER, "1"))


async def _copy(call: Any, context: Context) -> None:
    """Write what arrives, until one side ends it."""
    try:
        async for data in call:
            await context.write(data)
    except (grpc.aio.AioRpcError, asyncio.CancelledError) as exc:
        await _end(context, exc)
    finally:
        call.cancel()


async def _end(context: Context, exc: grpc.aio.AioRpcError | asyncio.CancelledError) -> NoReturn:
    """End a call as it ended where it went."""
    if not _is_answer(exc):
        await _abort(context, _no_leader())
    trailing = exc.trailing_metadata() or ()
    await context.abort(exc.code(), exc.details() or "", tuple(trailing))


async def _abort(context: Context, exc: errors.ServoError) -> NoReturn:
    status = _wire.status_for(exc)
    details = ((_wire.DETAILS_KEY, status.details),)
    await context.abort(grpc.StatusCode[status.code], status.message, details)


def _error(exc: grpc.aio.AioRpcError | asyncio.CancelledError) -> errors.ServoError:
    if not _is_answer(exc):
        return _no_leader()
    details = dict(exc.trailing_metadata() or ()).get(_wire.DETAILS_KEY)
    encoded = details if isinstance(details, bytes) else None
    return _wire.error_from_status(exc.code().name, exc.details() or "", encoded)


def _is_answer(
    exc: grpc.aio.AioRpcError | asyncio.CancelledError,
) -> TypeGuard[grpc.aio.AioRpcError]:
    """Tell a status of the control plane from one that says that it was not reached.

    Raises:
        asyncio.CancelledError: It is the caller who has gone away.
    """
    if isinstance(exc, asyncio.CancelledError):
        # A channel that is closed cancels its calls, and looks the same to those who wait.
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise exc
        return False
    return exc.code() not in _GONE or _wire.DETAILS_KEY in dict(exc.trailing_metadata() or ())


def _no_leader() -> errors.UnavailableError:
    return errors.UnavailableError(
        "no control plane schedules at the moment; one takes over within seconds, ask again",
        code="NO_LEADER",
        retry_after=_RETRY_AFTER,
    )
