"""What is raised when a call fails: the border between the transports' errors and Servo's."""

from __future__ import annotations

import re
from typing import Any, Final

import grpc

from servo import _wire, errors

__all__ = [
    "closed_error",
    "deadline_error",
    "elsewhere_error",
    "error_of",
    "one_way_error",
    "too_large",
    "unreachable",
    "untrusted",
]

_certificate_trouble = re.compile(r"certificate[ _]verify[ _]failed(?:[^:]*:)?\s*([^()\n]*)", re.I)
_larger = re.compile(r"larger than max")
_http_status = re.compile(r"Received http2 header with status: (\d{3})")
_NO_TRAILERS: Final = "Data frame with END_STREAM flag received"
_SPEAKS_HTTP: Final = "http1.x server"


def error_of(failure: Any, *, url: str, path: str, timeout: float | None) -> errors.ServoError:
    """Find the error for a gRPC call that failed.

    Args:
        failure: What grpc raised, synchronous or asyncio: it has ``code``, ``details`` and
            ``trailing_metadata``.
        url: Address of the control plane.
        path: Path of the RPC.
        timeout: Seconds that the call was given, or ``None`` for no limit.

    Returns:
        The error that the server described; where it described none, one that says what was
        called and what to do.
    """
    code: grpc.StatusCode = failure.code()
    said: str = failure.details() or ""
    details = dict(failure.trailing_metadata() or ()).get(_wire.DETAILS_KEY)
    if details is not None:
        return _wire.error_from_status(code.name, said, details)
    if code is grpc.StatusCode.UNAVAILABLE:
        if trouble := _certificate_trouble.search(said):
            return untrusted(url, trouble[1] or said)
        return unreachable(url, said)
    if code is grpc.StatusCode.DEADLINE_EXCEEDED:
        return deadline_error(url, path, timeout)
    if code is grpc.StatusCode.CANCELLED:
        # Who cancels a call here does not ask how it ended.
        return errors.UnavailableError(
            f"{path} at {url} was ended before its answer; the control plane stopped, or something "
            f"between closed the connection: try again",
            code="CALL_ENDED",
        )
    if status := _http_status.search(said):
        return _interposed(url, path, int(status[1]))
    if _NO_TRAILERS in said:
        return errors.ConfigurationError(
            f"the answer of {path} at {url} came without its trailers; something between strips "
            f"them: let it pass HTTP/2 on as it is, or use the http:// address, which needs none",
            code="TRAILERS_STRIPPED",
        )
    if code is grpc.StatusCode.UNIMPLEMENTED:
        said = f"{url} does not know {path}; the server is older than this client, upgrade it"
    elif code is grpc.StatusCode.RESOURCE_EXHAUSTED and _larger.search(said):
        return too_large(url, path, said)
    else:
        said = f"{path} at {url} failed: {said or code.name}"
    return _wire.error_from_status(code.name, said)


def unreachable(url: str, reason: str) -> errors.UnavailableError:
    """Return the error for a control plane that cannot be reached.

    Args:
        url: Its address.
        reason: What the transport says.
    """
    hint = "check the address, and whether it runs"
    if _SPEAKS_HTTP in reason:
        hint = "it speaks HTTP: write the address with http:// or https://"
    return errors.UnavailableError(f"cannot reach the control plane at {url}: {reason}; {hint}")


def untrusted(url: str, reason: str) -> errors.ConfigurationError:
    """Return the error for a certificate that is not trusted.

    Args:
        url: Address of the control plane.
        reason: What is wrong with it.
    """
    return errors.ConfigurationError(
        f"the certificate of {url} is not trusted: {reason.strip()}; have it renewed, or name the "
        f"authority that signed it in SERVO_TLS_CA",
        code="TLS_UNTRUSTED",
    )


def deadline_error(url: str, path: str, timeout: float | None) -> errors.DeadlineError:
    """Return the error for a call that took longer than it was given.

    Args:
        url: Address of the control plane.
        path: Path of the RPC.
        timeout: Seconds that the call was given, or ``None`` if only the server knows.
    """
    limit = "in time" if timeout is None else f"within {timeout:g} s"
    return errors.DeadlineError(
        f"{path} at {url} did not answer {limit}; try again, or give it more time"
    )


def too_large(url: str, path: str, size: str) -> errors.InvalidArgumentError:
    """Return the error for an answer that is larger than the client takes.

    Args:
        url: Address of the control plane.
        path: Path of the RPC.
        size: How large it is, and what the limit is.
    """
    return errors.InvalidArgumentError(
        f"the answer of {path} at {url} is refused: {size}; ask for less at once (a smaller "
        f"page_size), or raise max_response_bytes of the client",
        code="RESPONSE_TOO_LARGE",
    )


def _interposed(url: str, path: str, status: int) -> errors.ServoError:
    return errors.error_class_for_http(status)(
        f"{path} at {url} was answered {status} by something that is no control plane; check the "
        f"address, and what lies between",
        code="NOT_A_CONTROL_PLANE",
        context={"http_status": status},
    )


def closed_error(url: str) -> errors.ConfigurationError:
    """Return the error for a call of a client that was closed.

    Args:
        url: Address of the control plane.
    """
    return errors.ConfigurationError(
        f"the client of {url} was closed; make the call before, or another client",
        code="CLIENT_CLOSED",
    )


def one_way_error(url: str, path: str) -> errors.ConfigurationError:
    """Return the error for a call that HTTP cannot carry.

    Args:
        url: Address of the control plane.
        path: Path of the RPC.
    """
    return errors.ConfigurationError(
        f"{path} cannot be called at {url}: HTTP/1.1 does not carry messages both ways at once; "
        f"use the grpc:// or grpcs:// address of the control plane",
        code="GRPC_ONLY",
    )


def elsewhere_error(url: str) -> errors.ConfigurationError:
    """Return the error for a call from another event loop than the client's own.

    Args:
        url: Address of the control plane.
    """
    return errors.ConfigurationError(
        f"the client of {url} belongs to another event loop, the one of its first call; make a "
        f"client in each loop, and close it there",
        code="OTHER_EVENT_LOOP",
    )
