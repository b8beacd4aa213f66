"""Which state may follow which, and what each change does to a record."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TypeVar

import pytest
from msgspec.structs import replace

from model.dags import Dag
from model.walk import Walk, walk
from servo.controlplane import transitions
from servo.controlplane.transitions import (
    RUN_TRANSITIONS,
    TASK_TRANSITIONS,
    InvalidTransitionError,
    apply_to_run,
    apply_to_task,
    spend_on_task,
)
from servo.types import AssetKey, FailureCategory, PartitionKey, RunState, TaskState
from servo.types.events import RunStateChanged, RunUpdated, TaskSpent, TaskStateChanged
from servo.types.records import Failure, Progress, Run, Task

State = TypeVar("State", TaskState, RunState)
NOW = datetime(2025, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(minutes=1)
TASK = Task(
    task_id="task",
    index=0,
    asset_key=AssetKey("raw", "events"),
    partition_key=PartitionKey(),
    state=TaskState.BLOCKED,
)
RUN = Run(run_id="run", state=RunState.PENDING)

# Nothing, a chain, two that do not know of each other, and one behind a gate beside another.
DAGS = (
    Dag(()),
    Dag(((), (0,))),
    Dag(((), ())),
    Dag(((), (), ()), gates_of=((), (0,), ()), gates=((0,),)),
)


@pytest.fixture(scope="module")
def walks() -> list[Walk]:
    return [walk(dag) for dag in DAGS]


def pairs(table: Mapping[State, frozenset[State]]) -> set[tuple[State, State]]:
    return {(before, after) for before, found in table.items() for after in found}


def test_the_walk_visits_all_that_a_run_of_three_tasks_can_be(walks: list[Walk]) -> None:
    # Smaller numbers mean that the walk has lost a part of what can happen.
    assert [found.states for found in walks] == [2, 110, 526, 1_558]
    assert [found.steps for found in walks] == [2, 374, 2_831, 8_479]


def test_every_state_of_a_run_leads_to_its_end(walks: list[Walk]) -> None:
    assert [found.stuck for found in walks] == [[], [], [], []]


def test_the_transitions_of_tasks_are_those_that_happen(walks: list[Walk]) -> None:
    assert set().union(*(found.tasks for found in walks)) == pairs(TASK_TRANSITIONS)


def test_the_transitions_of_runs_are_those_that_happen(walks: list[Walk]) -> None:
    seen = set().union(*(found.runs for found in walks))
    assert seen == pairs(RUN_TRANSITIONS)


def test_states_that_are_terminal_are_those_that_nothing_follows() -> None:
    assert {state for state in TASK_TRANSITIONS if not TASK_TRANSITIONS[state]} == {
        state for state in TaskState if state.is_terminal
    }
    assert {state for state in RUN_TRANSITIONS if not RUN_TRANSITIONS[state]} == {
        state for state in RunState if state.is_terminal
    }


@pytest.mark.parametrize("before", TaskState)
@pytest.mark.parametrize("after", TaskState)
def test_a_task_changes_as_the_table_says_and_in_no_other_way(
    before: TaskState, after: TaskState
) -> None:
    task = replace(TASK, state=before, attempt=1)
    change = TaskStateChanged(index=0, state=after, attempt=1)
    if after in TASK_TRANSITIONS[before]:
        assert apply_to_task(task, change, NOW).state is after
        return
    with pytest.raises(InvalidTransitionError, match=f"task task cannot go from {before} to"):
        apply_to_task(task, change, NOW)


@pytest.mark.parametrize("before", RunState)
@pytest.mark.parametrize("after", RunState)
def test_a_run_changes_as_the_table_says_and_in_no_other_way(
    before: RunState, after: RunState
) -> None:
    run = replace(RUN, state=before)
    change = RunStateChanged(state=after)
    if after in RUN_TRANSITIONS[before]:
        assert apply_to_run(run, change, NOW).state is after
        return
    with pytest.raises(InvalidTransitionError, match=f"run run cannot go from {before} to"):
        apply_to_run(run, change, NOW)


@pytest.mark.parametrize("state", [state for state in RunState if state.is_terminal])
def test_a_run_that_has_ended_is_neither_held_nor_moved_to_the_front(state: RunState) -> None:
    with pytest.raises(InvalidTransitionError, match=f"run run is {state} and cannot change"):
        apply_to_run(replace(RUN, state=state), RunUpdated(paused=True), NOW)


@pytest.mark.parametrize("state", TaskState)
def test_only_what_is_on_a_worker_spends(state: TaskState) -> None:
    task = replace(TASK, state=state)
    change = TaskSpent(index=0, attempt=1, spent={"usd": "1.50"})
    if state in (TaskState.DISPATCHED, TaskState.RUNNING):
        assert spend_on_task(task, change).spent == {"usd": "1.50"}
        return
    with pytest.raises(InvalidTransitionError, match=f"task task is {state} and cannot spend"):
        spend_on_task(task, change)


def test_an_attempt_begins_with_nothing_of_the_one_before_but_what_was_spent() -> None:
    failure = Failure(category=FailureCategory.TIMEOUT, message="too slow")
    waits = replace(
        TASK,
        state=TaskState.READY,
        attempt=1,
        failure=failure,
        started_at=NOW,
        retry_at=NOW,
        worker_id="first",
        progress=Progress(message="half"),
        spent={"usd": "1"},
    )
    change = TaskStateChanged(index=0, state=TaskState.DISPATCHED, attempt=2, worker_id="second")
    given = apply_to_task(waits, change, LATER)
    assert (given.attempt, given.worker_id, given.spent) == (2, "second", {"usd": "1"})
    assert (given.started_at, given.retry_at, given.failure) == (None, None, None)
    assert (given.progress, given.checks) == (None, ())
    begun = apply_to_task(given, TaskStateChanged(index=0, state=TaskState.RUNNING), LATER)
    assert (begun.started_at, begun.attempt) == (LATER, 2)


def test_a_run_that_is_being_stopped_says_how_it_will_end_and_is_not_held_any_more() -> None:
    held = replace(RUN, state=RunState.RUNNING, paused=True, started_at=NOW)
    stopping = RunStateChanged(state=RunState.CANCELLING, ends_as=RunState.TIMED_OUT)
    run = apply_to_run(held, stopping, LATER)
    assert (run.ends_as, run.paused, run.finished_at) == (RunState.TIMED_OUT, False, None)
    ended = apply_to_run(run, RunStateChanged(state=RunState.TIMED_OUT, reason="late"), LATER)
    assert (ended.ends_as, ended.finished_at, ended.started_at) == (None, LATER, NOW)


def test_the_walk_finds_a_table_that_lacks_a_transition(monkeypatch: pytest.MonkeyPatch) -> None:
    shorter = {**TASK_TRANSITIONS, TaskState.RETRY_WAIT: frozenset({TaskState.CANCELLED})}
    monkeypatch.setattr(transitions, "TASK_TRANSITIONS", shorter)
    with pytest.raises(InvalidTransitionError, match="from retry_wait to ready"):
        walk(DAGS[1])
