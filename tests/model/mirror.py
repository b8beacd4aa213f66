"""What the history of a workspace says, kept beside a control plane and compared with it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from decimal import Decimal

from msgspec.structs import replace

from model.engine import Engine
from model.folding import Fold, numbers, recorded, without_spent
from model.players import PlayedWorker
from model.project import POOL
from model.promises import ON_WORKER, Watch, promise
from servo.types import AssetDefinition, AssetKey, ExecutionPolicy
from servo.types.events import Event, PoolChanged, RunStateChanged, TaskStateChanged
from servo.types.plans import Plan
from servo.types.reasons import FailureReason
from servo.types.records import Failure, Run, Task
from servo.types.runs import RunState, TaskState
from servo.types.sessions import TaskDispatch

Place = tuple[str, int]
"""A task: its run and its position."""

NOT_SAID = (FailureReason.LEASE_LOST, FailureReason.BUDGET)
"""Why attempts fail without a word of their worker."""


class Mirror:
    """The fold of a workspace's history.

    Args:
        home: The position of the workspace in the engine.

    Attributes:
        created: The tasks of each run as they were when it was created.
        fold: The runs and tasks as the history makes them.
        pools: The pools as the history makes them.
        tokens: Which task each fencing token was given out for.
        newest: The token that was given out last for each task.
        made_under: The token of the attempt that made each materialisation.
        said_under: How the attempts under each token failed, as their workers say.
        said_by: The workers over whose connections a result arrived, by token.
        stopped: The runs that somebody asked to stop.
    """

    def __init__(self, home: int) -> None:
        self.home = home
        self.created: dict[str, list[Task]] = {}
        self.fold = Fold(lambda run_id: self.created[run_id])
        self.pools: dict[str, int] = {}
        self.tokens: dict[int, Place] = {}
        self.newest: dict[Place, int] = {}
        self.made_under: dict[str, int] = {}
        self.said_under: dict[int, list[Failure]] = {}
        self.said_by: dict[int, set[str]] = {}
        self.stopped: set[str] = set()
        self._assets: dict[str, dict[AssetKey, AssetDefinition]] = {}
        self._watches: dict[str, Watch] = {}
        self._compared: dict[str, tuple[int, int]] = {}
        self._due: dict[Place, datetime] = {}

    def deploy(self, deployment_id: str, assets: Sequence[AssetDefinition]) -> None:
        """Learn what a deployment consists of."""
        self._assets[deployment_id] = {one.key: one for one in assets}

    def add(self, run: Run, tasks: list[Task], plan: Plan) -> None:
        """Follow a run that was just created."""
        self.created[run.run_id] = tasks
        assets = self._assets[run.deployment_id]
        retries = [assets[task.asset_key].execution.max_retries for task in tasks]
        self._watches[run.run_id] = Watch(run.run_id, plan, retries)

    def policy(self, run_id: str, task: Task) -> ExecutionPolicy:
        """Return how the attempts of a task are made: as was deployed when its run began."""
        return self._assets[self.fold.runs[run_id].deployment_id][task.asset_key].execution

    def look(self, engine: Engine, workers: Sequence[PlayedWorker]) -> None:
        """Read what is new in the history, and compare.

        Raises:
            BrokenPromiseError: Something does not hold.
        """
        for event in engine.events(self.home, self.fold.sequence):
            self._see(event)
        for run_id, watch in self._watches.items():
            watch.check(self.fold)
            self._check_time(run_id, engine.ticked)
            self._compare(run_id, engine)
        promise(engine.pools(self.home) == self.pools, "the history folds to the pools")
        for worker in workers:
            if worker.home == self.home:
                self._ask(worker)

    def _ask(self, worker: PlayedWorker) -> None:
        """Compare with what a worker was told."""
        for dispatch in worker.given:
            promise(dispatch.run_id in self.created, "a worker has nothing of other workspaces")
            promise(dispatch.lease.token in self.tokens, "nothing is said before it is recorded")
            self._check_dispatch(dispatch, worker)
        for receipt in worker.receipts:
            place = self.tokens.get(receipt.lease.token)
            is_ours = place is not None and (
                self.created[place[0]][place[1]].task_id == receipt.lease.task_id
            )
            promise(is_ours or not receipt.accepted, "no result of another workspace is accepted")
            if place is None or not is_ours:
                continue
            is_open = self.fold.tasks[place[0]][place[1]].state in ON_WORKER
            is_newest = self.newest[place] == receipt.lease.token
            promise(
                not (receipt.accepted and is_open and is_newest),
                "a result that was accepted is recorded",
            )

    def _check_dispatch(self, dispatch: TaskDispatch, worker: PlayedWorker) -> None:
        run = self.fold.runs[dispatch.run_id]
        promise(
            run.code_version_id in ("", worker.code_version_id),
            "an attempt goes to a worker that has its code",
        )
        deployed = self._assets[run.deployment_id][dispatch.asset.key]
        promise(
            (dispatch.deployment_id, dispatch.asset) == (run.deployment_id, deployed),
            "an attempt is made as was deployed when its run began",
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
        promise(run_id in ("", *self.created), "a history has nothing of other workspaces")
        fold.apply(event)
        if run_id:
            self._watches[run_id].see(event, fold)
        if isinstance(payload, PoolChanged):
            self.pools.pop(payload.name, None)
            if payload.slots is not None:
                self.pools[payload.name] = payload.slots
        if isinstance(payload, RunStateChanged) and payload.state is RunState.CANCELLING:
            self._check_stop(event, payload)
        if isinstance(payload, TaskStateChanged):
            place = run_id, payload.index
            if payload.state is TaskState.DISPATCHED:
                self.tokens[event.sequence] = place
                self.newest[place] = event.sequence
                self._check_limits(run_id, fold.tasks[run_id][payload.index])
            elif payload.materialization is not None:
                token = self.made_under.get(payload.materialization.materialization_id)
                is_said = token == self.newest[place] and self._is_of_its_worker(place)
                promise(is_said, "what is recorded was said under its lease")
            elif payload.state in (TaskState.RETRY_WAIT, TaskState.FAILED):
                self._check_failure(event, payload)
            elif payload.state is TaskState.READY and place in self._due:
                promise(event.occurred_at >= self._due.pop(place), "a retry waits for its time")

    def _is_of_its_worker(self, place: Place) -> bool:
        """Tell whether the worker that was given an attempt has said how it ended.

        What came over no connection of this workspace is the matter of another promise.
        """
        said_by = self.said_by.get(self.newest[place])
        return said_by is None or self.fold.tasks[place[0]][place[1]].worker_id in said_by

    def _check_stop(self, event: Event, change: RunStateChanged) -> None:
        run = self.fold.runs[event.run_id]
        if change.ends_as is RunState.TIMED_OUT:
            is_up = _is_up(run, event.occurred_at)
            promise(is_up, "no run is timed out before its time is up")
        else:
            promise(run.run_id in self.stopped, "only a run that somebody stops is cancelled")

    def _check_time(self, run_id: str, ticked: datetime) -> None:
        run = self.fold.runs[run_id]
        is_stopped = run.state.is_terminal or run.state is RunState.CANCELLING
        promise(is_stopped or not _is_up(run, ticked), "a run whose time is up is stopped")

    def _check_failure(self, event: Event, change: TaskStateChanged) -> None:
        """Check what follows from a failure: another attempt after a pause, or none."""
        place, failure = (event.run_id, change.index), change.failure
        assert failure is not None
        said = self.said_under.get(self.newest.get(place, 0), [])
        is_said = replace(failure, max_attempts=0) in said and self._is_of_its_worker(place)
        promise(is_said or failure.reason in NOT_SAID, "what is recorded was said under its lease")
        policy = self.policy(event.run_id, self.fold.tasks[event.run_id][change.index])
        assert failure.max_attempts in (0, policy.max_retries + 1)
        helps = failure.retryable
        if helps is None:
            helps = failure.category.value in {cause.value for cause in policy.retry.retry_on}
        is_left = change.attempt <= policy.max_retries
        is_stopping = self.fold.runs[event.run_id].state is RunState.CANCELLING
        promise(
            (change.state is TaskState.RETRY_WAIT) == (helps and is_left and not is_stopping),
            "another attempt follows where the policy says so",
        )
        if change.state is TaskState.RETRY_WAIT:
            pause = min(policy.retry_delay_seconds, policy.retry.max_delay_seconds)
            if failure.reason in (FailureReason.EVICTED, FailureReason.LEASE_LOST):
                pause = 0
            self._due[place] = event.occurred_at + timedelta(seconds=pause)
            promise(change.retry_at == self._due[place], "a retry waits for its time")

    def _check_limits(self, run_id: str, task: Task) -> None:
        """Check what an attempt that was given out just now must have had."""
        policy, run = self.policy(run_id, task), self.fold.runs[run_id]
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
            used = sum(
                min(self.policy(other_run, other).pools.get(POOL, 0), size)
                for other_run, other in on_worker
            )
            promise(used <= size, "a pool has its limit")
        for spent, budget in ((task.spent, policy.budget), (run.spent, run.budget)):
            promise(
                all(Decimal(spent.get(unit, "0")) <= Decimal(budget[unit]) for unit in budget),
                "nothing starts whose budget is overdrawn",
            )

    def _compare(self, run_id: str, engine: Engine) -> None:
        folded, tasks = self.fold.run(run_id), self.fold.tasks[run_id]
        active = engine.workspaces[self.home].active.get(run_id)
        promise((active is None) is folded.state.is_terminal, "a run is active until it ends")
        if active is not None:
            promise(
                list(map(recorded, active.machine.tasks)) == tasks,
                "the history folds to the tasks in memory",
            )
        # What is stored of a run changes with its events.
        news = folded.last_sequence, engine.read
        if self._compared.get(run_id) == news:
            return
        self._compared[run_id] = news
        run, stored = engine.stored(self.home, run_id)
        promise(run is not None, "a run that was accepted is stored")
        assert run is not None
        promise(list(map(recorded, stored)) == tasks, "the history folds to the tasks in the store")
        promise(
            without_spent(run) == without_spent(folded), "the history folds to the run in the store"
        )
        promise(numbers(run) == numbers(folded), "a run has spent what its tasks have")


def _is_up(run: Run, now: datetime) -> bool:
    """Tell whether a run has a limit, and its time is up."""
    limit = timedelta(seconds=run.timeout_seconds)
    return bool(limit) and run.created_at is not None and run.created_at + limit <= now
