"""Noticing that this process is the child of the one that opened a connection."""

from __future__ import annotations

import os


class _Generation:
    """Counts the forks between this process and the one that was started."""

    def __init__(self) -> None:
        self.number = 0
        self.abandoned: list[object] = []
        """Connections of the parent: closing them here would say goodbye in its name."""

    def _count(self) -> None:
        self.number += 1


generation = _Generation()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=generation._count)
