"""Errors and gRPC statuses: what a server answers with, and what a client raises.

A status carries an ``ErrorDetail``, and a ``RetryInfo`` where the server wants a pause, in
``google.rpc.Status``, in the trailing metadata ``grpc-status-details-bin``. This module knows
statuses by name only; it does not import grpc.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import DecodeError
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from servo._gen.arco.v1 import error_pb2
from servo._wire.error_details import error_detail_from_proto, error_detail_to_proto, shorten
from servo.errors import GRPC_CODES, ServoError, error_class_for_grpc

DETAILS_KEY: Final = "grpc-status-details-bin"
"""The key of the trailing metadata that holds the details."""

MAX_DETAILS_BYTES: Final = 5_000
"""Peers accept 8 KiB of metadata by default, and these bytes travel as base64."""
MAX_STATUS_MESSAGE: Final = 200
"""Characters of the plain status message; the details hold more of it."""

CODE_NUMBERS: Final[Mapping[str, int]] = MappingProxyType(
    {name: code.number for name, code in GRPC_CODES.items()}
)
"""The number of every gRPC status code by name."""

MAX_RETRY_AFTER: Final = 86_400.0
"""Seconds; a longer pause that a server asks for is no pause but an answer."""


class WireStatus(NamedTuple):
    """What a server answers with.

    Attributes:
        code: Name of the gRPC status code.
        message: The status message, short.
        details: The value of `DETAILS_KEY`: a ``google.rpc.Status`` with an ``ErrorDetail`` and,
            where there is one, a ``RetryInfo``.
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
    error = public_error(error, incident=incident)
    detail = error_pb2.ErrorDetail()
    error_detail_to_proto(error, detail)
    code = error.grpc_code
    message = shorten(detail.message, MAX_STATUS_MESSAGE)
    return WireStatus(code, message, _details(code, message, detail, error.retry_after))


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
    status = _read_status(details) if details else Status()
    detail, retry_after = error_pb2.ErrorDetail(), RetryInfo()
    error = (
        error_detail_from_proto(detail, grpc_code=code)
        if unpack_into(status, detail) and (detail.code or detail.message)
        else error_class_for_grpc(code)(
            message or f"the call ended with the status {code} and no message",
            context={"grpc_status": code},
        )
    )
    if unpack_into(status, retry_after):
        error.retry_after = seconds_of(retry_after)
    return error


def public_error(error: BaseException, *, incident: str = "") -> ServoError:
    """Return what a caller may know: the error itself, or that there was an unexpected one."""
    if isinstance(error, ServoError):
        return error
    return ServoError(
        f"internal error, see the server's log (id {incident or secrets.token_hex(6)})",
        code="INTERNAL",
    )


def retry_info(seconds: float) -> RetryInfo:
    """Return the message that asks for a pause; at most `MAX_RETRY_AFTER` long."""
    pause = min(max(seconds, 0.0), MAX_RETRY_AFTER)
    delay = Duration()
    delay.FromMilliseconds(math.ceil(pause * 1000))
    return RetryInfo(retry_delay=delay)


def seconds_of(message: RetryInfo) -> float:
    """Return the pause that a server asks for, within what a caller can believe."""
    # Read by hand: ToTimedelta refuses durations that a hostile server may send.
    delay = message.retry_delay
    return min(max(delay.seconds + delay.nanos / 1e9, 0.0), MAX_RETRY_AFTER)


def unpack_into(status: Status, message: error_pb2.ErrorDetail | RetryInfo) -> bool:
    """Fill ``message`` from the first readable detail of its type; tell whether there is one."""
    for entry in status.details:
        try:
            if entry.Unpack(message):
                return True
        except DecodeError:
            continue
    return False


def _details(
    code: str, message: str, detail: error_pb2.ErrorDetail, retry_after: float | None
) -> bytes:
    while True:
        status = Status(code=CODE_NUMBERS[code], message=message)
        status.details.add().Pack(detail)
        if retry_after is not None:
            status.details.add().Pack(retry_info(retry_after))
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


def _read_status(details: bytes) -> Status:
    try:
        return Status.FromString(details)
    except DecodeError:
        return Status()
