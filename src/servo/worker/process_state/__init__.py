"""The state of a runner's process, which no attempt hands on to the next one."""

from servo.worker.process_state.entries import ENTRIES
from servo.worker.process_state.state import Entry, Leftovers, ProcessState

__all__ = ["ENTRIES", "Entry", "Leftovers", "ProcessState"]
