"""The Connect protocol as far as it needs no socket: content types, envelopes, errors.

https://connectrpc.com/docs/protocol
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

from servo import _wire, errors
from servo._wire import Method, MethodKind

END_OF_STREAM: Final = 0b10
_COMPRESSED: Final = 0b01
_LONGEST_TIMEOUT_DIGITS: Final = 10

ENVELOPE_BYTES: Final = 5
"""What stands before each message of a stream: a byte of flags and the length."""


class Codec(Enum):
    """How messages are written in a body."""

    JSON = "json"
    PROTO = "proto"

    def content_type(self, kind: MethodKind) -> str:
        """Return the content type of a response."""
        prefix = "" if kind is MethodKind.UNARY else "connect+"
        return f"application/{prefix}{self.value}"

    def decode(self, method: Method[Any, Any], data: bytes) -> Any:
        """Read a request.

        Raises:
            servo.errors.InvalidArgumentError: It is malformed.
        """
        return (
            method.decode_request(data) if self is Codec.PROTO else method.decode_json_request(data)
        )

    def encode(self, method: Method[Any, Any], response: Any) -> bytes:
        """Write a response."""
        if self is Codec.PROTO:
            return method.encode_response(response)
        return _wire.to_canonical_json(response).encode()


def content_types(kind: MethodKind) -> tuple[str, ...]:
    """Return the content types that a request of an RPC may have."""
    return tuple(codec.content_type(kind) for codec in Codec)


def codec_of(content_type: str, kind: MethodKind) -> Codec | None:
    """Return how a body is written; `None` for a content type that an RPC does not take."""
    bare = content_type.partition(";")[0].strip().lower()
    return next((codec for codec in Codec if codec.content_type(kind) == bare), None)


def timeout_of(headers: Mapping[str, str], kind: MethodKind) -> float | None:
    """Return the seconds that a call may take; `None` for no limit.

    Args:
        headers: The request's headers, names in lower case.
        kind: The kind of the RPC.

    Raises:
        servo.errors.InvalidArgumentError: A header of the protocol is not as it should be.
        servo.errors.ConfigurationError: The body is compressed.
    """
    version = headers.get("connect-protocol-version", "1")
    if version != "1":
        raise errors.InvalidArgumentError(
            f"the Connect protocol {version!r} is not known here; version 1 is"
        )
    name = "content-encoding" if kind is MethodKind.UNARY else "connect-content-encoding"
    encoding = headers.get(name, "identity")
    if encoding != "identity":
        raise UnimplementedError(
            f"a body with {name} {encoding!r} cannot be read; send it as it is (identity)"
        )
    text = headers.get("connect-timeout-ms")
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= _LONGEST_TIMEOUT_DIGITS):
        raise errors.InvalidArgumentError(
            f"the header connect-timeout-ms is {text!r}; it has at most ten digits"
        )
    return int(text) / 1000


class UnimplementedError(errors.ConfigurationError):
    """What was asked for is not served here."""

    default_code = "UNIMPLEMENTED"
    rule = errors.ConfigurationError.rule._replace(grpc_code="UNIMPLEMENTED", http_status=501)


class RequestTooLargeError(errors.InvalidArgumentError):
    """A request is larger than the server takes; it stays so."""

    default_code = "REQUEST_TOO_LARGE"
    rule = errors.InvalidArgumentError.rule._replace(
        grpc_code="RESOURCE_EXHAUSTED", http_status=413
    )


def envelope(data: bytes, flags: int = 0) -> bytes:
    """Return one message of a stream."""
    return bytes((flags,)) + len(data).to_bytes(4, "big") + data


def only_message(body: bytes) -> bytes:
    """Return the one message of a request whose answers are a stream.

    Raises:
        servo.errors.InvalidArgumentError: There is not exactly one.
    """
    length = int.from_bytes(body[1:ENVELOPE_BYTES], "big")
    if len(body) < ENVELOPE_BYTES or len(body) != ENVELOPE_BYTES + length:
        raise errors.InvalidArgumentError(
            f"a body of {len(body)} bytes is not one enveloped message; it begins with a byte of "
            "flags and four bytes of length, and nothing follows the message"
        )
    if body[0] & _COMPRESSED:
        raise errors.InvalidArgumentError("a compressed message came without its encoding")
    return body[ENVELOPE_BYTES:]


def end_of_stream(failure: _wire.ConnectFailure | None = None) -> bytes:
    """Return the last message of a stream."""
    document = {} if failure is None else {"error": failure.document}
    return envelope(json.dumps(document).encode(), END_OF_STREAM)
