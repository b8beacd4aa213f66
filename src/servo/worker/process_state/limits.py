"""What the kernel allows the process: resource limits, priority, processors, user."""

from __future__ import annotations

import os
import resource
from typing import Any, Final

from servo.worker.process_state.state import Entry, list_names

__all__ = ["ENTRIES"]

_LIMITS: Final = {
    name: getattr(resource, name)
    for name in (
        "RLIMIT_AS",  "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE",
        "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_STACK",
    )
    if hasattr(resource, name)
}  # fmt: skip
_LIMIT_NUMBERS: Final = tuple(_LIMITS.values())


def _limits() -> list[tuple[int, int]]:
    return list(map(resource.getrlimit, _LIMIT_NUMBERS))


def _changed_limits(saved: list[Any], found: list[Any]) -> dict[str, Any]:
    both = zip(_LIMITS, saved, found, strict=True)
    return {name: before for name, before, now in both if before != now}


def _set_limits(saved: list[Any], found: list[Any]) -> None:
    for name, limit in _changed_limits(saved, found).items():
        resource.setrlimit(_LIMITS[name], limit)


def _priority() -> tuple[Any, ...]:
    affinity = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    return os.getpriority(os.PRIO_PROCESS, 0), affinity


def _set_priority(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    if saved[1] != found[1]:
        os.sched_setaffinity(0, saved[1])
    if saved[0] != found[0]:
        os.setpriority(os.PRIO_PROCESS, 0, saved[0])


def _identity() -> tuple[int, ...]:
    return os.geteuid(), os.getegid(), os.getpgrp()


ENTRIES: Final = (
    Entry(
        name="resource limits",
        read=_limits,
        restore=_set_limits,
        describe=lambda saved, found: list_names(list(_changed_limits(saved, found))),
    ),
    Entry(name="priority and processors", read=_priority, restore=_set_priority),
    Entry(name="user and process group", read=_identity, restore=None),
)
