"""Which files of a project changed: told by the operating system, or found by looking."""

from __future__ import annotations

import asyncio
import importlib.util
import os
from collections.abc import AsyncIterator, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final

_LOOK_INTERVAL: Final = 1.0
_NAMES: Final = frozenset({"pyproject.toml"})
_SKIPPED: Final = frozenset({"__pycache__", "node_modules", "venv"})


async def changes(
    roots: Sequence[Path], stop: asyncio.Event, *, interval: float = _LOOK_INTERVAL
) -> AsyncIterator[set[Path]]:
    """Yield the files that changed, until ``stop`` is set.

    Args:
        roots: Directories and files to watch.
        stop: Ends the watching.
        interval: How often to look when ``watchfiles`` is not installed, seconds.
    """
    if importlib.util.find_spec("watchfiles") is not None:
        from watchfiles import awatch

        async for found in awatch(
            *roots, watch_filter=lambda _, path: is_source(Path(path)), stop_event=stop
        ):
            yield {Path(path) for _, path in found}
        return
    before = snapshot(roots)
    while not stop.is_set():
        await asyncio.sleep(interval)
        after = await asyncio.to_thread(snapshot, roots)
        changed = {path for path, _ in before.items() ^ after.items()}
        before = after
        if changed:
            yield changed


def is_source(path: Path) -> bool:
    """Tell whether a file can be part of a project's source."""
    return (path.suffix == ".py" or path.name in _NAMES) and not any(
        _is_skipped(part) for part in path.parts
    )


def _is_skipped(name: str) -> bool:
    return name in _SKIPPED or (name.startswith(".") and name not in (".", ".."))


def snapshot(roots: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Return time (nanoseconds) and size of every source file below some roots."""
    found: dict[Path, tuple[int, int]] = {}
    for root in roots:
        for path in _files(root):
            try:
                facts = path.stat()
            except OSError:
                # Deleted between the listing and the look: as good as absent.
                continue
            found[path] = (facts.st_mtime_ns, facts.st_size)
    return found


def _files(root: Path) -> Iterator[Path]:
    if root.is_file():
        yield root
        return
    for directory, directories, names in os.walk(root):
        directories[:] = [name for name in directories if not _is_skipped(name)]
        for name in names:
            if name.endswith(".py") or name in _NAMES:
                yield Path(directory, name)
