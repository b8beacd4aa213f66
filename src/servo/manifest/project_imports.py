"""Importing the project's own modules from the source that is fingerprinted.

Python takes byte code for current when size and time of the source agree, and the time counts in
whole seconds: an edit right after an import can be missed. Here byte code is used only where it
belongs to exactly this source (a "checked hash-based pyc", which plain Python reads as well), and
the source is the one that `ProjectCode` has read: whatever happens to the file meanwhile.
"""

from __future__ import annotations

import contextlib
import importlib.machinery
import importlib.util
import linecache
import marshal
import os
import sys
from collections.abc import Iterator, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any, Final

from servo.manifest.project_code import ProjectCode, ProjectModule

__all__ = ["ProjectFinder", "importing"]

_CHECKED_HASH: Final = (0b11).to_bytes(4, "little")
"""The flags of byte code that is valid for one source, PEP 552."""


class ProjectFinder(MetaPathFinder):
    """Finds the project's modules; all others are left to Python.

    Args:
        code: The project's code.
        keep_lines: Have tracebacks show the lines that were executed, whatever the file says
            meanwhile. For processes that end before the project's code is loaded anew.
    """

    def __init__(self, code: ProjectCode, *, keep_lines: bool = False) -> None:
        self._code = code
        self._keep_lines = keep_lines

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return how to load a module of the project; ``None`` for any other."""
        module = self._code.find(fullname)
        if module is None or not module.path or not self._is_in_place(module, path):
            return None
        if not module.is_source:
            self._check_binary(module)
            return None
        try:
            source = self._code.data(module)
        except OSError:
            return None  # Python says what is wrong with it
        if self._keep_lines:
            _keep_lines(module.path, source)
        return importlib.util.spec_from_file_location(
            fullname,
            module.path,
            loader=_Loader(fullname, module.path, source),
            submodule_search_locations=list(module.search) or None,
        )

    def _is_in_place(self, module: ProjectModule, path: Sequence[str] | None) -> bool:
        """Tell whether Python would look there, and finds nothing else before."""
        directory = os.path.dirname(module.search[0] if module.search else module.path)  # noqa: PTH120  # names are plain strings here
        if path is not None:
            return directory in list(path)
        if directory not in sys.path:
            return False
        before = sys.path[: sys.path.index(directory)]
        found = PathFinder.find_spec(module.name, before) if before else None
        # A directory without __init__.py counts only where nothing else is found.
        return found is None or found.loader is None

    def _check_binary(self, module: ProjectModule) -> None:
        """Refuse an extension that was replaced since its fingerprint was taken."""
        with contextlib.suppress(OSError):
            if Path(module.path).read_bytes() != self._code.data(module):
                raise ImportError(
                    f"{module.path!r} was replaced after this process had looked at it",
                    name=module.name,
                    path=module.path,
                )

    def install(self) -> None:
        """Have every import ask here before Python searches its path."""
        place = sys.meta_path.index(PathFinder) if PathFinder in sys.meta_path else 0
        sys.meta_path.insert(place, self)

    def remove(self) -> None:
        """Undo `install`."""
        with contextlib.suppress(ValueError):
            sys.meta_path.remove(self)


@contextlib.contextmanager
def importing(code: ProjectCode) -> Iterator[None]:
    """Import the project's modules from the given code inside the block."""
    finder = ProjectFinder(code)
    finder.install()
    try:
        yield
    finally:
        finder.remove()


class _Loader(SourceFileLoader):
    """Loads a module from source that has been read already."""

    def __init__(self, fullname: str, path: str, source: bytes) -> None:
        super().__init__(fullname, path)
        self._source = source

    def get_data(self, path: str) -> bytes:
        """Return the content of the source, or of another file, as a package's resources are."""
        return self._source if path == self.path else super().get_data(path)

    def get_code(self, fullname: str) -> CodeType:
        """Return the code of exactly this source."""
        kept = _Kept(self.path, self._source)
        code = kept.read()
        if code is None:
            code = self.source_to_code(self._source, self.path)
            if not sys.dont_write_bytecode and kept.path:
                # Like Python's own: atomic, and silent where it may not write.
                self.set_data(kept.path, kept.packed(code))
        return code


def _keep_lines(path: str, source: bytes) -> None:
    with contextlib.suppress(SyntaxError, UnicodeDecodeError):
        text = importlib.util.decode_source(source)
        # Without a time an entry is taken as it is.
        linecache.cache[path] = (len(text), None, text.splitlines(keepends=True), path)


class _Kept:
    """The byte code that is kept beside a source file."""

    def __init__(self, source_path: str, source: bytes) -> None:
        self._source_path = source_path
        self._head = importlib.util.MAGIC_NUMBER + _CHECKED_HASH + _hash(source)
        try:
            self.path = importlib.util.cache_from_source(source_path)
        except NotImplementedError:
            self.path = ""

    def read(self) -> CodeType | None:
        """Return the code if it is there and belongs to the source."""
        try:
            data = Path(self.path).read_bytes() if self.path else b""
        except OSError:
            return None
        if not data.startswith(self._head):
            return None
        try:
            code: Any = marshal.loads(memoryview(data)[len(self._head) :])
        except (EOFError, ValueError, TypeError):
            return None  # cut off by a full disk
        # A project that was moved or copied has the names of its old place.
        is_ours = isinstance(code, CodeType) and code.co_filename == self._source_path
        return code if is_ours else None

    def packed(self, code: CodeType) -> bytes:
        """Return the content of the file for some code."""
        return self._head + marshal.dumps(code)


def _hash(source: bytes) -> bytes:
    return bytes(importlib.util.source_hash(source))
