"""Errors in the Connect protocol: the JSON body of a failed call, and of a stream's end.

The body is ``{"code", "message", "details"}``; a detail is the name of a message and its bytes in
base64 without padding. The rest of the protocol is the business of the transports.
"""

from __future__ import annotations

import base64
import binascii
import math
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import RetryInfo
from google.rpc.status_pb2 import Status

from servo._gen.arco.v1 import error_pb2
from servo._wire.error_details import error_detail_to_proto, shorten
from servo._wire.statuses import (
    MAX_RETRY_AFTER,
    MAX_STATUS_MESSAGE,
    error_from_status,
    public_error,
    retry_info,
)
from servo.errors import GRPC_CODES, ServoError, error_class_for_http

GRPC_NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {code.connect_name: name for name, code in GRPC_CODES.items() if code.connect_name}
)
"""Name of a code in the Connect protocol to the name of the gRPC status code."""

_TYPE_PREFIX: Final = "type.googleapis.com/"


class ConnectFailure(NamedTuple):
    """What an HTTP server answers with.

    Attributes:
        http_status: Status of a unary answer; a stream that fails at its end has 200.
        headers: What goes with it: ``retry-after`` where the server wants a pause.
        document: The JSON body, or the ``error`` of an end-of-stream message.
    """

    http_status: int
    headers: Mapping[str, str]
    document: dict[str, Any]


def connect_failure_for(error: BaseException, *, incident: str = "") -> ConnectFailure:
    """Find what to answer when a call ends with an error.

    Args:
        error: What was raised. Only a `ServoError` is described, as over gRPC.
        incident: Names an unexpected error in the server's log; made up when left out.
    """
    error = public_error(error, incident=incident)
    detail = error_pb2.ErrorDetail()
    error_detail_to_proto(error, detail)
    code = GRPC_CODES[error.grpc_code]
    details, headers = [_entry(detail)], {}
    if error.retry_after is not None:
        details.append(_entry(retry_info(error.retry_after)))
        pause = min(max(error.retry_after, 0.0), MAX_RETRY_AFTER)
        headers["retry-after"] = str(math.ceil(pause))
    document = {
        "code": code.connect_name,
        "message": shorten(detail.message, MAX_STATUS_MESSAGE),
        "details": details,
    }
    return ConnectFailure(code.connect_status, headers, document)


def error_from_connect(
    http_status: int, document: object = None, *, retry_after: str = ""
) -> ServoError:
    """Find what to raise for a call that failed.

    Args:
        http_status: Status of the answer; 200 for the end of a stream.
        document: The JSON body as parsed, or the ``error`` of an end-of-stream message; anything
            that is no error in the sense of the protocol (a proxy's page) counts as none.
        retry_after: The header of that name, seconds or a date.

    Returns:
        An error of the most precise class; never raises.
    """
    name = document.get("code") if isinstance(document, Mapping) else None
    if isinstance(document, Mapping) and isinstance(name, str) and name in GRPC_NAMES:
        message = document.get("message")
        error = error_from_status(
            GRPC_NAMES[name], message if isinstance(message, str) else "", _status_of(document)
        )
    else:
        error = error_class_for_http(http_status)(
            f"the answer has the HTTP status {http_status} and is none of a control plane; check "
            f"the address, and what lies between",
            context={"http_status": http_status},
        )
    if error.retry_after is None:
        error.retry_after = parse_retry_after(retry_after)
    return error


def parse_retry_after(text: str) -> float | None:
    """Read a ``Retry-After`` header: seconds, or a date that is compared with the clock.

    Returns:
        Seconds, at most `MAX_RETRY_AFTER`; ``None`` for what is neither.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(min(int(text[:9]), int(MAX_RETRY_AFTER)))
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - datetime.now(UTC)).total_seconds(), 0.0), MAX_RETRY_AFTER)


def _entry(message: Message) -> dict[str, str]:
    value = base64.b64encode(message.SerializeToString(deterministic=True)).rstrip(b"=")
    return {"type": message.DESCRIPTOR.full_name, "value": value.decode()}


def _status_of(document: Mapping[str, Any]) -> bytes:
    """Return the details as the bytes of a ``google.rpc.Status``, leaving out unreadable ones."""
    status = Status()
    entries = document.get("details")
    known = {error_pb2.ErrorDetail.DESCRIPTOR.full_name, RetryInfo.DESCRIPTOR.full_name}
    for entry in entries if isinstance(entries, list) else ():
        if not isinstance(entry, Mapping) or entry.get("type") not in known:
            continue
        value = entry.get("value")
        if not isinstance(value, str):
            continue
        # Readers have to accept padding, though nobody has to send it.
        bare = value.rstrip("=")
        try:
            data = base64.b64decode(bare + "=" * (-len(bare) % 4), validate=True)
        except (binascii.Error, ValueError):
            continue
        status.details.append(AnyMessage(type_url=_TYPE_PREFIX + entry["type"], value=data))
    return status.SerializeToString()
