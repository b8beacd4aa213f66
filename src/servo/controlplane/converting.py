"""Decoding requests and encoding responses without holding the event loop.

What is small is converted where it arrives, since a change of threads costs as much as a small
message. What is larger goes to a thread, whose Python code gives the interpreter back every few
milliseconds; how much one request may hold is limited in `servo._wire`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

from servo import _wire
from servo.controlplane.fair_threads import FairThreads

_T = TypeVar("_T")

SMALL_BYTES: Final = 8 * 1024
"""The largest message that is decoded in the event loop; one made of nothing but parts takes
about 20 ms there."""
_SMALL_PARTS: Final = 300
"""The heaviest response that is encoded in the event loop."""


class Converter:
    """Threads for the conversions of all tenants.

    A tenant has one at a time: a worker's messages stay in order, and wait for nothing but other
    conversions, each of which is bounded.
    """

    def __init__(self) -> None:
        self._threads = FairThreads("servo-convert", threads=2, per_tenant=1, waiting=1_000)

    async def decode(self, tenant_id: str, decode: Callable[[bytes], _T], data: bytes) -> _T:
        """Decode a request.

        Args:
            tenant_id: Whose request it is.
            decode: Decodes it.
            data: The bytes.

        Raises:
            servo.errors.InvalidArgumentError: It is malformed, or there is too much in it.
            servo.errors.RateLimitedError: Too many large requests of the tenant wait.
        """
        if len(data) <= SMALL_BYTES:
            return decode(data)
        return await self._threads.run(tenant_id, decode, data)

    async def encode(self, tenant_id: str, encode: Callable[[_T], bytes], response: _T) -> bytes:
        """Encode a response.

        Args:
            tenant_id: Whose response it is.
            encode: Encodes it.
            response: The response.

        Raises:
            servo.errors.RateLimitedError: Too many large responses of the tenant wait.
        """
        if not _wire.is_heavier_than(response, _SMALL_PARTS):
            return encode(response)
        return await self._threads.run(tenant_id, encode, response)
