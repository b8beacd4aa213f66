"""Which failed attempts are repeated, and after which pause."""

from __future__ import annotations

import random
from dataclasses import dataclass

from servo import errors
from servo.client._call import Call


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often a call is tried; ``Retries(attempts=1)`` never repeats one.

    Only calls are repeated that do no harm twice: those that the contract declares idempotent, and
    those with an idempotency key such as ``run_key``.

    Attributes:
        attempts: Attempts at most, the first one included.
        first: Seconds before the second attempt; doubled before each further one.
        longest: Seconds that a pause lasts at most, unless the server asks for a longer one.
    """

    attempts: int = 3
    first: float = 0.25
    longest: float = 5.0

    def __post_init__(self) -> None:
        if self.attempts < 1:
            raise errors.ConfigurationError(
                f"attempts {self.attempts!r} makes no sense; 1 never repeats a call"
            )
        if self.first < 0 or self.longest < 0:
            raise errors.ConfigurationError(
                f"a pause of {min(self.first, self.longest)!r} s makes no sense; 0 is none"
            )

    def pause_after(self, call: Call, error: errors.ServoError) -> float | None:
        """Return the seconds to wait before the next attempt; ``None`` where there is none.

        Args:
            call: The call, whose attempt has failed.
            error: How.
        """
        if call.attempt >= self.attempts or not is_repeatable(call):
            return None
        if error.retry_after is None and not error.retryable:
            return None
        backoff = min(self.first * 2.0 ** (call.attempt - 1), self.longest)
        # Jitter: those whose calls failed together do not come back together.
        pause = backoff * random.uniform(0.5, 1.0)
        if error.retry_after is not None:
            pause = max(pause, error.retry_after)
        left = call.remaining()
        return pause if left is None or pause < left else None


def is_repeatable(call: Call) -> bool:
    """Tell whether the call can be sent twice, and whether that does no harm."""
    if call.is_consumed:
        return False
    return call.method.idempotent or bool(getattr(call.request, "run_key", ""))
