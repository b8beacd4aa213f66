"""What a workspace has recorded and is about to record: its history and its materialisations.

Changes come out of `RunMachine`, get their sequence numbers here and go into the journal's batch
together with the state after them; nobody hears of them before that is durable.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial

from servo import errors
from servo.controlplane.active import ActiveRun
from servo.controlplane.journal import Journal
from servo.controlplane.machine import Change
from servo.controlplane.signals import Signals
from servo.controlplane.store.store import Store
from servo.controlplane.store.stored import CurrentMaterialization
from servo.types.events import Event, EventPayload, TaskSpent, TaskStateChanged
from servo.types.partition_keys import PartitionKey
from servo.types.records import Materialization
from servo.types.runs import TaskState


class Ledger:
    """The history of one workspace; see the module's docstring.

    Args:
        number: The store's number of the workspace.
        store: The store.
        journal: Where changes go.

    Attributes:
        is_open: Whether the state in memory is the one on disk, so that it can be gone on from.
        signals: Wakes those who watch.
    """

    def __init__(self, number: int, store: Store, journal: Journal) -> None:
        self.number = number
        self.store = store
        self.journal = journal
        self.signals = Signals()
        self.is_open = False
        self._sequence = 0
        self._materialized: dict[str, dict[PartitionKey, CurrentMaterialization]] = {}
        # What was recorded of assets that were not read: kept until it is durable, or until who
        # is reading them has it.
        self._unread: dict[str, dict[PartitionKey, CurrentMaterialization]] = {}
        self._being_read: Counter[str] = Counter()

    async def open(self) -> None:
        """Read where the history ends."""
        self._sequence = await self.store.last_sequence(self.number)
        self.forget_materializations()

    def close(self) -> None:
        """Forget everything in memory; whoever watches looks again."""
        self.is_open = False
        self.forget_materializations()
        self.signals.announce_all()

    # -- recording ------------------------------------------------------------------------

    def append(self, run_id: str, payload: EventPayload, now: datetime) -> int:
        """Put an event into the open batch; return its sequence number.

        Raises:
            servo.errors.UnavailableError: The state is being read again after a refused write;
                what the caller decided on may not hold any more.
        """
        if not self.is_open:
            raise errors.UnavailableError(
                "the control plane is reading its state again after a write was refused; try again"
            )
        self._sequence += 1
        event = Event(sequence=self._sequence, occurred_at=now, run_id=run_id, payload=payload)
        self.journal.batch.events.append((self.number, event))
        if not run_id:
            self.journal.batch.after.append(partial(self.signals.announce, run_id))
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
        batch.after.append(partial(self.signals.announce, run_id))

    # -- materialisations -----------------------------------------------------------------

    async def know_materializations(self, asset_ids: Iterable[str]) -> None:
        """Read what is materialised of some assets, where that is not known yet."""
        for asset_id in asset_ids:
            if asset_id in self._materialized:
                continue
            self._being_read[asset_id] += 1
            try:
                found = await self.store.current_materializations(self.number, asset_id)
            finally:
                self._being_read[asset_id] -= 1
            if asset_id not in self._materialized:
                # What was recorded meanwhile may not be on disk yet.
                found.update(self._unread.pop(asset_id, {}))
                self._materialized[asset_id] = found

    def materialized(self, asset_id: str) -> Mapping[PartitionKey, CurrentMaterialization]:
        """Return what is materialised of an asset that `know_materializations` was asked for."""
        return self._materialized.get(asset_id, {})

    def forget_materializations(self) -> None:
        """Let go of what was read for plans that have all ended."""
        self._materialized.clear()
        self._unread.clear()

    def _remember(self, made: Materialization, sequence: int) -> None:
        self.journal.batch.materializations.append((self.number, sequence, made))
        now_current = CurrentMaterialization(made.materialization_id, made.has_data, made.path)
        current = self._materialized.get(made.asset_id)
        if current is not None:
            current[made.partition_key] = now_current
            return
        self._unread.setdefault(made.asset_id, {})[made.partition_key] = now_current
        self.journal.batch.after.append(partial(self._let_go, made, now_current))

    def _let_go(self, made: Materialization, written: CurrentMaterialization) -> None:
        """Forget what is on disk now, unless somebody reads it who began before it was there."""
        unread = self._unread.get(made.asset_id)
        if unread is None or self._being_read[made.asset_id]:
            return
        if unread.get(made.partition_key) is written:
            del unread[made.partition_key]
        if not unread:
            del self._unread[made.asset_id]
