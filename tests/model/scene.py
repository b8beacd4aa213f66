"""Two workspaces and everybody around them: what the rules of the interleavings have in common."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, ClassVar

from hypothesis.stateful import RuleBasedStateMachine

from model.engine import Engine, MoodyStore
from model.mirror import Mirror
from model.players import PlayedWorker
from model.project import VERSIONS
from model.promises import promise
from servo.controlplane.active import ActiveRun
from servo.controlplane.caller import Caller
from servo.controlplane.scheduler import RUN
from servo.controlplane.workspace import Workspace
from servo.types import AssetKey, MaterializationId, PartitionKey
from servo.types.records import Failure, Materialization, Task
from servo.types.runs import TaskState
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptStarted,
    AttemptSucceeded,
    Lease,
    WorkerMessage,
)

HOMES = (0, 1)
Outcome = Failure | AttemptCancelled | AttemptSucceeded | None


@dataclass(frozen=True, slots=True)
class Held:
    """A lease, and the workspace that it is of."""

    home: int
    lease: Lease


Message = tuple[Held, WorkerMessage]


class Scene(RuleBasedStateMachine):
    """One control plane with two workspaces, their workers, and what is on its way.

    Attributes:
        workers: Those of both workspaces, two of each.
        on_its_way: What was said and has not arrived.
        zombies: What is executed by workers that have forgotten it.
        mirrors: What the history of each workspace says.
    """

    store: ClassVar[MoodyStore]
    engine_type: ClassVar[type[Engine]] = Engine
    numbers: ClassVar[count[int]] = count()

    engine: Engine

    def begin(self, *, is_one_tenant: bool, per_tenant: int, together: int) -> None:
        """Come up with two workspaces of one name, or two of one tenant."""
        number = next(self.numbers)
        other = Caller(tenant_id=f"other{number}", workspace_id="main")
        callers = (
            Caller(tenant_id=f"tenant{number}", workspace_id="main"),
            Caller(tenant_id=f"tenant{number}", workspace_id="next") if is_one_tenant else other,
        )
        self.engine = self.engine_type(
            self.store, callers, per_tenant=per_tenant, together=together
        )
        self.workers = [
            PlayedWorker(home, version) for version in ("", VERSIONS[0]) for home in HOMES
        ]
        self.on_its_way: list[Message] = []
        self.zombies: list[Held] = []
        self.mirrors = [Mirror(home) for home in HOMES]

    def look(self) -> None:
        """Read what is new in the histories, and compare."""
        for mirror in self.mirrors:
            mirror.look(self.engine, self.workers)

    # -- who and what there is -------------------------------------------------------------

    def runs(self) -> list[tuple[int, str]]:
        """Return every run with its workspace."""
        return [(mirror.home, run_id) for mirror in self.mirrors for run_id in mirror.created]

    def active(self) -> list[tuple[int, str]]:
        """Return every run that has not ended, with its workspace."""
        return [
            (home, run_id)
            for home, workspace in enumerate(self.engine.workspaces)
            for run_id in workspace.active
        ]

    def connected(self, home: int | None = None) -> list[PlayedWorker]:
        """Return the workers that have a connection, of both workspaces or of one."""
        return [
            worker
            for worker in self.workers
            if worker.session is not None and home in (None, worker.home)
        ]

    def held(self) -> list[Held]:
        """Return what is being executed, also by those who were given up."""
        return [
            *(
                Held(worker.home, lease)
                for worker in self.workers
                for lease in worker.attempts.values()
            ),
            *self.zombies,
        ]

    # -- what is said ----------------------------------------------------------------------

    def end(self, held: Held, outcome: Outcome, at_once: bool) -> None:
        """Report how an attempt ended; ``None`` for well."""
        mirror, lease = self.mirrors[held.home], held.lease
        if outcome is None:
            made = _made()
            mirror.made_under[made.materialization_id] = lease.token
            outcome = AttemptSucceeded(materialization=made)
        elif isinstance(outcome, Failure):
            mirror.said_under.setdefault(lease.token, []).append(outcome)
        self.say(held, AttemptFinished(lease=lease, outcome=outcome), at_once)
        for worker in self.workers:
            if worker.attempts.get(lease.token) == lease:
                del worker.attempts[lease.token]
        self.zombies = [other for other in self.zombies if other != held]

    def say(self, held: Held, message: WorkerMessage, at_once: bool) -> None:
        """Let a message arrive over the connection of whoever has the lease, or some time."""
        if isinstance(message, AttemptStarted):
            for worker in self.workers:
                worker.begin(held.lease, self.engine.clock.seconds)
        for number, worker in enumerate(self.connected(held.home)):
            if at_once and held.lease.token in worker.attempts:
                self.deliver(held.home, number, message)
                return
        self.on_its_way.append((held, message))

    def deliver(self, home: int | None, worker: int, *messages: WorkerMessage) -> bool:
        """Let messages arrive over the connection of a worker of a workspace, if it has one."""
        connected = self.connected(home)
        if connected:
            speaker = connected[worker % len(connected)]
            for message in messages:
                if isinstance(message, AttemptFinished):
                    said_by = self.mirrors[speaker.home].said_by
                    said_by.setdefault(message.lease.token, set()).add(speaker.worker_id)
            self.engine.receive(speaker, *messages)
        return bool(connected)

    # -- what is looked at from outside ------------------------------------------------------

    def nothing_waits_that_could_start(self) -> None:
        """Check that what is ready lacks something."""
        for workspace in self.engine.workspaces:
            for active in workspace.active.values():
                for index in active.machine.indices(TaskState.READY):
                    task = active.machine.tasks[index]
                    promise(
                        not self._could_start(workspace, active, task),
                        "nothing waits that could start",
                    )

    def _could_start(self, workspace: Workspace, active: ActiveRun, task: Task) -> bool:
        run, scheduler, shares = active.machine.run, workspace.scheduler, self.engine.plane.shares
        is_pooled = any(name in scheduler.pools for name in active.policy(task).pools)
        if run.paused or is_pooled:
            # Somebody who takes more slots of a pool may be next, and not have enough yet.
            return False
        has_room = all(
            # Somebody of another deployment may be next, and have a smaller limit.
            workspace.leases.used(resource) == 0
            or (capacity := scheduler.capacity(resource, active, task)) is None
            or (resource.kind == RUN and workspace.leases.used(resource) < capacity)
            for resource in scheduler.slots(active, task)
        )
        has_worker = any(
            session.credit > 0 and run.code_version_id in ("", session.code_version_id)
            for session in workspace.sessions.values()
        )
        return has_room and has_worker and shares.admits(workspace.tenant_id)


def some(found: Sequence[Any], first: int, count: int) -> list[Any]:
    """Return some of what there is, beginning anywhere."""
    if not found:
        return []
    at = first % len(found)
    return [*found[at:], *found[:at]][:count]


def _made() -> Materialization:
    return Materialization(
        materialization_id=str(MaterializationId.generate()),
        asset_key=AssetKey("raw", "events"),
        partition_key=PartitionKey(),
        has_data=False,
    )
