"""Reading source files in a second process while the first one imports them.

Importing the modules of a large project keeps one core busy for seconds, and so does taking their
syntax trees apart for the fingerprints; neither needs the other. Whatever goes wrong over there,
the builder does the work itself: the answer is the same.
"""

from __future__ import annotations

import importlib.util
import marshal
import os
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from servo.manifest._source_files import SourceFile
from servo.manifest.module_facts import ModuleFacts
from servo.manifest.project_code import ProjectCode

__all__ = ["FactsAhead"]

_WORTH_IT: Final = 128 * 1024
"""Bytes of source below which a second process costs more than it saves."""

_Answer = dict[str, tuple[bytes, tuple[object, ...]]]
"""By path: the hash of the source, and the fields of its facts."""


class FactsAhead:
    """The facts about asset modules and what they import, found by a process of its own.

    Use it as a context manager around the imports.

    Args:
        files: The asset modules.
        roots: The project's import roots.
    """

    def __init__(self, files: Sequence[SourceFile], roots: Sequence[Path]) -> None:
        self._files = files
        self._roots = roots
        self._child = 0
        self._file: IO[bytes] | None = None
        self._answer: _Answer | None = None

    def __enter__(self) -> Self:
        if _can_fork() and sum(_size(file.path) for file in self._files) >= _WORTH_IT:
            self._file = tempfile.TemporaryFile()
            sys.stdout.flush()
            sys.stderr.flush()
            self._child = os.fork()
            if not self._child:
                _answer([file.module for file in self._files], self._roots, self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._collect()

    def find(self, path: str, source: bytes) -> ModuleFacts | None:
        """Return the facts about a file, if they are known for this content of it."""
        if self._answer is None:
            self._answer = self._collect()
        found = self._answer.get(path)
        if found is None or found[0] != importlib.util.source_hash(source):
            return None
        return ModuleFacts(*found[1])  # type: ignore[arg-type]  # marshal gives back what it got

    def _collect(self) -> _Answer:
        file, self._file = self._file, None
        if file is None:
            return {}
        with file:
            _, status = os.waitpid(self._child, 0)
            if status:
                return {}
            file.seek(0)
            answer: _Answer = marshal.load(file)
            return answer


def _can_fork() -> bool:
    # A copy of a process with threads may find their locks taken for ever.
    return (
        hasattr(os, "fork")
        and (os.cpu_count() or 1) > 1
        and threading.active_count() == 1
        and "grpc" not in sys.modules
    )


def _answer(modules: Sequence[str], roots: Sequence[Path], file: IO[bytes]) -> None:
    """Write the facts about some modules and what they import, and end this process."""
    status = 1
    try:
        code = ProjectCode(roots)
        code.read(modules)
        answer: _Answer = {
            path: (importlib.util.source_hash(data), tuple(facts))
            for path, (data, facts) in code.files_read().items()
        }
        marshal.dump(answer, file)
        file.flush()
        status = 0
    finally:
        # Nothing of the copied process may run on: no handler, no buffer, no caller.
        os._exit(status)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
