"""The state of a process that an attempt may change: how to read it and how to put it back.

All of it is read after each attempt, so an entry costs about 1 us (``benchmarks/state.py``).
Modules that are not loaded are not loaded for it: what they would hold is at its default. Private
names of the standard library are used where the public ones take a multiple of the time.
"""

from __future__ import annotations

from typing import Final

from servo.worker.process_state import (
    files,
    interpreter,
    library,
    limits,
    logging_state,
    running,
    signals,
)

__all__ = ["ENTRIES"]

ENTRIES: Final = (
    *signals.ENTRIES,
    # Little memory or few descriptors would hinder what comes after them.
    *limits.ENTRIES,
    *files.ENTRIES,
    *interpreter.ENTRIES,
    *library.ENTRIES,
    *logging_state.ENTRIES,
    *running.ENTRIES,
)
"""In the order in which it is put back; docs/howto/process-state.md lists them."""
