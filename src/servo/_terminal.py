"""Text on a terminal: what may reach it as it is, how wide it is, and where it can be wrapped."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

__all__ = ["escaped", "unstyled", "width", "wrapped"]

# C0 but for tab and line feed, DEL, C1, the overrides and isolates of text direction, and halves of
# surrogate pairs, which cannot be printed at all.
_MOVES: Final = r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
_COLOR: Final = r"\x1b\[[0-9;:]{0,60}m"
_is_dangerous = re.compile(_MOVES).search
_find = re.compile(f"({_COLOR})|{_MOVES}")
_color = re.compile(_COLOR)
_RESET: Final = "\x1b[0m"
_CONCEAL: Final = "8"
_COLOR_OF_PALETTE: Final = {"38", "48", "58"}
_WIDE: Final = frozenset("WF")
_NO_WIDTH: Final = frozenset({"Mn", "Me", "Cf"})


def escaped(text: str, *, colors: bool = False, lines: bool = True) -> str:
    r"""Return a text that moves no cursor, changes no title and reorders nothing when printed.

    Args:
        text: Any text: a message of user code, a name that somebody chose.
        colors: Whether SGR sequences (color, bold, underline) stay as they are. They are ended
            where their line ends. One that hides text is escaped all the same.
        lines: Whether line feeds stay; else they are escaped too, for what has to be one line.

    Returns:
        The text with each control character written as ``\x1b``, each override of the direction of
        text as ``\u202e``. Tabs stay, ``\r\n`` is one line feed.
    """
    if not _is_dangerous(text):
        return text if lines else text.replace("\n", "\\n")
    text = text.replace("\r\n", "\n").removesuffix("\r")

    def replacement(match: re.Match[str]) -> str:
        found = match[0]
        if match[1] is None:
            return _escape(found)
        return found if colors and not _conceals(found) else _escape(found[0]) + found[1:]

    text = _find.sub(replacement, text)
    if not lines:
        text = text.replace("\n", "\\n")
    if colors and "\x1b" in text:
        text = "\n".join(map(_ended, text.split("\n")))
    return text


def _escape(character: str) -> str:
    number = ord(character)
    return f"\\x{number:02x}" if number < 0x100 else f"\\u{number:04x}"


def _conceals(sequence: str) -> bool:
    words = iter(sequence[2:-1].split(";"))
    for word in words:
        if word in _COLOR_OF_PALETTE:
            # The numbers that follow say which color: 5;N or 2;R;G;B.
            for _ in range({"5": 1, "2": 3}.get(next(words, ""), 0)):
                next(words, "")
        elif word.lstrip("0") == _CONCEAL:
            return True
    return False


def _ended(line: str) -> str:
    """Return a line after which no color goes on."""
    found = _color.findall(line)
    return line if not found or found[-1] in (_RESET, "\x1b[m") else line + _RESET


def unstyled(text: str) -> str:
    """Return a text without its SGR sequences."""
    return _color.sub("", text) if "\x1b" in text else text


def width(text: str) -> int:
    """Return how many columns a line takes: wide characters two, combining ones none."""
    text = unstyled(text)
    if text.isascii():
        return len(text)
    return sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.east_asian_width(character) in _WIDE:
        return 2
    return 0 if unicodedata.category(character) in _NO_WIDTH else 1


def wrapped(text: str, columns: int) -> list[str]:
    """Return a text as lines of at most so many columns, broken between words where possible.

    Args:
        text: Text without SGR sequences; its own line feeds stay line ends.
        columns: The width, at least 2.
    """
    return [line for paragraph in text.split("\n") for line in _lines(paragraph, columns)]


def _lines(paragraph: str, columns: int) -> Iterator[str]:
    line = ""
    for word in paragraph.split(" "):
        joined = f"{line} {word}" if line else word
        if width(joined) <= columns:
            line = joined
            continue
        if line:
            yield line
        *whole, line = _pieces(word, columns)
        yield from whole
    yield line


def _pieces(word: str, columns: int) -> list[str]:
    """Return a word cut into what fits; a word that fits is one piece."""
    if width(word) <= columns:
        return [word]
    pieces, start, taken = [], 0, 0
    for place, character in enumerate(word):
        taken += _columns(character)
        if taken > columns:
            pieces.append(word[start:place])
            start, taken = place, _columns(character)
    return [*pieces, word[start:]]
