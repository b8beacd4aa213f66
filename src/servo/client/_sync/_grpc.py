# Generated from src/servo/client/_aio/_grpc.py by scripts/_unasync.py; edit that instead.
"""Calls over gRPC."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import grpc

from servo import errors
from servo._wire import MethodKind
from servo.client import failures
from servo.client._call import Call
from servo.client._forks import generation
from servo.client._metadata import AUTHORIZATION
from servo.client._sync._glue import answered, closing, dial, exchanged, lock, place, received
from servo.client._tls import Tls
from servo.client.transport import Address


class GrpcTransport:
    """One channel; made with the first call, and made anew in a forked child.

    Args:
        url: The address as it was given.
        address: The same, parsed.
        tls: Whom to trust, and who one is.
        max_bytes: The largest message that may arrive.
    """

    def __init__(self, url: str, address: Address, tls: Tls, max_bytes: int) -> None:
        self._url = url
        self._address = address
        self._tls = tls
        self._max_bytes = max_bytes
        self._is_exposed = not (address.secure or address.is_loopback)
        self._lock = lock()
        self._channel: grpc.Channel | None = None
        self._callables: dict[str, Any] = {}
        self._generation = -1
        self._place: object = None
        self._is_closed = False

    def unary(self, call: Call) -> Any:
        """Make one attempt of a call with one answer.

        Raises:
            InvalidArgumentError: The request cannot be sent, or the answer not be read.
            ServoError: What the server answered instead, or that it did not.
        """
        method = call.method
        data = method.encode_request(call.request)
        send = self._callable(call)
        try:
            answer = answered(
                send(data, timeout=call.remaining(), metadata=tuple(call.metadata.items()))
            )
        except grpc.RpcError as exc:
            raise error_of(exc, call) from exc
        except ValueError as exc:
            raise self._unusable(exc) from exc
        return method.decode_response(answer)

    def stream(self, call: Call) -> Generator[Any, None, None]:
        """Make one attempt of a call with many answers; closing what is returned ends it.

        Raises:
            InvalidArgumentError: The request cannot be sent.
            ServoError: The client is closed.
        """
        method, metadata = call.method, tuple(call.metadata.items())
        if method.kind is MethodKind.BIDI_STREAM:
            send = self._callable(call)
            answers = exchanged(
                send,
                _requests(call),
                # What bounds the opening must not bound how long both sides talk.
                opening=call.remaining(),
                too_late=failures.deadline_error(call.url, method.path, call.timeout),
                metadata=metadata,
            )
            return _answers(call, answers)
        data = method.encode_request(call.request)
        send = self._callable(call)
        try:
            begun = send(data, timeout=call.remaining(), metadata=metadata)
        except ValueError as exc:
            raise self._unusable(exc) from exc
        return _answers(call, received(begun))

    def close(self) -> None:
        """Close the channel; calls that are under way fail."""
        self._is_closed = True
        channel, self._channel = self._channel, None
        self._callables = {}
        if channel is not None and self._generation == generation.number and self._place is place():
            channel.close()

    def _callable(self, call: Call) -> Any:
        if self._is_exposed and AUTHORIZATION in call.metadata:
            self._address.refuse_plain_text()
        if self._generation != generation.number or self._place is not place():
            self._open()
        method = call.method
        path = method.path
        found = self._callables.get(path)
        if found is None:
            channel = self._channel
            if channel is None:
                raise failures.closed_error(self._url)
            make = {
                MethodKind.UNARY: channel.unary_unary,
                MethodKind.SERVER_STREAM: channel.unary_stream,
                MethodKind.BIDI_STREAM: channel.stream_stream,
            }[method.kind]
            found = self._callables[path] = make(path)
        return found

    def _open(self) -> None:
        with self._lock:
            if self._is_closed:
                raise failures.closed_error(self._url)
            here = place()
            if self._generation == generation.number:
                if self._place is here:
                    return
                raise failures.elsewhere_error(self._url)
            if self._channel is not None:
                generation.abandoned.append(self._channel)
            self._callables = {}
            self._channel = dial(self._url, self._max_bytes, self._tls)
            self._place = here
            self._generation = generation.number

    def _unusable(self, exc: ValueError) -> errors.ServoError:
        # This is how grpc says that the channel was closed meanwhile.
        if self._is_closed:
            return failures.closed_error(self._url)
        return errors.ConfigurationError(f"{self._url} cannot be called: {exc}")


def error_of(failure: grpc.RpcError, call: Call) -> errors.ServoError:
    """Find the error for an attempt that failed."""
    return failures.error_of(failure, url=call.url, path=call.method.path, timeout=call.timeout)


def _requests(call: Call) -> Generator[bytes, None, None]:
    encode = call.method.encode_request
    requests = call.request
    call.is_consumed = True
    try:
        for request in requests:
            yield encode(request)
    finally:
        close = getattr(requests, "close", None)
        if close is not None:
            close()


def _answers(call: Call, answers: Generator[bytes, None, None]) -> Generator[Any, None, None]:
    decode = call.method.decode_response
    try:
        with closing(answers):
            for answer in answers:
                yield decode(answer)
    except grpc.RpcError as exc:
        raise error_of(exc, call) from exc
