"""What the history of a workspace says, kept beside a control plane and compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from model.engine import Engine, PlayedWorker
from model.folding import Fold, numbers, recorded, without_spent
from model.project import POLICIES, POOL
from model.promises import ON_WORKER, Watch, promise
from servo.types.events import Event, PoolChanged, TaskStateChanged
from servo.types.plans import Plan
from servo.types.records import Run, Task
from servo.types.runs import TaskState

Place = tuple[str, int]
"""A task: its run and its position."""


class Mirror:
    """The fold of a workspace's history.

    Attributes:
        created: The tasks of each run as they were when it was created.
        fold: The runs and tasks as the history makes them.
        pools: The pools as the history makes them.
        tokens: Which task each fencing token was given out for.
        newest: The token that was given out last for each task.
        made_under: The token of the attempt that made each materialisation.
    """

    def __init__(self) -> None:
        self.created: dict[str, list[Task]] = {}
        self.fold = Fold(lambda run_id: self.created[run_id])
        self.pools: dict[str, int] = {}
        self.tokens: dict[int, Place] = {}
        self.newest: dict[Place, int] = {}
        self.made_under: dict[str, int] = {}
        self._watches: dict[str, Watch] = {}

    def add(self, run: Run, tasks: list[Task], plan: Plan) -> None:
        """Follow a run that was just created."""
        self.created[run.run_id] = tasks
        retries = [POLICIES[task.asset_key].max_retries for task in tasks]
        self._watches[run.run_id] = Watch(run.run_id, plan, retries)

    def look(self, engine: Engine, workers: Sequence[PlayedWorker]) -> None:
        """Read what is new in the history, and compare.

        Raises:
            BrokenPromiseError: Something does not hold.
        """
        for event in engine.events(self.fold.sequence):
            self._see(event)
        for run_id, watch in self._watches.items():
            watch.check(self.fold)
            self._compare(run_id, engine)
        promise(engine.pools() == self.pools, "the history folds to the pools")
        for worker in workers:
            self._ask(worker)

    def _ask(self, worker: PlayedWorker) -> None:
        """Compare with what a worker was told."""
        for dispatch in worker.given:
            promise(dispatch.lease.token in self.tokens, "nothing is said before it is recorded")
        for receipt in worker.receipts:
            place = self.tokens[receipt.lease.token]
            is_open = self.fold.tasks[place[0]][place[1]].state in ON_WORKER
            is_newest = self.newest[place] == receipt.lease.token
            promise(
                not (receipt.accepted and is_open and is_newest),
                "a result that was accepted is recorded",
            )

    def read_again(self, history: Sequence[Event]) -> None:
        """Fold the whole history twice over: it says the same, and the second time nothing."""
        assert [event.sequence for event in history] == list(range(1, len(history) + 1))
        again = Fold(lambda run_id: self.created[run_id])
        for event in [*history, *history]:
            again.apply(event)
        assert (again.runs, again.tasks) == (self.fold.runs, self.fold.tasks)

    def _see(self, event: Event) -> None:
        fold, payload, run_id = self.fold, event.payload, event.run_id
        fold.apply(event)
        if run_id:
            self._watches[run_id].see(event, fold)
        if isinstance(payload, PoolChanged):
            self.pools.pop(payload.name, None)
            if payload.slots is not None:
                self.pools[payload.name] = payload.slots
        if isinstance(payload, TaskStateChanged):
            place = run_id, payload.index
            if payload.state is TaskState.DISPATCHED:
                self.tokens[event.sequence] = place
                self.newest[place] = event.sequence
                self._check_limits(run_id, fold.tasks[run_id][payload.index])
            elif payload.materialization is not None:
                token = self.made_under[payload.materialization.materialization_id]
                promise(token == self.newest[place], "what is recorded was made under its lease")

    def _check_limits(self, run_id: str, task: Task) -> None:
        """Check what an attempt that was given out just now must have had."""
        policy, run = POLICIES[task.asset_key], self.fold.runs[run_id]
        on_worker = [
            (other_run, other)
            for other_run, tasks in self.fold.tasks.items()
            for other in tasks
            if other.state in ON_WORKER
        ]
        promise(not run.paused, "nothing of a run that is held starts")
        of_run = sum(other_run == run_id for other_run, _ in on_worker)
        promise(of_run <= (run.max_parallelism or of_run), "a run has its limit")
        same = sum(other.asset_key == task.asset_key for _, other in on_worker)
        promise(same <= (policy.max_parallelism or same), "an asset has its limit")
        if POOL in self.pools and policy.pools:
            size = self.pools[POOL]
            used = sum(min(POLICIES[o.asset_key].pools.get(POOL, 0), size) for _, o in on_worker)
            promise(used <= size, "a pool has its limit")
        for spent, budget in ((task.spent, policy.budget), (run.spent, run.budget)):
            promise(
                all(Decimal(spent.get(unit, "0")) <= Decimal(budget[unit]) for unit in budget),
                "nothing starts whose budget is overdrawn",
            )

    def _compare(self, run_id: str, engine: Engine) -> None:
        folded, tasks = self.fold.run(run_id), self.fold.tasks[run_id]
        run, stored = engine.stored(run_id)
        promise(run is not None, "a run that was accepted is stored")
        assert run is not None
        promise(list(map(recorded, stored)) == tasks, "the history folds to the tasks in the store")
        promise(
            without_spent(run) == without_spent(folded), "the history folds to the run in the store"
        )
        promise(numbers(run) == numbers(folded), "a run has spent what its tasks have")
        active = engine.workspace.active.get(run_id)
        promise((active is None) is folded.state.is_terminal, "a run is active until it ends")
        if active is not None:
            promise(
                list(map(recorded, active.machine.tasks)) == tasks,
                "the history folds to the tasks in memory",
            )
