"""Random interleavings around two workspaces: workers, connections, people, time, disks, restarts.

`model.engine` is the control plane and `model.scene` who and what is around it; here is what they
do. What a worker says may arrive in any order, twice, after its lease was lost, or over another
connection than it was meant for. After every commit `model.mirror` reads the history of each
workspace, checks each event, folds it, and compares that with what the store and the control plane
have.
"""

from __future__ import annotations

import random
import sys
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import initialize, invariant, precondition, rule

from model.players import PlayedWorker
from model.project import DEPLOYMENTS, POOL, VERSIONS
from model.promises import ON_WORKER, promise
from model.scene import HOMES, Held, Outcome, Scene, some
from servo import errors
from servo.controlplane.leases import HeldLease
from servo.controlplane.runs import Runs
from servo.types.records import Failure, Progress
from servo.types.requests import AllPartitions, CreateRunRequest, GetRunRequest
from servo.types.runs import FailureCategory
from servo.types.sessions import (
    AttemptCancelled,
    AttemptProgressed,
    AttemptSpent,
    AttemptStarted,
    CreditGrant,
    Heartbeat,
    WorkerDraining,
)

MOST_RUNS = 4
LIMITED = [(0, 0), (2, 0), (0, 4), (3, 4)]
"""Attempts that each tenant, and all of them together, may have under way."""

homes = st.sampled_from(HOMES)
picks = st.integers(0, 2**16)
several = st.integers(1, 12)
failures = st.builds(
    Failure,
    category=st.sampled_from(FailureCategory),
    message=st.just("broken"),
    retryable=st.sampled_from([None, None, True, False]),
    reason=st.sampled_from(["exception", "oom", "evicted", "handed_back"]),
)
requests = st.builds(
    CreateRunRequest,
    selection=st.sampled_from([("*",), ("raw.*",), ("raw.dear",), ("mart.whole",)]),
    partitions=st.just(AllPartitions()),
    upstream=st.just(True),
    max_parallelism=st.sampled_from([0, 0, 2]),
    budget=st.sampled_from([{}, {}, {"usd": "2.50"}]),
    priority=st.integers(-1, 1),
    timeout_seconds=st.sampled_from([0, 0, 60, 300]),
    code_version_id=st.sampled_from(["", *VERSIONS]),
)
outcomes = st.none() | failures | st.just(AttemptCancelled(reason="asked to"))

TOO_LONG = Failure(category=FailureCategory.TIMEOUT, message="not in time", reason="timeout")


def everything_of(*selection: str, **limits: Any) -> CreateRunRequest:
    """Ask for every partition of some assets and of what they read."""
    return CreateRunRequest(
        selection=selection, partitions=AllPartitions(), upstream=True, **limits
    )


class Interleavings(Scene):
    """Everybody around two workspaces."""

    @initialize(is_one_tenant=st.booleans(), limits=st.sampled_from(LIMITED))
    def come_up(self, is_one_tenant: bool = False, limits: tuple[int, int] = (0, 0)) -> None:
        per_tenant, together = limits
        self.begin(is_one_tenant=is_one_tenant, per_tenant=per_tenant, together=together)
        for home in HOMES:
            self.somebody_deploys(home, 0)
        for home, selection in zip(HOMES, ("*", "raw.*"), strict=True):
            self.somebody_starts_a_run(home, everything_of(selection))
        self.a_worker_connects(0, 0, 4, True)
        self.a_worker_connects(1, 0, 2, True)

    # -- people ----------------------------------------------------------------------------

    @rule(home=homes, which=st.integers(0, len(DEPLOYMENTS) - 1))
    def somebody_deploys(self, home: int, which: int) -> None:
        """The runs that go on are not to notice."""
        deployment_id = self.engine.deploy(home, DEPLOYMENTS[which])
        self.mirrors[home].deploy(deployment_id, DEPLOYMENTS[which])

    @precondition(lambda self: len(self.runs()) < MOST_RUNS)
    @rule(home=homes, request=requests)
    def somebody_starts_a_run(self, home: int, request: CreateRunRequest) -> None:
        run, tasks = self.engine.create_run(home, request)
        plan = self.engine.workspaces[home].active[run.run_id].machine.plan
        self.mirrors[home].add(run, tasks, plan)
        self.everything_is_committed()

    @precondition(lambda self: self.runs())
    @rule(pick=picks, is_stranger=st.sampled_from([False, False, True]))
    def somebody_stops_a_run(self, pick: int, is_stranger: bool = False) -> None:
        """A stranger asks for it in another workspace, where it is not."""
        home, run_id = self._run(pick)
        if is_stranger:
            found = self.engine.cancel(1 - home, run_id)
            promise(found is None, "a run of another workspace is not there")
        else:
            self.mirrors[home].stopped.add(run_id)
            self.engine.cancel(home, run_id)

    @precondition(lambda self: self.runs())
    @rule(pick=picks, paused=st.none() | st.booleans(), priority=st.none() | st.integers(-2, 2))
    def somebody_holds_or_moves_a_run(
        self, pick: int, paused: bool | None, priority: int | None
    ) -> None:
        home, run_id = self._run(pick)
        self.engine.act(
            home, lambda workspace: workspace.update_run(run_id, paused=paused, priority=priority)
        )

    @rule(home=homes, slots=st.none() | st.integers(1, 3))
    def somebody_changes_the_pool(self, home: int, slots: int | None) -> None:
        self.engine.act(home, lambda workspace: workspace.set_pool(POOL, slots))

    # -- workers and their connections -----------------------------------------------------

    @rule(pick=picks, forgets=st.integers(0, 2), credit=st.integers(1, 8), commits=st.booleans())
    def a_worker_connects(self, pick: int, forgets: int, credit: int, commits: bool) -> None:
        """It may have forgotten what it does, and be heard of it later all the same."""
        worker = self.workers[pick % len(self.workers)]
        for token in list(worker.attempts)[:forgets]:
            self.zombies.append(Held(worker.home, worker.attempts.pop(token)))
        self.engine.connect(worker, tuple(worker.attempts.values()))
        self.engine.grant(worker, credit)
        if commits:
            self.everything_is_committed()

    @precondition(lambda self: self.connected())
    @rule(pick=picks)
    def a_connection_breaks(self, pick: int) -> None:
        self.engine.disconnect(self.workers[pick % len(self.workers)])

    @rule(pick=picks, version=st.sampled_from(["", *VERSIONS]))
    def a_worker_dies(self, pick: int, version: str) -> None:
        """The next one may have another version of the code."""
        self.a_connection_breaks(pick)
        number = pick % len(self.workers)
        self.workers[number] = PlayedWorker(self.workers[number].home, version)

    @precondition(lambda self: self.connected())
    @rule(pick=picks)
    def a_worker_leaves(self, pick: int) -> None:
        worker = self.workers[pick % len(self.workers)]
        if worker.session is not None:
            self.engine.receive(worker, WorkerDraining())

    @precondition(lambda self: self.held())
    @rule(first=picks, count=several, at_once=st.booleans())
    def attempts_start(self, first: int, count: int, at_once: bool) -> None:
        for held in some(self.held(), first, count):
            self.say(held, AttemptStarted(lease=held.lease), at_once)

    @precondition(lambda self: self.held())
    @rule(first=picks, outcomes=st.lists(outcomes, min_size=1, max_size=8), at_once=st.booleans())
    def attempts_end(self, first: int, outcomes: list[Outcome], at_once: bool) -> None:
        for held, outcome in zip(some(self.held(), first, len(outcomes)), outcomes, strict=False):
            self.end(held, outcome, at_once)

    @precondition(lambda self: self.held())
    @rule(first=picks, count=several, cents=st.integers(0, 80), at_once=st.booleans())
    def attempts_spend(self, first: int, count: int, cents: int, at_once: bool) -> None:
        for held in some(self.held(), first, count):
            spent = {"usd": f"0.{cents:02}"}
            progress = Progress(message="halfway", percentage=50)
            self.say(held, AttemptProgressed(lease=held.lease, progress=progress), at_once)
            self.say(held, AttemptSpent(lease=held.lease, spent=spent), at_once)

    @precondition(lambda self: self.on_its_way)
    @rule(
        first=picks,
        count=several,
        worker=picks,
        is_repeated=st.booleans(),
        is_astray=st.sampled_from([False, False, False, True]),
    )
    def messages_arrive(
        self, first: int, count: int, worker: int, is_repeated: bool, is_astray: bool = False
    ) -> None:
        """In any order, over any connection, and perhaps not for the last time.

        What goes astray arrives over a connection of the other workspace.
        """
        for message in some(self.on_its_way, first, count):
            home = message[0].home
            arrives = self.deliver(1 - home if is_astray else home, worker, message[1])
            if arrives and not is_repeated:
                self.on_its_way.remove(message)

    @precondition(lambda self: self.connected())
    @rule(first=picks, count=several, worker=picks, credit=st.integers(0, 4))
    def a_worker_is_alive(self, first: int, count: int, worker: int, credit: int) -> None:
        """Its heartbeat may name what is no longer its own, and what never was."""
        leases = tuple(held.lease for held in some(self.held(), first, count))
        self.deliver(None, worker, Heartbeat(leases=leases), CreditGrant(attempts=credit))

    # -- time ------------------------------------------------------------------------------

    @precondition(lambda self: self._leases_out())
    @rule(first=picks, count=several)
    def leases_run_out(self, first: int, count: int) -> None:
        for lease in some(self._leases_out(), first, count):
            lease.expires = 0.0
        self.engine.tick()

    @precondition(lambda self: any(lease.ends_by for lease in self._leases_out()))
    @rule()
    def grace_periods_end(self) -> None:
        for lease in self._leases_out():
            if lease.ends_by is not None:
                lease.ends_by = 0.0
        self.engine.tick()

    @precondition(lambda self: self.held())
    @rule(first=picks, count=several, at_once=st.booleans())
    def attempts_take_too_long(self, first: int, count: int, at_once: bool) -> None:
        self.attempts_start(first, count, at_once)
        self.time_passes(60, at_once)

    @rule(seconds=st.sampled_from([0, 1, 30, 60, 300]), at_once=st.booleans())
    def time_passes(self, seconds: int, at_once: bool) -> None:
        """Workers end the attempts that take too long; the control plane looks at the rest."""
        self.engine.clock.seconds += seconds
        for worker in self.workers:
            for lease in worker.overdue(self.engine.clock.seconds):
                self.end(Held(worker.home, lease), TOO_LONG, at_once)
        self.engine.tick()

    # -- disks and machines ----------------------------------------------------------------

    @rule()
    def everything_is_committed(self) -> None:
        self.engine.commit()
        self.look()
        self.nothing_waits_that_could_start()

    @rule(seed=picks, rounds=st.integers(1, 2), badly=st.sampled_from([0.0, 0.2, 0.6]))
    def work_goes_on_for_a_while(self, seed: int, rounds: int, badly: float) -> None:
        """Attempts are given out, start and end, some of them badly."""
        choice = random.Random(seed)
        broken = Failure(category=FailureCategory.INFRASTRUCTURE, message="broken")
        for number in range(rounds):
            for home in HOMES:
                if not self.connected(home):
                    self.a_worker_connects(2 * number + home, 0, 8, False)
            self.everything_is_committed()
            self.attempts_start(0, 100, True)
            for held in self.held():
                self.end(held, broken if choice.random() < badly else None, True)
            self.messages_arrive(0, 1_000, number, False)
            for home in HOMES:
                self.deliver(home, number, CreditGrant(attempts=4))
            self.engine.tick()
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
        self.look()

    @rule(is_orderly=st.booleans(), seconds=st.sampled_from([0, 0, 60, 1_000]))
    def the_control_plane_starts_again(self, is_orderly: bool, seconds: int = 0) -> None:
        """It may have been away for some time."""
        if is_orderly:
            self.engine.commit()
        for worker in self.workers:
            worker.session = None
        self.engine.die()
        self.engine.clock.seconds += seconds
        self.engine.start()
        self.look()

    # -- what holds ------------------------------------------------------------------------

    @invariant()
    def a_slot_is_taken_because_a_lease_is_out(self) -> None:
        under_way = dict.fromkeys((w.tenant_id for w in self.engine.workspaces), 0)
        for workspace in self.engine.workspaces:
            on_worker = [
                (active, task)
                for active in workspace.active.values()
                for task in active.machine.tasks
                if task.state in ON_WORKER
            ]
            out = {task.task_id: active.tokens[task.index] for active, task in on_worker}
            leases = {task_id: held.token for task_id, held in workspace.leases.items()}
            promise(out == leases, "what is on a worker is out under a lease")
            for pool in workspace.pools():
                used = sum(active.policy(task).pools.get(POOL, 0) for active, task in on_worker)
                promise(pool.used == used, "a slot is taken because a lease is out")
            under_way[workspace.tenant_id] += len(leases)
        per_tenant, together = self.engine.per_tenant, self.engine.together
        promise(
            all(number <= (per_tenant or number) for number in under_way.values()),
            "a tenant has no more than its share",
        )
        number = sum(under_way.values())
        promise(number <= (together or number), "all tenants have no more than there is")

    def nobody_else_sees(self, home: int, run_id: str) -> None:
        """Check that a run is not there for who asks for it in the other workspace."""
        request = GetRunRequest(run_id=run_id)
        try:
            self.engine.run(Runs(self.engine.plane).get_run(self.engine.callers[1 - home], request))
        except errors.NotFoundError:
            return
        promise(False, "a run of another workspace is not there")

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
        for home in HOMES:
            self.somebody_changes_the_pool(home, None)
        for home, run_id in self.active():
            self.engine.act(home, lambda one, run_id=run_id: one.update_run(run_id, paused=False))
        for number in range(len(self.workers)):
            # One of each version for each workspace.
            self.a_worker_dies(number, VERSIONS[number // len(HOMES)])
        self.leases_run_out(0, 1_000)
        for number in range(60):
            if not self.active():
                break
            for worker in self.workers:
                if worker.session is None:
                    self.engine.connect(worker, ())
                self.engine.grant(worker, 10)
            self.work_goes_on_for_a_while(number, 1, 0.2)
            self.time_passes(30, True)
            if number % 5 == 4:
                # What was not given out to anybody who is still there.
                self.leases_run_out(0, 1_000)
        promise(not self.active(), "every run ends")
        self.everything_is_committed()
        lengths = [mirror.fold.sequence for mirror in self.mirrors]
        for is_astray in (True, False):
            self.messages_arrive(0, 10_000, 0, True, is_astray)
        self.everything_is_committed()
        promise(
            [mirror.fold.sequence for mirror in self.mirrors] == lengths,
            "what comes too late changes nothing",
        )
        for mirror in self.mirrors:
            mirror.read_again(self.engine.events(mirror.home, 0))
        for home, run_id in self.runs():
            self.nobody_else_sees(home, run_id)

    # -- small things ----------------------------------------------------------------------

    def _run(self, pick: int) -> tuple[int, str]:
        found = self.runs()
        return found[pick % len(found)]

    def _leases_out(self) -> list[HeldLease]:
        return [
            held
            for workspace in self.engine.workspaces
            for _, held in sorted(workspace.leases.items())
        ]
