"""What the kernel allows the process: resource limits, priority, processors, user."""

from __future__ import annotations

import importlib.util
import os
from typing import Any, Final

from servo.worker.process_state.state import Entry, list_names, loaded

__all__ = ["ENTRIES"]


def _own_copy(name: str) -> Any:
    """Import a module without adding it to `sys.modules`, where it would look used by others."""
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ImportError(f"No module named {name!r}", name=name)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_RESOURCE: Final = _own_copy("resource")
_LIMITS: Final = {
    name: getattr(_RESOURCE, name)
    for name in (
        "RLIMIT_AS",  "RLIMIT_CPU", "RLIMIT_DATA", "RLIMIT_FSIZE",
        "RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_STACK",
    )
    if hasattr(_RESOURCE, name)
}  # fmt: skip
_LIMIT_NUMBERS: Final = tuple(_LIMITS.values())


def _read_limits() -> list[tuple[int, int]]:
    return list(map(_RESOURCE.getrlimit, _LIMIT_NUMBERS))


_AT_FIRST: Final = _read_limits()


def _limits() -> list[tuple[int, int]]:
    # Each limit costs a system call, and few processes load the modules that can set one.
    return _read_limits() if loaded("resource") or loaded("psutil") else _AT_FIRST


def _changed_limits(saved: list[Any], found: list[Any]) -> dict[str, Any]:
    both = zip(_LIMITS, saved, found, strict=True)
    return {name: before for name, before, now in both if before != now}


def _set_limits(saved: list[Any], found: list[Any]) -> None:
    for name, limit in _changed_limits(saved, found).items():
        _RESOURCE.setrlimit(_LIMITS[name], limit)


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
