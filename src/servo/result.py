"""``Ok`` and ``Err``: a failure that is data, for callers that expect it.

Raise where the caller cannot go on; return a ``Result`` where failing is one of the answers::

    match load(path):
        case Ok(value):
            use(value)
        case Err(error):
            report(error)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Literal, NoReturn, TypeAlias, TypeVar

__all__ = ["Err", "Ok", "Result"]

T_co = TypeVar("T_co", covariant=True)
E_co = TypeVar("E_co", covariant=True)
U = TypeVar("U")
D = TypeVar("D")


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

    def map_err(self, function: Callable[[D], U]) -> Ok[T_co]:
        """Leave a success as it is."""
        return self

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

    def map_err(self, function: Callable[[E_co], U]) -> Err[U]:
        """Apply ``function`` to the error; what it raises passes through."""
        return Err(function(self.error))

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
