"""Fingerprinting source files in a second process while the first one imports them.

Importing the modules of a large project keeps one core busy for seconds, and so does
fingerprinting them afterwards; neither needs the other. Whatever goes wrong over there, the
builder does the work itself: the answer is the same.
"""

from __future__ import annotations

import marshal
import os
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from servo.manifest.fingerprint import Fingerprint, Place, index_decorated

__all__ = ["FingerprintsAhead"]

_WORTH_IT: Final = 128 * 1024
"""Bytes of source below which a second process costs more than it saves."""

_Stamp = tuple[int, int]
_Answer = dict[str, tuple[_Stamp, dict[Place, tuple[str, int]]]]


class FingerprintsAhead:
    """The fingerprints of decorated functions, computed by a process of its own.

    Use it as a context manager around the imports.

    Args:
        paths: The source files.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = [str(path) for path in paths]
        self._child = 0
        self._file: IO[bytes] | None = None
        self._answer: _Answer | None = None

    def __enter__(self) -> Self:
        if _can_fork() and sum(map(_size, self._paths)) >= _WORTH_IT:
            self._file = tempfile.TemporaryFile()
            sys.stdout.flush()
            sys.stderr.flush()
            self._child = os.fork()
            if not self._child:
                _answer(self._paths, self._file)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._collect()

    def find(self, path: str) -> Mapping[Place, Fingerprint] | None:
        """Return the fingerprints of a file's decorated functions, if they are known."""
        if self._answer is None:
            self._answer = self._collect()
        found = self._answer.get(path)
        if found is None or found[0] != _stamp(path):
            return None
        return {place: Fingerprint(*values) for place, values in found[1].items()}

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


def _answer(paths: Sequence[str], file: IO[bytes]) -> None:
    """Write the fingerprints of some files and end this process."""
    status = 1
    try:
        answer: _Answer = {}
        for path in paths:
            stamp = _stamp(path)
            found = index_decorated(path)
            if stamp is not None:
                answer[path] = stamp, {p: (f.digest, f.line_number) for p, f in found.items()}
        marshal.dump(answer, file)
        file.flush()
        status = 0
    finally:
        # Nothing of the copied process may run on: no handler, no buffer, no caller.
        os._exit(status)


def _stamp(path: str) -> _Stamp | None:
    try:
        status = os.stat(path)  # noqa: PTH116  # names are plain strings in this module
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _size(path: str) -> int:
    stamp = _stamp(path)
    return stamp[1] if stamp else 0
