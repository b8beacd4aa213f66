"""One way to call every RPC."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from typing import Any, Final, TypeVar

import grpc

from servo import errors
from servo._wire import Method
from servo.client.failures import error_of

Request = TypeVar("Request")
Response = TypeVar("Response")
T = TypeVar("T")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_SURELY_CONNECTED: Final = 10.0
"""A stream that lived this long was not just trying to connect, even if it said nothing."""


class Calls:
    """Calls the RPCs of one control plane as one caller; may be used by several threads.

    Args:
        channel: Where to call.
        url: Address for messages.
        metadata: What every call carries.
        timeout: Seconds that a call may take when it does not say otherwise.
    """

    def __init__(
        self,
        channel: grpc.Channel,
        *,
        url: str,
        metadata: tuple[tuple[str, str], ...],
        timeout: float,
    ) -> None:
        self._channel = channel
        self._url = url
        self._metadata = metadata
        self._callables: dict[str, Any] = {}
        self.timeout = timeout

    def unary(
        self, method: Method[Request, Response], request: Request, *, timeout: float | None = None
    ) -> Response:
        """Call an RPC with one answer.

        Args:
            method: Row of the method table.
            request: What to send.
            timeout: Seconds that the call may take.

        Raises:
            InvalidArgumentError: The request cannot be sent, or the answer not be read.
            ServoError: What the server answered instead, or that it did not.
        """
        data = method.encode_request(request)
        limit = self.timeout if timeout is None else timeout
        call = self._callable(method.path, self._channel.unary_unary)
        try:
            answer: bytes = call(data, timeout=limit, metadata=self._metadata)
        except grpc.RpcError as exc:
            raise error_of(exc, url=self._url, path=method.path, timeout=limit) from exc
        return method.decode_response(answer)

    def stream(self, method: Method[Request, Response], request: Request) -> Iterator[Response]:
        """Call an RPC with any number of answers; leaving the iteration ends the call.

        Raises:
            InvalidArgumentError: The request cannot be sent, or an answer not be read.
            ServoError: What the server answered instead, or that the connection broke.
        """
        data = method.encode_request(request)
        call = self._callable(method.path, self._channel.unary_stream)(
            data, metadata=self._metadata
        )
        try:
            while True:
                try:
                    answer = next(call)
                except StopIteration:
                    return
                except grpc.RpcError as exc:
                    raise error_of(exc, url=self._url, path=method.path, timeout=None) from exc
                yield method.decode_response(answer)
        finally:
            call.cancel()

    def _callable(self, path: str, make: Callable[[str], Any]) -> Any:
        found = self._callables.get(path)
        if found is None:
            found = self._callables[path] = make(path)
        return found


def pages(read: Callable[[str], T], token_of: Callable[[T], str]) -> Iterator[T]:
    """Read page after page.

    Args:
        read: Reads the page that a token names; the empty one names the first.
        token_of: Finds the token of the next page; empty at the end.
    """
    token = ""
    while True:
        page = read(token)
        yield page
        token = token_of(page)
        if not token:
            return


def resumed(open_stream: Callable[[], Iterator[T]], *, patience: float) -> Iterator[T]:
    """Read a stream, opening it again where the connection breaks.

    Args:
        open_stream: Opens the stream where it was left.
        patience: Seconds without an answer after which to give up.

    Raises:
        UnavailableError: The control plane could not be reached for that long.
    """
    pause = _FIRST_PAUSE
    broken_since: float | None = None
    while True:
        opened_at = time.monotonic()
        try:
            for item in open_stream():
                broken_since = None
                yield item
            return
        except errors.UnavailableError:
            now = time.monotonic()
            if broken_since is None or now - opened_at > max(patience, _SURELY_CONNECTED):
                broken_since, pause = now, _FIRST_PAUSE
            if now + pause - broken_since > patience:
                raise
        # Jitter: those who watch a control plane that was restarted do not come back together.
        time.sleep(pause * random.uniform(0.5, 1.0))
        pause = min(pause * 2, _LONGEST_PAUSE)
