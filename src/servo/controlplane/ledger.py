"""What a workspace has recorded and is about to record: its history and its materialisations.

Changes come out of `RunMachine`, get their sequence numbers here and go into the journal's batch
together with the state after them; nobody hears of them before that is durable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial

from servo import errors
from servo.controlplane.active import ActiveRun
from servo.controlplane.journal import Journal
from servo.controlplane.machine import Change
from servo.controlplane.materialized import MaterializedAssets
from servo.controlplane.signals import Signals
from servo.controlplane.store.batch import Batch
from servo.controlplane.store.store import Store
from servo.types.events import Event, EventPayload, TaskSpent, TaskStateChanged
from servo.types.records import Materialization
from servo.types.runs import TaskState


@dataclass(frozen=True, slots=True)
class _News:
    """What a batch says of one workspace."""

    events: list[Event] = field(default_factory=list)
    made: list[Materialization] = field(default_factory=list)


class Ledger:
    """The history of one workspace; see the module's docstring.

    Args:
        number: The store's number of the workspace.
        store: The store.
        journal: Where changes go.

    Attributes:
        is_open: Whether the state in memory is the one on disk, so that it can be gone on from.
        signals: Wakes those who watch.
        materialized: What there is to read.
    """

    def __init__(self, number: int, store: Store, journal: Journal) -> None:
        self.number = number
        self.store = store
        self.journal = journal
        self.signals = Signals()
        self.materialized = MaterializedAssets(partial(store.current_materializations, number))
        self.is_open = False
        self._sequence = 0
        self._open_batch: Batch | None = None
        self._news = _News()

    async def open(self) -> None:
        """Read where the history ends."""
        self._sequence = await self.store.last_sequence(self.number)
        self.signals.tail.pass_over(self._sequence)
        self.materialized.forget()

    def close(self) -> None:
        """Forget everything in memory; whoever watches looks again."""
        self.is_open = False
        self._open_batch = None
        self.materialized.forget()
        self.signals.announce_all()

    # -- recording ------------------------------------------------------------------------

    def append(self, run_id: str, payload: EventPayload, now: datetime) -> int:
        """Put an event into the open batch; return its sequence number.

        Raises:
            servo.errors.UnavailableError: The state is being read again after a refused write;
                what the caller decided on may not hold any more.
        """
        if not self.is_open:
            raise state_was_lost()
        self._sequence += 1
        event = Event(sequence=self._sequence, occurred_at=now, run_id=run_id, payload=payload)
        self.journal.batch.events.append((self.number, event))
        self._open_news().events.append(event)
        self.journal.kick()
        return self._sequence

    def record(self, active: ActiveRun, changes: Sequence[Change], now: datetime) -> None:
        """Put changes of a run into the open batch, together with the state after them."""
        batch, tasks, run_id = self.journal.batch, active.machine.tasks, active.run_id
        for change in changes:
            sequence = self.append(run_id, change, now)
            if not isinstance(change, TaskStateChanged | TaskSpent):
                continue
            index = change.index
            if isinstance(change, TaskStateChanged):
                if change.state is TaskState.DISPATCHED:
                    active.tokens[index] = sequence
                elif change.materialization is not None:
                    self._remember(change.materialization, sequence)
            batch.tasks[run_id, index] = (tasks[index], active.tokens[index])
        active.last_sequence = self._sequence
        # Counting is for the row that is written, once a commit and not once a change.
        batch.runs[run_id] = active.snapshot

    def _remember(self, made: Materialization, sequence: int) -> None:
        self.journal.batch.materializations.append((self.number, sequence, made))
        self.materialized.add(made)
        self._open_news().made.append(made)

    # -- when it is durable ---------------------------------------------------------------

    def _open_news(self) -> _News:
        batch = self.journal.batch
        if self._open_batch is not batch:
            # The batch refers to its news, and not the other way round: it refers to runs as well,
            # and is to be gone with its last user.
            self._open_batch, self._news = batch, _News()
            batch.after.append(partial(self._publish, self._news))
        return self._news

    def _publish(self, news: _News) -> None:
        if self._news is news:
            self._open_batch = None
        for made in news.made:
            self.materialized.is_durable(made)
        self.signals.publish(news.events)


def state_was_lost() -> errors.UnavailableError:
    """Return what is said to those who decided on a state that was never recorded."""
    return errors.UnavailableError(
        "the control plane is reading its state again after a write was refused; try again"
    )
