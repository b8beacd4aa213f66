"""Every interleaving around two workspaces keeps what is promised, on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test
from msgspec.structs import replace

from model.breakages import (
    BREAKAGES,
    Breakage,
    attempts_break,
    attempts_take_too_long,
)
from model.engine import Engine, MoodyStore
from model.interleavings import Interleavings
from model.players import PlayedWorker
from model.promises import BrokenPromiseError
from model.searches import SEARCH, UNTIL_BROKEN
from servo.controlplane import machine
from servo.controlplane.store.batch import Batch
from servo.types.sessions import AttemptFinished, WorkerMessage

EXAMPLES = max(30, SEARCH.max_examples // 3)


def interleavings(opened: MoodyStore, engine: type[Engine] = Engine) -> type[Interleavings]:
    class Here(Interleavings):
        store = opened
        engine_type = engine

    return Here


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MoodyStore]:
    """One for all tests: to make one takes longer than most stories, and workspaces are new."""
    opened = MoodyStore(tmp_path_factory.mktemp("interleavings") / "servo.db")
    yield opened
    opened.close()


def test_every_interleaving_keeps_what_is_promised(store: MoodyStore) -> None:
    run_state_machine_as_test(
        interleavings(store), settings=settings(SEARCH, max_examples=EXAMPLES)
    )


@contextmanager
def come_up(
    opened: MoodyStore, engine: type[Engine] = Engine, limits: tuple[int, int] = (0, 0)
) -> Iterator[Interleavings]:
    around = interleavings(opened, engine)()
    try:
        around.come_up(limits=limits)
        yield around
    finally:
        around.engine.close()


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_worker_that_was_away_when_its_run_was_stopped_is_asked_to_end_when_it_returns(
    store: MoodyStore, is_restarted: bool
) -> None:
    with come_up(store) as around:
        around.a_connection_breaks(0)
        around.somebody_stops_a_run(0)
        around.everything_is_committed()
        if is_restarted:
            around.the_control_plane_starts_again(True)
        worker = around.workers[0]
        assert worker.asked_to_end == set()
        around.a_worker_connects(0, 0, 1, True)
        assert worker.asked_to_end == set(worker.attempts) != set()


# -- each promise breaks when something is broken ------------------------------------------------


class Unfenced(Engine):
    """Takes every result for one of the lease that is out."""

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        super().receive(worker, *map(self._renewed, messages))

    def _renewed(self, message: WorkerMessage) -> WorkerMessage:
        if not isinstance(message, AttemptFinished):
            return message
        held = next(
            (
                held
                for workspace in self.workspaces
                for task_id, held in workspace.leases.items()
                if task_id == message.lease.task_id
            ),
            None,
        )
        token = message.lease.token if held is None else held.token
        return replace(message, lease=replace(message.lease, token=token))


class Forgetful(Engine):
    """Loses the leases that are out when it starts again."""

    def start(self) -> None:
        super().start()
        for workspace in self.workspaces:
            workspace.leases.clear()


class Hasty(Engine):
    """Sends what is to be said before it is written."""

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        super().receive(worker, *messages)
        batch = self.plane.journal.batch
        hurried, batch.after[:] = list(batch.after), []
        for proceed in hurried:
            proceed()


class Leaky(MoodyStore):
    """Loses an event of a batch that has several."""

    async def write(self, batch: Batch) -> None:
        if len(batch.events) > 3:
            del batch.events[-2]
        await super().write(batch)


class Torn(MoodyStore):
    """Writes the events of a batch, but not every task."""

    async def write(self, batch: Batch) -> None:
        if len(batch.tasks) > 3 and not batch.new_runs:
            batch.tasks.popitem()
        await super().write(batch)


def broken(opened: MoodyStore, engine: type[Engine] = Engine) -> str:
    """Return which promise breaks first."""
    with pytest.raises(Exception) as raised:  # whatever it is, the test looks at it
        run_state_machine_as_test(interleavings(opened, engine), settings=UNTIL_BROKEN)
    return str(raised.value)


@pytest.mark.parametrize(
    ("engine", "said"),
    [
        (Unfenced, "what is recorded was said under its lease"),
        (Forgetful, "what is on a worker is out under a lease"),
    ],
)
def test_a_control_plane_that_is_broken_is_found(
    store: MoodyStore, engine: type[Engine], said: str
) -> None:
    assert broken(store, engine) == said


def test_a_control_plane_that_speaks_before_it_has_written_is_found(store: MoodyStore) -> None:
    with come_up(store, Hasty) as around:
        around.a_worker_connects(2, 0, 1, False)
        with pytest.raises(BrokenPromiseError, match="nothing is said before it is recorded"):
            around.the_control_plane_starts_again(False)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Leaky, "the history has no gaps"),
        (Torn, "the history folds to the tasks in the store"),
    ],
)
def test_a_store_that_is_broken_is_found(tmp_path: Path, kind: type[MoodyStore], said: str) -> None:
    opened = kind(tmp_path / "broken.db")
    try:
        assert broken(opened) == said
    finally:
        opened.close()


@pytest.mark.parametrize(
    "breakage", BREAKAGES, ids=lambda one: f"{one.engine.__name__}-{one.store.__name__}"
)
def test_a_promise_breaks_where_something_is_broken(
    store: MoodyStore, tmp_path: Path, breakage: Breakage
) -> None:
    opened = store if breakage.store is MoodyStore else breakage.store(tmp_path / "broken.db")
    try:
        with (
            pytest.raises(BrokenPromiseError, match=f"^{breakage.said}$"),
            come_up(opened, breakage.engine, breakage.limits) as around,
        ):
            breakage.story(around)
    finally:
        if opened is not store:
            opened.close()


def test_no_promise_breaks_where_nothing_is_broken(store: MoodyStore) -> None:
    for breakage in BREAKAGES:
        with come_up(store, limits=breakage.limits) as around:
            breakage.story(around)


def test_a_control_plane_that_tries_again_against_the_policy_is_found(
    store: MoodyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with come_up(store) as around:
        attempts_take_too_long(around)
    monkeypatch.setattr(machine, "is_retried", lambda *_: True)
    said = "another attempt follows where the policy says so"
    with pytest.raises(BrokenPromiseError, match=said), come_up(store) as around:
        attempts_take_too_long(around)


def test_a_control_plane_that_tries_again_too_early_is_found(
    store: MoodyStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with come_up(store) as around:
        attempts_break(around)
    monkeypatch.setattr(machine, "backoff", lambda *_: timedelta(0))
    said = "a retry waits for its time"
    with pytest.raises(BrokenPromiseError, match=said), come_up(store) as around:
        attempts_break(around)
