# Generated from src/servo/client/_aio/_traced.py by scripts/_unasync.py; edit that instead.
"""A span for each attempt, in programs that use OpenTelemetry."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from servo.client._call import Call
from servo.client._sync._glue import Open, Send, closing
from servo.client._tracing import Attempt, instruments


class Tracing:
    """Begins a span with each attempt, and ends it with the last answer or the error."""

    name = "tracing"

    def bind_unary(self, proceed: Send) -> Send:
        """Return what traces the attempts of calls."""

        def unary(call: Call) -> Any:
            found = instruments()
            if found is None:
                return proceed(call)
            attempt = found.begin(call)
            try:
                answer = proceed(call)
            except BaseException as exc:
                attempt.end(exc)
                raise
            attempt.end()
            return answer

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        """Return what traces the attempts of streams."""

        def stream(call: Call) -> Generator[Any, None, None]:
            found = instruments()
            if found is None:
                return proceed(call)
            attempt = found.begin(call)
            try:
                items = proceed(call)
            except BaseException as exc:
                attempt.end(exc)
                raise
            return _traced(items, attempt)

        return stream


def _traced(items: Generator[Any, None, None], attempt: Attempt) -> Generator[Any, None, None]:
    error: BaseException | None = None
    try:
        with closing(items):
            yield from items
    except GeneratorExit:
        # Who leaves a stream early has what they wanted.
        raise
    except BaseException as exc:
        error = exc
        raise
    finally:
        attempt.end(error)
