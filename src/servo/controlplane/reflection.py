"""gRPC server reflection, ``v1`` and ``v1alpha``: tools ask the server for its contract.

Like the health service, its messages live in a descriptor pool of their own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from functools import cached_property
from typing import Any, Final

import grpc
import grpc.aio
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from servo.controlplane.inbox import OpenInbox

VERSIONS: Final = ("grpc.reflection.v1", "grpc.reflection.v1alpha")
_NOT_FOUND: Final = 5
_UNIMPLEMENTED: Final = 12
_REQUEST_BYTES: Final = 16 * 1024

Context = grpc.aio.ServicerContext[bytes, bytes]
_FIELD = descriptor_pb2.FieldDescriptorProto


def _file(package: str) -> descriptor_pb2.FileDescriptorProto:
    """Describe the messages of one version; both have the same fields."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/reflection.proto", package=package, syntax="proto3"
    )

    def message(name: str, *fields: tuple[str, int, int | str, bool], oneof: str = "") -> None:
        made = file.message_type.add(name=name)
        if oneof:
            made.oneof_decl.add(name=oneof)
        for field_name, number, kind, in_oneof in fields:
            repeated = field_name.startswith("*")
            field = made.field.add(
                name=field_name.removeprefix("*"),
                number=number,
                label=_FIELD.LABEL_REPEATED if repeated else _FIELD.LABEL_OPTIONAL,
            )
            if isinstance(kind, str):
                field.type, field.type_name = _FIELD.TYPE_MESSAGE, f".{package}.{kind}"
            else:
                field.type = kind  # type: ignore[assignment]  # the stubs want the enum's alias
            if in_oneof:
                field.oneof_index = 0

    text, data, number = _FIELD.TYPE_STRING, _FIELD.TYPE_BYTES, _FIELD.TYPE_INT32
    message(
        "ExtensionRequest",
        ("containing_type", 1, text, False),
        ("extension_number", 2, number, False),
    )
    message(
        "ServerReflectionRequest",
        ("host", 1, text, False),
        ("file_by_filename", 3, text, True),
        ("file_containing_symbol", 4, text, True),
        ("file_containing_extension", 5, "ExtensionRequest", True),
        ("all_extension_numbers_of_type", 6, text, True),
        ("list_services", 7, text, True),
        oneof="message_request",
    )
    message("FileDescriptorResponse", ("*file_descriptor_proto", 1, data, False))
    message(
        "ExtensionNumberResponse",
        ("base_type_name", 1, text, False),
        ("*extension_number", 2, number, False),
    )
    message("ServiceResponse", ("name", 1, text, False))
    message("ListServiceResponse", ("*service", 1, "ServiceResponse", False))
    message("ErrorResponse", ("error_code", 1, number, False), ("error_message", 2, text, False))
    message(
        "ServerReflectionResponse",
        ("valid_host", 1, text, False),
        ("original_request", 2, "ServerReflectionRequest", False),
        ("file_descriptor_response", 4, "FileDescriptorResponse", True),
        ("all_extension_numbers_response", 5, "ExtensionNumberResponse", True),
        ("list_services_response", 6, "ListServiceResponse", True),
        ("error_response", 7, "ErrorResponse", True),
        oneof="message_response",
    )
    service = file.service.add(name="ServerReflection")
    service.method.add(
        name="ServerReflectionInfo",
        input_type=f".{package}.ServerReflectionRequest",
        output_type=f".{package}.ServerReflectionResponse",
        client_streaming=True,
        server_streaming=True,
    )
    return file


class Reflection(grpc.GenericRpcHandler):
    """Answers what services there are and how their messages look; needs no key.

    Nothing here is a secret: the contract is published with the package.

    Args:
        files: Returns every file that describes a service or is imported by one that does; called
            with the first question.
    """

    def __init__(self, files: Callable[[], Iterable[descriptor_pb2.FileDescriptorProto]]) -> None:
        self._read_files = files
        self._inbox = OpenInbox()
        self._handlers: dict[str, Any] = {
            f"/{package}.ServerReflection/ServerReflectionInfo": (
                grpc.stream_stream_rpc_method_handler(self._handler(package))
            )
            for package in VERSIONS
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        """Return the handler of a path, as grpc asks for it."""
        return self._handlers.get(handler_call_details.method)

    @cached_property
    def _files(self) -> dict[str, descriptor_pb2.FileDescriptorProto]:
        own = [_file(package) for package in VERSIONS]
        return {file.name: file for file in (*self._read_files(), *own)}

    @cached_property
    def _pool(self) -> descriptor_pool.DescriptorPool:
        pool = descriptor_pool.DescriptorPool()
        for file in self._files.values():
            pool.AddSerializedFile(file.SerializeToString())
        return pool

    def _message(self, full_name: str) -> Any:
        return message_factory.GetMessageClass(self._pool.FindMessageTypeByName(full_name))

    def _handler(self, package: str) -> Callable[[object, Context], Awaitable[None]]:
        async def handle(_: object, context: Context) -> None:
            request_type = self._message(f"{package}.ServerReflectionRequest")
            response_type = self._message(f"{package}.ServerReflectionResponse")
            while (data := await self._inbox.read(context)) is not None:
                try:
                    if len(data) > _REQUEST_BYTES:
                        raise DecodeError
                    request = request_type.FromString(data)
                except DecodeError:
                    await context.abort(
                        grpc.StatusCode.INVALID_ARGUMENT,
                        "the request is not a ServerReflectionRequest",
                    )
                response = response_type(valid_host=request.host, original_request=request)
                self._answer(request, response)
                await context.write(response.SerializeToString())

        return handle

    def _answer(self, request: Any, response: Any) -> None:
        match request.WhichOneof("message_request"):
            case "list_services":
                names = [f"{f.package}.{s.name}" for f in self._files.values() for s in f.service]
                for name in names:
                    response.list_services_response.service.add(name=name)
            case "file_by_filename":
                self._describe(request.file_by_filename, response)
            case "file_containing_symbol":
                try:
                    found = self._pool.FindFileContainingSymbol(request.file_containing_symbol)
                    name = found.name
                except KeyError:
                    name = ""
                self._describe(name, response)
            case "all_extension_numbers_of_type":
                # The contract is proto3 and has no extensions.
                base = request.all_extension_numbers_of_type
                response.all_extension_numbers_response.base_type_name = base
            case "file_containing_extension":
                _refuse(response, _NOT_FOUND, "there is no such extension")
            case _:
                _refuse(response, _UNIMPLEMENTED, "this request is not known here")

    def _describe(self, name: str, response: Any) -> None:
        if name not in self._files:
            _refuse(response, _NOT_FOUND, "there is no such file or symbol")
            return
        waiting, wanted = [name], set[str]()
        while waiting:
            one = waiting.pop()
            if one not in wanted:
                wanted.add(one)
                waiting += self._files[one].dependency
        # With what it imports, each file before those that it needs, so the one asked for first.
        response.file_descriptor_response.file_descriptor_proto.extend(
            self._files[one].SerializeToString() for one in reversed(self._files) if one in wanted
        )


def _refuse(response: Any, code: int, message: str) -> None:
    response.error_response.error_code = code
    response.error_response.error_message = message
