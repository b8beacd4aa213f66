"""What a control plane takes: sizes, deadlines, connections, and how many calls a key may make."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from servo import errors
from servo._posix import resource
from servo._wire import methods

MAX_REQUEST_BYTES: Final = methods.LARGE_REQUEST_BYTES
"""The largest request that a server takes; most RPCs take less, see `Method.max_request_bytes`."""

MESSAGE_SECONDS: Final = 30.0
"""How long the message of a call may take to arrive: 4 MB at one megabit a second."""

MAX_HTTP_CONNECTIONS: Final = 500
"""That so many end at once takes 0.1 s of the event loop; most callers use gRPC."""

_RESERVED_DESCRIPTORS: Final = 96
"""For the database, the log, threads and whatever else the process does."""
_LEAST_CONNECTIONS: Final = 16

_MOST_BUCKETS: Final = 10_000


SWITCH_SECONDS: Final = 0.000_5
"""How long Python code in a thread may go on while the event loop waits for the interpreter; the
usual 5 ms, for each of several threads and each step of a call, add up to what callers notice."""


def connections_of_a_port() -> int:
    """Return how many connections one of the two ports may hold, after the limit of open files."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        soft = 2**20
    return max((soft - _RESERVED_DESCRIPTORS) // 2, _LEAST_CONNECTIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpLimits:
    """How many connections the HTTP port holds, and how long each may be silent.

    Attributes:
        most_connections: The number of connections.
        head_seconds: How long the head of a request may take to arrive, or a handshake of TLS.
        body_seconds: How long the body of a request may take to arrive.
        idle_seconds: How long a connection may be silent between two requests.
    """

    most_connections: int = field(
        default_factory=lambda: min(connections_of_a_port(), MAX_HTTP_CONNECTIONS)
    )
    head_seconds: float = 10.0
    body_seconds: float = MESSAGE_SECONDS
    idle_seconds: float = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimit:
    """How many calls one key may make.

    Attributes:
        per_second: Calls per second in the long run.
        burst: Calls at once after a pause.

    Raises:
        servo.errors.ConfigurationError: One of them is not above zero.
    """

    per_second: float
    burst: int

    def __post_init__(self) -> None:
        if not (self.per_second > 0 and self.burst > 0):
            raise errors.ConfigurationError(
                f"a rate limit of {self.per_second!r} calls per second and {self.burst!r} at once "
                "lets nothing through; both must be above zero, and no limit at all is 'None'"
            )


class Limiter:
    """Counts the calls of each key.

    Args:
        limit: What each key may do.
        clock: Seconds, monotonic.
    """

    def __init__(self, limit: RateLimit, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = limit
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, key_id: str) -> float:
        """Count a call; return 0, or after how many seconds the next one will be let through."""
        limit, now = self._limit, self._clock()
        left, since = self._buckets.pop(key_id, (float(limit.burst), now))
        left = min(float(limit.burst), left + (now - since) * limit.per_second)
        wait = 0.0 if left >= 1 else (1 - left) / limit.per_second
        self._buckets[key_id] = (left if wait else left - 1, now)
        if len(self._buckets) > _MOST_BUCKETS:
            # The one that was used longest ago is the fullest; forgetting it makes it full.
            self._buckets.popitem(last=False)
        return wait

    def check(self, key_id: str) -> None:
        """Count a call.

        Raises:
            servo.errors.RateLimitedError: The key has made too many; it says how long to wait.
        """
        wait = self.take(key_id)
        if wait:
            raise errors.RateLimitedError(
                f"the key {key_id!r} makes more than {self._limit.per_second:g} calls per second; "
                f"call again in {wait:.2g} s",
                retry_after=wait,
            )
