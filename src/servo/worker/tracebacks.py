"""Tracebacks for the author of an asset: Servo's own frames are left out."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Final

__all__ = ["SERVO", "format_error", "one_line", "printable"]

SERVO: Final = f"{Path(__file__).resolve().parents[1]}/"
"""How the files of Servo's own frames begin."""

_MAX_LINE: Final = 500


def printable(text: str) -> str:
    """Replace what is no Unicode text: user code may say anything, and it must arrive."""
    return text.encode("utf-8", "replace").decode("utf-8")


def format_error(error: BaseException) -> str:
    """Print an error with its causes as Python does, without the frames of Servo."""
    printed = traceback.TracebackException.from_exception(error, compact=True)
    _hide(printed)
    return "".join(printed.format())


def one_line(error: BaseException) -> str:
    """Return the class and the first line of the message."""
    try:
        text = str(error)
    except Exception:  # the author's __str__ may raise anything, and the class still helps
        text = "(its message cannot be printed)"
    first = text.strip().partition("\n")[0]
    name = type(error).__qualname__
    line = printable(f"{name}: {first}" if first else name)
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}..."


def _hide(printed: traceback.TracebackException) -> None:
    seen: set[int] = set()
    waiting = [printed]
    while waiting:
        current = waiting.pop()
        if id(current) in seen:
            continue
        seen.add(id(current))
        current.stack[:] = [
            frame for frame in current.stack if not frame.filename.startswith(SERVO)
        ]
        others = (current.__cause__, current.__context__, *(current.exceptions or ()))
        waiting += [other for other in others if other is not None]
