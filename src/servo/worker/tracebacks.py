"""Tracebacks for the author of an asset: Servo's own frames are left out."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple

__all__ = [
    "SERVO",
    "Location",
    "format_error",
    "leaves",
    "locate",
    "one_line",
    "printable",
    "relative_to",
]

SERVO: Final = f"{Path(__file__).resolve().parents[1]}{os.sep}"
"""How the files of Servo's own frames begin."""
_ASYNCIO: Final = f"{Path(os.__file__).parent / 'asyncio'}{os.sep}"
_INSTALLED: Final = frozenset({"site-packages", "dist-packages"})
"""Directories of libraries, also where their environment lies inside of the project."""
_MAX_LINE: Final = 500
_CUT: Final = "... [cut]"


class Location(NamedTuple):
    """A line of the user's code.

    Attributes:
        path: The file, relative to the project's root and separated by ``/``.
        line: The line, starting with 1.
        function: The function that the line belongs to; empty where the file has no functions yet,
            because it cannot be parsed.
    """

    path: str
    line: int
    function: str

    def __str__(self) -> str:
        where = f"at {self.path}:{self.line}"
        return f"{where}, in {self.function}" if self.function else where


def printable(text: str) -> str:
    """Replace what is no Unicode text: user code may say anything, and it must arrive."""
    return text.encode("utf-8", "replace").decode("utf-8")


def relative_to(project: Path, path: str) -> str:
    """Return a file of the project relative to its root, separated by ``/``; empty for others.

    Args:
        project: The project's root.
        path: The file, as Python names it in a traceback.
    """
    if not path or path.startswith("<"):
        return ""
    for root, file in ((str(project), path), (os.path.realpath(project), os.path.realpath(path))):
        if file.startswith(root.rstrip(os.sep) + os.sep):
            parts = Path(os.path.relpath(file, root)).parts
            return "" if _INSTALLED.intersection(parts) else "/".join(parts)
    return ""


def locate(error: BaseException, project: Path) -> Location | None:
    """Find the line of the project at which an error was raised.

    That is the deepest frame within the project; the line that cannot be parsed for a
    ``SyntaxError``; and for a group of errors the line of the first one that has one.

    Args:
        error: What was raised.
        project: The project's root.
    """
    for one in leaves(error):
        if isinstance(one, SyntaxError) and one.filename and one.lineno:
            path = relative_to(project, one.filename)
            if path:
                return Location(path, one.lineno, "")
        found = _deepest(one.__traceback__, project)
        if found is not None:
            return found
    return _deepest(error.__traceback__, project)


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the errors of a group, of groups within it too; an error that is no group itself.

    Args:
        error: What was raised.
    """
    waiting = [error]
    while waiting:
        current = waiting.pop()
        if isinstance(current, BaseExceptionGroup):
            waiting += reversed(current.exceptions)
        else:
            yield current


def _deepest(frames: TracebackType | None, project: Path) -> Location | None:
    found = None
    for frame, line in traceback.walk_tb(frames):
        path = relative_to(project, frame.f_code.co_filename)
        if path and not frame.f_code.co_filename.startswith(SERVO):
            found = Location(path, line, frame.f_code.co_name)
    return found


def format_error(error: BaseException, project: Path | None = None) -> str:
    """Print an error with its causes as Python does, without the frames of Servo.

    Args:
        error: What was raised.
        project: The project's root; its files are named relative to it.
    """
    try:
        printed = traceback.TracebackException.from_exception(error, compact=True)
        _tidy(printed, project)
        return printable("".join(printed.format()))
    except Exception:  # errors are objects of the author's and may break whatever looks at them
        return f"{one_line(error)}\n(its traceback cannot be printed)"


def one_line(error: BaseException) -> str:
    """Return the class and the first line of the message; a long one is cut, and marked."""
    try:
        text = str(error)
    except BaseException:  # the author's __str__ may raise anything, and the class still helps
        text = "(its message cannot be printed)"
    first = text.strip().partition("\n")[0]
    name = type(error).__qualname__
    line = printable(f"{name}: {first}" if first else name)
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}{_CUT}"


def _tidy(printed: traceback.TracebackException, project: Path | None) -> None:
    seen: set[int] = set()
    waiting = [printed]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        current.stack[:] = list(_of_the_author(current.stack))
        if project is not None:
            for frame in current.stack:
                frame.filename = relative_to(project, frame.filename) or frame.filename
            unparsed = getattr(current, "filename", None)  # only of a SyntaxError
            if isinstance(unparsed, str):
                current.filename = relative_to(project, unparsed) or unparsed
        others = (current.__cause__, current.__context__, *(current.exceptions or ()))
        waiting += [other for other in others if other is not None]


def _of_the_author(frames: traceback.StackSummary) -> Iterator[traceback.FrameSummary]:
    """Leave out Servo's frames, and those of the event loop that it starts a coroutine with."""
    begun = False
    for frame in frames:
        if frame.filename.startswith(SERVO):
            continue
        begun = begun or not frame.filename.startswith(_ASYNCIO)
        if begun:
            yield frame
