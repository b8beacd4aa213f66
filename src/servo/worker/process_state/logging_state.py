"""The setup of `logging`: handlers, levels, filters and switches of all loggers."""

from __future__ import annotations

import logging
from typing import Any, Final

from servo.worker.process_state.state import Entry, list_names

__all__ = ["ENTRIES"]

_PRISTINE: Final = (logging.NOTSET, False, True, (), ())


class _Loggers:
    """The loggers of the process, and which of them are not as `logging.getLogger` makes them."""

    def __init__(self) -> None:
        # Looked through again only when there are others: large libraries have hundreds.
        self._known: list[Any] = []
        self._named: list[tuple[str, logging.Logger]] = []

    def changed(self) -> dict[str, tuple[Any, ...]]:
        """Return what is set for each of them that was changed."""
        now = list(logging.Logger.manager.loggerDict.values())
        if now != self._known:
            named = list(logging.Logger.manager.loggerDict.items())
            self._known = [one for _, one in named]
            self._named = [(name, one) for name, one in named if isinstance(one, logging.Logger)]
        return {
            name: (
                one.level, one.disabled, one.propagate, tuple(one.handlers), tuple(one.filters)
            )
            for name, one in self._named
            if one.level or one.disabled or not one.propagate or one.handlers or one.filters
        }  # fmt: skip


_LOGGERS: Final = _Loggers()


def _setup() -> tuple[Any, ...]:
    root = logging.getLogger()
    return (
        _LOGGERS.changed(), root.level, root.disabled, tuple(root.handlers), tuple(root.filters),
        [(one.level, one.formatter, tuple(one.filters)) for one in root.handlers],
        root.manager.disable, logging.getLoggerClass(), logging.getLogRecordFactory(),
        logging.lastResort, logging.raiseExceptions,
    )  # fmt: skip


def _restore(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    root = logging.getLogger()
    loggers, level, root.disabled, handlers, filters, details, disable, *rest = saved
    kept = [*handlers, *(one for state in loggers.values() for one in state[3])]
    # Handlers of Servo work on; a file that was closed may be one that others write to by now.
    if any(getattr(one, "_closed", False) and not _is_servos(one) for one in kept):
        raise RuntimeError("a handler was closed")
    for name in loggers.keys() | found[0].keys():
        logger = logging.getLogger(name)
        state = loggers.get(name, _PRISTINE)
        logger.level, logger.disabled, logger.propagate = state[:3]
        logger.handlers[:], logger.filters[:] = state[3:]
    root.handlers[:], root.filters[:] = handlers, filters
    for handler, (own_level, formatter, own_filters) in zip(handlers, details, strict=True):
        handler.level, handler.formatter = own_level, formatter
        handler.filters[:] = own_filters
    logging.setLoggerClass(rest[0])
    logging.setLogRecordFactory(rest[1])
    logging.lastResort, logging.raiseExceptions = rest[2:]
    logging.disable(disable)
    # Also makes every logger forget which levels it lets through.
    root.setLevel(level)


def _is_servos(handler: logging.Handler) -> bool:
    return type(handler).__module__.startswith("servo.")


def _changed(saved: tuple[Any, ...], found: tuple[Any, ...]) -> str:
    names = [
        name
        for name in saved[0].keys() | found[0].keys()
        if saved[0].get(name) != found[0].get(name)
    ]
    return list_names(names if saved[1:] == found[1:] else [*names, "root"])


ENTRIES: Final = (Entry(name="logging", read=_setup, restore=_restore, describe=_changed),)
