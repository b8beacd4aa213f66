"""Spans, ``traceparent`` and metrics, for programs that use OpenTelemetry.

Nothing is imported for it: a program that traces has imported the API itself, and in one that does
not there is no span to continue.
"""

from __future__ import annotations

import sys
import time
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

from servo import errors
from servo._version import __version__
from servo.client._metadata import TRACEPARENT, TRACESTATE

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import TracerProvider

    from servo.client._call import Call

SCOPE: Final = "servo.client"
"""Name of the instrumentation scope."""
DURATION: Final = "rpc.client.call.duration"
"""Name of the histogram of the seconds that attempts take."""


class Instruments:
    """The tracer and the meter of the program.

    Args:
        tracers: Where spans go; where the program says, whenever it does, when left out.
        meters: Where metrics go; likewise.
    """

    def __init__(
        self, tracers: TracerProvider | None = None, meters: MeterProvider | None = None
    ) -> None:
        from opentelemetry import metrics, trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._trace = trace
        self._tracer = trace.get_tracer(SCOPE, __version__, tracers)
        self._propagator = TraceContextTextMapPropagator()
        self._durations = metrics.get_meter(SCOPE, __version__, meters).create_histogram(
            DURATION, unit="s", description="Duration of each attempt of a call."
        )

    def begin(self, call: Call) -> Attempt:
        """Begin the span of an attempt, and let the server continue it."""
        address = call.address
        attributes = {
            "rpc.system": "connect_rpc" if address.is_http else "grpc",
            "rpc.service": call.method.service,
            "rpc.method": call.method.name,
            "server.address": address.host,
            "server.port": address.port,
        }
        context = self._context(call)
        span = self._tracer.start_span(
            call.method.path[1:],
            context=context,
            kind=self._trace.SpanKind.CLIENT,
            attributes={
                **attributes,
                "servo.request_id": call.request_id,
                "servo.attempt": call.attempt,
            },
        )
        if span.get_span_context().is_valid:
            carrier: dict[str, str] = {}
            self._propagator.inject(carrier, self._trace.set_span_in_context(span))
            dict.update(call.metadata, carrier)
        return Attempt(span, self._durations, attributes, self._trace)

    def _context(self, call: Call) -> Context | None:
        """Return the context that a caller gave in the metadata, else the current one."""
        given = call.given_trace
        if given is None:
            return None
        return self._propagator.extract(given)


class Attempt:
    """The span of one attempt that is under way."""

    __slots__ = ("_attributes", "_began", "_durations", "_span", "_trace")

    def __init__(self, span: Any, durations: Any, attributes: dict[str, Any], trace: Any) -> None:
        self._span = span
        self._durations = durations
        self._attributes = attributes
        self._trace = trace
        self._began = time.perf_counter()

    def end(self, error: BaseException | None = None) -> None:
        """End the span with what became of the attempt; ``None`` if it went well."""
        if error is not None:
            code = error.code if isinstance(error, errors.ServoError) else type(error).__name__
            self._attributes["error.type"] = code
            self._span.set_attribute("error.type", code)
            if isinstance(error, errors.ServoError):
                self._span.set_attribute("rpc.response.status_code", error.grpc_code)
            # The message may quote what a user sent; the class and the code do not.
            self._span.set_status(self._trace.StatusCode.ERROR, code)
        self._durations.record(time.perf_counter() - self._began, self._attributes)
        self._span.end()


@lru_cache(maxsize=1)
def _instruments() -> Instruments:
    return Instruments()


def instruments() -> Instruments | None:
    """Return what to trace with, or ``None`` in a program that does not use OpenTelemetry."""
    return _instruments() if "opentelemetry.trace" in sys.modules else None


def given_trace(metadata: dict[str, str]) -> dict[str, str] | None:
    """Return the trace context that a caller put into the metadata, if any."""
    if TRACEPARENT not in metadata:
        return None
    return {name: metadata[name] for name in (TRACEPARENT, TRACESTATE) if name in metadata}
