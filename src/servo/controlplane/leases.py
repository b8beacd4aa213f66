"""The leases of one workspace: who executes what, and which slots that takes.

A slot is taken because a lease that needs it is out, and for no other reason: nothing is counted
that could go wrong when an attempt is lost, ends twice or outlives the control plane.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Resource(NamedTuple):
    """Something of which there is a limited number of slots.

    Attributes:
        kind: ``partition``, ``pool``, ``asset``, ``run`` or ``tenant``.
        name: Which one.
    """

    kind: str
    name: str


@dataclass(slots=True)
class HeldLease:
    """A lease that is out.

    Attributes:
        token: Its fencing token: the sequence number of the event that gave it out.
        worker_id: Who has it.
        expires: When it ends without a heartbeat, on the monotonic clock, seconds.
        slots: What it takes, by resource.
        ends_by: When the attempt is given up although its worker still reports it, because it was
            asked to end; on the monotonic clock. ``None`` while nobody has asked.
        overdrawn: Why it was asked to end, if that is a budget.
    """

    token: int
    worker_id: str
    expires: float
    slots: Mapping[Resource, int]
    ends_by: float | None = None
    overdrawn: str = ""


class Leases:
    """The leases that are out, by task."""

    def __init__(self) -> None:
        self._by_task: dict[str, HeldLease] = {}
        self._holders: dict[Resource, dict[str, int]] = {}

    def __len__(self) -> int:
        """Return how many are out."""
        return len(self._by_task)

    def __contains__(self, task_id: str) -> bool:
        """Tell whether a task has a lease."""
        return task_id in self._by_task

    def get(self, task_id: str) -> HeldLease | None:
        """Return the lease of a task."""
        return self._by_task.get(task_id)

    def items(self) -> Iterator[tuple[str, HeldLease]]:
        """Visit them; leases may be taken back meanwhile."""
        return iter(list(self._by_task.items()))

    def give(self, task_id: str, held: HeldLease) -> None:
        """Note that a lease is out."""
        self._by_task[task_id] = held
        for resource, slots in held.slots.items():
            self._holders.setdefault(resource, {})[task_id] = slots

    def take_back(self, task_id: str) -> HeldLease | None:
        """Forget the lease of a task; return what it was."""
        held = self._by_task.pop(task_id, None)
        if held is not None:
            for resource in held.slots:
                holders = self._holders[resource]
                del holders[task_id]
                if not holders:
                    del self._holders[resource]
        return held

    def used(self, resource: Resource) -> int:
        """Return how many slots of a resource are taken."""
        holders = self._holders.get(resource)
        return sum(holders.values()) if holders else 0

    def holders(self, resource: Resource) -> list[str]:
        """Return the tasks whose leases take slots of a resource."""
        return list(self._holders.get(resource, ()))

    def clear(self) -> None:
        """Forget them all."""
        self._by_task.clear()
        self._holders.clear()
