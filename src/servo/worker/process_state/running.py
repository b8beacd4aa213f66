"""What goes on after the function has returned: threads and child processes."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from pathlib import Path
from typing import Final

from servo.worker.process_state.state import Entry, list_names, loaded

__all__ = ["ENTRIES"]

_PATIENCE_SECONDS: Final = 0.05
"""How long threads and children that are about to end are waited for."""
_GUARDIAN_CHILDREN: Final[list[int]] = []
_FEW_BYTES: Final = 64
"""Enough for the usual case, one process id; a large buffer is slow to allocate and to shrink."""


class _Threads:
    """The threads of the process that keep it from ending."""

    def __init__(self) -> None:
        self._known: list[threading.Thread] = []
        self._lasting: set[threading.Thread] = set()

    def lasting(self) -> set[threading.Thread]:
        """Return those that are not daemons."""
        now = [*threading._active.values(), *threading._limbo.values()]  # type: ignore[attr-defined]  # what `enumerate` returns, in a third of its time
        if now != self._known:
            self._known = now
            self._lasting = {thread for thread in now if not thread.daemon}
        return self._lasting


_THREADS: Final = _Threads()


def _left_threads(
    saved: set[threading.Thread], found: set[threading.Thread]
) -> list[threading.Thread]:
    if found <= saved:
        return []
    pool = loaded("concurrent.futures.thread")
    frames = sys._current_frames()
    left = []
    for thread in found - saved:
        frame = frames.get(thread.ident or 0)
        if pool is not None and frame is not None and frame.f_code is pool._worker.__code__:
            continue  # of a pool that is kept for later, with nothing to do
        left.append(thread)
    return left


def _wait_for_threads(saved: set[threading.Thread], found: set[threading.Thread]) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    for thread in _left_threads(saved, found):
        thread.join(max(0.0, deadline - time.monotonic()))


def _children() -> set[int]:
    """Return the children of this process, and those that its guardian has adopted."""
    adopted = _adopted()
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return adopted
    own: set[int] = set()
    with contextlib.suppress(OSError):
        for task in Path("/proc/self/task").iterdir():
            own |= {int(text) for text in (task / "children").read_bytes().split()}
    for helper in (
        getattr(loaded("multiprocessing.resource_tracker"), "_resource_tracker", None),
        getattr(loaded("multiprocessing.forkserver"), "_forkserver", None),
    ):
        own -= {getattr(helper, "_pid", None) or 0, getattr(helper, "_forkserver_pid", None) or 0}
    return own | adopted


def _adopted() -> set[int]:
    if not _GUARDIAN_CHILDREN:
        parent = os.getppid()
        try:
            _GUARDIAN_CHILDREN.append(
                os.open(f"/proc/{parent}/task/{parent}/children", os.O_RDONLY | os.O_CLOEXEC)
            )
        except OSError:
            # No such file with this kernel, or no /proc at all.
            _GUARDIAN_CHILDREN.append(-1)
    (descriptor,) = _GUARDIAN_CHILDREN
    if descriptor < 0:
        return set()
    text = os.pread(descriptor, _FEW_BYTES, 0)
    if len(text) == _FEW_BYTES:
        text = os.pread(descriptor, 1 << 16, 0)
    data = text.split()
    return {int(text) for text in data} - {os.getpid()} if len(data) > 1 else set()


def _is_no_child_left(saved: set[int], found: set[int]) -> bool:
    return found <= saved


def _wait_for_children(saved: set[int], found: set[int]) -> None:
    """Take leave of children that have ended, and wait a moment for those that are about to."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while left := _children() - saved:
        for child in left:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, os.WNOHANG)
        if not _children() - saved or time.monotonic() > deadline:
            return
        time.sleep(0.002)


def _commands(saved: set[int], found: set[int]) -> str:
    told = []
    for child in sorted(found & _children() - saved):
        command = ""
        with contextlib.suppress(OSError):
            arguments = Path(f"/proc/{child}/cmdline").read_bytes()[:200]
            command = arguments.replace(b"\0", b" ").decode("utf-8", "replace")
        told.append(f"{child} {command:.60}".strip())
    return list_names(told)


ENTRIES: Final = (
    Entry(
        name="running threads",
        read=_THREADS.lasting,
        restore=_wait_for_threads,
        same=lambda saved, found: not _left_threads(saved, found),
        describe=lambda saved, found: list_names(
            [thread.name for thread in _left_threads(saved, found) if thread.is_alive()]
        ),
        quiet=True,
    ),
    Entry(
        name="child processes",
        read=_children,
        restore=_wait_for_children,
        same=_is_no_child_left,
        describe=_commands,
        quiet=True,
    ),
)
