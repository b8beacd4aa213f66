"""A span for each attempt, in programs that use OpenTelemetry."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

from servo.client._aio._glue import Open, Send, aclosing
from servo.client._call import Call
from servo.client._tracing import Attempt, instruments


class Tracing:
    """Begins a span with each attempt, and ends it with the last answer or the error."""

    name = "tracing"

    def bind_unary(self, proceed: Send) -> Send:
        """Return what traces the attempts of calls."""

        async def unary(call: Call) -> Any:
            found = instruments()
            if found is None:
                return await proceed(call)
            attempt = found.begin(call)
            try:
                answer = await proceed(call)
            except BaseException as exc:
                attempt.end(exc)
                raise
            attempt.end()
            return answer

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        """Return what traces the attempts of streams."""

        async def stream(call: Call) -> AsyncGenerator[Any, None]:
            found = instruments()
            if found is None:
                return await proceed(call)
            attempt = found.begin(call)
            try:
                items = await proceed(call)
            except BaseException as exc:
                attempt.end(exc)
                raise
            return _traced(items, attempt)

        return stream


async def _traced(items: AsyncGenerator[Any, None], attempt: Attempt) -> AsyncGenerator[Any, None]:
    error: BaseException | None = None
    try:
        async with aclosing(items):
            async for item in items:
                yield item
    except GeneratorExit:
        # Who leaves a stream early has what they wanted.
        raise
    except BaseException as exc:
        error = exc
        raise
    finally:
        attempt.end(error)
