"""The assets that this process has decorated, by key."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any

from servo._introspect import function_of, location
from servo.types.keys import AssetKey

if TYPE_CHECKING:
    from servo.asset import Asset

__all__ = ["AssetRegistry", "get_registry"]


class AssetRegistry:
    """Assets by key; safe to use from several threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._collecting = False
        self._by_key: dict[AssetKey, Asset[..., Any]] = {}
        self._by_function: dict[Callable[..., Any], Asset[..., Any]] = {}

    def register(self, asset: Asset[..., Any]) -> None:
        """Add an asset.

        What is defined again replaces what was there: a notebook's cell, a module that is
        reloaded. An asset that is made inside a function, such as a test, never stands in the way
        of another one. While a project is collected, each key has one function.

        Raises:
            ValueError: Another function has the same key; the message shows both places.
        """
        with self._lock:
            known = self._by_key.get(asset.key)
            if known is not None:
                before, after = function_of(known.function), function_of(asset.function)
                if not self._collecting and _is_local(after) and not _is_local(before):
                    return  # found by name in its module, the other one is what a worker runs
                if not self._replaces(before, after):
                    raise ValueError(
                        f"Duplicate asset key {str(asset.key)!r}: defined at "
                        f"{location(before)} and at {location(after)}; {_remedy(known, asset)}"
                    )
                self._by_function.pop(known.function, None)
            self._by_key[asset.key] = asset
            self._by_function[asset.function] = asset

    def _replaces(self, before: FunctionType, after: FunctionType) -> bool:
        if self._collecting:
            return _is_same_place(before, after)
        return (
            _is_local(before)
            or _is_same_place(before, after)
            or (
                (before.__module__, before.__qualname__) == (after.__module__, after.__qualname__)
                and not _are_of_one_execution(before, after)
            )
        )

    def get(self, key: AssetKey | str) -> Asset[..., Any] | None:
        """Return the asset with that key, or ``None``.

        Raises:
            ValueError: ``key`` is text that is no key.
        """
        wanted = key if isinstance(key, AssetKey) else AssetKey.parse(key)
        with self._lock:
            return self._by_key.get(wanted)

    def get_by_function(self, function: Callable[..., Any]) -> Asset[..., Any] | None:
        """Return the asset that was made from a function (or is that asset), or ``None``."""
        with self._lock:
            found = self._by_function.get(function)
            if found is None:
                found = self._by_function.get(getattr(function, "function", function))
            return found

    def all(self) -> list[Asset[..., Any]]:
        """Return every asset, sorted by key."""
        with self._lock:
            return [self._by_key[key] for key in sorted(self._by_key)]

    def clear(self) -> None:
        """Forget every asset."""
        with self._lock:
            self._by_key.clear()
            self._by_function.clear()

    @contextmanager
    def collecting(self) -> Iterator[AssetRegistry]:
        """Begin empty, so that what is registered inside the block does not meet older assets.

        Inside the block every key has one function, also one that is made inside a function: a
        project that defines a key twice is refused.

        Yields:
            This registry. Afterwards it also holds the older assets again, except those whose
            key was registered anew.
        """
        with self._lock:
            older = self._by_key, self._by_function, self._collecting
            self._by_key, self._by_function, self._collecting = {}, {}, True
        try:
            yield self
        finally:
            with self._lock:
                kept = {key: one for key, one in older[0].items() if key not in self._by_key}
                self._by_function = {
                    **{one.function: one for one in kept.values()},
                    **self._by_function,
                }
                self._by_key = {**kept, **self._by_key}
                self._collecting = older[2]

    def __len__(self) -> int:
        return len(self._by_key)


_registry = AssetRegistry()


def get_registry() -> AssetRegistry:
    """Return the registry that ``@asset`` fills."""
    return _registry


def _is_local(function: FunctionType) -> bool:
    return "<locals>" in function.__qualname__


def _is_same_place(before: FunctionType, after: FunctionType) -> bool:
    # Executing a module again makes new code objects at the same places; a loop, or decorating
    # one function twice, uses the same code object again.
    return (
        location(before) == location(after)
        and before.__qualname__ == after.__qualname__
        and before.__code__ is not after.__code__
    )


def _are_of_one_execution(before: FunctionType, after: FunctionType) -> bool:
    """Tell whether the module that is being executed holds the code of both functions.

    If so, one file defines a name twice, by mistake. If not, the file was edited and reloaded, or
    they are two versions of a notebook's cell; each cell is a module of its own to the compiler.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_name == "<module>" and frame.f_globals is after.__globals__:
            return _holds(frame.f_code, before.__code__)
        frame = frame.f_back
    return False


def _holds(outer: CodeType, wanted: CodeType) -> bool:
    waiting = [outer]
    while waiting:
        for constant in waiting.pop().co_consts:
            if constant is wanted:
                return True
            if isinstance(constant, CodeType):
                waiting.append(constant)
    return False


def _remedy(known: Asset[..., Any], new: Asset[..., Any]) -> str:
    modules = (known.__module__, new.__module__)
    if len(set(modules)) == 2 and not all("namespace" in one.given for one in (known, new)):
        above = new.__module__.split(".")
        below = above[above.index("assets") + 1 :] if "assets" in above else above
        return (
            f"a namespace that is not given is the last part of the module, and {modules[0]!r} and "
            f"{modules[1]!r} end alike; give one of them another, such as "
            f"@asset(namespace={'_'.join(below)!r})"
        )
    notebook = "; servo.get_registry().clear() forgets what earlier cells have defined"
    return "rename one of the functions, or give it name= or namespace=" + (
        notebook if new.__module__ == "__main__" else ""
    )
