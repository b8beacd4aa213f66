# Generated from src/servo/client/_aio/_stream.py by scripts/_unasync.py; edit that instead.
"""Answers that arrive one after another."""

from __future__ import annotations

from collections.abc import Generator
from types import TracebackType
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Stream(Generic[T]):
    """An iterator that ends its call when it is closed.

    Iterating it to its end closes it; whoever leaves earlier closes it, or uses it in an
    ``with`` statement.

    Args:
        items: What is iterated.
    """

    def __init__(self, items: Generator[T, None, None]) -> None:
        self._items = items

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._items.__next__()

    def close(self) -> None:
        """End the call; nothing more arrives."""
        self._items.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()
