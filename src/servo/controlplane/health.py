"""The standard gRPC health service, without the package that usually brings it.

Its messages live in a descriptor pool of their own: a program that imports ``grpc_health`` beside
Servo would otherwise define the same file twice, which protobuf refuses.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from servo.controlplane.inbox import OpenInbox

SERVICE: Final = "grpc.health.v1.Health"
_SERVING: Final = 1
_NOT_SERVING: Final = 2
_SERVICE_UNKNOWN: Final = 3
_REQUEST_BYTES: Final = 1024
_MOST_WATCHERS: Final = 500

Context = grpc.aio.ServicerContext[bytes, bytes]


@cache
def describe() -> descriptor_pb2.FileDescriptorProto:
    """Return the description of the service, for reflection and for its own messages."""
    file = descriptor_pb2.FileDescriptorProto(
        name="grpc/health/v1/health.proto", package="grpc.health.v1", syntax="proto3"
    )
    field = descriptor_pb2.FieldDescriptorProto
    request = file.message_type.add(name="HealthCheckRequest")
    request.field.add(name="service", number=1, label=1, type=field.TYPE_STRING)
    response = file.message_type.add(name="HealthCheckResponse")
    status = response.enum_type.add(name="ServingStatus")
    names = ("UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN")
    for number, name in enumerate(names):
        status.value.add(name=name, number=number)
    response.field.add(
        name="status",
        number=1,
        label=1,
        type=field.TYPE_ENUM,
        type_name=".grpc.health.v1.HealthCheckResponse.ServingStatus",
    )
    service = file.service.add(name="Health")
    for name, streams in (("Check", False), ("Watch", True)):
        service.method.add(
            name=name,
            input_type=".grpc.health.v1.HealthCheckRequest",
            output_type=".grpc.health.v1.HealthCheckResponse",
            server_streaming=streams,
        )
    return file


@cache
def _message(name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    pool.AddSerializedFile(describe().SerializeToString())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"grpc.health.v1.{name}"))


def _response(status: int) -> bytes:
    data: bytes = _message("HealthCheckResponse")(status=status).SerializeToString()
    return data


class Health(grpc.GenericRpcHandler):
    """Answers whether the control plane serves; needs no key, because load balancers have none.

    Args:
        services: The services that are known by name; the empty name stands for the whole server.
    """

    def __init__(self, services: frozenset[str]) -> None:
        self._services = services | {"", SERVICE}
        self._serves = True
        self._stopped = asyncio.Event()
        self._handlers: dict[str, Any] = {
            f"/{SERVICE}/Check": grpc.stream_unary_rpc_method_handler(self._check()),
            f"/{SERVICE}/Watch": grpc.stream_stream_rpc_method_handler(self._watch()),
        }
        self._inbox = OpenInbox()
        self._watchers = 0

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a path, as grpc asks for it."""
        return self._handlers.get(handler_call_details.method)

    def stop(self) -> None:
        """Say from now on that the server does not serve."""
        self._serves = False
        self._stopped.set()

    def _status(self, service: str) -> int:
        if service not in self._services:
            return _SERVICE_UNKNOWN
        return _SERVING if self._serves else _NOT_SERVING

    def _check(self) -> Callable[[object, Context], Awaitable[bytes]]:
        async def check(_: object, context: Context) -> bytes:
            status = self._status(await self._service_of(context))
            if status == _SERVICE_UNKNOWN:
                await context.abort(grpc.StatusCode.NOT_FOUND, "there is no such service here")
            return _response(status)

        return check

    def _watch(self) -> Callable[[object, Context], Awaitable[None]]:
        async def watch(_: object, context: Context) -> None:
            service = await self._service_of(context)
            if self._watchers >= _MOST_WATCHERS:
                await context.abort(
                    grpc.StatusCode.RESOURCE_EXHAUSTED,
                    f"{_MOST_WATCHERS} streams watch the health already; call Check",
                )
            self._watchers += 1
            try:
                await context.write(_response(self._status(service)))
                await self._stopped.wait()
                await context.write(_response(self._status(service)))
            finally:
                self._watchers -= 1

        return watch

    async def _service_of(self, context: Context) -> str:
        data = await self._inbox.read(context)
        try:
            if data is not None and len(data) <= _REQUEST_BYTES:
                name: str = _message("HealthCheckRequest").FromString(data).service
                return name
        except DecodeError:
            pass
        await context.abort(
            grpc.StatusCode.INVALID_ARGUMENT, "the request is not a HealthCheckRequest"
        )
