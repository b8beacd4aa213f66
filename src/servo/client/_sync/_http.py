# Generated from src/servo/client/_aio/_http.py by scripts/_unasync.py; edit that instead.
"""Calls over HTTP, in the Connect protocol."""

from __future__ import annotations

from collections.abc import Generator
from typing import TYPE_CHECKING, Any, Final

from servo import errors
from servo._wire import MethodKind
from servo.client import _connect, failures
from servo.client._call import Call
from servo.client._forks import generation
from servo.client._http_failures import error_of_http
from servo.client._http_setup import (
    CONNECTION_LIMITS,
    SOCKET_OPTIONS,
    import_httpx,
    proxy_for,
    verification,
)
from servo.client._metadata import AUTHORIZATION
from servo.client._sync._glue import bounded, lock, place, within
from servo.client._tls import Tls
from servo.client.transport import Address

if TYPE_CHECKING:
    import httpx

_CONNECT_SECONDS: Final = 10.0
_PAGE_BYTES: Final = 64 * 1024
"""How much is read of an answer that is an error; its details are small."""


class HttpTransport:
    """One pool of connections; made with the first call, and made anew in a forked child.

    Args:
        url: The address as it was given.
        address: The same, parsed.
        tls: Whom to trust, and who one is.
        max_bytes: The largest message that may arrive.

    Raises:
        ConfigurationError: httpx is not installed, or a file for TLS cannot be used.
    """

    def __init__(self, url: str, address: Address, tls: Tls, max_bytes: int) -> None:
        self._httpx = import_httpx()
        self._url = url
        self._address = address
        self._base = f"{address.origin}{address.prefix}"
        self._verify = verification(address, tls)
        self._max_bytes = max_bytes
        self._is_exposed = not (address.secure or address.is_loopback)
        self._lock = lock()
        self._session: httpx.Client | None = None
        self._generation = -1
        self._place: object = None
        self._is_closed = False

    def unary(self, call: Call) -> Any:
        """Make one attempt of a call with one answer.

        Raises:
            InvalidArgumentError: The request cannot be sent, or the answer not be read.
            ServoError: What the server answered instead, or that it did not.
        """
        body = _connect.request_body(call, stream=False)
        try:
            with within(call.remaining()):
                response = self._request(call, body)
                try:
                    answer = self._read(call, response)
                finally:
                    response.close()
        except (self._httpx.HTTPError, self._httpx.InvalidURL, TimeoutError) as exc:
            raise error_of_http(exc, call) from exc
        return _connect.read_answer(call, answer)

    def stream(self, call: Call) -> Generator[Any, None, None]:
        """Make one attempt of a call with many answers; closing what is returned ends it.

        Raises:
            ConfigurationError: The caller streams too.
            InvalidArgumentError: The request cannot be sent.
            ServoError: The client is closed.
        """
        if call.method.kind is MethodKind.BIDI_STREAM:
            raise failures.one_way_error(call.url, call.method.path)
        body = _connect.request_body(call, stream=True)
        return self._answers(call, body)

    def close(self) -> None:
        """Close the connections; calls that are under way fail."""
        self._is_closed = True
        session, self._session = self._session, None
        if session is not None and self._generation == generation.number and self._place is place():
            session.close()

    def _answers(self, call: Call, body: bytes) -> Generator[Any, None, None]:
        envelopes = _connect.Envelopes(call, self._max_bytes)
        try:
            with within(call.remaining()):
                response = self._request(call, body, stream=True)
            try:
                if not _connect.is_answer(response.status_code, response.headers, stream=True):
                    raise self._refusal(call, response)
                for data in response.iter_bytes():
                    self._look_at_the_clock(call)
                    yield from envelopes.feed(data)
            finally:
                response.close()
        except (self._httpx.HTTPError, self._httpx.InvalidURL, TimeoutError) as exc:
            raise error_of_http(exc, call) from exc
        envelopes.close()

    def _request(self, call: Call, body: bytes, *, stream: bool = False) -> httpx.Response:
        if self._is_exposed and AUTHORIZATION in call.metadata:
            self._address.refuse_plain_text()
        session = self._session
        if session is None or self._generation != generation.number or self._place is not place():
            session = self._open()
        seconds = call.remaining()
        connect = _CONNECT_SECONDS if seconds is None else min(seconds, _CONNECT_SECONDS)
        request = session.build_request(
            "POST",
            self._base + call.method.path,
            content=body,
            headers=_connect.request_headers(call, stream=stream),
            timeout=self._httpx.Timeout(seconds, connect=connect),
        )
        return session.send(request, stream=True)

    def _read(self, call: Call, response: httpx.Response) -> bytes:
        """Return the body of an answer.

        Raises:
            ServoError: The response is no answer, or too large.
        """
        if not _connect.is_answer(response.status_code, response.headers, stream=False):
            raise self._refusal(call, response)
        limit = self._max_bytes
        _connect.refuse_size(call, _connect.announced_size(response.headers), limit)
        body = bytearray()
        for data in response.iter_bytes():
            self._look_at_the_clock(call)
            body += data
            _connect.refuse_size(call, len(body), limit)
        return bytes(body)

    def _refusal(self, call: Call, response: httpx.Response) -> errors.ServoError:
        body = bytearray()
        for data in response.iter_bytes():
            self._look_at_the_clock(call)
            body += data
            if len(body) > _PAGE_BYTES:
                break
        return _connect.refusal(call, response.status_code, response.headers, bytes(body))

    def _look_at_the_clock(self, call: Call) -> None:
        # A server that sends a byte now and then never exceeds the timeout of a socket.
        if call.remaining() == 0.0:
            raise failures.deadline_error(call.url, call.method.path, call.timeout)

    def _open(self) -> httpx.Client:
        with self._lock:
            if self._is_closed:
                raise failures.closed_error(self._url)
            here = place()
            session = self._session
            if session is not None:
                if self._generation == generation.number:
                    if self._place is here:
                        return session
                    raise failures.elsewhere_error(self._url)
                generation.abandoned.append(session)
            module = self._httpx
            transport = module.HTTPTransport(
                verify=self._verify,
                limits=module.Limits(**CONNECTION_LIMITS),
                socket_options=SOCKET_OPTIONS,
                proxy=proxy_for(self._address),
            )
            opened: httpx.Client = module.Client(
                transport=bounded(transport), follow_redirects=False
            )
            self._session = opened
            self._place = here
            self._generation = generation.number
            return opened
