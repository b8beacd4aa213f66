# Generated from src/servo/client/_aio/_interceptors.py by scripts/_unasync.py; edit that instead.
"""What users put between a client and the control plane."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any, NoReturn, Protocol, TypeAlias, runtime_checkable

from servo import errors
from servo.client._call import Call
from servo.client._sync._glue import Iterate, Open, Send, closing


@runtime_checkable
class Interceptor(Protocol):
    """Sees every attempt of every call, its answers and its errors.

    Either method may change ``call.metadata`` and ``call.request`` before it proceeds, proceed
    never or several times, and return something else than it was answered.
    """

    def unary(self, call: Call, proceed: Send) -> Any:
        """Handle an attempt of a call with one answer: ``return proceed(call)``."""
        ...

    def stream(self, call: Call, proceed: Iterate) -> Iterator[Any]:
        """Handle an attempt of a call with many answers: iterate ``proceed(call)`` and yield."""
        ...


InterceptorFunction: TypeAlias = Callable[[Call, Any], Any]
"""The same as a function, ``proceed(call)``: of a stream it sees the opening only."""


class Users:
    """The interceptors of the user, the first one outermost.

    Args:
        interceptors: Objects with ``unary`` and ``stream``, or functions.

    Raises:
        ConfigurationError: One of them is neither.
    """

    name = "user"

    def __init__(self, interceptors: Iterable[Interceptor | InterceptorFunction]) -> None:
        self._steps = [_step(interceptor) for interceptor in interceptors]

    def bind_unary(self, proceed: Send) -> Send:
        """Return what passes a call through all of them and on to ``proceed``."""
        if not self._steps:
            return proceed

        def innermost(call: Call) -> Any:
            try:
                return proceed(call)
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

        def watched(call: Call) -> Generator[Any, None, None]:
            try:
                with closing(proceed(call)) as items:
                    yield from items
            except Exception as exc:
                call.passing = exc
                raise

        def innermost(call: Call) -> Generator[Any, None, None]:
            return watched(call)

        bound: Open = innermost
        for step in reversed(self._steps):
            bound = step.bind_stream(bound)
        return bound


class _Object:
    """An interceptor with two methods."""

    def __init__(self, interceptor: Interceptor) -> None:
        self._interceptor = interceptor
        self._name = type(interceptor).__qualname__

    def bind_unary(self, proceed: Send) -> Send:
        def unary(call: Call) -> Any:
            try:
                return self._interceptor.unary(call, proceed)
            except Exception as exc:
                _raise_named(call, exc, self._name)

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        def opened(call: Call) -> Generator[Any, None, None]:
            with closing(proceed(call)) as items:
                yield from items

        def answers(call: Call) -> Generator[Any, None, None]:
            try:
                with closing(_closable(self._interceptor.stream(call, opened))) as items:
                    yield from items
            except Exception as exc:
                _raise_named(call, exc, self._name)

        def stream(call: Call) -> Generator[Any, None, None]:
            return answers(call)

        return stream


class _Function:
    """An interceptor that is a function."""

    def __init__(self, function: InterceptorFunction) -> None:
        self._function = function
        self._name = getattr(function, "__qualname__", type(function).__qualname__)

    def bind_unary(self, proceed: Send) -> Send:
        def unary(call: Call) -> Any:
            try:
                return self._function(call, proceed)
            except Exception as exc:
                _raise_named(call, exc, self._name)

        return unary

    def bind_stream(self, proceed: Open) -> Open:
        unary = self.bind_unary(proceed)

        def stream(call: Call) -> Generator[Any, None, None]:
            return _closable(unary(call))

        return stream


def _closable(items: Iterator[Any]) -> Generator[Any, None, None]:
    try:
        yield from items
    finally:
        close = getattr(items, "close", None)
        if close is not None:
            close()


def _step(interceptor: Interceptor | InterceptorFunction) -> _Object | _Function:
    if isinstance(interceptor, Interceptor):
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
