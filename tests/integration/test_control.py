"""Holding, hurrying, explaining and bounding runs, by both clients over both transports."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import date
from typing import Any

import pytest

from client_kit import Mode, Wire, call, scripted_plane
from plane_kit import asset
from servo import errors
from servo.types import (
    AssetKey,
    BlockerKind,
    DailyPartition,
    PartitionKey,
    PartitionStrategy,
    Pool,
    RunId,
    RunState,
)
from servo.types.manifests import ManifestContents
from servo.types.records import Run

DAYS = PartitionStrategy([DailyPartition("date", start="2025-01-01", end="2025-01-03")])
ASSETS = (asset("mart.daily", partitioning=DAYS), asset("raw.a"), asset("raw.b", "raw.a"))
NEVER = RunId.generate()

Ask = Callable[[Callable[[Any], Any]], Any]
"""Calls the control plane by the client that a test is about."""


@pytest.fixture(params=["grpc", "http"])
def wire(request: pytest.FixtureRequest) -> Wire:
    found: Wire = request.param
    return found


@pytest.fixture(params=["sync", "async"])
def ask(
    request: pytest.FixtureRequest, wire: Wire, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Ask]:
    mode: Mode = request.param
    with scripted_plane(tmp_path_factory.mktemp("plane")) as plane:
        yield lambda do: call(mode, plane.url(wire), do)


@pytest.fixture
def run(ask: Ask) -> Run:
    """A run of two tasks; there is no worker."""
    ask(lambda client: client.deployments.deploy(ManifestContents(assets=ASSETS)))
    created: Run = ask(lambda client: client.runs.create(["raw.*"])).run
    return created


def test_a_run_is_held_and_goes_on(ask: Ask, run: Run) -> None:
    assert not run.paused
    held = ask(lambda client: client.runs.pause(run.run_id))
    assert (held.run_id, held.paused, held.state) == (run.run_id, True, run.state)
    assert ask(lambda client: client.runs.get(run.run_id)).paused
    assert not ask(lambda client: client.runs.resume(run.run_id)).paused


def test_a_priority_changes_and_nothing_else(ask: Ask, run: Run) -> None:
    ask(lambda client: client.runs.pause(run.run_id))
    changed = ask(lambda client: client.runs.set_priority(run.run_id, -7))
    assert (changed.priority, changed.paused) == (-7, True)


@pytest.mark.parametrize("verb", ["pause", "resume"])
def test_a_run_that_has_ended_is_not_held(ask: Ask, run: Run, verb: str) -> None:
    ended = ask(lambda client: client.runs.cancel(run.run_id))
    assert ended.state is RunState.CANCELLED
    with pytest.raises(errors.ConflictError, match="has ended") as caught:
        ask(lambda client: getattr(client.runs, verb)(run.run_id))
    assert caught.value.code == "RUN_HAS_ENDED"
    with pytest.raises(errors.NotFoundError, match=NEVER):
        ask(lambda client: getattr(client.runs, verb)(NEVER))


def test_a_run_is_asked_for_with_everything_that_it_may_take(ask: Ask, run: Run) -> None:
    def create(client: Any) -> Any:
        return client.runs.create(
            ["raw.a"],
            priority=3,
            max_parallelism=2,
            timeout_seconds=90,
            budget={"usd": "1.50"},
            code_version_id="v1",
            max_retries=0,
        )

    made = ask(create).run
    found = ask(lambda client: client.runs.get(made.run_id))
    assert (found.priority, found.max_parallelism, found.timeout_seconds) == (3, 2, 90)
    assert (dict(found.budget), found.code_version_id) == ({"usd": "1.50"}, "v1")
    assert found.max_retries == 0
    assert found.reason.startswith("CODE_VERSION_NOT_AVAILABLE: ")


def test_why_follows_upstream_to_what_can_be_changed(ask: Ask, run: Run) -> None:
    tasks = {str(task.asset_key): task for task in ask(lambda c: c.runs.get(run.run_id)).tasks}
    chain = ask(lambda client: client.runs.why(task_id=tasks["raw.b"].task_id))
    assert [link.kind for link in chain] == [BlockerKind.UPSTREAM, BlockerKind.NO_WORKER]
    assert chain[0].subject_id == tasks["raw.a"].task_id
    assert chain[1].remedy == "servo worker"
    assert chain == ask(lambda client: client.runs.why(asset="raw.b"))
    assert chain == ask(lambda client: client.runs.why(asset=AssetKey("raw", "b")))
    assert ask(lambda client: client.runs.why(run_id=run.run_id))[-1] == chain[-1]


def test_a_ready_task_says_what_it_waits_for(ask: Ask, run: Run) -> None:
    first, second = ask(lambda client: client.runs.get(run.run_id)).tasks
    assert (first.waiting, second.waiting) == ("no worker is connected", "")
    ask(lambda client: client.runs.pause(run.run_id))
    assert ask(lambda client: client.runs.get(run.run_id)).tasks[0].waiting.endswith("is held")
    listed = next(iter(ask(lambda client: client.runs.list())))
    assert listed.paused
    assert listed.reason.startswith("held; ")


def test_why_is_about_one_partition_where_one_is_given(ask: Ask, run: Run) -> None:
    first, second = (PartitionKey({"date": date(2025, 1, day)}) for day in (1, 2))
    ask(lambda client: client.runs.create(["mart.daily"], partitions=first))
    waiting, not_asked = (
        ask(lambda client, key=key: client.runs.why(asset="mart.daily", partition=key))
        for key in (first, second)
    )
    assert waiting[-1].kind is BlockerKind.NO_WORKER
    assert not_asked[-1].kind is BlockerKind.NOT_REQUESTED


@pytest.mark.parametrize("about", [{}, {"run_id": NEVER, "task_id": NEVER}])
def test_why_is_about_one_thing(ask: Ask, about: dict[str, str]) -> None:
    with pytest.raises(errors.InvalidArgumentError, match="one of run_id, task_id and asset_key"):
        ask(lambda client: client.runs.why(**about))


def test_a_pool_is_made_changed_listed_and_removed(ask: Ask, run: Run) -> None:
    warehouse = Pool(name="warehouse", slots=4)
    assert ask(lambda client: client.pools.list()) == []
    assert ask(lambda client: client.pools.set("warehouse", 4)) == warehouse
    ask(lambda client: client.pools.set("api", 1))
    ask(lambda client: client.pools.set("api", 0))
    assert ask(lambda client: client.pools.list()) == [Pool(name="api", slots=0), warehouse]
    for _ in range(2):
        ask(lambda client: client.pools.remove("api"))
    assert ask(lambda client: client.pools.list()) == [warehouse]


@pytest.mark.parametrize(("name", "slots"), [("Big Pool", 1), ("", 1), ("p", -1)])
def test_what_is_no_pool_is_refused_before_anything_is_sent(
    ask: Ask, name: str, slots: int
) -> None:
    with pytest.raises(ValueError, match=r"pool|slots"):
        ask(lambda client: client.pools.set(name, slots))
