"""What is forgotten, and what never is, over random pasts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import database_kit
import postgres_kit
from database_kit import DEPLOYMENTS, PARTS, SELECTIONS, WORKSPACE, Past
from servo import errors
from servo.controlplane.assets import Assets
from servo.controlplane.events import Events
from servo.controlplane.logs import Logs
from servo.controlplane.pace import WatchLimits
from servo.controlplane.runs import Runs
from servo.controlplane.store import checking, pruning
from servo.controlplane.store.pruning import Pruned, Wanted
from servo.types.events import Event
from servo.types.records import Materialization, Run
from servo.types.requests import (
    GetRunRequest,
    ListMaterializationsRequest,
    ListRunsRequest,
    ReadLogsRequest,
    WatchEventsRequest,
)
from servo.types.runs import RunState

pytestmark = pytest.mark.slow

EXAMPLES = max(20, settings.default.max_examples // 4)

deploys = st.tuples(st.just("deploy"), st.integers(0, len(DEPLOYMENTS) - 1))
runs = st.tuples(
    st.just("run"),
    st.sampled_from(SELECTIONS),
    st.sampled_from(("", "", *PARTS)),
    st.sampled_from((0.0, 0.0, 0.3)),
    st.integers(0, 2**16),
    st.sampled_from((20, 20, 20, 1)),
)
reruns = st.tuples(st.just("rerun"), st.integers(0, 20), st.sampled_from((0.0, 0.3)))
stories = st.lists(st.one_of(runs, runs, runs, deploys, reruns), min_size=1, max_size=12)


@contextmanager
def told(story: list[Any], location: Path | str | None = None) -> Iterator[Past]:
    """Let a story happen in a database of its own; the control plane is stopped then."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        past = Past(location or Path(folder) / "servo.db")
        stack.callback(past.close)
        past.deploy()
        past.run("*")
        known: list[str] = []
        for step in story:
            if step[0] == "deploy":
                past.deploy(step[1])
            elif step[0] == "run":
                _, selection, part, badly, seed, rounds = step
                known.append(past.run(selection, part, badly=badly, seed=seed, rounds=rounds))
            elif known:
                known.append(past.rerun(known[step[1] % len(known)], badly=step[2]))
        yield past


def prune(past: Past, wanted: Wanted) -> Pruned:
    """Forget what is old in the one workspace there is."""
    (pruned,) = pruning.prune(past.location, wanted)
    assert pruned.name == WORKSPACE
    return pruned


def problems(past: Past) -> list[str]:
    return [f"{one.name}: {one.subject}: {one.message}" for one in check(past).problems]


def check(past: Past) -> Any:
    return checking.check(past.location)


def all_runs(past: Past) -> dict[str, Run]:
    verbs, engine = Runs(past.engine.plane), past.engine
    listed = engine.run(verbs.list_runs(engine.callers[0], ListRunsRequest(page_size=1000))).runs
    found = {}
    for run in listed:
        asked = GetRunRequest(run_id=run.run_id)
        found[run.run_id] = engine.run(verbs.get_run(engine.callers[0], asked)).run
    return found


def made(past: Past, *, latest_only: bool) -> dict[str, Materialization]:
    verbs, engine = Assets(past.engine.plane), past.engine
    found = {}
    for key in {asset.key for asset in DEPLOYMENTS[0]}:
        request = ListMaterializationsRequest(key=key, latest_only=latest_only)
        try:
            response = engine.run(verbs.list_materializations(engine.callers[0], request))
        except errors.NotFoundError:
            continue  # not in the current deployment
        found |= {one.materialization_id: one for one in response.materializations}
    return found


def log(past: Past, run_id: str) -> str:
    verbs, engine = Logs(past.engine.plane), past.engine

    async def read() -> str:
        request = ReadLogsRequest(run_id=run_id)
        lines = [
            line.text
            async for response in verbs.read_logs(engine.callers[0], request)
            for batch in response.batches
            for line in batch.lines
        ]
        return "\n".join(lines)

    return engine.run(read())


def watched(past: Past, after: int) -> list[Event]:
    verbs, engine = Events(past.engine.plane, WatchLimits()), past.engine

    async def read() -> list[Event]:
        request = WatchEventsRequest(after_sequence=after)
        return [
            event
            async for response in verbs.watch_events(engine.callers[0], request)
            for event in response.events
        ]

    return engine.run(read())


@settings(max_examples=EXAMPLES, deadline=None)
@given(
    story=stories,
    at=st.floats(0, 1),
    logs_at=st.none() | st.floats(0, 1),
    keep_runs=st.sampled_from([0, 0, 0, 1, 3]),
)
def test_what_lives_and_what_it_was_made_from_is_never_forgotten(
    story: list[Any], at: float, logs_at: float | None, keep_runs: int
) -> None:
    with told(story) as past:
        moments = [*past.moments(), datetime.now(UTC) + timedelta(hours=1)]
        before = moments[round(at * (len(moments) - 1))]
        logs_before = None if logs_at is None else moments[round(logs_at * (len(moments) - 1))]
        wanted = Wanted(runs_before=before, logs_before=logs_before, keep_runs=keep_runs)
        runs, living = all_runs(past), made(past, latest_only=True)
        needed = database_kit.lineage(list(living), past.inputs)
        history = past.engine.events(0, 0)
        past.close()
        assert problems(past) == []

        (planned,) = pruning.plan(past.location, wanted)
        assert problems(past) == []
        pruned = prune(past, wanted)
        assert pruned == planned
        assert problems(past) == []
        again = prune(past, wanted)
        assert not any(again.gone.values())
        assert (again.kept, again.history_after) == (pruned.kept, pruned.history_after)

        past.reopen()
        left = all_runs(past)
        _expect_lineage(past, left, needed, logs_before)
        assert made(past, latest_only=True) == living
        _expect_runs(runs, left, wanted)
        assert past.engine.events(0, 0) == history[pruned.history_after :]
        past.deploy(1)
        past.engine.tick()
        past.work()
        assert past.run("*", upstream=True)
        past.close()
        assert problems(past) == []


def _expect_lineage(
    past: Past, runs: dict[str, Run], needed: set[str], logs_before: datetime | None
) -> None:
    known = {
        task.materialization.materialization_id: run
        for run in runs.values()
        for task in run.tasks
        if task.materialization is not None
    }
    for name in needed:
        run = known[name]
        ended_at = run.finished_at
        if logs_before is None or ended_at is None or ended_at >= logs_before:
            assert f"made {name}" in log(past, run.run_id)
        elif run.state.is_terminal:
            assert log(past, run.run_id) == ""


def _expect_runs(before: dict[str, Run], left: dict[str, Run], wanted: Wanted) -> None:
    assert wanted.runs_before is not None
    ended = sorted(run_id for run_id, run in before.items() if run.state.is_terminal)
    newest = ended[-wanted.keep_runs :] if wanted.keep_runs else []
    for run_id, run in before.items():
        if run.finished_at is None or run.finished_at >= wanted.runs_before or run_id in newest:
            assert left[run_id].tasks == run.tasks
    for run in left.values():
        assert {run.parent_run_id, run.root_run_id} <= {"", *left}


def test_what_was_replaced_is_forgotten_with_its_run() -> None:
    with told([]) as past:
        first = next(iter(all_runs(past)))
        past.run("*")
        second = next(iter(all_runs(past)))
        past.close()
        pruned = prune(past, Wanted(runs_before=datetime.now(UTC)))
        assert pruned.gone["runs"] == 1
        assert pruned.gone["tasks"] == pruned.gone["materializations"] == 9
        assert pruned.kept == {"lineage": 1}
        past.reopen()
        assert set(all_runs(past)) == {second} != {first}
        past.close()


def test_a_partition_that_reads_the_same_one_keeps_only_that_of_its_upstream() -> None:
    with told([]) as past:
        first = next(iter(all_runs(past)))
        for part in PARTS:
            past.run("raw.parts", part)
        replaced = set(all_runs(past)) - {first}
        for part in PARTS:
            past.run("raw.parts", part)
            past.run("mart.parts", part)
        past.run("mart.last")
        past.run("raw.config")
        past.run("mart.total")
        past.close()
        pruned = prune(past, Wanted(runs_before=datetime.now(UTC)))
        assert pruned.gone["runs"] == 1 + len(replaced)
        past.reopen()
        assert not replaced & set(all_runs(past))
        past.close()


def test_an_input_that_was_replaced_stays_while_something_made_from_it_lives() -> None:
    with told([]) as past:
        read = past.run("raw.parts")
        past.run("mart.parts")
        past.run("raw.parts")
        past.close()
        assert prune(past, Wanted(runs_before=datetime.now(UTC))).gone["runs"] == 0
        past.reopen()
        assert read in all_runs(past)
        past.run("mart.*")
        past.close()
        prune(past, Wanted(runs_before=datetime.now(UTC)))
        past.reopen()
        assert read not in all_runs(past)
        past.close()


def test_a_run_that_has_not_ended_stays_and_goes_on_and_others_go() -> None:
    with told([]) as past:
        active = past.run("*", rounds=0)
        past.engine.act(0, lambda workspace: workspace.update_run(active, paused=True))
        past.work()
        gone = past.run("raw.config")
        past.run("raw.config")
        held = past.engine.events(0, 0)
        began = next(event.sequence for event in held if event.run_id == active)
        past.close()
        pruned = prune(past, Wanted(runs_before=datetime.now(UTC)))
        assert (pruned.history_after, pruned.held_by) == (began - 1, active)
        assert problems(past) == []
        past.reopen()
        assert gone not in all_runs(past)
        assert gone in {event.run_id for event in watched(past, 0)}
        past.engine.act(0, lambda workspace: workspace.update_run(active, paused=False))
        past.work()
        assert all_runs(past)[active].state is RunState.SUCCEEDED
        past.close()
        pruned = prune(past, Wanted(runs_before=datetime.now(UTC)))
        assert pruned.history_after > began
        assert problems(past) == []


def test_a_watcher_is_told_where_the_history_begins() -> None:
    with told([]) as past:
        past.close()
        pruned = prune(past, Wanted(runs_before=datetime.now(UTC)))
        begins = pruned.history_after
        assert begins > 10
        past.reopen()
        assert [event.sequence for event in watched(past, 0)] == [begins + 1]
        assert [event.sequence for event in watched(past, begins)] == [begins + 1]
        with pytest.raises(errors.InvalidArgumentError, match=f"begins after {begins}") as raised:
            watched(past, begins - 1)
        assert raised.value.code == "HISTORY_FORGOTTEN"
        past.run("raw.config")
        assert [event.sequence for event in watched(past, 0)][:2] == [begins + 1, begins + 2]
        past.close()


def test_it_can_be_interrupted_anywhere_and_begun_again() -> None:
    story = [("run", "*", "", 0.0, 0, 20)] * 4 + [("deploy", 1), ("run", "*", "", 0.0, 0, 20)]
    stops = 0
    for stop in range(1, 100):
        with told(story) as past:
            active = past.run("*", rounds=0)
            past.close()
            wanted = Wanted(runs_before=datetime.now(UTC), logs_before=datetime.now(UTC))
            (planned,) = pruning.plan(past.location, wanted)
            calls = 0

            def interrupt(what: str, done: int, total: int, stop: int = stop) -> None:
                nonlocal calls
                calls += what.startswith("forgetting")
                if calls == stop:
                    raise KeyboardInterrupt

            try:
                pruning.prune(past.location, wanted, interrupt)
                break
            except KeyboardInterrupt:
                stops += 1
            assert problems(past) == []
            assert prune(past, wanted).history_after == planned.history_after
            assert problems(past) == []
            past.reopen()
            assert active in all_runs(past)
            past.close()
    assert stops > 4


def test_postgresql_forgets_the_same() -> None:
    story = [
        ("run", "raw.parts", "a", 0.0, 0, 20),
        ("run", "*", "", 0.3, 4, 20),
        ("deploy", 1),
        ("run", "*", "", 0.0, 0, 20),
        ("rerun", 1, 0.0),
        ("run", "mart.total", "", 0.0, 0, 1),
    ]
    wanted = Wanted(runs_before=datetime.now(UTC) + timedelta(hours=1))
    with told(story) as past:
        past.close()
        expected = prune(past, wanted)
    with postgres_kit.database() as url, told(story, url) as past:
        living, runs = made(past, latest_only=True), all_runs(past)
        needed = database_kit.lineage(list(living), past.inputs)
        past.close()
        assert problems(past) == []
        pruned = prune(past, wanted)
        assert (pruned.gone, pruned.kept) == (expected.gone, expected.kept)
        assert problems(past) == []
        assert not any(prune(past, wanted).gone.values())
        pruning.compact(past.location)
        past.reopen()
        left = all_runs(past)
        _expect_lineage(past, left, needed, None)
        _expect_runs(runs, left, wanted)
        past.work()
        past.close()
        assert problems(past) == []
