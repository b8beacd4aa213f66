"""The project's directories on the import path, without a module of theirs in Servo's way.

A project's modules come before installed libraries, as they do for a script. One that is called
like a module of the standard library, or like a library that Servo needs, would be imported by all
libraries in its place. So what Servo needs of those names is imported first, and stays.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.machinery
import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from servo.manifest.project import Project

__all__ = ["Clash", "clashes", "import_first", "top_level_names"]

NEEDED: Final = frozenset(
    {
        "click", "duckdb", "dotenv", "google", "grpc", "msgspec", "numpy", "opentelemetry",
        "pandas", "polars", "pyarrow", "rich", "servo", "typing_extensions", "tzdata", "ulid",
    }
)  # fmt: skip
"""What Servo imports in processes that run user code, where it is installed."""

_NEVER_IMPORTED: Final = frozenset({"__main__", "antigravity", "idlelib", "this", "turtledemo"})
_NO_MODULES: Final = frozenset({"conftest", "setup", "test", "tests"})
"""Names at the top of a project that nothing imports by them."""


@dataclass(frozen=True, slots=True, order=True)
class Clash:
    """A module of the project that has the name of another one.

    Attributes:
        path: The project's file or directory, relative to the project.
        name: The name.
        other: What has it as well, for people.
        is_shadowed: Whether the other one is imported by that name, and not the project's.
    """

    path: str
    name: str
    other: str
    is_shadowed: bool

    def __str__(self) -> str:
        if self.is_shadowed:
            return (
                f"{self.path} cannot be imported: {self.name!r} is {self.other}, which comes "
                f"first; rename the file"
            )
        return (
            f"{self.path} hides {self.other}: every import of {self.name!r} gets the project's "
            f"file, also those by other libraries; rename it unless that is meant"
        )


def top_level_names(root: Path) -> dict[str, Path]:
    """Return the modules and packages directly in a directory by their names."""
    found: dict[str, Path] = {}
    with contextlib.suppress(OSError), os.scandir(root) as entries:
        for entry in entries:
            name, dot, suffix = entry.name.partition(".")
            is_package = not dot and name.isidentifier()
            if (dot and suffix == "py") or (
                is_package and Path(entry.path, "__init__.py").is_file()
            ):
                found[name] = Path(entry.path)
    return found


def import_first(roots: Iterable[Path]) -> None:
    """Import what must not be replaced by modules in some directories that have its name.

    Args:
        roots: Directories that are about to be put on the import path, and are not there yet.
    """
    for root in roots:
        for name in top_level_names(root).keys() & (sys.stdlib_module_names | NEEDED):
            if name not in _NEVER_IMPORTED and name not in sys.modules:
                # A library that is not installed, or a module that this system does not have.
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)


def clashes(project: Project) -> list[Clash]:
    """Find modules of a project that have the name of others, sorted by path."""
    return sorted(_clashes(project))


def _clashes(project: Project) -> Iterator[Clash]:
    elsewhere = [
        path
        for path in sys.path
        if path and not any(Path(path) == root for root in project.import_roots)
    ]
    for root in project.import_roots:
        for name, path in top_level_names(root).items():
            if name in _NO_MODULES:
                continue
            shown = project.relative(path)
            if name in sys.stdlib_module_names:
                yield Clash(shown, name, "a module of the standard library", True)
                continue
            spec = importlib.machinery.PathFinder.find_spec(name, elsewhere)
            if spec is None or spec.origin is None:
                continue
            if Path(spec.origin).resolve().is_relative_to(path.resolve()):
                continue  # the project itself, installed so that it can be edited
            distributions = _distributions(name)
            if _same_name(project.name) in distributions:
                continue  # the project itself, installed
            library = f"the installed library {distributions[0] if distributions else name}"
            yield Clash(shown, name, library, name in NEEDED)


def _distributions(name: str) -> list[str]:
    from importlib.metadata import packages_distributions

    return [_same_name(one) for one in packages_distributions().get(name, [])]


def _same_name(name: str) -> str:
    return name.lower().replace("_", "-").replace(".", "-")
