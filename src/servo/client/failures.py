"""What is raised when a call fails: the border between grpc's errors and Servo's."""

from __future__ import annotations

from typing import Any

import grpc

from servo import _wire, errors

__all__ = ["error_of"]


def error_of(failure: Any, *, url: str, path: str, timeout: float | None) -> errors.ServoError:
    """Find the error for a call that failed.

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
    if details is None:
        if code is grpc.StatusCode.UNAVAILABLE:
            said = (
                f"cannot reach the control plane at {url}: {said}; check the address, and whether "
                f"it runs"
            )
        elif code is grpc.StatusCode.DEADLINE_EXCEEDED:
            said = (
                f"{path} at {url} did not answer within {timeout:g} s; try again, or give it more "
                f"time"
                if timeout is not None
                else f"{path} at {url} did not answer in time: {said}"
            )
        elif code is grpc.StatusCode.UNIMPLEMENTED:
            said = f"{url} does not know {path}; the server is older than this client, upgrade it"
        else:
            said = f"{path} at {url} failed: {said}"
    return _wire.error_from_status(code.name, said, details)
