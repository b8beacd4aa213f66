"""The assets that this process has decorated, by key."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        self._by_key: dict[AssetKey, Asset[..., Any]] = {}
        self._by_function: dict[Callable[..., Any], Asset[..., Any]] = {}

    def register(self, asset: Asset[..., Any]) -> None:
        """Add an asset.

        A module that is executed again, as by ``importlib.reload``, replaces its own assets.

        Raises:
            ValueError: Another function has the same key; the message shows both places.
        """
        with self._lock:
            known = self._by_key.get(asset.key)
            if known is not None:
                if not _is_reload(known, asset):
                    raise ValueError(
                        f"Duplicate asset key {str(asset.key)!r}: defined at "
                        f"{location(function_of(known.function))} and at "
                        f"{location(function_of(asset.function))}; rename one of the functions, "
                        f"or give it name= or namespace="
                    )
                self._by_function.pop(known.function, None)
            self._by_key[asset.key] = asset
            self._by_function[asset.function] = asset

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

        Yields:
            This registry. Afterwards it also holds the older assets again, except those whose
            key was registered anew.
        """
        with self._lock:
            older = self._by_key, self._by_function
            self._by_key, self._by_function = {}, {}
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

    def __len__(self) -> int:
        return len(self._by_key)


_registry = AssetRegistry()


def get_registry() -> AssetRegistry:
    """Return the registry that ``@asset`` fills."""
    return _registry


def _is_reload(known: Asset[..., Any], new: Asset[..., Any]) -> bool:
    # Executing a module again makes new code objects at the same places; a loop, or decorating
    # one function twice, uses the same code object again.
    before, after = function_of(known.function), function_of(new.function)
    return (
        location(before) == location(after)
        and before.__qualname__ == after.__qualname__
        and before.__code__ is not after.__code__
    )
