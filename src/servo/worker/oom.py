"""Whether the kernel has killed something for want of memory."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

__all__ = ["OomCounter"]

_CGROUPS: Final = Path("/sys/fs/cgroup")
_WHOLE_MACHINE: Final = Path("/proc/vmstat")


class OomCounter:
    """Counts the processes that the kernel killed because memory ran out.

    The count is that of the control group of this process, where it is in one that tells
    (``memory.events``, or ``memory.oom_control`` in the first version), else that of the machine.

    Args:
        path: A file with a line ``oom_kill N``; found when left out.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._descriptor = -1
        for candidate in [path] if path is not None else _candidates():
            with contextlib.suppress(OSError):
                self._descriptor = os.open(candidate, os.O_RDONLY | os.O_CLOEXEC)
                if self._find() is not None:
                    return
                self.close()

    def count(self) -> int:
        """Return how many were killed until now; 0 where nothing tells."""
        return self._find() or 0

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _find(self) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            # Read from its start, a file of the kernel's is made anew.
            for line in os.pread(self._descriptor, 1 << 16, 0).splitlines():
                name, _, number = line.partition(b" ")
                if name == b"oom_kill":
                    return int(number)
        return None


def _candidates() -> list[Path]:
    found: list[Path] = []
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            inside = group.lstrip("/")
            # In a container the path is often that of the host, and the root is the group.
            if not controllers:
                found += [_CGROUPS / inside / "memory.events", _CGROUPS / "memory.events"]
            elif "memory" in controllers.split(","):
                root = _CGROUPS / "memory"
                found += [root / inside / "memory.oom_control", root / "memory.oom_control"]
    return [*found, _WHOLE_MACHINE]
