"""Errors and gRPC statuses: what a server answers with, and what a client raises.

A status carries an ``ErrorDetail`` in ``google.rpc.Status``, in the trailing metadata
``grpc-status-details-bin``. This module knows statuses by name only; it does not import grpc.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from google.protobuf.message import DecodeError
from google.rpc.status_pb2 import Status

from servo._gen.arco.v1 import error_pb2
from servo._wire.error_details import error_detail_from_proto, error_detail_to_proto, shorten
from servo.errors import (
    CacheError,
    ConfigurationError,
    ConflictError,
    DeadlineError,
    InvalidArgumentError,
    NotFoundError,
    PermissionDeniedError,
    ServoError,
    UnauthenticatedError,
    UnavailableError,
)

DETAILS_KEY: Final = "grpc-status-details-bin"
"""The key of the trailing metadata that holds the details."""

MAX_DETAILS_BYTES: Final = 5_000
"""Peers accept 8 KiB of metadata by default, and these bytes travel as base64."""
MAX_STATUS_MESSAGE: Final = 200
"""Characters of the plain status message; the details hold more of it."""

CODE_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {
        "OK": 0,
        "CANCELLED": 1,
        "UNKNOWN": 2,
        "INVALID_ARGUMENT": 3,
        "DEADLINE_EXCEEDED": 4,
        "NOT_FOUND": 5,
        "ALREADY_EXISTS": 6,
        "PERMISSION_DENIED": 7,
        "RESOURCE_EXHAUSTED": 8,
        "FAILED_PRECONDITION": 9,
        "ABORTED": 10,
        "OUT_OF_RANGE": 11,
        "UNIMPLEMENTED": 12,
        "INTERNAL": 13,
        "UNAVAILABLE": 14,
        "DATA_LOSS": 15,
        "UNAUTHENTICATED": 16,
    }
)
"""Every gRPC status code by name."""

# What a status without details means: it was made by grpc itself or by something in between.
_BARE: Final[Mapping[str, type[ServoError]]] = MappingProxyType(
    {
        "OK": ServoError,
        "CANCELLED": ServoError,
        "UNKNOWN": ServoError,
        "INVALID_ARGUMENT": InvalidArgumentError,
        "DEADLINE_EXCEEDED": DeadlineError,
        "NOT_FOUND": NotFoundError,
        "ALREADY_EXISTS": ConflictError,
        "PERMISSION_DENIED": PermissionDeniedError,
        "RESOURCE_EXHAUSTED": InvalidArgumentError,
        "FAILED_PRECONDITION": ConfigurationError,
        "ABORTED": CacheError,
        "OUT_OF_RANGE": InvalidArgumentError,
        "UNIMPLEMENTED": ConfigurationError,
        "INTERNAL": ServoError,
        "UNAVAILABLE": UnavailableError,
        "DATA_LOSS": ServoError,
        "UNAUTHENTICATED": UnauthenticatedError,
    }
)


class WireStatus(NamedTuple):
    """What a server answers with.

    Attributes:
        code: Name of the gRPC status code.
        message: The status message, short.
        details: The value of `DETAILS_KEY`: a ``google.rpc.Status`` with an ``ErrorDetail``.
    """

    code: str
    message: str
    details: bytes


def status_for(error: BaseException, *, incident: str = "") -> WireStatus:
    """Find what to answer when a call ends with an error.

    Args:
        error: What was raised. Only a `ServoError` is described; anything else is unexpected and
            says nothing but where to look.
        incident: Names an unexpected error in the server's log; made up when left out.
    """
    if not isinstance(error, ServoError):
        error = ServoError(
            f"internal error, see the server's log (id {incident or secrets.token_hex(6)})",
            code="INTERNAL",
        )
    detail = error_pb2.ErrorDetail()
    error_detail_to_proto(error, detail)
    code = error.grpc_code
    message = shorten(detail.message, MAX_STATUS_MESSAGE)
    return WireStatus(code, message, _details(code, message, detail))


def error_from_status(code: str, message: str, details: bytes | None = None) -> ServoError:
    """Find what to raise for a status that a call ended with.

    Args:
        code: Name of the gRPC status code.
        message: The status message.
        details: The value of `DETAILS_KEY`, if there is one. Details that cannot be read are
            treated like none: what is wrong with them is not what the caller asked about.

    Returns:
        An error of the most precise class; never raises.
    """
    detail = _find_detail(details) if details else None
    if detail is not None:
        return error_detail_from_proto(detail, grpc_code=code)
    return _BARE.get(code, ServoError)(
        message or f"the call ended with the status {code} and no message",
        context={"grpc_status": code},
    )


def _details(code: str, message: str, detail: error_pb2.ErrorDetail) -> bytes:
    while True:
        status = Status(code=CODE_NUMBERS[code], message=message)
        status.details.add().Pack(detail)
        data = status.SerializeToString(deterministic=True)
        if len(data) <= MAX_DETAILS_BYTES:
            return data
        # Facts for machines are worth more than distant causes and the end of a long message.
        if detail.causes:
            del detail.causes[-1]
        elif len(detail.message) > MAX_STATUS_MESSAGE:
            detail.message = shorten(detail.message, len(detail.message) // 2)
        else:
            detail.context.pop(max(detail.context, key=lambda name: len(detail.context[name])))


def _find_detail(details: bytes) -> error_pb2.ErrorDetail | None:
    try:
        status = Status.FromString(details)
        for entry in status.details:
            detail = error_pb2.ErrorDetail()
            if entry.Unpack(detail):
                return detail
    except DecodeError:
        return None
    return None
