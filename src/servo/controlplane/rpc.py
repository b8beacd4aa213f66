"""The gRPC side of the control plane: every row of the method table, served by a verb.

grpc hands over bytes; requests are decoded and responses encoded here, so that what is wrong
with a request reaches the caller as INVALID_ARGUMENT.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any, Final

import grpc
import grpc.aio

from servo import _wire
from servo._wire import Method, MethodKind
from servo.controlplane.endpoints import Endpoint, Endpoints, note_failure
from servo.controlplane.identity import request_id_of

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
        self._handlers = {
            path: self._handler(endpoint) for path, endpoint in endpoints.by_path.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a path, as grpc asks for it."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, endpoint: Endpoint) -> grpc.RpcMethodHandler[bytes, bytes]:
        method, verb = endpoint.method, endpoint.verb
        if method.kind is MethodKind.UNARY:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, verb))
        if method.kind is MethodKind.SERVER_STREAM:
            return grpc.unary_stream_rpc_method_handler(self._server_stream(method, verb))
        return grpc.stream_stream_rpc_method_handler(self._session(method, verb))

    def _unary(
        self, method: Method[Any, Any], verb: Callable[..., Awaitable[Any]]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        admit = self._endpoints.gate.admit

        async def handle(data: bytes, context: Context) -> bytes:
            metadata = _metadata(context)
            try:
                caller = await admit(method, metadata)
                response = await verb(caller, method.decode_request(data))
                return method.encode_response(response)
            except Exception as exc:  # everything ends here, as a status
                await _abort(context, method, metadata, exc)
                raise

        return handle

    # Streams are written here instead of yielded to grpc: what ends a stream early, such as a key
    # that is revoked, then arrives in this code and not in grpc's.

    def _server_stream(
        self, method: Method[Any, Any], verb: Callable[..., AsyncGenerator[Any]]
    ) -> Callable[[bytes, Context], Awaitable[None]]:
        async def handle(data: bytes, context: Context) -> None:
            metadata = _metadata(context)
            try:
                caller = await self._endpoints.gate.admit(method, metadata)
                responses = verb(caller, method.decode_request(data))
                await context.send_initial_metadata(_NO_METADATA)
                async with aclosing(responses), self._endpoints.while_valid(caller):
                    async for response in responses:
                        async with self._endpoints.taken_in_time(response):
                            await context.write(method.encode_response(response))
            except Exception as exc:  # everything ends here, as a status
                await _abort(context, method, metadata, exc)

        return handle

    def _session(
        self, method: Method[Any, Any], verb: Callable[..., AsyncGenerator[Any]]
    ) -> Callable[[AsyncIterator[bytes], Context], Awaitable[None]]:
        async def decoded(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for data in requests:
                yield method.decode_request(data)

        async def handle(requests: AsyncIterator[bytes], context: Context) -> None:
            metadata = _metadata(context)
            try:
                caller = await self._endpoints.gate.admit(method, metadata)
                responses = verb(caller, decoded(requests))
                await context.send_initial_metadata(_NO_METADATA)
                async with aclosing(responses), self._endpoints.while_valid(caller):
                    async for response in responses:
                        await context.write(method.encode_response(response))
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
