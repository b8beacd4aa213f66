"""A check sum at the end of each stored record, so that a bit that has flipped is noticed.

It is a field of the message whose number the contract does not use: whatever reads the record, an
older version as well, passes over it. See ``docs/adr/0020-sealed-records.md``.
"""

from __future__ import annotations

from typing import Final
from zlib import crc32

FIELD: Final = 2047
"""The number of the field; the contract stays below it."""

_TAG: Final = bytes([(FIELD << 3 & 0x7F) | 5 | 0x80, FIELD << 3 >> 7])
"""The field's number and kind (fixed32), as a record has them."""
_DIGITS: Final = 4
SIZE: Final = len(_TAG) + _DIGITS


def sealed(record: bytes) -> bytes:
    """Return a record with its check sum."""
    return record + _TAG + crc32(record).to_bytes(_DIGITS, "little")


def is_intact(record: bytes) -> bool | None:
    """Tell whether a record is as it was written; `None` where it has no check sum."""
    body, tag = record[:-SIZE], record[-SIZE:-_DIGITS]
    if tag != _TAG:
        return None
    return crc32(body) == int.from_bytes(record[-_DIGITS:], "little")
