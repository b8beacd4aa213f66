"""The parent of a runner: whatever happens to worker and runner, nothing is left behind.

The worker starts a process that forks: the child becomes the runner, the parent stays as its
guardian. It adopts what loses its parent below it (Linux), so it finds every descendant of user
code, also those that left the process group or the session, and ends them all when the runner
ends, when the worker says so, and when the worker is gone. It ends as the runner did.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final, NoReturn

__all__ = ["split"]

_PATIENCE_SECONDS: Final = 10.0
"""How long processes that cannot be killed, waiting in the kernel, are waited for."""
_POLL_SECONDS: Final = 0.002
# From <linux/prctl.h>.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36


def split(lifeline: int, channels: Iterable[int]) -> None:
    """Become a guardian and its runner; return in the runner only.

    Args:
        lifeline: The end of a pipe; the guardian ends everything when it can be read from.
        channels: The runner's channels, which the guardian has no use for.
    """
    guardian = os.getpid()
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    # Before the fork, so that no end can be missed.
    awake, ring = os.pipe()
    os.set_blocking(awake, False)
    os.set_blocking(ring, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(ring, warn_on_full_buffer=False)
    runner = os.fork()
    if runner:
        for descriptor in channels:
            os.close(descriptor)
        _watch(lifeline, awake, runner)
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for descriptor in (lifeline, awake, ring):
        os.close(descriptor)
    os.setpgid(0, 0)
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != guardian:
        os._exit(1)


def _watch(lifeline: int, awake: int, runner: int) -> NoReturn:
    # The runner's output ends when nobody is left that could write to it.
    for descriptor in (0, 1, 2):
        os.close(descriptor)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    status: int | None = None
    while status is None:
        ready, _, _ = select.select([lifeline, awake], [], [])
        if lifeline in ready:
            break
        with contextlib.suppress(BlockingIOError):
            os.read(awake, 4096)
        status, _ = _reap(runner)
    _end_as(_end_all(runner, status))


def _reap(runner: int) -> tuple[int | None, bool]:
    """Take leave of children that have ended.

    Returns:
        How the runner ended, if it was among them, and whether any child is left.
    """
    status = None
    while True:
        try:
            process, found = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return status, False
        if process == 0:
            return status, True
        if process == runner:
            status = found


def _end_all(runner: int, status: int | None) -> int:
    """Kill every descendant; return how the runner ended."""
    deadline = time.monotonic() + _PATIENCE_SECONDS
    # Where nothing is adopted, this has to do.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(runner, signal.SIGKILL)
    left = True
    while left and time.monotonic() < deadline:
        # The children of those that end here are the guardian's in the next round.
        for process in _children():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(process, signal.SIGKILL)
        found, left = _reap(runner)
        status = found if status is None else status
        if left:
            time.sleep(_POLL_SECONDS)
    return signal.SIGKILL if status is None else status


def _children() -> list[int]:
    me = os.getpid()
    listed = Path(f"/proc/self/task/{me}/children")
    with contextlib.suppress(OSError):
        return [int(text) for text in listed.read_text().split()]
    # Kernels without that file; other systems have no /proc and give nothing.
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parent = stat.read_text().rpartition(")")[2].split()[1]
            if int(parent) == me:
                found.append(int(stat.parent.name))
    return found


def _end_as(status: int) -> NoReturn:
    """End as another process did, so that whoever waits for this one sees it."""
    if os.WIFSIGNALED(status):
        # Imported here: in a runner, `process_state` reads resource limits once it is loaded.
        import resource

        number = os.WTERMSIG(status)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if number != signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.pause()
    os._exit(os.waitstatus_to_exitcode(status))


def _prctl(option: int, value: int) -> None:
    # Linux only; elsewhere the process group has to do.
    with contextlib.suppress(ImportError, OSError, AttributeError):
        import ctypes

        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)
