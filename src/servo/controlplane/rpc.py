"""The gRPC side of the control plane: every row of the method table, served by a verb.

grpc hands over bytes; requests are decoded and responses encoded here, so that what is wrong
with a request reaches the caller as INVALID_ARGUMENT. Nothing of a request is read before the
gate: grpc would do so for RPCs that take one message, therefore all are served as streams.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import grpc
import grpc.aio

from servo import _wire
from servo._wire import Method, MethodKind
from servo.controlplane.caller import Caller
from servo.controlplane.endpoints import Endpoint, Endpoints, check_size, note_failure
from servo.controlplane.identity import request_id_of
from servo.controlplane.inbox import Inbox

Context = grpc.aio.ServicerContext[bytes, bytes]
_Metadata = dict[str, str | bytes]

_NO_METADATA: Final = ()
"""Sent before the first message of a stream, not with it: grpc cannot send a status while that is
under way, and the other side would never be told that the stream ends."""


class Router(grpc.GenericRpcHandler):
    """Finds the verb for a path and calls it as the caller.

    Args:
        endpoints: The verbs by path.
    """

    def __init__(self, endpoints: Endpoints) -> None:
        self._endpoints = endpoints
        self._inbox = Inbox()
        self._handlers = {
            path: self._handler(endpoint) for path, endpoint in endpoints.by_path.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a path, as grpc asks for it."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, endpoint: Endpoint) -> grpc.RpcMethodHandler[bytes, bytes]:
        # All of them take a stream: see `servo.controlplane.inbox`.
        method, verb = endpoint.method, endpoint.verb
        if method.kind is MethodKind.UNARY:
            return grpc.stream_unary_rpc_method_handler(self._unary(method, verb))
        if method.kind is MethodKind.SERVER_STREAM:
            return grpc.stream_stream_rpc_method_handler(self._server_stream(method, verb))
        return grpc.stream_stream_rpc_method_handler(self._session(method, verb))

    async def _request(self, method: Method[Any, Any], caller: Caller, context: Context) -> Any:
        """Read the request of a call that has one."""
        data = await self._inbox.read(caller.tenant_id, context)
        return await self._decoded(method, caller, data)

    async def _decoded(self, method: Method[Any, Any], caller: Caller, data: bytes) -> Any:
        check_size(method, len(data))
        decode = method.decode_request
        return await self._endpoints.converter.decode(caller.tenant_id, decode, data)

    async def _encoded(self, method: Method[Any, Any], caller: Caller, response: Any) -> bytes:
        encode = method.encode_response
        return await self._endpoints.converter.encode(caller.tenant_id, encode, response)

    def _unary(
        self, method: Method[Any, Any], verb: Callable[..., Awaitable[Any]]
    ) -> Callable[[object, Context], Awaitable[bytes]]:
        admit = self._endpoints.gate.admit

        async def handle(_: object, context: Context) -> bytes:
            metadata = _metadata(context)
            try:
                caller = await admit(method, metadata)
                response = await verb(caller, await self._request(method, caller, context))
                return await self._encoded(method, caller, response)
            except Exception as exc:  # everything ends here, as a status
                await _abort(context, method, metadata, exc)
                raise

        return handle

    # Streams are written here instead of yielded to grpc: what ends a stream early, such as a key
    # that is revoked, then arrives in this code and not in grpc's.

    def _server_stream(
        self, method: Method[Any, Any], verb: Callable[..., AsyncGenerator[Any]]
    ) -> Callable[[object, Context], Awaitable[None]]:
        async def handle(_: object, context: Context) -> None:
            metadata = _metadata(context)
            try:
                caller = await self._endpoints.gate.admit(method, metadata)
                responses = verb(caller, await self._request(method, caller, context))
                await context.send_initial_metadata(_NO_METADATA)
                async with aclosing(responses), self._endpoints.while_valid(caller):
                    async for response in responses:
                        async with self._endpoints.taken_in_time(response):
                            await context.write(await self._encoded(method, caller, response))
            except Exception as exc:  # everything ends here, as a status
                await _abort(context, method, metadata, exc)

        return handle

    def _session(
        self, method: Method[Any, Any], verb: Callable[..., AsyncGenerator[Any]]
    ) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
        async def decoded(
            requests: AsyncIterator[bytes], caller: Caller, context: Context
        ) -> AsyncIterator[Any]:
            # The first one has a deadline; later ones come when there is something to say.
            yield await self._request(method, caller, context)
            async for data in requests:
                yield await self._decoded(method, caller, data)

        async def handle(requests: AsyncIterator[bytes], context: Context) -> None:
            metadata = _metadata(context)
            try:
                caller = await self._endpoints.gate.admit(method, metadata)
                responses = verb(caller, decoded(requests, caller, context))
                await context.send_initial_metadata(_NO_METADATA)
                async with aclosing(responses), self._endpoints.while_valid(caller):
                    async for response in responses:
                        await context.write(await self._encoded(method, caller, response))
            except Exception as exc:  # everything ends here, as a status
                await _abort(context, method, metadata, exc)

        return handle


def _metadata(context: Context) -> _Metadata:
    return dict(context.invocation_metadata() or ())


async def _abort(
    context: Context, method: Method[Any, Any], metadata: _Metadata, exc: Exception
) -> None:
    """End a call with the status of an error."""
    if isinstance(exc, grpc.aio.AbortError):
        raise exc
    incident = note_failure(exc, method.path, request_id_of(metadata))
    status = _wire.status_for(exc, incident=incident)
    await context.abort(
        grpc.StatusCode[status.code],
        status.message,
        ((_wire.DETAILS_KEY, status.details),),
    )
