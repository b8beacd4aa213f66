"""Every interleaving around a workspace keeps what is promised, on a real database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from model.engine import Engine, MoodyStore, PlayedWorker
from model.interleavings import Interleavings
from model.promises import BrokenPromiseError
from model.searches import SEARCH, UNTIL_BROKEN
from servo.controlplane.store.batch import Batch
from servo.types.sessions import AttemptFinished, WorkerMessage

EXAMPLES = max(30, SEARCH.max_examples // 3)


def interleavings(opened: MoodyStore, engine: type[Engine] = Engine) -> type[Interleavings]:
    class Here(Interleavings):
        store = opened
        engine_type = engine

    return Here


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MoodyStore]:
    opened = MoodyStore(tmp_path / "servo.db")
    yield opened
    opened.close()


def test_every_interleaving_keeps_what_is_promised(store: MoodyStore) -> None:
    run_state_machine_as_test(
        interleavings(store), settings=settings(SEARCH, max_examples=EXAMPLES)
    )


@pytest.mark.parametrize("is_restarted", [False, True])
def test_a_worker_that_was_away_when_its_run_was_stopped_is_asked_to_end_when_it_returns(
    store: MoodyStore, is_restarted: bool
) -> None:
    around = interleavings(store)()
    try:
        around.come_up()
        around.a_connection_breaks(0)
        around.somebody_stops_a_run(0)
        around.everything_is_committed()
        if is_restarted:
            around.the_control_plane_starts_again(True)
        worker = around.workers[0]
        assert worker.asked_to_end == set()
        around.a_worker_connects(0, 0, 1, True)
        assert worker.asked_to_end == set(worker.attempts) != set()
    finally:
        around.engine.close()


# -- each promise breaks when something is broken ------------------------------------------------


class Unfenced(Engine):
    """Takes every result for one of the lease that is out."""

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        super().receive(worker, *map(self._renewed, messages))

    def _renewed(self, message: WorkerMessage) -> WorkerMessage:
        if not isinstance(message, AttemptFinished):
            return message
        held = self.workspace.leases.get(message.lease.task_id)
        token = message.lease.token if held is None else held.token
        return replace(message, lease=replace(message.lease, token=token))


class Forgetful(Engine):
    """Loses the leases that are out when it starts again."""

    def start(self) -> None:
        super().start()
        self.workspace.leases.clear()


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
        (Unfenced, "what is recorded was made under its lease"),
        (Forgetful, "what is on a worker is out under a lease"),
    ],
)
def test_a_control_plane_that_is_broken_is_found(
    store: MoodyStore, engine: type[Engine], said: str
) -> None:
    assert broken(store, engine) == said


def test_a_control_plane_that_speaks_before_it_has_written_is_found(store: MoodyStore) -> None:
    around = interleavings(store, Hasty)()
    try:
        around.come_up()
        around.a_worker_connects(1, 0, 1, False)
        with pytest.raises(BrokenPromiseError, match="nothing is said before it is recorded"):
            around.the_control_plane_starts_again(False)
    finally:
        around.engine.close()


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
