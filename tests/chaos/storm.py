"""Many kills in a row: runs go on while the control plane, and the workers, die again and again.

``python -m chaos.storm --kills 5000`` prints what came of it as JSON; the tests use `Storm`.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import re
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import grpc
import grpc.aio

from chaos import invariants
from chaos.plane_process import BOUNDARY
from chaos.planes import Death, Planes
from chaos.workers import Workers
from chaos.workload import EXECUTIONS, Workload, executions
from plane_kit import Caller
from servo import _wire, errors
from servo.types.events import Event, RunStateChanged
from servo.types.requests import CancelRunRequest, WatchRunRequest
from servo.types.runs import RunState, TaskState

_PAUSE: Final = 0.01
_STUCK: Final = 60.0
_RUNS_AT_ONCE: Final = 4
_LINE: Final = 60
"""About what one execution takes in the list of them, bytes."""
_CHANNEL: Final = (
    ("grpc.initial_reconnect_backoff_ms", 10),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 20),
)


@dataclass(frozen=True, slots=True)
class Report:
    """What a storm came to.

    Attributes:
        kills: How often the control plane was killed.
        worker_kills: How often a worker was.
        boundaries: How often at which moment of its work the control plane died.
        cancelled: How many runs were asked to stop.
        seconds: How long it took.
        tally: What the checks have looked at afterwards.
    """

    kills: int
    worker_kills: int
    boundaries: Counter[str]
    cancelled: int
    seconds: float
    tally: invariants.Tally

    def as_json(self) -> dict[str, Any]:
        """Return it as a JSON document."""
        return {
            "kills": self.kills,
            "worker_kills": self.worker_kills,
            "runs": {str(state): count for state, count in self.tally.runs.items()},
            "tasks": {str(state): count for state, count in self.tally.tasks.items()},
            "attempts": self.tally.attempts,
            "events": self.tally.events,
            "tables": self.tally.tables,
            "overtaken": self.tally.overtaken,
            "cancelled": self.cancelled,
            "seconds": round(self.seconds, 1),
            "boundaries": dict(self.boundaries.most_common()),
        }


@dataclass
class Storm:
    """Keeps some runs going and kills what executes them.

    Attributes:
        folder: Where everything lies.
        kills: How often the control plane is to die.
        seed: Decides about the graphs and the moments.
        deaths: How it dies; by default each death is a random one.
        most_commits: The longest life that ends so, in commits.
        workers: How many workers there are.
        worker_kills: How often one of them is killed, each time that they have done a little.
        lease: Seconds that a lease lasts.
        database: Where the state is; by default a file in the folder.
    """

    folder: Path
    kills: int
    seed: int
    deaths: Sequence[Death] = ()
    most_commits: int = 6
    workers: int = 1
    worker_kills: int = 0
    lease: float = 30.0
    database: Path | str = Path()
    _watched: dict[str, list[Event]] = field(default_factory=dict)
    _is_calm: bool = False
    _cancelled: int = 0

    def run(self) -> Report:
        """Let it pass, and check what it left.

        Raises:
            AssertionError: Something was lost, doubled or stuck.
        """
        began = time.monotonic()
        self._chance = random.Random(self.seed)
        project = self.folder / "project"
        workload = Workload.at_random(self._chance, graphs=8, most_tasks=8)
        workload.write(project)
        self._planes = Planes(self.folder, lease=self.lease, database=self.database)
        self._workers = Workers(project, self._planes.url)
        self._executions = project / EXECUTIONS
        try:
            asyncio.run(self._pass(workload))
            self._planes.stop()
        finally:
            self._workers.close()
            self._planes.close()
        self._watchers_saw_everything()
        tally = invariants.check(
            self._planes.database, self._workers.data_root, accepted=self._watched
        )
        self._user_code_ran(project, workload)
        return Report(
            kills=sum(life.exit_code == -9 for life in self._planes.lives[1:]),
            worker_kills=self._workers.killed - self.workers,
            boundaries=Counter(
                re.findall(rf"^{BOUNDARY}(.*)$", self._planes.log, flags=re.MULTILINE)
            ),
            cancelled=self._cancelled,
            seconds=time.monotonic() - began,
            tally=tally,
        )

    async def _pass(self, workload: Workload) -> None:
        self._planes.start()
        self._caller = Caller(self._planes.url, options=_CHANNEL)
        await self._insistently(lambda: self._caller.deploy(workload.definitions))
        await asyncio.to_thread(self._planes.stop)
        for _ in range(self.workers):
            self._workers.start()
        try:
            async with asyncio.TaskGroup() as group:
                assassin = group.create_task(self._kill_workers())
                group.create_task(self._live_and_die(assassin))
                for number in range(_RUNS_AT_ONCE):
                    group.create_task(self._keep_running(workload, number))
        except ExceptionGroup as exc:
            raise exc.exceptions[0] from exc
        finally:
            await self._caller.channel.close()

    async def _live_and_die(self, assassin: asyncio.Task[None]) -> None:
        deaths = list(self.deaths) or [
            Death.at_random(self._chance, self.most_commits) for _ in range(self.kills)
        ]
        for death in deaths:
            life = self._planes.start(death)
            code = await asyncio.to_thread(life.wait, _STUCK)
            assert code == -9, f"a control plane ended by itself: {self._planes.log[-3000:]}"
        self._planes.start()
        await assassin
        self._is_calm = True

    async def _kill_workers(self) -> None:
        for _ in range(self.worker_kills):
            # Not before they have done something: on a busy machine they take long to start.
            done = _size(self._executions)
            while _size(self._executions) < done + 3 * _LINE:
                await asyncio.sleep(_PAUSE)
            await asyncio.sleep(self._chance.uniform(0, 0.3))
            self._workers.kill(self._chance.choice(self._workers.running))
            self._workers.start()

    async def _keep_running(self, workload: Workload, number: int) -> None:
        """Start one run after another and follow each to its end."""
        count = 0
        while not self._is_calm:
            count += 1
            key = f"{number}-{count}"
            selection = f"{self._chance.choice(workload.namespaces)}.*"
            create = partial(self._caller.create_run, selection, run_key=key)
            made = await self._insistently(create)
            run_id = made.run.run_id
            self._watched[run_id] = []
            if self._chance.random() < 0.2:
                await asyncio.sleep(self._chance.uniform(0, 0.3))
                request = CancelRunRequest(run_id=run_id, reason="enough")
                await self._insistently(
                    partial(self._caller.call, _wire.methods.CANCEL_RUN, request)
                )
                self._cancelled += 1
            try:
                await asyncio.wait_for(self._watch(run_id), _STUCK * 2)
            except TimeoutError:
                raise AssertionError(
                    f"run {run_id} does not end; it came to {self._watched[run_id][-3:]}\n"
                    f"{self._planes.log[-2000:]}\n{self._workers.log[-2000:]}"
                ) from None

    async def _watch(self, run_id: str) -> None:
        events = self._watched[run_id]
        while True:
            after = events[-1].sequence if events else 0
            request = WatchRunRequest(run_id=run_id, after_sequence=after)
            try:
                async for response in self._caller.stream(_wire.methods.WATCH_RUN, request):
                    events += [event for event in response.events if event.sequence]
            except grpc.aio.AioRpcError as exc:
                lost = exc.code() is grpc.StatusCode.NOT_FOUND
                assert not lost, f"run {run_id} was accepted and is lost"
            if events and _is_end(events[-1]):
                return
            await asyncio.sleep(_PAUSE)

    async def _insistently(self, call: Any) -> Any:
        """Call until there is an answer, as every client may that gives its runs a key."""
        deadline = time.monotonic() + _STUCK
        while True:
            try:
                return await call()
            except errors.ServoError as exc:
                if exc.category is not errors.ErrorCategory.NETWORK or time.monotonic() > deadline:
                    raise
            await asyncio.sleep(_PAUSE)

    def _watchers_saw_everything(self) -> None:
        history = invariants.History.read(self._planes.database)
        (events,) = history.events.values()
        stored: dict[str, list[Event]] = defaultdict(list)
        for event in events:
            stored[event.run_id].append(event)
        for run_id, watched in self._watched.items():
            assert watched == stored[run_id], (
                f"the watcher of run {run_id} saw {watched}, not {stored[run_id]}"
            )

    def _user_code_ran(self, project: Path, workload: Workload) -> None:
        """Nothing is recorded as done that nobody did, and nothing was done that was skipped."""
        history = invariants.History.read(self._planes.database)
        begun = set(executions(project))
        touched = {task_id for _, task_id, _ in begun}
        for run_id, tasks in history.tasks.items():
            for task in tasks:
                if task.state is TaskState.SUCCEEDED:
                    assert (run_id, task.task_id, task.attempt) in begun, task
                if task.state is TaskState.FAILED:
                    kind = workload.kinds[str(task.asset_key)]
                    # In a run that is asked to stop nothing is tried again.
                    stopping = history.runs[run_id].state is RunState.CANCELLED
                    assert kind == "broken" or (kind == "flaky" and stopping), task
                if task.state is TaskState.SKIPPED:
                    assert task.task_id not in touched, task


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _is_end(event: Event) -> bool:
    return isinstance(event.payload, RunStateChanged) and event.payload.state.is_terminal


def main(arguments: Sequence[str] | None = None) -> int:
    """Let one storm pass and print what came of it."""
    parser = argparse.ArgumentParser(prog="python -m chaos.storm", description=__doc__)
    parser.add_argument("--kills", type=int, default=5_000, help="kills of the control plane")
    parser.add_argument("--seed", type=int, default=random.randrange(2**32))
    parser.add_argument("--worker-kills", type=int, default=0, help="kills of workers")
    parser.add_argument("--folder", type=Path, help="where to work; kept when it is given")
    given = parser.parse_args(arguments)
    print(f"seed {given.seed}", file=sys.stderr)
    with contextlib.ExitStack() as stack:
        folder = given.folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        storm = Storm(
            folder,
            kills=given.kills,
            seed=given.seed,
            worker_kills=given.worker_kills,
            lease=2.0 if given.worker_kills else 30.0,
            workers=2 if given.worker_kills else 1,
        )
        print(json.dumps(storm.run().as_json(), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
