"""Random interleavings around one workspace: workers, connections, people, disks and restarts.

`model.engine` is the control plane; here is everybody around it. What a worker says may arrive in
any order, twice, after its lease was lost, or over another connection than it was meant for. After
every commit `model.mirror` reads the store's history, checks each event, folds it, and compares
that with what the store and the control plane have.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from model.engine import Engine, MoodyStore, PlayedWorker
from model.mirror import Mirror
from model.project import ASSETS, POLICIES, POOL
from model.promises import ON_WORKER, promise
from servo import errors
from servo.types import (
    AssetKey,
    MaterializationId,
    PartitionKey,
    WorkerId,
)
from servo.types.records import Failure, Materialization, Progress
from servo.types.requests import AllPartitions, CreateRunRequest
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptProgressed,
    AttemptSpent,
    AttemptStarted,
    AttemptSucceeded,
    CreditGrant,
    Heartbeat,
    Lease,
    WorkerDraining,
    WorkerMessage,
)

WORKERS = 3
MOST_RUNS = 3
picks = st.integers(0, 2**16)
several = st.integers(1, 12)
failures = st.builds(
    Failure,
    category=st.sampled_from(FailureCategory),
    message=st.just("broken"),
    retryable=st.sampled_from([None, None, True, False]),
    reason=st.sampled_from(["exception", "oom", "handed_back"]),
)
Outcome = Failure | AttemptCancelled | AttemptSucceeded | None
outcomes = st.none() | failures | st.just(AttemptCancelled(reason="asked to"))


Message = tuple[Lease, WorkerMessage]


class Interleavings(RuleBasedStateMachine):
    """Everybody around one workspace."""

    store: ClassVar[MoodyStore]
    engine_type: ClassVar[type[Engine]] = Engine
    numbers: ClassVar[count[int]] = count()

    engine: Engine

    @initialize()
    def come_up(self) -> None:
        self.engine = self.engine_type(self.store, f"workspace{next(self.numbers)}")
        self.engine.deploy(ASSETS)
        self.workers = [PlayedWorker(str(WorkerId.generate())) for _ in range(WORKERS)]
        self.on_its_way: list[Message] = []
        self.zombies: list[Lease] = []
        self.mirror = Mirror()
        self.somebody_starts_a_run(("*",), 0, {}, 0)
        self.a_worker_connects(0, 0, 4, True)

    # -- people ----------------------------------------------------------------------------

    @precondition(lambda self: len(self.mirror.created) < MOST_RUNS)
    @rule(
        selection=st.sampled_from([("*",), ("raw.*",), ("raw.dear",), ("mart.whole",)]),
        max_parallelism=st.sampled_from([0, 0, 2]),
        budget=st.sampled_from([{}, {}, {"usd": "2.50"}]),
        priority=st.integers(-1, 1),
    )
    def somebody_starts_a_run(
        self,
        selection: tuple[str, ...],
        max_parallelism: int,
        budget: dict[str, str],
        priority: int,
    ) -> None:
        request = CreateRunRequest(
            selection=selection,
            partitions=AllPartitions(),
            upstream=True,
            max_parallelism=max_parallelism,
            budget=budget,
            priority=priority,
        )
        run, tasks = self.engine.create_run(request)
        plan = self.engine.workspace.active[run.run_id].machine.plan
        self.mirror.add(run, tasks, plan)
        self._look()

    @precondition(lambda self: self.mirror.created)
    @rule(pick=picks)
    def somebody_stops_a_run(self, pick: int) -> None:
        self.engine.workspace.cancel(self._run_id(pick), "enough")

    @precondition(lambda self: self.mirror.created)
    @rule(pick=picks, paused=st.none() | st.booleans(), priority=st.none() | st.integers(-2, 2))
    def somebody_holds_or_moves_a_run(
        self, pick: int, paused: bool | None, priority: int | None
    ) -> None:
        run_id = self._run_id(pick)
        self.engine.workspace.update_run(run_id, paused=paused, priority=priority)

    @rule(slots=st.none() | st.integers(1, 3))
    def somebody_changes_the_pool(self, slots: int | None) -> None:
        self.engine.workspace.set_pool(POOL, slots)

    # -- workers and their connections -----------------------------------------------------

    @rule(pick=picks, forgets=st.integers(0, 2), credit=st.integers(1, 8), commits=st.booleans())
    def a_worker_connects(self, pick: int, forgets: int, credit: int, commits: bool) -> None:
        """It may have forgotten what it does, and be heard of it later all the same."""
        worker = self.workers[pick % WORKERS]
        for token in list(worker.attempts)[:forgets]:
            self.zombies.append(worker.attempts.pop(token))
        self.engine.connect(worker, tuple(worker.attempts.values()))
        self.engine.grant(worker, credit)
        if commits:
            self.everything_is_committed()

    @precondition(lambda self: self._connected())
    @rule(pick=picks)
    def a_connection_breaks(self, pick: int) -> None:
        worker = self.workers[pick % WORKERS]
        if worker.session is not None:
            self.engine.workspace.disconnect(worker.session)
            worker.session = None

    @rule(pick=picks)
    def a_worker_dies(self, pick: int) -> None:
        self.a_connection_breaks(pick)
        self.workers[pick % WORKERS] = PlayedWorker(str(WorkerId.generate()))

    @precondition(lambda self: self._connected())
    @rule(pick=picks)
    def a_worker_leaves(self, pick: int) -> None:
        worker = self.workers[pick % WORKERS]
        if worker.session is not None:
            self.engine.receive(worker, WorkerDraining())

    @precondition(lambda self: self._leases())
    @rule(first=picks, count=several, at_once=st.booleans())
    def attempts_start(self, first: int, count: int, at_once: bool) -> None:
        for lease in _some(self._leases(), first, count):
            self._say(lease, AttemptStarted(lease=lease), at_once)

    @precondition(lambda self: self._leases())
    @rule(first=picks, outcomes=st.lists(outcomes, min_size=1, max_size=8), at_once=st.booleans())
    def attempts_end(self, first: int, outcomes: list[Outcome], at_once: bool) -> None:
        leases = _some(self._leases(), first, len(outcomes))
        for lease, outcome in zip(leases, outcomes, strict=False):
            self._end(lease, outcome, at_once)

    @precondition(lambda self: self._leases())
    @rule(first=picks, count=several, cents=st.integers(0, 80), at_once=st.booleans())
    def attempts_spend(self, first: int, count: int, cents: int, at_once: bool) -> None:
        for lease in _some(self._leases(), first, count):
            spent = {"usd": f"0.{cents:02}"}
            progress = Progress(message="halfway", percentage=50)
            self._say(lease, AttemptProgressed(lease=lease, progress=progress), at_once)
            self._say(lease, AttemptSpent(lease=lease, spent=spent), at_once)

    @precondition(lambda self: self.on_its_way)
    @rule(first=picks, count=several, worker=picks, is_repeated=st.booleans())
    def messages_arrive(self, first: int, count: int, worker: int, is_repeated: bool) -> None:
        """In any order, over any connection, and perhaps not for the last time."""
        for message in _some(self.on_its_way, first, count):
            if self._deliver(worker, message[1]) and not is_repeated:
                self.on_its_way.remove(message)

    @precondition(lambda self: self._connected())
    @rule(first=picks, count=several, worker=picks, credit=st.integers(0, 4))
    def a_worker_is_alive(self, first: int, count: int, worker: int, credit: int) -> None:
        """Its heartbeat may name what is no longer its own."""
        leases = tuple(_some([*self._leases(), *self.zombies], first, count))
        self._deliver(worker, Heartbeat(leases=leases), CreditGrant(attempts=credit))

    # -- time ------------------------------------------------------------------------------

    @precondition(lambda self: len(self.engine.workspace.leases) > 0)
    @rule(first=picks, count=several)
    def leases_run_out(self, first: int, count: int) -> None:
        for _, held in _some(sorted(self.engine.workspace.leases.items()), first, count):
            held.expires = 0.0
        self.engine.workspace.tick()

    @precondition(lambda self: any(h.ends_by for _, h in self.engine.workspace.leases.items()))
    @rule()
    def grace_periods_end(self) -> None:
        for _, held in self.engine.workspace.leases.items():
            if held.ends_by is not None:
                held.ends_by = 0.0
        self.engine.workspace.tick()

    @rule()
    def time_passes(self) -> None:
        """Pauses before retries take no time here."""
        self.engine.workspace.tick()

    # -- disks and machines ----------------------------------------------------------------

    @rule()
    def everything_is_committed(self) -> None:
        self.engine.commit()
        self._look()

    @rule(seed=picks, rounds=st.integers(1, 2), badly=st.sampled_from([0.0, 0.2, 0.6]))
    def work_goes_on_for_a_while(self, seed: int, rounds: int, badly: float) -> None:
        """Attempts are given out, start and end, some of them badly."""
        choice = random.Random(seed)
        broken = Failure(category=FailureCategory.INFRASTRUCTURE, message="broken")
        for number in range(rounds):
            if not self._connected():
                self.a_worker_connects(number, 0, 8, True)
            self.everything_is_committed()
            self.attempts_start(0, 100, True)
            for lease in self._leases():
                self._end(lease, broken if choice.random() < badly else None, True)
            self.messages_arrive(0, 1_000, number, False)
            self.a_worker_is_alive(0, 0, number, 4)
            self.engine.workspace.tick()
        self.everything_is_committed()

    @precondition(lambda self: not self.engine.plane.journal.batch.is_empty)
    @rule()
    def the_disk_refuses_what_is_open(self) -> None:
        self.store.refuses = True
        try:
            self.engine.commit()
        except errors.FilesystemError:
            for worker in self.workers:
                worker.session = None
        finally:
            self.store.refuses = False
        self._look()

    @rule(is_orderly=st.booleans())
    def the_control_plane_starts_again(self, is_orderly: bool) -> None:
        if is_orderly:
            self.engine.commit()
        for worker in self.workers:
            worker.session = None
        self.engine.die()
        self.engine.start()
        self._look()

    # -- what holds ------------------------------------------------------------------------

    @invariant()
    def a_slot_is_taken_because_a_lease_is_out(self) -> None:
        workspace = self.engine.workspace
        out = {
            task.task_id: active.tokens[index]
            for active in workspace.active.values()
            for index, task in enumerate(active.machine.tasks)
            if task.state in ON_WORKER
        }
        leases = {task_id: held.token for task_id, held in workspace.leases.items()}
        promise(out == leases, "what is on a worker is out under a lease")
        for pool in workspace.pools():
            used = sum(
                POLICIES[task.asset_key].pools.get(POOL, 0)
                for active in workspace.active.values()
                for task in active.machine.tasks
                if task.state in ON_WORKER
            )
            promise(pool.used == used, "a slot is taken because a lease is out")

    def _look(self) -> None:
        self.mirror.look(self.engine, self.workers)

    def teardown(self) -> None:
        """Runs go on, workers come and do what they are given: so every run ends."""
        if not hasattr(self, "engine"):
            return
        try:
            if sys.exc_info()[0] is None:
                # Else a promise is broken, or the search has given up on this one.
                self._finish_everything()
        finally:
            self.engine.close()

    def _finish_everything(self) -> None:
        workspace = self.engine.workspace
        workspace.set_pool(POOL, None)
        for run_id in list(workspace.active):
            workspace.update_run(run_id, paused=False)
        for number in range(WORKERS):
            self.a_worker_dies(number)
        self.leases_run_out(0, 1_000)
        for number in range(60):
            if not workspace.active:
                break
            self.a_worker_connects(0, 0, 50, True)
            self.work_goes_on_for_a_while(number, 1, 0.2)
            if number % 5 == 4:
                # What was not given out to anybody who is still there.
                self.leases_run_out(0, 1_000)
        promise(not workspace.active, "every run ends")
        self.everything_is_committed()
        length = self.mirror.fold.sequence
        self.messages_arrive(0, 10_000, 0, True)
        self.everything_is_committed()
        promise(self.mirror.fold.sequence == length, "what comes too late changes nothing")
        self.mirror.read_again(self.engine.events(0))

    # -- small things ----------------------------------------------------------------------

    def _run_id(self, pick: int) -> str:
        return sorted(self.mirror.created)[pick % len(self.mirror.created)]

    def _leases(self) -> list[Lease]:
        """Return what is being executed, also by those who were given up."""
        return [*(lease for one in self.workers for lease in one.attempts.values()), *self.zombies]

    def _end(self, lease: Lease, outcome: Outcome, at_once: bool) -> None:
        """Report how an attempt ended; ``None`` for well."""
        if outcome is None:
            made = _made()
            self.mirror.made_under[made.materialization_id] = lease.token
            outcome = AttemptSucceeded(materialization=made)
        self._say(lease, AttemptFinished(lease=lease, outcome=outcome), at_once)
        for worker in self.workers:
            worker.attempts.pop(lease.token, None)
        self.zombies = [other for other in self.zombies if other != lease]

    def _say(self, lease: Lease, message: WorkerMessage, at_once: bool) -> None:
        """Let a message arrive over the connection of whoever has the lease, or some time."""
        for number, worker in enumerate(self._connected()):
            if at_once and lease.token in worker.attempts:
                self._deliver(number, message)
                return
        self.on_its_way.append((lease, message))

    def _connected(self) -> list[PlayedWorker]:
        return [worker for worker in self.workers if worker.session is not None]

    def _deliver(self, worker: int, *messages: WorkerMessage) -> bool:
        connected = self._connected()
        if connected:
            self.engine.receive(connected[worker % len(connected)], *messages)
        return bool(connected)


def _some(found: Sequence[Any], first: int, count: int) -> list[Any]:
    if not found:
        return []
    at = first % len(found)
    return [*found[at:], *found[:at]][:count]


def _made() -> Materialization:
    return Materialization(
        materialization_id=str(MaterializationId.generate()),
        asset_key=AssetKey("raw", "events"),
        partition_key=PartitionKey(),
    )
