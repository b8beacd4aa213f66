"""The trace of an attempt: user code continues the trace of the call that created the run."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from servo._version import __version__

if TYPE_CHECKING:
    from servo.types.sessions import TaskDispatch

__all__ = ["SCOPE", "traced"]

SCOPE = "servo.worker"
"""Name of the instrumentation scope."""


@contextmanager
def traced(dispatch: TaskDispatch) -> Iterator[Mapping[str, str]]:
    """Run a block as an attempt, with the trace context that it has inside.

    Where user code has imported the OpenTelemetry API, the block is a span that continues the run's
    trace and is the current one. Nothing is imported for it: in a process that does not trace, the
    run's own context is handed on as it came.

    Args:
        dispatch: The attempt.
    """
    given = dispatch.trace_context
    if "opentelemetry.trace" not in sys.modules:
        yield given
        return
    from opentelemetry import trace
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    propagator = TraceContextTextMapPropagator()
    attributes: dict[str, str | int] = {
        "servo.run_id": dispatch.run_id,
        "servo.task_id": dispatch.lease.task_id,
        "servo.attempt": dispatch.lease.attempt,
        "servo.asset": str(dispatch.asset.key),
        "servo.partition": dispatch.partition_key.to_canonical(),
    }
    with trace.get_tracer(SCOPE, __version__).start_as_current_span(
        str(dispatch.asset.key), propagator.extract(given), attributes=attributes
    ):
        carrier: dict[str, str] = {}
        propagator.inject(carrier)
        # A span that is not recorded, because no SDK is set up, has no context of its own.
        yield carrier or given
