"""Identifiers: ULIDs, 26 characters of Crockford base32 that sort in minting order.

Each kind of thing has its own ``str`` subclass, so that a type checker tells a run's id from
a task's. An id is validated and made upper case when it is constructed.
"""

from __future__ import annotations

import os
import re
import threading
import time
from typing import Final, Self

__all__ = [
    "AssetId",
    "BackfillId",
    "DeploymentId",
    "EventId",
    "MaterializationId",
    "RunId",
    "TaskId",
    "Ulid",
    "WorkerId",
]

_ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_is_ulid = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.ASCII | re.IGNORECASE).fullmatch

# Ten bits at a time: half the look-ups of the textbook encoder.
_PAIRS: Final = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_MILLISECOND_BYTES: Final = 6
_RANDOM_BYTES: Final = 10


class _Mint:
    """Counts upwards from a fresh ULID in each millisecond, whatever the clock does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0
        self._last_millisecond = 0

    def next(self) -> int:
        """Return the next ULID as a 128-bit integer."""
        with self._lock:
            now = time.time_ns() // 1_000_000
            if now > self._last_millisecond:
                from ulid import ULID

                # The library's own generator would count on from its parent after a fork.
                fresh = now.to_bytes(_MILLISECOND_BYTES, "big") + os.urandom(_RANDOM_BYTES)
                self._last = int(ULID.from_bytes(fresh))
                self._last_millisecond = now
            else:
                self._last += 1
            return self._last

    def restart(self) -> None:
        """Forget the counter: a forked child must not go on counting like its parent."""
        self._lock = threading.Lock()
        self._last = self._last_millisecond = 0


_mint = _Mint()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_mint.restart)


def _encode(value: int) -> str:
    pairs = _PAIRS
    high, low = value >> 70, value & ((1 << 70) - 1)
    return (
        pairs[high >> 50]
        + pairs[(high >> 40) & 1023]
        + pairs[(high >> 30) & 1023]
        + pairs[(high >> 20) & 1023]
        + pairs[(high >> 10) & 1023]
        + pairs[high & 1023]
        + pairs[low >> 60]
        + pairs[(low >> 50) & 1023]
        + pairs[(low >> 40) & 1023]
        + pairs[(low >> 30) & 1023]
        + pairs[(low >> 20) & 1023]
        + pairs[(low >> 10) & 1023]
        + pairs[low & 1023]
    )


class Ulid(str):
    """A ULID: 48 bits of milliseconds since 1970, then 80 bits of chance.

    Args:
        text: 26 characters; lower case is accepted and made upper case.

    Raises:
        TypeError: ``text`` is no string.
        ValueError: ``text`` is no ULID.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Self:
        """Validate ``text`` and make it upper case."""
        if not isinstance(text, str):
            raise TypeError(f"a {cls.__name__} is made from a string, got {text!r}")
        if _is_ulid(text) is None:
            raise ValueError(
                f"Invalid ULID {str(text)!r} for {cls.__name__}: expected 26 characters of "
                f"0-9 A-Z without I L O U, the first one 0-7"
            )
        return str.__new__(cls, text.upper())

    @classmethod
    def generate(cls) -> Self:
        """Mint a new id that sorts after every other one minted by this process."""
        return str.__new__(cls, _encode(_mint.next()))

    @classmethod
    def validate(cls, text: str) -> Self:
        """Return ``text`` as an id of this kind; the same as calling the class.

        Raises:
            ValueError: ``text`` is no ULID.
        """
        return cls(text)

    @property
    def milliseconds(self) -> int:
        """When the id was minted, in milliseconds since 1970-01-01 UTC."""
        value = 0
        for character in self[:10]:
            value = value << 5 | _ALPHABET.index(character)
        return value

    def __repr__(self) -> str:
        return f"{type(self).__name__}({str.__repr__(self)})"

    def __str__(self) -> str:
        return str.__str__(self)


class AssetId(Ulid):
    """Identifies an asset for as long as it lives, whatever it is called."""

    __slots__ = ()


class RunId(Ulid):
    """Identifies one run of a plan."""

    __slots__ = ()


class TaskId(Ulid):
    """Identifies one asset and partition within a run."""

    __slots__ = ()


class MaterializationId(Ulid):
    """Identifies one published version of an asset's partition."""

    __slots__ = ()


class DeploymentId(Ulid):
    """Identifies one deployed manifest."""

    __slots__ = ()


class BackfillId(Ulid):
    """Identifies one backfill: many runs that belong together."""

    __slots__ = ()


class EventId(Ulid):
    """Identifies one state change in a workspace's event log."""

    __slots__ = ()


class WorkerId(Ulid):
    """Identifies one worker process for as long as it is connected."""

    __slots__ = ()
