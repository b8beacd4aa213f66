"""Signals: timers that send them, functions that handle them, and what is blocked."""

from __future__ import annotations

import importlib
import signal
from typing import Any, Final

from servo.worker.process_state.state import Entry, list_names, loaded

__all__ = ["ENTRIES"]

_TIMERS: Final = (
    (signal.ITIMER_REAL, "SIGALRM"),
    (signal.ITIMER_VIRTUAL, "SIGVTALRM"),
    (signal.ITIMER_PROF, "SIGPROF"),
)
_TIMER_NUMBERS: Final = tuple(number for number, _ in _TIMERS)
_NEVER: Final = (0.0, 0.0)
_BLOCK: Final = int(signal.SIG_BLOCK)
# Without the real-time signals, which are only sent to processes that ask for them.
_SIGNALS: Final = [int(one) for one in sorted(signal.valid_signals()) if one < 32]
# `signal` makes each handler and number a member of an enumeration, in up to twenty times the time.
try:
    _quick = importlib.import_module("_signal")
except ImportError:
    _quick = signal
_handler_of = _quick.getsignal
_mask = _quick.pthread_sigmask


Times = list[tuple[float, float]]


def _timers() -> Times:
    return list(map(signal.getitimer, _TIMER_NUMBERS))


def _started_timers(saved: Times, found: Times) -> list[tuple[int, str]]:
    states = zip(_TIMERS, saved, found, strict=True)
    return [timer for timer, before, now in states if now != _NEVER and before == _NEVER]


def _cancel_timers(saved: Times, found: Times) -> None:
    for timer, _ in _started_timers(saved, found):
        signal.setitimer(timer, 0)


def _handlers() -> list[Any]:
    return list(map(_handler_of, _SIGNALS))


def _changed_handlers(saved: list[Any], found: list[Any]) -> list[tuple[int, Any]]:
    both = zip(_SIGNALS, saved, found, strict=True)
    return [(number, before) for number, before, now in both if before != now]


def _set_handlers(saved: list[Any], found: list[Any]) -> None:
    for number, handler in _changed_handlers(saved, found):
        signal.signal(number, handler)


def _signal_name(number: int) -> str:
    return signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"


def _blocked() -> set[int]:
    return set(_mask(_BLOCK, ()))


def _set_blocked(saved: set[int], found: set[int]) -> None:
    if pending := signal.sigpending() & (found - saved):
        raise RuntimeError(f"signals would be delivered: {pending}")
    signal.pthread_sigmask(signal.SIG_SETMASK, saved)


def _wakeup() -> int:
    descriptor = signal.set_wakeup_fd(-1)
    if descriptor != -1:
        signal.set_wakeup_fd(descriptor)
    return descriptor


def _set_wakeup(saved: int, found: int) -> None:
    signal.set_wakeup_fd(saved)


def _fault_handler() -> bool:
    found = loaded("faulthandler")
    if found is None:
        return False
    # Whether one is running cannot be asked; it would write into, or end, a later attempt.
    found.cancel_dump_traceback_later()
    return bool(found.is_enabled())


def _set_fault_handler(saved: bool, found: bool) -> None:
    import faulthandler

    if saved:
        faulthandler.enable()
    else:
        faulthandler.disable()


ENTRIES: Final = (
    # First, because they interrupt what comes after them.
    Entry(
        name="timers",
        read=_timers,
        restore=_cancel_timers,
        # One that runs shows another time each time.
        same=lambda saved, found: saved == found or not _started_timers(saved, found),
        describe=lambda saved, found: (
            f"{list_names([name for _, name in _started_timers(saved, found)])} canceled"
        ),
    ),
    Entry(
        name="signal handlers",
        read=_handlers,
        restore=_set_handlers,
        describe=lambda saved, found: list_names(
            [_signal_name(number) for number, _ in _changed_handlers(saved, found)]
        ),
    ),
    Entry(
        name="blocked signals",
        read=_blocked,
        restore=_set_blocked,
        describe=lambda saved, found: list_names([_signal_name(one) for one in saved ^ found]),
    ),
    Entry(name="wakeup descriptor", read=_wakeup, restore=_set_wakeup),
    Entry(name="fault handler", read=_fault_handler, restore=_set_fault_handler),
)
