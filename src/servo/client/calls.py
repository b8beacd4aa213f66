"""One invoker for every row of the method table: bytes, deadlines and errors in one place."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar, cast

import grpc

from servo import _wire, errors
from servo.client import transport

Request = TypeVar("Request")
Response = TypeVar("Response")


class Invoker:
    """Calls the RPCs of one control plane as one caller.

    Args:
        url: The control plane, ``grpc://HOST:PORT``.
        metadata: Sent with every call.
        timeout: How long a unary call may take, seconds.
    """

    def __init__(self, url: str, *, metadata: tuple[tuple[str, str], ...], timeout: float) -> None:
        self.url = url
        self._metadata = metadata
        self._timeout = timeout
        self._channel = transport.dial(url)

    def close(self) -> None:
        """End the calls under way and close the channel."""
        self._channel.close()

    def unary(
        self,
        method: _wire.Method[Request, Response],
        request: Request,
        *,
        timeout: float | None = None,
    ) -> Response:
        """Call an RPC that answers once.

        Raises:
            servo.errors.ServoError: What the control plane answered, or why it could not.
        """
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = self._channel.unary_unary(method.path)
        try:
            data = call(
                method.encode_request(request),
                metadata=self._metadata,
                timeout=self._timeout if timeout is None else timeout,
            )
        except grpc.RpcError as exc:
            raise self._error(exc) from exc
        return method.decode_response(data)

    def stream(
        self, method: _wire.Method[Request, Response], request: Request
    ) -> Iterator[Response]:
        """Call an RPC that answers with a stream; closing the iterator ends the call.

        Raises:
            servo.errors.ServoError: What the control plane answered, or why it could not.
        """
        start: grpc.UnaryStreamMultiCallable[bytes, bytes] = self._channel.unary_stream(method.path)
        call = start(method.encode_request(request), metadata=self._metadata)
        try:
            for data in call:
                yield method.decode_response(data)
        except grpc.RpcError as exc:
            raise self._error(exc) from exc
        finally:
            call.cancel()

    def _error(self, exc: grpc.RpcError) -> errors.ServoError:
        # What a call raises is the call itself, which the types cannot say.
        call = cast("grpc.Call", exc)
        code, message = call.code().name, call.details() or ""
        details = dict(call.trailing_metadata() or ()).get(_wire.DETAILS_KEY)
        if details is None and code == "UNAVAILABLE":
            return errors.UnavailableError(
                f"cannot reach the control plane at {self.url}: {message}",
                hint="Is it running? `servo dev` starts one for the project.",
            )
        raw = details.encode() if isinstance(details, str) else details
        return _wire.error_from_status(code, message, raw)
