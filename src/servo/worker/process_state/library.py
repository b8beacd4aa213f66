"""Settings that modules of the standard library keep for the whole process."""

from __future__ import annotations

import _locale
import decimal
import operator
import os
import random
import socket
import warnings
from typing import Any, Final

from servo.worker.process_state.state import Entry, loaded

__all__ = ["ENTRIES"]


def _warnings() -> tuple[Any, ...]:
    return tuple(warnings.filters), warnings.showwarning, warnings.formatwarning


def _set_warnings(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    found_logging = loaded("logging")
    if found_logging is not None and saved[1] is not found_logging._showwarning:
        # It keeps the function that it replaced.
        found_logging.captureWarnings(False)
    # This makes every module forget which warnings it has shown; then come the filters.
    warnings.resetwarnings()
    warnings.filters[:] = saved[0]  # type: ignore[index]  # typeshed promises a sequence only
    warnings.showwarning, warnings.formatwarning = saved[1:]


_DECIMAL_FIELDS: Final = ("prec", "rounding", "Emin", "Emax", "capitals", "clamp")
_default_decimals: Final = operator.attrgetter(*_DECIMAL_FIELDS)


def _set_default_decimals(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    for name, value in zip(_DECIMAL_FIELDS, saved, strict=True):
        setattr(decimal.DefaultContext, name, value)


def _set_timeout(saved: float | None, found: object) -> None:
    socket.setdefaulttimeout(saved)


def _locale_names() -> str:
    return _locale.setlocale(_locale.LC_ALL, None)


def _set_locale(saved: str, found: object) -> None:
    _locale.setlocale(_locale.LC_ALL, saved)


def _field_size() -> int:
    found = loaded("csv")
    return 128 * 1024 if found is None else int(found.field_size_limit())


def _set_field_size(saved: int, found: int) -> None:
    loaded("csv").field_size_limit(saved)


def _start_method() -> Any:
    found = loaded("multiprocessing")
    return None if found is None else found.get_start_method(allow_none=True)


def _set_start_method(saved: Any, found: Any) -> None:
    loaded("multiprocessing").set_start_method(saved, force=True)


def _verifies() -> bool:
    found = loaded("ssl")
    if found is None:
        return True
    return found._create_default_https_context is found.create_default_context


def _set_verifies(saved: bool, found: bool) -> None:
    if not saved:
        raise RuntimeError("how it was replaced is not known")
    module = loaded("ssl")
    module._create_default_https_context = module.create_default_context


def _event_loop() -> tuple[Any, ...]:
    """Return the policy, unless it is the default one, and the loop that was set."""
    # Looked at, not asked for: asking makes one.
    policy = getattr(loaded("asyncio.events"), "_event_loop_policy", None)
    local = getattr(policy, "_local", None)
    loop = getattr(local, "_loop", None)
    was_set = getattr(local, "_set_called", False)
    if loop is None and not was_set and type(policy).__module__ == "asyncio.unix_events":
        policy = None
    return policy, was_set, loop


def _set_event_loop(saved: tuple[Any, ...], found: tuple[Any, ...]) -> None:
    policy, was_set, loop = saved
    # Without one, the next that is needed is made, and it is as in a fresh process.
    loaded("asyncio.events")._event_loop_policy = policy
    if hasattr(policy, "_local"):
        policy._local._set_called, policy._local._loop = was_set, loop


class _Random:
    """The generator behind the functions of `random`, and a shadow that shows whether it was used.

    Both begin with the same seed, so they give the same number as long as nothing else draws one
    or seeds them. That is asked in a tenth of a microsecond; seeding anew takes a hundred times as
    long and is done only then.
    """

    def __init__(self) -> None:
        self._shadow = random.Random()
        self.seed(None, None)

    def is_unused(self) -> bool:
        """Tell whether it gave no number and took no seed since this was asked last."""
        return random.getrandbits(64) == self._shadow.getrandbits(64)

    def seed(self, saved: object, found: object) -> None:
        """Begin anew, with a seed from the operating system."""
        seed = os.urandom(32)
        random.seed(seed)
        self._shadow.seed(seed)


class _NumpyRandom:
    """The same for the functions of `numpy.random`, once that is loaded."""

    def __init__(self) -> None:
        self._shadow: Any = None

    def is_unused(self) -> bool:
        """Tell whether it gave no number and took no seed since this was asked last."""
        module = loaded("numpy.random")
        if module is None:
            return True
        if self._shadow is None:
            return False
        # A tenth of the time that a draw of bytes takes.
        return bool(module.random_sample() == self._shadow.random_sample())

    def seed(self, saved: object, found: object) -> None:
        """Begin anew, with a seed from the operating system."""
        seed = int.from_bytes(os.urandom(4), "little")
        module = loaded("numpy.random")
        module.seed(seed)
        self._shadow = module.RandomState(seed)


_RANDOM: Final = _Random()
_NUMPY: Final = _NumpyRandom()


ENTRIES: Final = (
    # Libraries set up filters when they are imported, and functions import libraries.
    Entry(name="warning filters", read=_warnings, restore=_set_warnings, quiet=True),
    Entry(
        name="default decimal context",
        read=lambda: _default_decimals(decimal.DefaultContext),
        restore=_set_default_decimals,
    ),
    Entry(name="default socket timeout", read=socket.getdefaulttimeout, restore=_set_timeout),
    Entry(name="TLS verification", read=_verifies, restore=_set_verifies),
    Entry(name="locale", read=_locale_names, restore=_set_locale),
    Entry(name="CSV field size limit", read=_field_size, restore=_set_field_size),
    Entry(name="multiprocessing start method", read=_start_method, restore=_set_start_method),
    # Every `asyncio.run` leaves a change.
    Entry(name="event loop", read=_event_loop, restore=_set_event_loop, quiet=True),
    Entry(
        name="random numbers",
        read=_RANDOM.is_unused,
        restore=_RANDOM.seed,
        same=lambda saved, found: found,
        # Every attempt would draw the same numbers, or none of those that the seed promises: which,
        # depended on what ran before it.
        stays=False,
        quiet=True,
    ),
    Entry(
        name="random numbers of NumPy",
        read=_NUMPY.is_unused,
        restore=_NUMPY.seed,
        same=lambda saved, found: found,
        stays=False,
        quiet=True,
    ),
)
