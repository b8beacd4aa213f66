"""What users put between a client and the control plane."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterable
from typing import Any, NoReturn, Protocol, TypeAlias, runtime_checkable

from servo import errors
from servo.client._aio._glue import Iterate, Open, Send, aclosing
from servo.client._call import Call


@runtime_checkable
class AsyncInterceptor(Protocol):
    """Sees every attempt of every call, its answers and its errors.

    Either method may change ``call.metadata`` and ``call.request`` before it proceeds, proceed
    never or several times, and return something else than it was answered.
    """

    async def unary(self, call: Call, proceed: Send) -> Any:
        """Handle an attempt of a call with one answer: ``return await proceed(call)``."""
        ...

    def stream(self, call: Call, proceed: Iterate) -> AsyncIterator[Any]:
        """Handle an attempt of a call with many answers: iterate ``proceed(call)`` and yield."""
        ...


AsyncInterceptorFunction: TypeAlias = Callable[[Call, Any], Awaitable[Any]]
"""The same as a function, ``await proceed(call)``: of a stream it sees the opening only."""


class Users:
    """The interceptors of the user, the first one outermost.

    Args:
        interceptors: Objects with ``unary`` and ``stream``, or functions.

    Raises:
        ConfigurationError: One of them is neither.
    """

    name = "user"

    def __init__(self, interceptors: Iterable[AsyncInterceptor | AsyncInterceptorFunction]) -> None:
        self._steps = [_step(interceptor) for interceptor in interceptors]

    def bind_unary(self, proceed: Send) -> Send:
        """Return what passes a call through all of them and on to ``proceed``."""
        if not self._steps:
            return proceed

        async def innermost(call: Call) -> Any:
            try:
                return await proceed(call)
            except Exception as exc:
                call.passing = exc
                raise

        bound: Send = innermost
        for step in reversed(self._steps):
            bound = step.bind_unary(bound)
        return bound

    def bind_stream(self, proceed: Open) -> Open:
        """Return what passes a stream through all of them and on to ``proceed``."""
        if not self._steps:
            return proceed

        async def watched(call: Call) -> AsyncGenerator[Any, None]:
            try:
                async with aclosing(await proceed(call)) as items:
                    async for item in items:
                        yield item
            except Exception as exc:
                call.passing = exc
                raise

        async def innermost(call: Call) -> AsyncGenerator[Any, None]:
            return watched(call)

        bound: Open = innermost
        for step in reversed(self._steps):
            bound = step.bind_stream(bound)
        return bound


class _Object:
    """An interceptor with two methods."""

    def __init__(self, interceptor: AsyncInterceptor) -> None:
        self._interceptor = interceptor
        self._name = type(interceptor).__qualname__

    def bind_unary(self, proceed: Send) -> Send:
        async def unary(call: Call) -> Any:
            try:
                return await self._interceptor.unary(call, proceed)
            except Exception as exc:
                _raise_named(call, exc, self._name)

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        async def opened(call: Call) -> AsyncGenerator[Any, None]:
            async with aclosing(await proceed(call)) as items:
                async for item in items:
                    yield item

        async def answers(call: Call) -> AsyncGenerator[Any, None]:
            try:
                async with aclosing(_closable(self._interceptor.stream(call, opened))) as items:
                    async for item in items:
                        yield item
            except Exception as exc:
                _raise_named(call, exc, self._name)

        async def stream(call: Call) -> AsyncGenerator[Any, None]:
            return answers(call)

        return stream


class _Function:
    """An interceptor that is a function."""

    def __init__(self, function: AsyncInterceptorFunction) -> None:
        self._function = function
        self._name = getattr(function, "__qualname__", type(function).__qualname__)

    def bind_unary(self, proceed: Send) -> Send:
        async def unary(call: Call) -> Any:
            try:
                return await self._function(call, proceed)
            except Exception as exc:
                _raise_named(call, exc, self._name)

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        unary = self.bind_unary(proceed)

        async def stream(call: Call) -> AsyncGenerator[Any, None]:
            return _closable(await unary(call))

        return stream


async def _closable(items: AsyncIterator[Any]) -> AsyncGenerator[Any, None]:
    try:
        async for item in items:
            yield item
    finally:
        close = getattr(items, "aclose", None)
        if close is not None:
            await close()


def _step(interceptor: AsyncInterceptor | AsyncInterceptorFunction) -> _Object | _Function:
    if isinstance(interceptor, AsyncInterceptor):
        return _Object(interceptor)
    if callable(interceptor):
        return _Function(interceptor)
    raise errors.ConfigurationError(
        f"{interceptor!r} is no interceptor: it needs the methods unary(call, proceed) and "
        f"stream(call, proceed), or must be a function of call and proceed"
    )


def _raise_named(call: Call, exc: Exception, name: str) -> NoReturn:
    """Raise the error of an interceptor with its name; what only passed through, as it is."""
    if exc is call.passing:
        raise exc
    if isinstance(exc, errors.ServoError):
        call.passing = exc.with_context(interceptor=name)
        raise exc
    named = errors.ServoError(
        f"the interceptor {name} raised {type(exc).__name__}: {exc}; the call of "
        f"{call.method.path} was given up",
        code="INTERCEPTOR_FAILED",
        context={"interceptor": name},
    )
    call.passing = named
    raise named from exc
