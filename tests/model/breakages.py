"""Control planes and stores of which each breaks one promise, and what happens when it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from msgspec.structs import replace

from model.clocks import PlayedClock
from model.engine import Engine, MoodyStore
from model.interleavings import Interleavings, everything_of
from model.players import PlayedWorker
from servo.controlplane.shares import Shares
from servo.controlplane.store.stored import StoredRun
from servo.controlplane.workspace import Workspace
from servo.types import AssetDefinition
from servo.types.events import Event
from servo.types.records import Failure, Run, Task
from servo.types.runs import FailureCategory
from servo.types.sessions import AttemptFinished, Lease, WorkerMessage

Story = Callable[[Interleavings], None]


# -- time ----------------------------------------------------------------------------------------


class Stopped(PlayedClock):
    def monotonic(self) -> float:
        return 1_000.0


class Hurried(PlayedClock):
    def monotonic(self) -> float:
        return 2 * super().monotonic()


class Timeless(Engine):
    """Does not notice that time passes."""

    clock_type = Stopped


class Impatient(Engine):
    """Measures twice the time that passes."""

    clock_type = Hurried


class Rejuvenating(MoodyStore):
    """Forgets when runs were accepted."""

    async def active_runs(self, workspace: int) -> list[StoredRun]:
        found = await super().active_runs(workspace)
        for stored in found:
            assert stored.run.created_at is not None
            later = stored.run.created_at + timedelta(days=1)
            stored.run = replace(stored.run, created_at=later)
        return found


class Polite(Engine):
    """Stops a run that takes too long as if somebody had asked for it."""

    def tick(self) -> None:
        for home, workspace in enumerate(self.workspaces):
            for run_id, active in list(workspace.active.items()):
                if active.machine.run.timeout_seconds:
                    self.cancel(home, run_id)
        super().tick()


class Lenient(Engine):
    """Takes attempts that were too slow for ones that had bad luck."""

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        super().receive(worker, *map(self._excused, messages))

    def _excused(self, message: WorkerMessage) -> WorkerMessage:
        if not isinstance(message, AttemptFinished) or not isinstance(message.outcome, Failure):
            return message
        outcome = replace(message.outcome, category=FailureCategory.INFRASTRUCTURE)
        return replace(message, outcome=outcome)


def a_run_takes_too_long(around: Interleavings) -> None:
    around.somebody_starts_a_run(0, everything_of("mart.*", timeout_seconds=60))
    around.time_passes(60, True)
    around.everything_is_committed()


def a_run_takes_half_of_its_time(around: Interleavings) -> None:
    around.somebody_starts_a_run(0, everything_of("mart.*", timeout_seconds=60))
    around.time_passes(30, True)
    around.everything_is_committed()


def a_run_takes_too_long_while_nobody_is_there(around: Interleavings) -> None:
    around.somebody_starts_a_run(0, everything_of("mart.*", timeout_seconds=60))
    around.the_control_plane_starts_again(True, 60)
    around.time_passes(0, True)
    around.everything_is_committed()


def attempts_take_too_long(around: Interleavings) -> None:
    around.attempts_start(0, 100, True)
    around.time_passes(60, True)
    around.everything_is_committed()


def attempts_break(around: Interleavings) -> None:
    around.work_goes_on_for_a_while(0, 1, 1.0)
    around.time_passes(15, True)
    around.everything_is_committed()


# -- code ----------------------------------------------------------------------------------------


class Careless(Engine):
    """Takes every worker for one that has the second version of the code."""

    def connect(self, worker: PlayedWorker, leases: tuple[Lease, ...]) -> None:
        announced, worker.code_version_id = worker.code_version_id, "v2"
        super().connect(worker, leases)
        worker.code_version_id = announced


class Modern(Engine):
    """Goes on with what is deployed now."""

    def deploy(self, home: int, assets: tuple[AssetDefinition, ...]) -> str:
        deployment_id = super().deploy(home, assets)
        workspace = self.workspaces[home]
        for active in workspace.active.values():
            active.catalog = self.run(self.plane.catalog(workspace, deployment_id))
        return deployment_id


class Blind(Engine):
    """Does not see that a worker with the right version of the code has come."""

    def start(self) -> None:
        super().start()
        for workspace in self.workspaces:
            workspace.scheduler.connected = lambda _: None


def a_worker_with_another_version_comes(around: Interleavings) -> None:
    around.somebody_starts_a_run(0, everything_of("raw.*", code_version_id="v2", priority=9))
    around.a_worker_connects(2, 0, 8, True)


def a_worker_with_the_right_version_comes(around: Interleavings) -> None:
    around.work_goes_on_for_a_while(0, 2, 0.0)
    around.work_goes_on_for_a_while(0, 2, 0.0)
    around.somebody_starts_a_run(1, everything_of("raw.*", code_version_id="v1"))
    around.a_worker_connects(3, 0, 4, True)


def somebody_deploys_while_a_run_goes_on(around: Interleavings) -> None:
    around.attempts_end(0, [None] * 8, True)
    around.somebody_deploys(0, 1)
    around.a_worker_connects(0, 0, 1, True)


# -- workspaces and tenants ----------------------------------------------------------------------


class Confused(Engine):
    """Takes every worker for one of the first workspace."""

    def connect(self, worker: PlayedWorker, leases: tuple[Lease, ...]) -> None:
        home, worker.home = worker.home, 0
        super().connect(worker, leases)
        worker.home = home

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        super().receive(worker, *messages)
        self.act(0, Workspace.dispatch)


class Obliging(Engine):
    """Passes results on to the workspace that they are for."""

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        own = worker.home
        for message in messages:
            if isinstance(message, AttemptFinished):
                for home, workspace in enumerate(self.workspaces):
                    if workspace.find_task(message.lease.task_id):
                        worker.home = home
            with _as_holder(self, worker, message):
                super().receive(worker, message)
            worker.home = own


class Trusting(Engine):
    """Takes results from any worker of the workspace."""

    def receive(self, worker: PlayedWorker, *messages: WorkerMessage) -> None:
        for message in messages:
            with _as_holder(self, worker, message):
                super().receive(worker, message)


@contextmanager
def _as_holder(engine: Engine, worker: PlayedWorker, message: WorkerMessage) -> Iterator[None]:
    """Let a worker pass for the one that has the lease of a result."""
    session = worker.session
    assert session is not None
    own = session.worker_id
    if isinstance(message, AttemptFinished):
        held = engine.workspaces[worker.home].leases.get(message.lease.task_id)
        session.worker_id = own if held is None else held.worker_id
    try:
        yield
    finally:
        session.worker_id = own


def results_come_from_another_worker(around: Interleavings) -> None:
    around.somebody_starts_a_run(0, everything_of("raw.*"))
    around.everything_is_committed()
    around.attempts_start(0, 4, True)
    around.attempts_end(0, [None] * 4, False)
    around.a_worker_connects(2, 0, 0, True)
    around.messages_arrive(0, 8, 1, False)
    around.everything_is_committed()


class Sweeping(Engine):
    """Stops everything when somebody stops one run."""

    def cancel(self, home: int, run_id: str) -> Run | None:
        for other, workspace in enumerate(self.workspaces):
            if other != home:
                for found in list(workspace.active):
                    super().cancel(other, found)
        return super().cancel(home, run_id)


class Helpful(Engine):
    """Stops a run wherever it is."""

    def cancel(self, home: int, run_id: str) -> Run | None:
        return super().cancel(home, run_id) or super().cancel(1 - home, run_id)


class Mixing(MoodyStore):
    """Has one history for all workspaces."""

    async def workspace_events(self, workspace: int, after: int, limit: int) -> list[Event]:
        return await super().workspace_events(1, after, limit)


class Prying(MoodyStore):
    """Finds a run whoever asks."""

    async def run_with_tasks(
        self, workspace: int, run_id: str, first: int, limit: int
    ) -> tuple[Run | None, list[Task]]:
        for number, _, _ in await self.workspaces():
            found = await super().run_with_tasks(number, run_id, first, limit)
            if found[0] is not None:
                return found
        return None, []


class Unlimited(Shares):
    def admits(self, tenant_id: str) -> bool:
        return True


class Deaf(Shares):
    def give_back(self, tenant_id: str, task_id: str) -> None:
        self._waiting, waiting = {}, self._waiting
        super().give_back(tenant_id, task_id)
        self._waiting = waiting


class Generous(Engine):
    """Gives tenants whatever they ask for."""

    shares_type = Unlimited


class Forgetting(Engine):
    """Forgets who waits for a share."""

    shares_type = Deaf


def workers_come_to_both(around: Interleavings) -> None:
    for number in range(4):
        around.a_worker_connects(number, 0, 8, True)
    around.a_slot_is_taken_because_a_lease_is_out()


def results_go_astray(around: Interleavings) -> None:
    around.attempts_end(0, [None], False)
    around.messages_arrive(0, 1, 0, False, True)
    around.everything_is_committed()


def somebody_stops_one_run(around: Interleavings) -> None:
    around.somebody_stops_a_run(0)
    around.everything_is_committed()


def a_stranger_stops_a_run(around: Interleavings) -> None:
    around.somebody_stops_a_run(0, True)


def strangers_look(around: Interleavings) -> None:
    for home, run_id in around.runs():
        around.nobody_else_sees(home, run_id)


def shares_are_given_back(around: Interleavings) -> None:
    for number in range(2):
        around.a_worker_connects(number, 0, 8, True)
    around.attempts_end(0, [None] * 8, True)
    around.everything_is_committed()


def nothing(_: Interleavings) -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Breakage:
    """A promise, what happens until it breaks, and who breaks it.

    Attributes:
        said: The promise.
        story: What happens after everything came up.
        engine: The control plane.
        store: Its store.
        limits: What each tenant, and all of them together, may have under way.
    """

    said: str
    story: Story
    engine: type[Engine] = Engine
    store: type[MoodyStore] = MoodyStore
    limits: tuple[int, int] = (0, 0)


BREAKAGES = (
    Breakage(said="a run whose time is up is stopped", story=a_run_takes_too_long, engine=Timeless),
    Breakage(
        said="a run whose time is up is stopped",
        story=a_run_takes_too_long_while_nobody_is_there,
        store=Rejuvenating,
    ),
    Breakage(
        said="no run is timed out before its time is up",
        story=a_run_takes_half_of_its_time,
        engine=Impatient,
    ),
    Breakage(said="a retry waits for its time", story=attempts_break, engine=Impatient),
    Breakage(
        said="only a run that somebody stops is cancelled",
        story=a_run_takes_too_long,
        engine=Polite,
    ),
    Breakage(
        said="what is recorded was said under its lease",
        story=attempts_take_too_long,
        engine=Lenient,
    ),
    Breakage(
        said="an attempt goes to a worker that has its code",
        story=a_worker_with_another_version_comes,
        engine=Careless,
    ),
    Breakage(
        said="an attempt is made as was deployed when its run began",
        story=somebody_deploys_while_a_run_goes_on,
        engine=Modern,
    ),
    Breakage(
        said="nothing waits that could start",
        story=a_worker_with_the_right_version_comes,
        engine=Blind,
    ),
    Breakage(
        said="a worker has nothing of other workspaces",
        story=workers_come_to_both,
        engine=Confused,
    ),
    Breakage(
        said="what is recorded was said under its lease",
        story=results_come_from_another_worker,
        engine=Trusting,
    ),
    Breakage(
        said="no result of another workspace is accepted",
        story=results_go_astray,
        engine=Obliging,
    ),
    Breakage(
        said="only a run that somebody stops is cancelled",
        story=somebody_stops_one_run,
        engine=Sweeping,
    ),
    Breakage(
        said="a run of another workspace is not there",
        story=a_stranger_stops_a_run,
        engine=Helpful,
    ),
    Breakage(said="a run of another workspace is not there", story=strangers_look, store=Prying),
    Breakage(said="a history has nothing of other workspaces", story=nothing, store=Mixing),
    Breakage(
        said="a tenant has no more than its share",
        story=workers_come_to_both,
        engine=Generous,
        limits=(2, 0),
    ),
    Breakage(
        said="all tenants have no more than there is",
        story=workers_come_to_both,
        engine=Generous,
        limits=(0, 4),
    ),
    Breakage(
        said="nothing waits that could start",
        story=shares_are_given_back,
        engine=Forgetting,
        limits=(0, 4),
    ),
)
