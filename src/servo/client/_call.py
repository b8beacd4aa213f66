"""One call on its way through the interceptors, and the order in which they see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from servo._wire import Method
from servo.client._metadata import Metadata
from servo.client.transport import Address

INTERCEPTOR_ORDER: Final = (
    "errors",
    "identity",
    "request-id",
    "auth",
    "deadline",
    "retry",
    "tracing",
    "user",
)
"""The interceptors of a client from the outermost to the innermost; what comes after ``retry`` sees
each attempt, what comes before it each call."""


@dataclass(slots=True, kw_only=True, eq=False)
class Call:
    """One logical call: the same object for all of its attempts.

    Attributes:
        method: The row of the method table: path, kind, types, whether it is idempotent.
        request: The façade object that is sent; what iterates over those that are sent, one after
            another, where the caller streams too.
        metadata: What travels with it; may be added to.
        address: Where it is sent.
        url: The same as it was given, for messages.
        timeout: Seconds that all attempts may take together; ``None`` for no limit.
        ends_at: When they are over, on ``clock``; ``None`` for never.
        clock: Seconds, monotonic.
        request_id: The same for all attempts; in the logs of both sides and in the error.
        attempt: Number of the attempt that is under way, 1 for the first; 0 before it.
        sends_once: Whether somebody else repeats the call, so that nothing here must.
        is_consumed: Whether something of what the caller streams was taken already; such a call
            cannot be made again.
        passing: The error that is on its way to the caller, if one is.
        given_trace: The trace context that the caller gave; attempts continue it.
    """

    method: Method[Any, Any]
    request: Any
    metadata: Metadata
    address: Address
    url: str
    timeout: float | None
    ends_at: float | None
    clock: Callable[[], float]
    request_id: str = ""
    attempt: int = 0
    sends_once: bool = False
    is_consumed: bool = False
    given_trace: Mapping[str, str] | None = None
    passing: BaseException | None = field(default=None, repr=False)

    def remaining(self) -> float | None:
        """Return the seconds that are left, never less than 0; ``None`` for no limit."""
        if self.ends_at is None:
            return None
        left = self.ends_at - self.clock()
        return left if left > 0.0 else 0.0

    def shorten(self, seconds: float) -> None:
        """Leave the call at most that many seconds from now on; more than is left changes nothing.

        Args:
            seconds: How long; 0 ends it now.
        """
        ends_at = self.clock() + seconds
        if self.ends_at is None or ends_at < self.ends_at:
            self.ends_at = ends_at
            self.timeout = seconds if self.timeout is None else min(self.timeout, seconds)
