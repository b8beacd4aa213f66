"""Standard descriptors, umask, working directory, environment and time zone."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from typing import Any, Final

from servo.worker.process_state.state import Entry, list_names, loaded

__all__ = ["ENTRIES"]

_SPARE_DESCRIPTORS: Final[dict[int, int]] = {}
"""Copies of the standard descriptors, from which they are put back."""


def _descriptors() -> list[Any]:
    found: list[Any] = []
    for descriptor in (0, 1, 2):
        try:
            status = os.fstat(descriptor)
        except OSError:
            found.append(None)
        else:
            # A child may make a pipe non-blocking that it shares with this process.
            found.append((status[1], status[2], os.get_blocking(descriptor)))
    return found


def _keep_descriptors() -> list[Any]:
    """Read the standard descriptors, and keep a copy of each."""
    found = _descriptors()
    for descriptor, identity in enumerate(found):
        if identity is not None and descriptor not in _SPARE_DESCRIPTORS:
            # Out of the way of code that closes or counts the first few.
            _SPARE_DESCRIPTORS[descriptor] = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, 64)
    return found


def _set_descriptors(saved: list[Any], found: list[Any]) -> None:
    for descriptor, (before, now) in enumerate(zip(saved, found, strict=True)):
        if before == now or before is None:
            continue
        spare = _SPARE_DESCRIPTORS[descriptor]
        if now is None or now[:2] != before[:2]:
            status = os.fstat(spare)
            if (status[1], status[2]) != before[:2]:
                raise RuntimeError("the copy of the descriptor is another file")
            os.dup2(spare, descriptor)
        os.set_blocking(descriptor, before[2])


def _changed_descriptors(saved: list[Any], found: list[Any]) -> str:
    both = zip(("standard input", "standard output", "standard error"), saved, found, strict=True)
    return list_names([name for name, before, now in both if before != now])


def _standard_input() -> tuple[Any, bool]:
    stream = sys.stdin
    return stream, stream is None or stream.closed


def _set_standard_input(saved: tuple[Any, bool], found: tuple[Any, bool]) -> None:
    sys.stdin = saved[0]


def _umask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _set_umask(saved: int, found: int) -> None:
    os.umask(saved)


def _set_directory(saved: str, found: object) -> None:
    os.chdir(saved)


def _temporary_directory() -> Any:
    found = loaded("tempfile")
    return None if found is None else found.tempdir


def _set_temporary_directory(saved: Any, found: Any) -> None:
    loaded("tempfile").tempdir = saved


_ENVIRONMENT: Final = os.environ


def _environment() -> dict[bytes, bytes]:
    # `os.environ` itself decodes each name and value when it is copied.
    return dict(_ENVIRONMENT._data)  # type: ignore[attr-defined]  # since Python 3.2


def _set_environment(saved: dict[bytes, bytes], found: dict[bytes, bytes]) -> None:
    if os.environ is not _ENVIRONMENT:
        raise RuntimeError("os.environ is another object")
    for name in found.keys() - saved.keys():
        del os.environb[name]
    for name, value in saved.items():
        if found.get(name) != value:
            os.environb[name] = value
    if found.get(b"TZ") != saved.get(b"TZ"):
        time.tzset()


def _changed_variables(saved: dict[bytes, bytes], found: dict[bytes, bytes]) -> str:
    changed = {name for name, _ in saved.items() ^ found.items()}
    return list_names([os.fsdecode(name) for name in changed])


def _time_zone() -> tuple[Any, ...]:
    return time.tzname, time.timezone, time.altzone


def _set_time_zone(saved: Any, found: Any) -> None:
    time.tzset()


ENTRIES: Final = (
    Entry(
        name="standard descriptors",
        read=_keep_descriptors,
        restore=_set_descriptors,
        describe=_changed_descriptors,
    ),
    # The other two are the runner's own, and it looks after them.
    Entry(name="standard streams", read=_standard_input, restore=_set_standard_input, quiet=True),
    Entry(
        name="umask",
        read=_umask,
        restore=_set_umask,
        describe=lambda saved, found: f"0o{found:03o}, back to 0o{saved:03o}",
    ),
    Entry(
        name="working directory",
        read=os.getcwd,
        restore=_set_directory,
        describe=lambda saved, found: str(found),
    ),
    Entry(
        name="environment",
        read=_environment,
        restore=_set_environment,
        describe=_changed_variables,
    ),
    Entry(name="time zone", read=_time_zone, restore=_set_time_zone),
    Entry(
        name="temporary directory",
        read=_temporary_directory,
        restore=_set_temporary_directory,
        # It is looked up at first use, which is a change as well.
        quiet=True,
    ),
)
