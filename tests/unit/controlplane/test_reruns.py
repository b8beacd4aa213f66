"""Which tasks of a run are repeated, for any graph and any outcome."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from selections import graphs, leaves_of, selections
from servo import errors
from servo.controlplane import planner, reruns
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import WHOLE, Scope
from servo.types import AssetKey, RunState
from servo.types.plans import Plan
from servo.types.records import Run
from servo.types.requests import CreateRunRequest

SCOPE = Scope(datetime(2025, 1, 1, tzinfo=UTC), "acme")
EMPTY = CreateRunRequest(selection=())


@st.composite
def outcomes(draw: st.DrawFn) -> tuple[Catalog, set[AssetKey], set[AssetKey]]:
    """A graph, what of it a run was asked for, and what of that succeeded.

    Where something failed, nothing that reads it succeeded; what the run did not contain exists.
    """
    catalog = Catalog("d1", draw(graphs()), {})
    order = planner.topological(catalog.assets, catalog)
    asked = {key for key in order if draw(st.booleans())}
    succeeded: set[AssetKey] = set()
    for key in order:
        if key in asked and all(
            upstream in succeeded or upstream not in asked for upstream in catalog.upstream(key)
        ):
            succeeded |= {key} if draw(st.booleans()) else set()
    return catalog, asked, succeeded


def parent(keys: set[AssetKey]) -> reruns.Parent:
    run = Run(run_id="r1", state=RunState.FAILED)
    return reruns.Parent(run, EMPTY, {key: [WHOLE] for key in keys})


def planned(plan: Plan) -> list[AssetKey]:
    return [plan.assets[task.asset] for task in plan.tasks]


@given(outcomes())
def test_what_did_not_succeed_can_always_be_repeated_in_order(
    found: tuple[Catalog, set[AssetKey], set[AssetKey]],
) -> None:
    catalog, asked, succeeded = found
    unfinished = asked - succeeded
    tasks = reruns.choose(parent(unfinished), (), catalog, SCOPE)
    exists = set(catalog.assets) - unfinished
    plan = planner.plan_tasks(
        tasks, EMPTY, catalog, lambda key: (WHOLE,) if key in exists else (), SCOPE
    )
    order = planned(plan)
    assert sorted(order) == sorted(unfinished)
    for position, key in enumerate(order):
        waits = {order[upstream] for upstream in plan.tasks[position].upstream}
        assert waits == set(catalog.upstream(key)) & unfinished
        assert all(order.index(upstream) < position for upstream in waits)


@pytest.mark.slow
@given(outcomes(), st.data())
def test_a_selection_repeats_what_it_has_in_common_with_the_run(
    found: tuple[Catalog, set[AssetKey], set[AssetKey]], data: st.DataObject
) -> None:
    catalog, asked, _ = found
    text = str(data.draw(selections(leaves_of(tuple(catalog.assets.values())))))
    try:
        selected = set(catalog.select([text]))
    except errors.NotFoundError:
        return
    try:
        tasks = reruns.choose(parent(asked), [text], catalog, SCOPE)
    except errors.InvalidArgumentError as exc:
        assert exc.code == "NOTHING_TO_RERUN"
        assert not asked & selected
    else:
        assert set(tasks) == asked & selected
