"""Attempts: repeating what may be repeated, and leaving a broken target alone."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator
from typing import Any, Final

from servo import errors
from servo.client._aio._glue import Open, Send, aclosing, sleep
from servo.client._breaker import OPEN_SECONDS, Breaker
from servo.client._call import Call
from servo.client._retries import Retries

_log: Final = logging.getLogger("servo.client")

_END: Final = object()
_PATIENT_SECONDS: Final = 1.0
"""A deadline that passed sooner says more about the caller than about the target."""


class Retry:
    """Sends a call once, or as often as its policy says.

    Args:
        policy: Which failed attempts are repeated.
        breaker: Whether anything is sent at all.
    """

    name = "retry"

    def __init__(self, policy: Retries, breaker: Breaker) -> None:
        self._policy = policy
        self._breaker = breaker

    def bind_unary(self, proceed: Send) -> Send:
        """Return what repeats a call until it is answered."""
        breaker = self._breaker

        async def unary(call: Call) -> Any:
            if call.sends_once:
                call.attempt += 1
                return await proceed(call)
            while True:
                permit = self._admit(call)
                try:
                    answer = await proceed(call)
                except errors.ServoError as exc:
                    breaker.report(permit, failed=_is_failure(exc, call))
                    pause = self._pause_after(call, exc)
                    if pause is None:
                        raise
                except BaseException:  # whatever ends it frees the permit; raised again
                    breaker.report(permit, failed=None)
                    raise
                else:
                    breaker.report(permit, failed=False)
                    return answer
                await sleep(pause)

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        """Return what repeats a call until its first answer arrives, and never after it."""
        breaker = self._breaker

        async def stream(call: Call) -> AsyncGenerator[Any, None]:
            if call.sends_once:
                call.attempt += 1
                return await proceed(call)
            while True:
                permit = self._admit(call)
                try:
                    items = await proceed(call)
                    first = await anext(items, _END)
                except errors.ServoError as exc:
                    breaker.report(permit, failed=_is_failure(exc, call))
                    pause = self._pause_after(call, exc)
                    if pause is None:
                        raise
                except BaseException:  # whatever ends it frees the permit; raised again
                    breaker.report(permit, failed=None)
                    raise
                else:
                    breaker.report(permit, failed=False)
                    return _begun_with(first, items)
                await sleep(pause)

        return stream

    def _admit(self, call: Call) -> int:
        permit = self._breaker.admit()
        if permit is None:
            left = self._breaker.seconds_left()
            raise errors.UnavailableError(
                f"{call.address.origin} kept failing and is left alone for {OPEN_SECONDS:.0f} s; "
                f"check whether it runs, or try again in {left:.0f} s",
                code="CIRCUIT_OPEN",
                retry_after=left,
            )
        call.attempt += 1
        return permit

    def _pause_after(self, call: Call, error: errors.ServoError) -> float | None:
        pause = self._policy.pause_after(call, error)
        if pause is None or self._breaker.seconds_left() > 0.0:
            return None
        _log.info(
            "%s failed, attempt %d of %d, next in %.2f s: %s (request %s)",
            call.method.path,
            call.attempt,
            self._policy.attempts,
            pause,
            error,
            call.request_id,
            extra={"request_id": call.request_id},
        )
        return pause


def _is_failure(error: errors.ServoError, call: Call) -> bool:
    """Tell whether an error says that the target is broken; any other is an answer."""
    if isinstance(error, errors.DeadlineError):
        return call.timeout is None or call.timeout >= _PATIENT_SECONDS
    return isinstance(error, errors.UnavailableError) and error.retry_after is None


async def _begun_with(first: Any, items: AsyncGenerator[Any, None]) -> AsyncGenerator[Any, None]:
    async with aclosing(items):
        if first is not _END:
            yield first
            async for item in items:
                yield item
