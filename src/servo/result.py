"""``Ok`` and ``Err``: a failure that is data, for callers that expect it.

Raise where the caller cannot go on; return a ``Result`` where failing is one of the answers::

    match load(path):
        case Ok(value):
            use(value)
        case Err(error):
            report(error)

`Result` is a monad: ``map`` and ``flat_map`` go on with a value and leave an error as it is, and
neither catches what its function raises. `attempt` is the one door from exceptions to results,
``unwrap`` the one back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import CoroutineType
from typing import Any, Generic, Literal, NoReturn, TypeAlias, TypeVar, overload

__all__ = ["Err", "Ok", "Result", "attempt", "collect"]

T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
T = TypeVar("T")
E = TypeVar("E")
U = TypeVar("U")
D = TypeVar("D")
X = TypeVar("X", bound=Exception)


@dataclass(frozen=True, slots=True)
class Ok(Generic[T_co]):
    """Success.

    Attributes:
        value: What the operation produced.
    """

    value: T_co

    def is_ok(self) -> Literal[True]:
        """Tell success from failure."""
        return True

    def is_err(self) -> Literal[False]:
        """Tell failure from success."""
        return False

    def map(self, function: Callable[[T_co], U]) -> Ok[U]:
        """Apply ``function`` to the value; what it raises passes through."""
        return Ok(function(self.value))

    def flat_map(self, function: Callable[[T_co], Result[U, D]]) -> Result[U, D]:
        """Go on with ``function``, which may fail; what it raises passes through."""
        return function(self.value)

    def map_err(self, function: Callable[[D], U]) -> Ok[T_co]:
        """Leave a success as it is."""
        return self

    def or_else(self, function: Callable[[D], Result[U, E]]) -> Ok[T_co]:
        """Leave a success as it is."""
        return self

    def match(self, *, ok: Callable[[T_co], U], err: Callable[[D], U]) -> U:
        """Return what ``ok`` makes of the value."""
        return ok(self.value)

    def unwrap(self) -> T_co:
        """Return the value."""
        return self.value

    def unwrap_or(self, default: object) -> T_co:
        """Return the value; the default is for failures."""
        return self.value


@dataclass(frozen=True, slots=True)
class Err(Generic[E_co]):
    """Failure.

    Attributes:
        error: What went wrong, usually an exception.
    """

    error: E_co

    def is_ok(self) -> Literal[False]:
        """Tell success from failure."""
        return False

    def is_err(self) -> Literal[True]:
        """Tell failure from success."""
        return True

    def map(self, function: Callable[[D], U]) -> Err[E_co]:
        """Leave a failure as it is."""
        return self

    def flat_map(self, function: Callable[[D], Result[U, E]]) -> Err[E_co]:
        """Leave a failure as it is."""
        return self

    def map_err(self, function: Callable[[E_co], U]) -> Err[U]:
        """Apply ``function`` to the error; what it raises passes through."""
        return Err(function(self.error))

    def or_else(self, function: Callable[[E_co], Result[U, D]]) -> Result[U, D]:
        """Ask ``function`` for another answer, which may fail as well."""
        return function(self.error)

    def match(self, *, ok: Callable[[D], U], err: Callable[[E_co], U]) -> U:
        """Return what ``err`` makes of the error."""
        return err(self.error)

    def unwrap(self) -> NoReturn:
        """Raise the error itself if it is an exception.

        Raises:
            ValueError: The error is no exception; the message shows it.
        """
        if isinstance(self.error, BaseException):
            raise self.error
        raise ValueError(f"called unwrap() on Err({self.error!r}); check is_ok() first")

    def unwrap_or(self, default: D) -> D:
        """Return the default."""
        return default


Result: TypeAlias = Ok[T_co] | Err[E_co]
"""Either ``Ok`` with a value or ``Err`` with an error."""


@overload
def attempt(function: Callable[[], T]) -> Result[T, Exception]: ...
@overload
def attempt(function: Callable[[], T], *, catch: type[X] | tuple[type[X], ...]) -> Result[T, X]: ...
def attempt(
    function: Callable[[], T], *, catch: type[Any] | tuple[type[Any], ...] = Exception
) -> Result[T, Any]:
    """Call ``function`` and return what it returns or raises.

    Args:
        function: Called without arguments; give it some with a ``lambda``.
        catch: The exceptions that become an `Err`. Anything else passes through, and so do
            ``KeyboardInterrupt`` and ``SystemExit`` always.

    Raises:
        TypeError: ``function`` is a coroutine function: its call never fails, so nothing would
            be caught.
    """
    try:
        value = function()
    except catch as error:
        return Err(error)
    if isinstance(value, CoroutineType):
        value.close()
        raise TypeError(
            f"attempt() got the coroutine {value.__qualname__!r}, which has not run yet; await it "
            f"first, or write try/except around the await"
        )
    return Ok(value)


def collect(results: Iterable[Result[T, E]]) -> Result[tuple[T, ...], E]:
    """Turn many results into one: all the values in order, or the first error.

    Args:
        results: Read only up to the first error.
    """
    values: list[T] = []
    for result in results:
        match result:
            case Ok(value):
                values.append(value)
            case Err():
                return result
    return Ok(tuple(values))
