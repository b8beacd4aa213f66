"""What is raised when an HTTP request fails: the border between httpx's errors and Servo's."""

from __future__ import annotations

from typing import Final

from servo import errors
from servo.client import failures
from servo.client._call import Call

_CERTIFICATE_WANTED: Final = ("CERTIFICATE_REQUIRED", "HANDSHAKE_FAILURE", "BAD_CERTIFICATE")


def error_of_http(exc: Exception, call: Call) -> errors.ServoError:
    """Find the error for a request that failed before there was an answer.

    Args:
        exc: What httpx raised, or a `TimeoutError`.
        call: The call.
    """
    import httpx

    text = str(exc) or type(exc).__name__
    left = call.remaining()
    if isinstance(exc, TimeoutError | httpx.TimeoutException) and not isinstance(
        exc, httpx.ConnectTimeout
    ):
        return failures.deadline_error(call.url, call.method.path, call.timeout)
    if left is not None and left <= 0.0:
        return failures.deadline_error(call.url, call.method.path, call.timeout)
    if "CERTIFICATE_VERIFY_FAILED" in text:
        return failures.untrusted(call.url, text.partition("failed: ")[2].partition(" (_ssl")[0])
    if any(word in text for word in _CERTIFICATE_WANTED):
        return errors.ConfigurationError(
            f"{call.url} wants a client certificate that it trusts: {text}; set SERVO_TLS_CERT and "
            f"SERVO_TLS_KEY",
            code="TLS_CLIENT_CERTIFICATE",
        )
    if isinstance(exc, httpx.RemoteProtocolError) and not _is_closed(text):
        return errors.ConfigurationError(
            f"{call.url} answered with something that is no HTTP: {text}; check the address: a "
            f"gRPC port is written grpc://",
            code="NOT_A_CONTROL_PLANE",
        )
    if isinstance(exc, httpx.InvalidURL | httpx.UnsupportedProtocol | httpx.DecodingError):
        return errors.ConfigurationError(
            f"{call.url} cannot be called: {text}; check the address, and the proxy settings",
        )
    if isinstance(exc, httpx.ConnectTimeout):
        text = "the connection could not be made in time"
    return failures.unreachable(call.url, text)


def _is_closed(text: str) -> bool:
    return "disconnected" in text or "closed connection" in text
