"""One trace from the command line through control plane and worker into user code."""

from __future__ import annotations

from servo_project import ServoProject

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = f"00-{TRACE}-b7ad6b7169203331-01"

PLAIN = """
from servo import asset

@asset
def seen(ctx):
    rows = [{"name": name, "value": value} for name, value in ctx.trace_context.items()]
    return [*rows, {"name": "rows", "value": str(len(rows))}]
"""

TRACING = """
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from servo import asset

trace.set_tracer_provider(TracerProvider())

@asset
def seen(ctx):
    span = trace.get_current_span()
    context = span.get_span_context()
    return [
        {
            "trace": f"{context.trace_id:032x}",
            "parent": f"{span.parent.span_id:016x}",
            "name": span.name,
            "attempt": span.attributes["servo.attempt"],
            "handed_on": ctx.trace_context["traceparent"],
            "own": f"{context.span_id:016x}",
        }
    ]
"""


def test_user_code_gets_the_trace_that_the_command_was_started_in(project: ServoProject) -> None:
    project.write("assets/raw.py", PLAIN)
    project.ok("run", "raw.seen", TRACEPARENT=PARENT, TRACESTATE="vendor=1")
    found = {row["name"]: row["value"] for row in project.data("raw/seen")}
    assert found["traceparent"].split("-")[1] == TRACE
    assert found["tracestate"] == "vendor=1"


def test_without_a_trace_user_code_gets_none(project: ServoProject) -> None:
    project.write("assets/raw.py", PLAIN)
    project.ok("run", "raw.seen")
    assert project.data("raw/seen") == [{"name": "rows", "value": "0"}]


def test_an_attempt_is_a_span_where_user_code_traces(project: ServoProject) -> None:
    project.write("assets/raw.py", TRACING)
    project.ok("run", "raw.seen", TRACEPARENT=PARENT)
    (row,) = project.data("raw/seen")
    assert row["trace"] == TRACE
    assert (row["name"], row["attempt"]) == ("raw.seen", 1)
    assert row["handed_on"] == f"00-{TRACE}-{row['own']}-01"


def test_a_run_says_which_trace_it_belongs_to(project: ServoProject) -> None:
    project.write("assets/raw.py", PLAIN)
    run = project.ok("run", "raw.seen", "--json", TRACEPARENT=PARENT).json
    assert run["traceContext"]["traceparent"].split("-")[1] == TRACE


def test_a_malformed_trace_is_left_out(project: ServoProject) -> None:
    project.write("assets/raw.py", PLAIN)
    run = project.ok("run", "raw.seen", "--json", TRACEPARENT="00-nothing-01").json
    assert run["traceContext"] == {}
