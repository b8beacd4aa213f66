"""A control plane, a project and its workers, to be harmed and then looked at."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from chaos import invariants
from chaos.planes import Planes
from chaos.workers import Workers
from chaos.workload import Workload, executions
from plane_kit import Caller
from servo import _wire, errors
from servo.types.events import TaskStateChanged
from servo.types.records import Run
from servo.types.requests import CancelRunRequest
from servo.types.runs import TaskState

_PATIENCE: Final = 60.0
_T = TypeVar("_T")


@dataclass
class Site:
    """Everything that one test harms.

    Attributes:
        planes: The control planes, one after the other.
        workers: The workers.
        workload: What is deployed.
        folder: Where everything lies.
        accepted: The runs that were answered for.
    """

    planes: Planes
    workers: Workers
    workload: Workload
    folder: Path
    accepted: list[str] = field(default_factory=list)

    def ask_once(self, question: Callable[[Caller], Coroutine[Any, Any, _T]]) -> _T:
        """Ask the control plane, once."""

        async def ask() -> _T:
            caller = Caller(self.planes.url)
            try:
                return await question(caller)
            finally:
                await caller.channel.close()

        return asyncio.run(ask())

    def ask(self, question: Callable[[Caller], Coroutine[Any, Any, _T]]) -> _T:
        """Ask the control plane until it answers."""
        deadline = time.monotonic() + _PATIENCE
        while True:
            try:
                return self.ask_once(question)
            except errors.ServoError as exc:
                if not isinstance(exc, errors.UnavailableError) or time.monotonic() > deadline:
                    exc.add_note(f"the control plane wrote:\n{self.planes.log[-2000:]}")
                    raise
            time.sleep(0.05)

    def deploy(self) -> None:
        """Deploy the workload."""
        self.ask(lambda caller: caller.deploy(self.workload.definitions))

    def create_run(self, *selection: str, **options: Any) -> str:
        """Start a run; return its id."""
        run_id = self.ask(lambda caller: caller.create_run(*selection, **options)).run.run_id
        self.accepted.append(run_id)
        return run_id

    def cancel(self, run_id: str) -> None:
        """Ask a run to stop."""
        request = CancelRunRequest(run_id=run_id, reason="enough")
        self.ask(lambda caller: caller.call(_wire.methods.CANCEL_RUN, request))

    def run(self, run_id: str) -> Run:
        """Return a run as it is now, with its tasks."""
        return self.ask(lambda caller: caller.get_run(run_id))

    def until(
        self, run_id: str, condition: Callable[[Run], bool], patience: float = _PATIENCE
    ) -> Run:
        """Wait until something is true of a run.

        Raises:
            AssertionError: It does not come true.
        """
        deadline = time.monotonic() + patience
        while not condition(run := self.run(run_id)):
            assert time.monotonic() < deadline, (
                f"did not come true of {run}\n{self.planes.log[-2000:]}\n{self.workers.log[-4000:]}"
            )
            time.sleep(0.05)
        return run

    def until_running(self, run_id: str, attempt: int = 1, index: int = 0) -> Run:
        """Wait until user code of an attempt has begun."""
        return self.until(
            run_id,
            lambda run: (
                run.tasks[index].state is TaskState.RUNNING and run.tasks[index].attempt == attempt
            ),
        )

    def until_ended(self, run_id: str, patience: float = _PATIENCE) -> Run:
        """Wait for the end of a run."""
        return self.until(run_id, lambda run: run.state.is_terminal, patience)

    def let_go(self, attempt: int) -> None:
        """Let slow tasks end that are in a certain attempt."""
        (self.workers.project / f"go-{attempt}").touch()

    def until_let_go(self, attempt: int) -> None:
        """Wait until user code of an attempt has been let go; it is about to be published."""
        project = self.workers.project
        self._wait(
            lambda: any(made == attempt for *_, made in executions(project, "let-go.log")),
            f"attempt {attempt} goes on",
        )

    def until_logged(self, *texts: str) -> None:
        """Wait until the workers or the control planes have written one of some texts."""
        self._wait(
            lambda: any(text in self.planes.log + self.workers.log for text in texts),
            " or ".join(texts),
        )

    def _wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not condition():
            assert time.monotonic() < deadline, (
                f"did not happen: {what}\n{self.planes.log[-2000:]}\n{self.workers.log[-4000:]}"
            )
            time.sleep(0.02)

    def check(self, *, leftovers: bool = False) -> invariants.Tally:
        """End everything and look at what is left."""
        self.workers.close()
        self.planes.stop()
        # Wherever they saw it, here it is.
        database = self.folder / "after" / "servo.db"
        database.parent.mkdir()
        for path in (self.planes.root / self.planes.database.parent.relative_to("/")).iterdir():
            if path.name.startswith(self.planes.database.name):
                (database.parent / path.name).write_bytes(path.read_bytes())
        self.planes.database = database
        return invariants.check(
            database,
            self.workers.data_root,
            accepted=self.accepted,
            leftovers=leftovers,
        )

    def changes(self, run_id: str) -> list[TaskStateChanged]:
        """Return what the history of a run says of its tasks; after `check`."""
        history = invariants.History.read(self.planes.database)
        return [
            event.payload
            for events in history.events.values()
            for event in events
            if event.run_id == run_id and isinstance(event.payload, TaskStateChanged)
        ]


@contextmanager
def site(
    folder: Path,
    workload: Workload,
    *,
    lease: float = 30.0,
    workers: int = 1,
    slots: int = 2,
    **planes: Any,
) -> Iterator[Site]:
    """Have a control plane with a deployed workload, and workers, while a block runs."""
    project = folder / "project"
    workload.write(project)
    found = Planes(folder / "plane", lease=lease, **planes)
    made = Site(found, Workers(project, found.url, slots=slots), workload, folder)
    try:
        found.start()
        made.deploy()
        for _ in range(workers):
            made.workers.start()
        yield made
    finally:
        made.workers.close()
        found.close()
