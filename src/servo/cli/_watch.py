"""Which files of a project changed: a look at all of them decides.

The operating system says when to look, where ``watchfiles`` is installed; otherwise looks follow
each other at intervals.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.machinery
import importlib.util
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_LOOK_INTERVAL: Final = 1.0
_SHARE: Final = 10
"""How many times longer than a look takes is waited before the next one."""
_SETTLE_MILLISECONDS: Final = 1000
"""When to look once more after the operating system was asked to tell of changes."""
_SUFFIXES: Final = (
    *importlib.machinery.SOURCE_SUFFIXES,
    *importlib.machinery.EXTENSION_SUFFIXES,
)
_SKIPPED: Final = frozenset({"__pycache__", "__pypackages__", "node_modules", "site-packages"})

_Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Watched:
    """What is watched.

    Attributes:
        roots: Directories with source, and single files; what is hidden in them, caches, virtual
            environments and installed packages do not count.
        files: Further files, such as settings, which need not exist.
    """

    roots: tuple[Path, ...]
    files: tuple[Path, ...] = ()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What was seen at one look.

    Attributes:
        files: Time, size and inode of each file.
        directories: The directories that were looked into.
        seconds: How long the look took.
    """

    files: dict[Path, _Stamp] = field(default_factory=dict)
    directories: frozenset[Path] = frozenset()
    seconds: float = 0.0

    def changed_since(self, before: Snapshot) -> set[Path]:
        """Return the files that came, went or are different."""
        return {path for path, _ in self.files.items() ^ before.files.items()}


async def changes(
    watched: Callable[[], Watched],
    stop: asyncio.Event,
    *,
    since: Snapshot | None = None,
    interval: float = _LOOK_INTERVAL,
) -> AsyncIterator[set[Path]]:
    """Yield the files that changed, until ``stop`` is set.

    Args:
        watched: What to watch; asked before each look, since it may change as well.
        stop: Ends the watching.
        since: What was seen before; by default what there is now.
        interval: How often to look when the operating system does not tell, seconds. A tree that
            takes long to look at is looked at less often.
    """
    before = await asyncio.to_thread(snapshot, watched()) if since is None else since
    while not stop.is_set():
        async with contextlib.aclosing(_wakes(before, watched().files, stop, interval)) as wakes:
            async for _ in wakes:
                after = await asyncio.to_thread(snapshot, watched())
                changed = after.changed_since(before)
                is_same_tree = after.directories == before.directories
                before = after
                if changed:
                    yield changed
                if not is_same_tree:
                    break  # to be told of the new directories as well


async def _wakes(
    seen: Snapshot, files: Sequence[Path], stop: asyncio.Event, interval: float
) -> AsyncGenerator[None]:
    """Yield whenever it is time to look."""
    if importlib.util.find_spec("watchfiles") is not None:
        from watchfiles import awatch

        places = seen.directories | {path.parent for path in (*seen.files, *files)}
        is_first = True
        # The limit of watches is reached, or a directory has gone: looking always works.
        with contextlib.suppress(OSError, RuntimeError):
            async for found in awatch(
                *places,
                watch_filter=lambda _, path: _may_matter(Path(path), files),
                stop_event=stop,
                recursive=False,
                rust_timeout=_SETTLE_MILLISECONDS,
                yield_on_timeout=True,
            ):
                # What happened between the last look and the first watch is not told.
                if found or is_first:
                    yield
                is_first = False
            return
    while not stop.is_set():
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), max(interval, seen.seconds * _SHARE))
            return
        yield


def _may_matter(path: Path, files: Sequence[Path]) -> bool:
    return path in files or (
        not path.name.startswith(".") and (is_source(path.name) or path.is_dir())
    )


def is_source(name: str) -> bool:
    """Tell whether a file of that name holds code that can be imported."""
    return name.endswith(_SUFFIXES) and not name.startswith(".")


def snapshot(watched: Watched) -> Snapshot:
    """Look at every file that counts."""
    begun = time.monotonic()
    found: dict[Path, _Stamp] = {}
    directories: set[Path] = set()
    for path in [*watched.files, *_walk(watched.roots, directories)]:
        # Deleted between the listing and the look: as good as absent.
        with contextlib.suppress(OSError):
            facts = path.stat()
            found[path] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    return Snapshot(found, frozenset(directories), time.monotonic() - begun)


def _walk(roots: Sequence[Path], directories: set[Path]) -> Iterator[Path]:
    """Yield the source files below some roots; note the directories, each visited once.

    Links are followed, as imports do.
    """
    seen: set[tuple[int, int]] = set()
    # The names that are not links come first, so that what changed is shown by them.
    waiting = list(roots)
    linked: list[Path] = []
    while waiting or linked:
        place = waiting.pop() if waiting else linked.pop()
        try:
            facts = place.stat()
            entries = list(os.scandir(place)) if place.is_dir() else None
        except OSError:
            continue
        if (facts.st_dev, facts.st_ino) in seen:
            continue
        seen.add((facts.st_dev, facts.st_ino))
        if entries is None:
            yield place
            continue
        directories.add(place)
        for entry in entries:
            if entry.is_dir():
                if not _is_skipped(entry):
                    (linked if entry.is_symlink() else waiting).append(place / entry.name)
            elif is_source(entry.name):
                yield place / entry.name


def _is_skipped(entry: os.DirEntry[str]) -> bool:
    return (
        entry.name.startswith(".")
        or entry.name in _SKIPPED
        or Path(entry.path, "pyvenv.cfg").exists()
    )
