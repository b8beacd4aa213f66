"""Frames between a worker and the processes that run user code: a length, then that many bytes.

Each frame is one encoded message of the worker's session with the control plane, so both hops
speak the same language. Nothing here does I/O.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

__all__ = ["MAX_FRAME_BYTES", "FrameParser", "pack"]

_HEADER: Final = struct.Struct(">I")

MAX_FRAME_BYTES: Final = 256 * 1024 * 1024
"""A longer frame can only mean that somebody else wrote into the channel."""


def pack(payload: bytes) -> bytes:
    """Return a payload as a frame."""
    return _HEADER.pack(len(payload)) + payload


class FrameParser:
    """Cuts a stream of bytes into payloads."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """Take the next bytes, in pieces of any size, and give the payloads that are complete.

        Raises:
            ValueError: The stream is damaged.
        """
        buffer = self._buffer
        buffer += data
        start = 0
        end = len(buffer)
        while end - start >= _HEADER.size:
            (length,) = _HEADER.unpack_from(buffer, start)
            if length > MAX_FRAME_BYTES:
                raise ValueError(f"a frame of {length} bytes: the channel is damaged")
            following = start + _HEADER.size + length
            if following > end:
                break
            yield bytes(memoryview(buffer)[start + _HEADER.size : following])
            start = following
        del buffer[:start]
