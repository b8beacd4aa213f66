"""The project's own code as it stands on disk: its modules, and what each asset runs with.

An asset runs with its module, the parent packages of that, and every module of the project that
these import, transitively. All of it is found without importing anything: modules by their names
below the import roots, imports in the syntax trees (`servo.manifest.module_facts`). Installed
packages are no part of it, and what a string names (``importlib.import_module(name)``) cannot be
seen.
"""

from __future__ import annotations

import importlib.machinery
import importlib.util
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from servo._fingerprint import Fingerprint, Place
from servo.manifest.module_facts import (
    ANY,
    Import,
    ModuleFacts,
    binary_facts,
    read_facts,
)

__all__ = ["ProjectCode", "ProjectModule"]

_DIGITS: Final = 16
_SOURCE: Final = tuple(importlib.machinery.SOURCE_SUFFIXES)
_SUFFIXES: Final = (
    *importlib.machinery.EXTENSION_SUFFIXES,
    *_SOURCE,
    *importlib.machinery.BYTECODE_SUFFIXES,
)
"""In the order in which Python looks for them."""


@dataclass(frozen=True, slots=True)
class ProjectModule:
    """A module of the project.

    Attributes:
        name: Its dotted name.
        path: Its file; empty for a directory without ``__init__.py`` (a namespace package).
        search: The directories of its submodules; empty unless it is a package.
    """

    name: str
    path: str
    search: tuple[str, ...] = ()

    @property
    def package(self) -> str:
        """What relative imports in it are relative to."""
        return self.name if self.search else self.name.rpartition(".")[0]

    @property
    def is_source(self) -> bool:
        """Whether it is Python source, not an extension or byte code."""
        return self.path.endswith(_SOURCE)


class ProjectCode:
    """The modules below some import roots, as they were when each was looked at first.

    Args:
        roots: The import roots, in the order of the import path.
        known_facts: Returns the facts about a file with a certain content, if they are known.
    """

    def __init__(
        self,
        roots: Sequence[str | Path],
        *,
        known_facts: Callable[[str, bytes], ModuleFacts | None] | None = None,
    ) -> None:
        self.roots = tuple(str(root) for root in roots)
        self._known_facts = known_facts
        self._modules: dict[str, ProjectModule | None] = {}
        self._entries: dict[str, Mapping[str, bool]] = {}
        self._data: dict[str, bytes] = {}
        self._facts: dict[str, ModuleFacts] = {}
        self._functions: dict[str, Mapping[Place, Fingerprint]] = {}
        self._imports: dict[str, tuple[str, ...]] = {}
        self._closures: dict[frozenset[str], tuple[frozenset[str], str]] = {}
        self._starts: dict[tuple[str, tuple[Import, ...]], frozenset[str]] = {}
        self._fingerprints: dict[tuple[str, str], str] = {}

    # -- modules --------------------------------------------------------------------------

    def look_again(self) -> None:
        """Notice files that are new; modules that were found before stay as they were."""
        self._entries.clear()

    def find(self, name: str) -> ProjectModule | None:
        """Find a module by its dotted name; ``None`` when the project has no such module."""
        found = self._modules.get(name, _UNKNOWN)
        if found is not _UNKNOWN:
            return found
        search = self.roots
        for end, part in _prefixes(name):
            prefix = name[:end]
            found = self._modules.get(prefix, _UNKNOWN)
            if found is _UNKNOWN:
                found = self._modules[prefix] = self._locate(prefix, part, search)
            search = () if found is None else found.search
        return found

    def _locate(self, name: str, last: str, search: Iterable[str]) -> ProjectModule | None:
        portions: list[str] = []
        for directory in search:
            entries = self._listed(directory)
            inside = f"{directory}/{last}"
            if entries.get(last):
                init = _first(self._listed(inside), "__init__")
                if init:
                    return ProjectModule(name, f"{inside}/{init}", (inside,))
                portions.append(inside)
            file = _first(entries, last)
            if file:
                return ProjectModule(name, f"{directory}/{file}")
        return ProjectModule(name, "", tuple(portions)) if portions else None

    def _listed(self, directory: str) -> Mapping[str, bool]:
        """Return the names in a directory, and whether each is a directory itself."""
        found = self._entries.get(directory)
        if found is None:
            try:
                with os.scandir(directory) as entries:
                    found = {entry.name: entry.is_dir() for entry in entries}
            except OSError:
                found = {}
            self._entries[directory] = found
        return found

    def _submodules(self, package: ProjectModule) -> Iterator[str]:
        for directory in package.search:
            for name, is_directory in sorted(self._listed(directory).items()):
                stem = name if is_directory else name.partition(".")[0]
                if stem.isidentifier() and stem != "__init__":
                    yield f"{package.name}.{stem}"

    def data(self, module: ProjectModule) -> bytes:
        """Return the content of a module's file, as it was when it was read first.

        Raises:
            OSError: It cannot be read.
        """
        found = self._data.get(module.path)
        if found is None:
            found = self._data[module.path] = Path(module.path).read_bytes()
        return found

    def facts(self, module: ProjectModule) -> ModuleFacts:
        """Return the facts about a module; a file that cannot be read is taken as empty."""
        found = self._facts.get(module.path)
        if found is None:
            found = self._facts[module.path] = self._read(module)
        return found

    def _read(self, module: ProjectModule) -> ModuleFacts:
        try:
            data = self.data(module) if module.path else b""
        except OSError:
            data = b""
        if not module.is_source:
            return binary_facts(data)
        known = None if self._known_facts is None else self._known_facts(module.path, data)
        return known or read_facts(data)

    def functions_in(self, path: str) -> Mapping[Place, Fingerprint] | None:
        """Return the fingerprints of the decorated functions in a file that was looked at."""
        found = self._functions.get(path)
        if found is None and (facts := self._facts.get(path)) is not None:
            found = self._functions[path] = facts.fingerprints()
        return found

    def known_facts(self, path: str, data: bytes) -> ModuleFacts | None:
        """Return the facts about a file if it was read with that content."""
        return self._facts.get(path) if self._data.get(path) == data else None

    # -- what an asset runs with ----------------------------------------------------------

    def fingerprint(self, module: str, function: str) -> str:
        """Return the code fingerprint of an asset.

        Args:
            module: The module of its function.
            function: The qualified name of the function.

        Returns:
            16 hex digits; empty when the project has no such module.
        """
        key = module, function
        found = self._fingerprints.get(key)
        if found is None:
            found = self._fingerprints[key] = self._fingerprint(module, function)
        return found

    def _fingerprint(self, name: str, function: str) -> str:
        module = self.find(name)
        if module is None or not module.path:
            return ""
        facts = self.facts(module)
        text = self._part_of_it(module, facts, function) if function in facts.assets else None
        if text is None:
            _, closure = self._closure(module, facts.imports)
            text = f"{facts.digest}\n{closure}"
        return sha256(f"{name}\n{text}".encode()).hexdigest()[:_DIGITS]

    def _part_of_it(self, module: ProjectModule, facts: ModuleFacts, function: str) -> str | None:
        """Return the digests of what one asset needs of its module; ``None`` for everything."""
        chosen = _reached(facts, function)
        if chosen is None:
            return None
        imports = facts.rest[1]
        for one in chosen:
            imports += facts.assets[one][1]
        modules, closure = self._closure(module, imports)
        if module.name in modules:
            # The module can be reached from itself, and with it everything in it.
            return None
        parts = [f"{one}={facts.assets[one][0]}" for one in chosen]
        return "\n".join([facts.rest[0], *parts, closure])

    def modules_of(self, name: str) -> Mapping[str, str]:
        """Return the modules that the assets of a module run with, and the digest of each."""
        module = self.find(name)
        if module is None or not module.path:
            return {}
        modules, _ = self._closure(module, self.facts(module).imports)
        return {
            one: self.facts(found).digest
            for one in sorted({name, *modules})
            if (found := self.find(one)) is not None and found.path
        }

    def read(self, names: Iterable[str]) -> None:
        """Read some modules and everything that they import."""
        self._follow(frozenset(names))

    def files_read(self) -> Mapping[str, tuple[bytes, ModuleFacts]]:
        """Return the files whose facts are known, with content and facts."""
        return {
            path: (self._data[path], facts)
            for path, facts in self._facts.items()
            if path in self._data
        }

    def _closure(
        self, module: ProjectModule, imports: tuple[Import, ...]
    ) -> tuple[frozenset[str], str]:
        """Return the modules that some imports of a module reach, and the digest of all."""
        starts = self._starts.get((module.name, imports))
        if starts is None:
            starts = frozenset(
                [*self._resolved(imports, module.package), *self._found(module.name)[:-1]]
            )
            self._starts[module.name, imports] = starts
        found = self._closures.get(starts)
        if found is None:
            found = self._closures[starts] = self._follow(starts)
        return found

    def _follow(self, starts: frozenset[str]) -> tuple[frozenset[str], str]:
        seen: set[str] = set()
        stack = list(starts)
        while stack:
            name = stack.pop()
            if name not in seen:
                seen.add(name)
                stack += self._imports_of(name)
        lines = [
            f"{name} {self.facts(module).digest}"
            for name in sorted(seen)
            if (module := self.find(name)) is not None and module.path
        ]
        return frozenset(seen), sha256("\n".join(lines).encode()).hexdigest()

    def _imports_of(self, name: str) -> tuple[str, ...]:
        found = self._imports.get(name)
        if found is None:
            module = self.find(name)
            imports = () if module is None else self.facts(module).imports
            found = () if module is None else tuple(self._resolved(imports, module.package))
            self._imports[name] = found
        return found

    def _resolved(self, imports: Iterable[Import], package: str) -> Iterator[str]:
        """Yield the project's modules that import statements name, packages above included."""
        for level, target, names in imports:
            full = _absolute(level, target, package)
            if not full:
                continue
            above = self._found(full)
            yield from above
            if not above or above[-1] != full:
                continue
            for name in names:
                if name == ANY:
                    module = self.find(full)
                    if module is not None:
                        yield from filter(self.find, self._submodules(module))
                elif self.find(f"{full}.{name}") is not None:
                    yield f"{full}.{name}"

    def _found(self, name: str) -> list[str]:
        """Return a module and the packages above it, outermost first, as far as they exist."""
        found: list[str] = []
        for end, _ in _prefixes(name):
            if self.find(name[:end]) is None:
                break
            found.append(name[:end])
        return found


_UNKNOWN: Final = ProjectModule("", "")


def _prefixes(name: str) -> Iterator[tuple[int, str]]:
    """Yield where each part of a dotted name ends, and the part."""
    end = -1
    for part in name.split("."):
        end += 1 + len(part)
        yield end, part


def _first(entries: Mapping[str, bool], stem: str) -> str:
    for suffix in _SUFFIXES:
        if entries.get(stem + suffix) is False:
            return stem + suffix
    return ""


def _absolute(level: int, target: str, package: str) -> str:
    """Return the absolute name of a module that is imported; empty when there is none."""
    if level == 0:
        return target
    above = package.split(".")
    if level > len(above) or not package:
        return ""
    return ".".join([*above[: len(above) - level + 1], *([target] if target else [])])


def _reached(facts: ModuleFacts, function: str) -> list[str] | None:
    """Return the assets of a file that one of them reaches by name; ``None`` for everything."""
    seen: set[str] = set()
    stack = [function, *facts.rest[2]]
    while stack:
        name = stack.pop()
        if name == ANY:
            return None
        if name not in seen:
            seen.add(name)
            stack += facts.assets[name][2]
    return sorted(seen)
