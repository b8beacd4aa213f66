"""Which files of a project hold assets, and under which module names they are imported."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from servo.manifest.project import Project

_SKIPPED_DIRECTORIES: Final = frozenset(
    {"tests", "venv", "env", "virtualenv", "node_modules", "site-packages", "__pypackages__"}
)
_SKIPPED_FILES: Final = frozenset({"conftest.py", "__main__.py"})


@dataclass(frozen=True, slots=True, order=True)
class SourceFile:
    """A file that is imported to find assets.

    Attributes:
        module: Dotted name under which it is imported.
        path: Where it is, absolute.
    """

    module: str
    path: Path


def source_files(project: Project) -> list[SourceFile]:
    """List the files of a project, sorted by module name, each once.

    Directories and files are skipped by their own names below the asset paths: tests, virtual
    environments, hidden and cache directories, and modules that test others. Where the project
    itself lies does not matter.
    """
    found: dict[Path, SourceFile] = {}
    for start in project.asset_paths:
        paths = iter([start]) if start.is_file() else _walk(start)
        for path in paths:
            module = ".".join(module_parts(project, path))
            if module:
                found.setdefault(path, SourceFile(module, path))
    return sorted(found.values())


def _walk(start: Path) -> Iterator[Path]:
    """Yield the Python files below a directory; linked directories last, and each only once."""
    seen: set[tuple[int, int]] = set()
    linked: list[str] = []
    waiting = [str(start)]
    while waiting or linked:
        directory = waiting.pop() if waiting else linked.pop(0)
        try:
            status = os.stat(directory)  # noqa: PTH116  # names are plain strings in this loop
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError:
            continue  # vanished meanwhile, a dangling link, or not ours to read
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry.is_dir():
                if not _is_skipped(entry):
                    (linked if entry.is_symlink() else waiting).append(entry.path)
            elif _is_asset_file(entry.name):
                yield Path(entry.path)


def _is_skipped(entry: os.DirEntry[str]) -> bool:
    return (
        entry.name in _SKIPPED_DIRECTORIES
        or entry.name.startswith((".", "__pycache__"))
        or os.path.exists(os.path.join(entry.path, "pyvenv.cfg"))  # noqa: PTH110, PTH118  # as above
    )


def _is_asset_file(name: str) -> bool:
    return (
        name.endswith(".py")
        and not name.startswith((".", "test_"))
        and not name.endswith("_test.py")
        and name not in _SKIPPED_FILES
    )


def module_parts(project: Project, path: Path) -> tuple[str, ...]:
    """Return the names of a module's packages and its own; one with a dot cannot be imported."""
    for root in project.import_roots:
        if path.is_relative_to(root):
            parts = path.relative_to(root).with_suffix("").parts
            return parts[:-1] if parts[-1] == "__init__" else parts
    return (path.stem,)
