"""The gRPC side of the control plane: every row of the method table, served by a verb.

grpc hands over bytes; requests are decoded and responses encoded here, so that what is wrong
with a request reaches the caller as INVALID_ARGUMENT.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from servo import _wire, errors
from servo._wire import METHODS, Method, MethodKind
from servo.controlplane.caller import Caller
from servo.controlplane.service import Service

_LOG = logging.getLogger(__name__)

_DEFAULT = "default"

Context = grpc.aio.ServicerContext[bytes, bytes]


class Router(grpc.GenericRpcHandler):
    """Finds the verb for a path and calls it as the caller.

    Args:
        service: The verbs.
        api_key: What callers have to present.
    """

    def __init__(self, service: Service, api_key: str) -> None:
        self._expected = f"Bearer {api_key}".encode()
        self._handlers = {
            path: self._handler(method, getattr(service, _verb(method.name)))
            for path, method in METHODS.items()
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a path, as grpc asks for it."""
        return self._handlers.get(handler_call_details.method)

    def _handler(
        self, method: Method[Any, Any], verb: Callable[..., Any]
    ) -> grpc.RpcMethodHandler[bytes, bytes]:
        if method.kind is MethodKind.UNARY:
            return grpc.unary_unary_rpc_method_handler(self._unary(method, verb))
        if method.kind is MethodKind.SERVER_STREAM:
            return grpc.unary_stream_rpc_method_handler(self._server_stream(method, verb))
        return grpc.stream_stream_rpc_method_handler(self._session(method, verb))

    def _unary(
        self, method: Method[Any, Any], verb: Callable[..., Awaitable[Any]]
    ) -> Callable[[bytes, Context], Awaitable[bytes]]:
        async def handle(data: bytes, context: Context) -> bytes:
            try:
                caller = self._caller(context)
                response = await verb(caller, method.decode_request(data))
                return method.encode_response(response)
            except Exception as exc:  # everything ends here, as a status
                await _abort(context, method, exc)
                raise

        return handle

    def _server_stream(
        self, method: Method[Any, Any], verb: Callable[..., AsyncIterator[Any]]
    ) -> Callable[[bytes, Context], AsyncIterator[bytes]]:
        async def handle(data: bytes, context: Context) -> AsyncIterator[bytes]:
            try:
                caller = self._caller(context)
                async for response in verb(caller, method.decode_request(data)):
                    yield method.encode_response(response)
            except Exception as exc:  # everything ends here, as a status
                await _abort(context, method, exc)

        return handle

    def _session(
        self, method: Method[Any, Any], verb: Callable[..., AsyncIterator[Any]]
    ) -> Callable[[AsyncIterator[bytes], Context], AsyncIterator[bytes]]:
        async def decoded(requests: AsyncIterator[bytes]) -> AsyncIterator[Any]:
            async for data in requests:
                yield method.decode_request(data)

        async def handle(requests: AsyncIterator[bytes], context: Context) -> AsyncIterator[bytes]:
            try:
                caller = self._caller(context)
                async for response in verb(caller, decoded(requests)):
                    yield method.encode_response(response)
            except Exception as exc:  # everything ends here, as a status
                await _abort(context, method, exc)

        return handle

    def _caller(self, context: Context) -> Caller:
        metadata = dict(context.invocation_metadata() or ())
        presented = metadata.get("authorization", "")
        if not hmac.compare_digest(_as_bytes(presented), self._expected):
            raise errors.UnauthenticatedError(
                "the API key is missing or wrong; set SERVO_API_KEY, or use the one in "
                ".servo/server.json"
            )
        return Caller(
            tenant_id=_as_text(metadata.get("x-servo-tenant-id")) or _DEFAULT,
            workspace_id=_as_text(metadata.get("x-servo-workspace-id")) or _DEFAULT,
            source=_as_text(metadata.get("x-servo-source")),
        )


def _verb(name: str) -> str:
    """Return the method of `Service` for an RPC: ``CreateRun`` is ``create_run``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in name).removeprefix("_")


def _as_text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


def _as_bytes(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()


async def _abort(context: Context, method: Method[Any, Any], exc: Exception) -> None:
    """End a call with the status of an error."""
    if isinstance(exc, grpc.aio.AbortError):
        raise exc
    incident = secrets.token_hex(4)
    if not isinstance(exc, errors.ServoError):
        _LOG.error("%s failed (%s)", method.path, incident, exc_info=exc)
    status = _wire.status_for(exc, incident=incident)
    await context.abort(
        grpc.StatusCode[status.code],
        status.message,
        ((_wire.DETAILS_KEY, status.details),),
    )
