"""Globs that are matched in linear time, whatever a caller writes.

They mean what they mean in `fnmatch`: ``*`` any text, ``?`` any character, ``[a-c]`` one of several
characters and ``[!a-c]`` any other. `fnmatch` itself makes a regular expression of a pattern, in a
time that grows with the square of its brackets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class _OneOf:
    """One character of several, or any other."""

    singles: frozenset[str]
    ranges: tuple[tuple[str, str], ...]
    negated: bool

    def matches(self, character: str) -> bool:
        is_one = character in self.singles or any(
            first <= character <= last for first, last in self.ranges
        )
        return is_one is not self.negated


_Token = str | _OneOf | None
"""A character, one of several, or any."""

_Segment = str | Sequence[_Token]
"""What stands between two stars: each token is one character of the text."""


class Glob:
    """A pattern, read once.

    Reading takes time in proportion to the pattern, and matching at most in proportion to the
    length of the text times that of the longest part without a star.

    Args:
        pattern: The pattern.
    """

    def __init__(self, pattern: str) -> None:
        self._first, *rest = _segments(pattern)
        self._last = rest.pop() if rest else None
        self._middle = rest

    def matches(self, text: str) -> bool:
        """Tell whether the whole of a text matches."""
        if not _matches_at(self._first, text, 0):
            return False
        if self._last is None:
            return len(text) == len(self._first)
        at, end = len(self._first), len(text) - len(self._last)
        # The leftmost place is always good enough: a star may match whatever is left.
        for segment in self._middle:
            at = _find(segment, text, at, end)
            if at < 0:
                return False
            at += len(segment)
        return at <= end and _matches_at(self._last, text, end)


def _matches_at(segment: _Segment, text: str, at: int) -> bool:
    if isinstance(segment, str):
        return text.startswith(segment, at)
    if len(text) - at < len(segment):
        return False
    for offset, token in enumerate(segment):
        if isinstance(token, str):
            if text[at + offset] != token:
                return False
        elif token is not None and not token.matches(text[at + offset]):
            return False
    return True


def _find(segment: _Segment, text: str, at: int, end: int) -> int:
    if isinstance(segment, str):
        return text.find(segment, at, end) if at <= end else -1
    for place in range(at, end - len(segment) + 1):
        if _matches_at(segment, text, place):
            return place
    return -1


def _segments(pattern: str) -> list[_Segment]:
    """Split a pattern at its stars; what has plain characters only becomes text."""
    found: list[list[_Token]] = [[]]
    at, is_closed = 0, True
    while at < len(pattern):
        character = pattern[at]
        at += 1
        if character == "*":
            if found[-1] or len(found) == 1:
                found.append([])
        elif character == "?":
            found[-1].append(None)
        elif character == "[" and is_closed:
            start = at + (pattern[at : at + 1] == "!")
            # A bracket at the beginning is one of the characters.
            close = pattern.find("]", start + 1)
            if close < 0:
                is_closed = False  # nor is any bracket that follows
                found[-1].append(character)
            else:
                found[-1].append(_one_of(pattern[start:close], negated=start > at))
                at = close + 1
        else:
            found[-1].append(character)
    return [_as_text(segment) for segment in found]


def _one_of(members: str, *, negated: bool) -> _OneOf:
    singles, ranges, at = set[str](), [], 0
    while at < len(members):
        if members[at + 1 : at + 2] == "-" and at + 2 < len(members):
            ranges.append((members[at], members[at + 2]))
            at += 3
        else:
            singles.add(members[at])
            at += 1
    return _OneOf(frozenset(singles), tuple(ranges), negated)


def _as_text(segment: list[_Token]) -> _Segment:
    texts = [token for token in segment if isinstance(token, str)]
    return "".join(texts) if len(texts) == len(segment) else segment
