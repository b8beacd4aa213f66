"""Leases and fencing, searched exhaustively: what is promised holds in every reachable state."""

from __future__ import annotations

from functools import cache

import pytest

from model import leases
from model.leases import Rules

search = cache(leases.search)

PROMISES = {
    "a terminal state never changes",
    "a task completes once",
    "what is recorded is what lies on disk",
    "a cancelled run starts nothing",
    "a cancelled run ends",
    "no task is lost",
    "every task ends",
}


def test_every_promise_holds_in_every_state_that_can_be_reached() -> None:
    found = search(Rules())
    assert found.broken == {}
    # Other numbers mean that the model says something else about what can happen.
    assert (found.states, found.steps) == (10_530, 82_341)


def test_without_the_check_of_tokens_a_task_completes_twice() -> None:
    found = search(Rules(fences_results=False))
    assert "a task completes once" in found.broken
    assert "a terminal state never changes" in found.broken


def test_without_tokens_on_files_an_old_attempt_replaces_what_was_recorded() -> None:
    found = search(Rules(fences_files=False))
    story = found.broken["what is recorded is what lies on disk"]
    newer = next(step for step in story if step.endswith("publishes token 2"))
    assert any(step.endswith("publishes token 1") for step in story[story.index(newer) :])


def test_without_leases_that_run_out_the_task_of_a_dead_worker_is_lost() -> None:
    found = search(Rules(expires=False))
    assert found.broken == {"no task is lost": ["give token 1 to worker 0"]}


def test_without_an_end_of_the_grace_period_an_attempt_that_does_not_listen_keeps_its_run() -> None:
    found = search(Rules(forces_cancel=False))
    assert found.broken == {
        "a cancelled run ends": [
            "give token 1 to worker 0",
            "somebody cancels the run",
            "worker 0 begins token 1",
        ]
    }


@pytest.mark.parametrize("rules", [Rules(fences_results=False), Rules(fences_files=False)])
def test_a_broken_promise_comes_with_the_story_that_breaks_it(rules: Rules) -> None:
    for promise, story in search(rules).broken.items():
        assert promise in PROMISES
        assert story[0].startswith("give token 1") or "cancels" in story[0]
