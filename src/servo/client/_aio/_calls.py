"""One way to call every RPC."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, Final, Protocol, TypeVar

from servo import errors
from servo._wire import Method
from servo.client._aio._glue import Open, Send, aclosing, sleep
from servo.client._aio._steps import Step
from servo.client._call import Call
from servo.client._metadata import Metadata
from servo.client._options import UNSET, Limits, Timeout
from servo.client._tracing import given_trace
from servo.client.transport import Address

Request = TypeVar("Request")
Response = TypeVar("Response")
T = TypeVar("T")

NO_TASKS: Final = -1
"""The page size that asks for a run alone."""
REOPEN_PAUSE: Final = 0.2
"""Seconds before a stream is opened again that the server has closed before its end."""
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 2.0
_SURELY_CONNECTED: Final = 10.0
"""A stream that lived this long was not just trying to connect, even if it said nothing."""


class Transport(Protocol):
    """Makes attempts."""

    async def unary(self, call: Call) -> Any:
        """Make one attempt of a call with one answer."""
        ...

    async def stream(self, call: Call) -> AsyncGenerator[Any, None]:
        """Make one attempt of a call with many answers."""
        ...

    async def close(self) -> None:
        """Let go of the connection."""
        ...


class Calls:
    """Calls the RPCs of one control plane as one caller; may be used by several threads.

    Args:
        transport: What makes attempts.
        steps: The interceptors, outermost first.
        url: The address as it was given.
        address: The same, parsed.
        metadata: What the caller wants every call to carry.
        limits: How long calls may take.
        clock: Seconds, monotonic.
    """

    def __init__(
        self,
        transport: Transport,
        steps: Iterable[Step],
        *,
        url: str,
        address: Address,
        metadata: Metadata,
        limits: Limits,
        clock: Callable[[], float],
    ) -> None:
        self._url = url
        self._address = address
        self._metadata = metadata
        self._trace = given_trace(metadata)
        self._limits = limits
        self._clock = clock
        unary: Send = transport.unary
        stream: Open = transport.stream
        self.steps = tuple(steps)
        for step in reversed(self.steps):
            unary = step.bind_unary(unary)
            stream = step.bind_stream(stream)
        self._unary = unary
        self._stream = stream

    @property
    def patience(self) -> float:
        """Seconds for which a stream is opened again while there is no answer."""
        return self._limits.patience

    async def unary(
        self,
        method: Method[Request, Response],
        request: Request,
        *,
        timeout: Timeout = UNSET,
        at_least: float = 0.0,
        sends_once: bool = False,
    ) -> Response:
        """Call an RPC with one answer.

        Args:
            method: Row of the method table.
            request: What to send.
            timeout: Seconds that the call may take; the shorter of this and the client's counts.
            at_least: Seconds that it is given where nobody asked for a limit.
            sends_once: Whether the caller repeats it, so that nothing else must.

        Raises:
            InvalidArgumentError: The request cannot be sent, or the answer not be read.
            ServoError: What the server answered instead, or that it did not.
        """
        call = self._call(method, request, self._limits.seconds(timeout, at_least), sends_once)
        answer: Response = await self._unary(call)
        return answer

    async def stream(
        self, method: Method[Request, Response], request: Request, *, sends_once: bool = False
    ) -> AsyncGenerator[Response, None]:
        """Call an RPC with any number of answers; leaving the iteration ends the call.

        Args:
            method: Row of the method table.
            request: What to send.
            sends_once: Whether the caller repeats it, so that nothing else must.

        Raises:
            InvalidArgumentError: The request cannot be sent, or an answer not be read.
            ServoError: What the server answered instead, or that the connection broke.
        """
        # How long a stream lasts is not known; a limit would be one on what is followed.
        call = self._call(method, request, None, sends_once)
        async with aclosing(await self._stream(call)) as answers:
            async for answer in answers:
                yield answer

    async def exchange(
        self,
        method: Method[Request, Response],
        requests: AsyncIterator[Request],
        *,
        opening: float | None = None,
        sends_once: bool = False,
    ) -> AsyncGenerator[Response, None]:
        """Call an RPC with any number of requests and answers, both at the same time.

        Leaving the iteration ends the call. An error of the requests ends it as well and is raised
        where the answers are read.

        Args:
            method: Row of the method table.
            requests: What to send, taken as it can be sent; closed with the call.
            opening: Seconds that the first answer may take, all attempts together; ``None`` for no
                limit. Nothing bounds how long the call lasts after it.
            sends_once: Whether the caller repeats it, so that nothing else must.

        Raises:
            ConfigurationError: The address is one for HTTP.
            InvalidArgumentError: A request cannot be sent, or an answer not be read.
            ServoError: What the server answered instead, or that the connection broke.
        """
        call = self._call(method, requests, opening, sends_once)
        async with aclosing(await self._stream(call)) as answers:
            async for answer in answers:
                yield answer

    def _call(
        self, method: Method[Any, Any], request: Any, timeout: float | None, sends_once: bool
    ) -> Call:
        clock = self._clock
        return Call(
            method=method,
            request=request,
            metadata=Metadata(self._metadata),
            address=self._address,
            url=self._url,
            timeout=timeout,
            ends_at=None if timeout is None else clock() + timeout,
            clock=clock,
            sends_once=sends_once,
            given_trace=self._trace,
        )


async def pages(
    read: Callable[[str], Awaitable[T]], token_of: Callable[[T], str]
) -> AsyncIterator[T]:
    """Read page after page.

    Args:
        read: Reads the page that a token names; the empty one names the first.
        token_of: Finds the token of the next page; empty at the end.
    """
    token = ""
    while True:
        page = await read(token)
        yield page
        token = token_of(page)
        if not token:
            return


async def resumed(
    open_stream: Callable[[], AsyncGenerator[T, None]], *, patience: float
) -> AsyncGenerator[T, None]:
    """Read a stream, opening it again where the connection breaks.

    Args:
        open_stream: Opens the stream where it was left.
        patience: Seconds without an answer after which to give up.

    Raises:
        UnavailableError: The control plane could not be reached for that long.
    """
    pause = _FIRST_PAUSE
    broken_since: float | None = None
    while True:
        opened_at = time.monotonic()
        try:
            async with aclosing(open_stream()) as items:
                async for item in items:
                    broken_since = None
                    yield item
            return
        except errors.UnavailableError as exc:
            now = time.monotonic()
            if broken_since is None or now - opened_at > max(patience, _SURELY_CONNECTED):
                broken_since, pause = now, _FIRST_PAUSE
            wait = max(pause * random.uniform(0.5, 1.0), exc.retry_after or 0.0)
            if now + max(pause, wait) - broken_since > patience:
                raise
        # Jitter: those who watch a control plane that was restarted do not come back together.
        await sleep(wait)
        pause = min(pause * 2, _LONGEST_PAUSE)
