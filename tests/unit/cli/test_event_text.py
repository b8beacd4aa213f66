from __future__ import annotations

import typing
from datetime import UTC, datetime

import click
import pytest
from hypothesis import given
from msgspec.structs import replace

import facade_values
from servo.cli import _event_text
from servo.types.deployments import Deployment
from servo.types.events import (
    DeploymentActivated,
    Event,
    EventPayload,
    PoolChanged,
    RunCreated,
    RunStateChanged,
    RunUpdated,
    TaskProgressed,
    TaskSpent,
    TaskStateChanged,
)
from servo.types.records import Failure, Progress, Run, TaskCounts
from servo.types.runs import FailureCategory, RunState, TaskState

RUN = Run(run_id="R2", state=RunState.PENDING, selection=("raw.*",), counts=TaskCounts(total=2))
FAILURE = Failure(category=FailureCategory.USER_CODE, message="no such order")


def label(run_id: str, index: int) -> str:
    return f"{run_id}'s task {index}"


def event(payload: EventPayload) -> Event:
    run_id = "" if isinstance(payload, DeploymentActivated | PoolChanged) else "R1"
    return Event(sequence=7, occurred_at=datetime.now(UTC), run_id=run_id, payload=payload)


@pytest.mark.parametrize(
    ("payload", "text"),
    [
        (
            DeploymentActivated(
                deployment=Deployment(deployment_id="D1", content_fingerprint="", asset_count=3)
            ),
            "deployment D1  is the current one: 3 assets",
        ),
        (PoolChanged(name="warehouse", slots=1), "pool warehouse  1 slot"),
        (PoolChanged(name="warehouse", slots=0), "pool warehouse  0 slots"),
        (PoolChanged(name="warehouse"), "pool warehouse  removed"),
        (RunCreated(run=RUN), "run R1  asked for raw.*: 2 tasks"),
        (
            RunCreated(run=replace(RUN, selection=(), parent_run_id="R0")),
            "run R1  repeats run R0: 2 tasks",
        ),
        (RunStateChanged(state=RunState.RUNNING), "run R1  running"),
        (
            RunStateChanged(
                state=RunState.CANCELLING, reason="it took too long", ends_as=RunState.TIMED_OUT
            ),
            "run R1  cancelling, to end as timed_out: it took too long",
        ),
        (RunUpdated(paused=True, priority=3), "run R1  held, priority 3"),
        (RunUpdated(), "run R1  not held, priority 0"),
        (TaskStateChanged(index=4, state=TaskState.READY), "run R1  R1's task 4  ready"),
        (
            TaskStateChanged(index=4, state=TaskState.DISPATCHED, attempt=1, worker_id="W1"),
            "run R1  R1's task 4  dispatched to worker W1",
        ),
        (
            TaskStateChanged(index=4, state=TaskState.FAILED, attempt=2, failure=FAILURE),
            "run R1  R1's task 4  failed (attempt 2): user_code: no such order",
        ),
        (
            TaskSpent(index=0, attempt=1, spent={"usd": "0.25", "tokens": "120"}),
            "run R1  R1's task 0  has spent 120 tokens, 0.25 usd",
        ),
        (
            TaskProgressed(index=0, attempt=1, progress=Progress(message="half")),
            "run R1  R1's task 0  half",
        ),
    ],
)
def test_an_event_is_told_in_a_line(payload: EventPayload, text: str) -> None:
    assert click.unstyle(_event_text.describe(event(payload), label)) == text


def test_a_line_begins_with_the_number_to_go_on_after() -> None:
    line = _event_text.line(event(PoolChanged(name="p")), label)
    assert line.split()[0] == "7"


@given(found=facade_values.of(Event))
def test_there_is_a_line_for_every_event(found: Event) -> None:
    assert _event_text.line(found, label)


def test_every_kind_of_event_is_tested_here() -> None:
    tested = {
        type(case[0])
        for mark in test_an_event_is_told_in_a_line.pytestmark
        for case in mark.args[1]
    }
    assert tested == set(typing.get_args(EventPayload))
