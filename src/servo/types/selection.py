"""Selections: expressions that say which assets are meant.

::

    raw.events  mart.*  *           a key (events is default.events), or a glob of keys
    +x  x+  2+x  x+3  +x+1          and everything upstream, downstream, or so many levels of it
    tag:tier=gold  tag:tier         has the tag with that value, or with any
    owner:ada@example.com           is owned by
    not x   x and y   x or y   (x)  binding in this order

Operators stand at what they belong to, without a space: ``+mart.delays``, ``2+(raw.a or raw.b)``.
Names and values of tags and owners may be globs too, and are quoted where they contain white space
or one of ``( ) " = +``: ``tag:team="data platform"``.

`parse` reads an expression, ``str`` prints it again. What an expression means for the assets of a
deployment is up to whoever has them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from servo.types._frozen import set_field, text_tuple

__all__ = [
    "ANY_LEVEL",
    "And",
    "Around",
    "Named",
    "Not",
    "Or",
    "Owned",
    "Selection",
    "Tagged",
    "expressions",
    "is_glob",
    "parse",
]

ANY_LEVEL: Final = -1
"""As many levels upstream or downstream as there are."""

MAX_LEVELS: Final = 999_999_999
"""The greatest number of levels that can be written."""

KEYWORDS: Final = ("and", "or", "not")

_is_pattern = re.compile(r"""[^\s()"+:]+""").fullmatch
_is_bare = re.compile(r"""[^\s()"=+\\]+""").fullmatch

_OR, _AND, _NOT, _AROUND, _WORD = range(5)


@dataclass(frozen=True, slots=True)
class Named:
    """The asset of a key, or those that a glob matches.

    Attributes:
        pattern: ``raw.events``, ``events`` (``default.events``) or a glob such as ``mart.*``.

    Raises:
        ValueError: An expression cannot contain such a pattern.
    """

    pattern: str

    def __post_init__(self) -> None:
        if _is_pattern(self.pattern) is None or self.pattern in KEYWORDS:
            raise ValueError(f"{self.pattern!r} is no asset key and no glob of keys")
        if self.pattern.isdecimal() and self.pattern.isascii():
            raise ValueError(f"{self.pattern!r} is a number, not an asset key")

    def __str__(self) -> str:
        return self.pattern


@dataclass(frozen=True, slots=True)
class Tagged:
    """Assets with a tag.

    Attributes:
        name: Its name, or a glob.
        value: Its value, or a glob; ``None`` for any.

    Raises:
        ValueError: The name is empty.
    """

    name: str
    value: str | None = None

    def __post_init__(self) -> None:
        if not self.name:
            raise ValueError("the name of a tag must not be empty; tag:* means any tag")

    def __str__(self) -> str:
        value = "" if self.value is None else f"={_quoted(self.value)}"
        return f"tag:{_quoted(self.name)}{value}"


@dataclass(frozen=True, slots=True)
class Owned:
    """Assets with an owner.

    Attributes:
        owner: The owner as the asset declares it, or a glob.

    Raises:
        ValueError: The owner is empty.
    """

    owner: str

    def __post_init__(self) -> None:
        if not self.owner:
            raise ValueError("an owner must not be empty; owner:* means any owner")

    def __str__(self) -> str:
        return f"owner:{_quoted(self.owner)}"


@dataclass(frozen=True, slots=True)
class Around:
    """Assets together with what they read, or with what reads them.

    Attributes:
        base: The assets.
        upstream: Levels of what they read; `ANY_LEVEL` for all.
        downstream: Levels of what reads them; `ANY_LEVEL` for all.

    Raises:
        ValueError: Both are zero, or one is out of its range.
    """

    base: Selection
    upstream: int = 0
    downstream: int = 0

    def __post_init__(self) -> None:
        levels = (self.upstream, self.downstream)
        if levels == (0, 0) or min(levels) < ANY_LEVEL or max(levels) > MAX_LEVELS:
            raise ValueError(
                f"levels must be from 1 to {MAX_LEVELS}, or ANY_LEVEL, got {self.upstream} "
                f"upstream and {self.downstream} downstream"
            )

    def __str__(self) -> str:
        before = f"{_level(self.upstream)}+" if self.upstream else ""
        after = f"+{_level(self.downstream)}" if self.downstream else ""
        return f"{before}{_inside(self.base, _WORD)}{after}"


@dataclass(frozen=True, slots=True)
class Not:
    """All assets but some.

    Attributes:
        term: Those that are left out.
    """

    term: Selection

    def __str__(self) -> str:
        return f"not {_inside(self.term, _NOT)}"


@dataclass(frozen=True, slots=True)
class And:
    """Assets that several expressions have in common.

    Attributes:
        terms: The expressions, two at least.

    Raises:
        ValueError: There are fewer.
    """

    terms: tuple[Selection, ...]

    def __post_init__(self) -> None:
        set_field(self, "terms", _several(self.terms))

    def __str__(self) -> str:
        return " and ".join(_inside(term, _NOT) for term in self.terms)


@dataclass(frozen=True, slots=True)
class Or:
    """Assets of one expression or another.

    Attributes:
        terms: The expressions, two at least.

    Raises:
        ValueError: There are fewer.
    """

    terms: tuple[Selection, ...]

    def __post_init__(self) -> None:
        set_field(self, "terms", _several(self.terms))

    def __str__(self) -> str:
        return " or ".join(_inside(term, _AND) for term in self.terms)


Selection = Named | Tagged | Owned | Around | Not | And | Or

_STRENGTH: Final[dict[type, int]] = {Or: _OR, And: _AND, Not: _NOT, Around: _AROUND}


def parse(text: str) -> Selection:
    """Read an expression.

    Args:
        text: The expression; the module's docstring shows what can be written.

    Raises:
        TypeError: It is no string.
        ValueError: It cannot be read; the message says what was expected, and where.
    """
    from servo.types._selection_parser import Parser

    if not isinstance(text, str):
        raise TypeError(f"a selection is read from a string, got {text!r}")
    return Parser(text).parse()


def expressions(selection: str | Iterable[str]) -> tuple[str, ...]:
    """Return what is given as one expression, or as several, as several.

    Raises:
        TypeError: Something else than text is among them.
    """
    return (selection,) if isinstance(selection, str) else text_tuple(selection, "selection")


def is_glob(pattern: str) -> bool:
    """Tell whether a pattern may match several names."""
    return not {"*", "?", "["}.isdisjoint(pattern)


def _several(terms: Iterable[Selection]) -> tuple[Selection, ...]:
    found = tuple(terms)
    if len(found) < 2:
        raise ValueError(f"'and' and 'or' join two expressions at least, got {len(found)}")
    return found


def _inside(term: Selection, weakest: int) -> str:
    text = str(term)
    return text if _STRENGTH.get(type(term), _WORD) >= weakest else f"({text})"


def _level(levels: int) -> str:
    return "" if levels == ANY_LEVEL else str(levels)


def _quoted(text: str) -> str:
    if _is_bare(text) is not None:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
