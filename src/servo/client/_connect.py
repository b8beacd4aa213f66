"""The Connect protocol without I/O: headers, envelopes, and what an answer means.

Unary calls are plain POSTs of JSON. A stream of the server is a sequence of envelopes (a byte of
flags, four of length, JSON), the last of which says how it ended; no trailers are needed.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from servo import _wire, errors
from servo._version import __version__
from servo.client import failures
from servo.client._call import Call

UNARY_TYPE: Final = "application/json"
STREAM_TYPE: Final = "application/connect+json"

_PREFIX: Final = struct.Struct(">BI")
_COMPRESSED: Final = 0x01
_END: Final = 0x02
_SHOWN: Final = 120
_tags = re.compile(r"<(script|style)\b.*?</\1>|<[^>]*>", re.DOTALL | re.IGNORECASE)


def request_headers(call: Call, *, stream: bool) -> dict[str, str]:
    """Return the headers of a request, the metadata included."""
    headers = {
        **call.metadata,
        "content-type": STREAM_TYPE if stream else UNARY_TYPE,
        "connect-protocol-version": "1",
        "user-agent": f"servo/{__version__}",
        # What is not compressed cannot be larger than it says.
        "accept-encoding": "identity",
    }
    left = call.remaining()
    if left is not None:
        # The protocol allows ten digits: a hundred days.
        headers["connect-timeout-ms"] = str(min(max(int(left * 1000), 1), 9_999_999_999))
    return headers


def request_body(call: Call, *, stream: bool) -> bytes:
    """Return the body of a request.

    Raises:
        InvalidArgumentError: A part of it cannot be sent.
    """
    body = _wire.to_canonical_json(call.request).encode()
    return _PREFIX.pack(0, len(body)) + body if stream else body


def refuse_size(call: Call, size: int, limit: int) -> None:
    """Refuse a message that is larger than the client takes.

    Raises:
        InvalidArgumentError: It is.
    """
    if size > limit:
        raise failures.too_large(
            call.url, call.method.path, f"it has {size} bytes or more, the limit is {limit}"
        )


def announced_size(headers: Mapping[str, str]) -> int:
    """Return the size of a body as its header tells; 0 if it does not."""
    text = headers.get("content-length", "")
    return int(text) if text.isascii() and text.isdigit() else 0


def is_answer(status: int, headers: Mapping[str, str], *, stream: bool) -> bool:
    """Tell whether a response is an answer to the call; `refusal` says what else it is."""
    wanted = STREAM_TYPE if stream else UNARY_TYPE
    return status == 200 and _media_type(headers) == wanted


def refusal(call: Call, status: int, headers: Mapping[str, str], body: bytes) -> errors.ServoError:
    """Return the error for a response that is no answer: an error, a redirect, a proxy's page.

    Args:
        call: The call.
        status: The HTTP status.
        headers: The headers of the response, names in lower case.
        body: As much of its body as is worth reading.
    """
    if 300 <= status < 400:
        return _redirect(call, status, headers.get("location", ""))
    kind = _media_type(headers)
    document: Any = None
    if kind == UNARY_TYPE:
        try:
            document = json.loads(body)
        except ValueError:
            document = None
    error = _wire.error_from_connect(status, document, retry_after=_pause(headers))
    if isinstance(document, Mapping) and isinstance(document.get("code"), str):
        if document["code"] == "unimplemented" and not document.get("details"):
            return errors.ConfigurationError(
                f"{call.url} does not know {call.method.path}; the server is older than this "
                f"client, upgrade it",
                code="UNIMPLEMENTED",
            )
        return error
    said = _tags.sub(" ", body.decode(errors="replace"))
    said = " ".join(said.split())[:_SHOWN]
    found = type(error) if status >= 400 else errors.ConfigurationError
    return found(
        f"{call.method.path} at {call.url} answered {status} with {kind or 'no content type'} "
        f"instead of what a control plane says: {said!r}; check the address, and what lies between",
        code="NOT_A_CONTROL_PLANE",
        context={"http_status": status},
        retry_after=error.retry_after,
    )


def read_answer(call: Call, body: bytes) -> Any:
    """Read the answer of a unary call, or one message of a stream.

    Raises:
        InvalidArgumentError: It is malformed.
    """
    # A newer server may send more than this version knows.
    return _wire.from_json(call.method.response_type, body, ignore_unknown_fields=True)


class Envelopes:
    """Cuts the body of a stream into messages.

    Args:
        call: The call that is answered.
        limit: The largest message that is taken, bytes.
    """

    def __init__(self, call: Call, limit: int) -> None:
        self._call = call
        self._limit = limit
        self._buffer = bytearray()
        self.has_ended = False
        """Whether the message that ends the stream was there."""

    def feed(self, data: bytes) -> Iterator[Any]:
        """Take bytes and yield the messages that are complete with them.

        Raises:
            ServoError: What the server says at the end of the stream, or what is wrong with it.
        """
        if self.has_ended and data:
            raise _garbage(self._call, "more after the end of its stream")
        buffer = self._buffer
        buffer += data
        while len(buffer) >= _PREFIX.size:
            flags, size = _PREFIX.unpack_from(buffer)
            if flags not in (0, _END):
                what = "a compressed message" if flags & _COMPRESSED else f"the flags {flags:#04x}"
                raise _garbage(self._call, f"{what}, which was not asked for")
            refuse_size(self._call, size, self._limit)
            if len(buffer) < _PREFIX.size + size:
                return
            body = bytes(buffer[_PREFIX.size : _PREFIX.size + size])
            del buffer[: _PREFIX.size + size]
            if flags & _END:
                self._end(body)
                if buffer:
                    raise _garbage(self._call, "more after the end of its stream")
                return
            yield read_answer(self._call, body)

    def close(self) -> None:
        """Say that there is nothing more to come.

        Raises:
            UnavailableError: The stream was cut off.
        """
        if not self.has_ended:
            raise errors.UnavailableError(
                f"{self._call.method.path} at {self._call.url} was cut off before its end; the "
                f"control plane stopped, or something between closed the connection",
                code="STREAM_CUT_OFF",
            )

    def _end(self, body: bytes) -> None:
        self.has_ended = True
        try:
            document = json.loads(body)
        except ValueError as exc:
            raise _garbage(self._call, "an end that is no JSON") from exc
        error = document.get("error") if isinstance(document, dict) else None
        if error is not None:
            raise _wire.error_from_connect(200, error)


def _redirect(call: Call, status: int, location: str) -> errors.ConfigurationError:
    # What follows a question mark may be a secret of whoever redirects.
    parts = urlsplit(location)
    target = f"{parts.scheme}://{parts.netloc}{parts.path}" if parts.netloc else parts.path
    target = target.removesuffix(call.method.path)
    return errors.ConfigurationError(
        f"{call.url} redirects ({status}) to {target!r}; keys are not sent on to another place: "
        f"if that is your control plane, use it as the address",
        code="REDIRECTED",
    )


def _pause(headers: Mapping[str, str]) -> str:
    """Return the header ``retry-after``, in seconds if that takes no clock but the server's."""
    text = headers.get("retry-after", "")
    try:
        until = parsedate_to_datetime(text)
        now = parsedate_to_datetime(headers.get("date", ""))
        return str(max(round((until - now).total_seconds()), 0))
    except (ValueError, TypeError):
        return text


def _garbage(call: Call, what: str) -> errors.ConfigurationError:
    return errors.ConfigurationError(
        f"{call.method.path} at {call.url} answered with {what}; check the address, and what lies "
        f"between",
        code="NOT_A_CONTROL_PLANE",
    )


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()
