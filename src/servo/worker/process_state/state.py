"""Keeping what one attempt changes in its process from the next one.

A runner executes many attempts, and each should see what it would see in a process of its own. So
the state that belongs to the process is read after the modules of an asset were imported, compared
when its function is over, and put back where that is simple and certain. Otherwise the runner asks
to be replaced. The other modules of the package list
the state.

What is set while the module of an asset is imported stays: it was meant for the whole process.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

__all__ = ["Entry", "Leftovers", "ProcessState", "list_names", "loaded"]

_SHOWN: Final = 5


loaded: Final[Callable[[str], Any]] = sys.modules.get
"""Returns a module if it was imported; nothing is imported to be looked at."""


def list_names(names: Sequence[str]) -> str:
    """Join names for people, not too many."""
    shown = ", ".join(sorted(names)[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _name_only(saved: Any, found: Any) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One piece of state that belongs to a process.

    Attributes:
        name: What people call it; the documentation lists it under this name.
        read: Returns a value that can be compared later, and that later changes do not change.
        restore: Makes ``read`` return the first argument, the value that was saved; the second is
            what was found. It raises when it cannot. ``None`` when there is no way back.
        same: Tells whether the second argument, what was found, is as good as the first.
        describe: Says what has changed, for people, without values that may be secret.
        stays: Whether what modules set while they are imported stays.
        quiet: Whether putting it back is not worth a line in the log.
    """

    name: str
    read: Callable[[], Any]
    restore: Callable[[Any, Any], None] | None
    same: Callable[[Any, Any], bool] | None = None
    describe: Callable[[Any, Any], str] = _name_only
    stays: bool = True
    quiet: bool = False

    def is_same(self, saved: Any, found: Any) -> bool:
        """Tell whether what was found needs no putting back."""
        return bool(saved == found if self.same is None else self.same(saved, found))

    def told(self, saved: Any, found: Any) -> str:
        """Name the state and what of it has changed."""
        try:
            detail = self.describe(saved, found)
        except Exception:  # objects of user code, which may do anything when they are looked at
            detail = ""
        return f"{self.name} ({detail})" if detail else self.name


@dataclass(slots=True)
class Leftovers:
    """What a function had left changed in its process.

    Attributes:
        restored: What was put back.
        lasting: What could not be put back: the process must not execute another attempt.
    """

    restored: list[str] = field(default_factory=list)
    lasting: list[str] = field(default_factory=list)


class ProcessState:
    """The state of this process, as it is to be when an attempt begins.

    Args:
        entries: What belongs to it, in the order in which it is put back.
    """

    def __init__(self, entries: Sequence[Entry]) -> None:
        self._entries = tuple(entries)
        self._reads = [entry.read for entry in self._entries]
        self._saved: list[Any] = []
        self._modules = 0
        self.remember()

    def remember(self) -> None:
        """Take the state of this moment as the one to return to."""
        self._saved = [self._first(entry) for entry in self._entries]
        self._modules = len(sys.modules)

    def leftovers(self) -> Leftovers:
        """Make an empty list of what had changed, for `put_back`."""
        return Leftovers()

    @property
    def has_imported(self) -> bool:
        """Whether modules were imported since state was last remembered or put back."""
        return len(sys.modules) != self._modules

    def put_back(self, left: Leftovers) -> None:
        """Return to the state that was remembered.

        Args:
            left: Receives what had changed, also when this is interrupted.
        """
        # All at once, because mostly nothing has changed, and every attempt pays for it.
        with contextlib.suppress(Exception):
            if [read() for read in self._reads] == self._saved:
                self._modules = len(sys.modules)
                return
        for entry, saved in zip(self._entries, self._saved, strict=True):
            try:
                found = entry.read()
                if entry.is_same(saved, found):
                    continue
            except Exception as exc:  # user code left something that cannot even be looked at
                found = exc
            if not self._restore(entry, saved, found):
                left.lasting.append(entry.told(saved, found))
            elif not entry.quiet:
                left.restored.append(entry.told(saved, found))
        # Modules that the function imported have set up nothing that is still there.
        self._modules = len(sys.modules)

    def _first(self, entry: Entry) -> Any:
        found = entry.read()
        if not entry.stays and entry.restore is not None and not entry.is_same(found, found):
            entry.restore(found, found)
            found = entry.read()
        return found

    def _restore(self, entry: Entry, saved: Any, found: Any) -> bool:
        if entry.restore is None:
            return False
        try:
            entry.restore(saved, found)
            return entry.is_same(saved, entry.read())
        except Exception:  # the process is replaced then, and the log says for what
            return False
