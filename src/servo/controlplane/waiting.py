"""Tasks that wait: the greatest priority first, then the runs in turn, then the plan's order."""

from __future__ import annotations

from bisect import insort
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from typing import TYPE_CHECKING

from servo.controlplane.leases import Resource

if TYPE_CHECKING:
    from servo.controlplane.active import ActiveRun


@dataclass(slots=True, eq=False)
class Waiting:
    """A task that waits.

    Attributes:
        active: Its run.
        index: Its position in the plan.
        priority: That of its asset; that of the run is added.
        turn: The resource that it waited for and is next to take, if any.
        parked_at: The resource that it waits for; `None` while nothing is known to keep it.
    """

    active: ActiveRun
    index: int
    priority: int = 0
    turn: Resource | None = None
    parked_at: Resource | None = None


_Line = list[tuple[int, int, int, Waiting]]
"""A heap: 0 for who goes before the others or 1, the position in the plan, who came first."""


class WaitingTasks:
    """A queue of tasks in which runs of one priority take turns.

    A run with one task does not wait behind one with ten thousand. Every operation but `__iter__`
    takes nearly the same time whatever waits. A task that comes back, because a worker had no use
    for it or because it is tried again, has its old place.
    """

    def __init__(self) -> None:
        self._levels: dict[int, OrderedDict[str, _Line]] = {}
        self._priorities: list[int] = []
        self._arrivals = count()
        self._length = 0

    def __len__(self) -> int:
        """Return how many wait."""
        return self._length

    def __iter__(self) -> Iterator[Waiting]:
        """Visit those that wait, in no particular order."""
        for runs in self._levels.values():
            for line in runs.values():
                yield from (task for *_, task in line)

    @property
    def first_priority(self) -> int | None:
        """The greatest priority that somebody waits with."""
        return self._priorities[-1] if self._priorities else None

    def push(self, task: Waiting, *, first: bool = False) -> None:
        """Add a task to those of its run and priority: at its place in the plan, or before them.

        Args:
            task: The task.
            first: Whether it has waited its turn already, and it is its run's turn.
        """
        priority = priority_of(task)
        runs = self._levels.get(priority)
        if runs is None:
            runs = self._levels[priority] = OrderedDict()
            insort(self._priorities, priority)
        line = runs.get(task.active.run_id)
        if line is None:
            line = runs[task.active.run_id] = []
        heappush(line, (0 if first else 1, task.index, next(self._arrivals), task))
        if first:
            runs.move_to_end(task.active.run_id, last=False)
        self._length += 1

    def pop(self) -> Waiting:
        """Take the next task; the next one of its run waits until the others had their turn.

        Raises:
            IndexError: Nobody waits.
        """
        priority = self._priorities[-1]
        runs = self._levels[priority]
        run_id, line = next(iter(runs.items()))
        *_, task = heappop(line)
        if line:
            runs.move_to_end(run_id)
        else:
            self._forget(priority, run_id)
        self._length -= 1
        return task

    def take_run(self, run_id: str) -> list[Waiting]:
        """Take every task of a run."""
        taken: list[Waiting] = []
        for priority in [p for p, runs in self._levels.items() if run_id in runs]:
            taken += (task for *_, task in self._levels[priority][run_id])
            self._forget(priority, run_id)
        self._length -= len(taken)
        return taken

    def _forget(self, priority: int, run_id: str) -> None:
        runs = self._levels[priority]
        del runs[run_id]
        if not runs:
            del self._levels[priority]
            self._priorities.remove(priority)


def priority_of(task: Waiting) -> int:
    """Return the priority of a task: its asset's and its run's together."""
    return task.priority + task.active.machine.run.priority
