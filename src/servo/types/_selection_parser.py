"""Reads the expressions of `servo.types.selection`, and says where one cannot be read."""

from __future__ import annotations

import difflib
import re
from typing import Final

from servo.types.selection import (
    ANY_LEVEL,
    KEYWORDS,
    MAX_LEVELS,
    And,
    Around,
    Named,
    Not,
    Or,
    Owned,
    Selection,
    Tagged,
)

_MAX_DEPTH: Final = 32

_SPACE: Final = re.compile(r"\s*")
_KEYWORD: Final = re.compile(r"(and|or|not)(?=[\s()]|$)")
_UPSTREAM: Final = re.compile(r"([0-9]*)\+")
_DOWNSTREAM: Final = re.compile(r"\+([0-9]*)")
_NAME: Final = re.compile(r"""[^\s()"+:]+""")
# A plus belongs to a text, such as an address, unless an operator can be read there.
_PLUS: Final = r"\+(?![0-9]*(?:[\s()]|$))"
_TAG_NAME: Final = re.compile(rf"""(?:[^\s()"=+\\]|{_PLUS})+""")
_TEXT: Final = re.compile(rf"""(?:[^\s()"+\\]|{_PLUS})+""")
_QUOTED: Final = re.compile(r'"((?:[^"\\]|\\["\\])*)"')
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_FOUND: Final = re.compile(r"[()]|[^\s()]+")


class Parser:
    """Reads one expression by recursive descent.

    Args:
        text: The expression.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def parse(self) -> Selection:
        """Return what the text says.

        Raises:
            ValueError: It cannot be read.
        """
        if not self._text.strip():
            raise ValueError("Invalid selection '': it is empty; '*' selects every asset")
        found = self._alternatives()
        if self._at < len(self._text):
            raise self._unexpected("'and', 'or' or the end", self._advice())
        return found

    # -- what binds how -------------------------------------------------------------------

    def _alternatives(self) -> Selection:
        terms = [self._conjunction()]
        while self._take("or"):
            terms.append(self._conjunction())
        return Or(tuple(terms)) if len(terms) > 1 else terms[0]

    def _conjunction(self) -> Selection:
        terms = [self._negation()]
        while self._take("and"):
            terms.append(self._negation())
        return And(tuple(terms)) if len(terms) > 1 else terms[0]

    def _negation(self) -> Selection:
        if not self._take("not"):
            return self._around()
        self._descend()
        term = self._negation()
        self._depth -= 1
        return Not(term)

    def _around(self) -> Selection:
        self._skip_space()
        before = _UPSTREAM.match(self._text, self._at)
        upstream = self._levels(before)
        base = self._primary()
        after = _DOWNSTREAM.match(self._text, self._at)
        downstream = self._levels(after)
        start = self._at
        self._skip_space()
        if self._at == start and not self._text.startswith(")", start) and start < len(self._text):
            raise self._unexpected("a space, ')' or the end")
        return Around(base, upstream, downstream) if before or after else base

    def _levels(self, operator: re.Match[str] | None) -> int:
        if operator is None:
            return 0
        digits = operator[1]
        if len(digits) > len(str(MAX_LEVELS)) or digits.startswith("0"):
            raise self._unexpected(
                f"a number of levels from 1 to {MAX_LEVELS}, or '+' alone for all"
            )
        self._at = operator.end()
        return int(digits) if digits else ANY_LEVEL

    # -- what there is --------------------------------------------------------------------

    def _primary(self) -> Selection:
        text = self._text
        if text.startswith("(", self._at):
            self._descend()
            self._at += 1
            found = self._alternatives()
            if not text.startswith(")", self._at):
                raise self._unexpected("'and', 'or' or ')'", self._advice())
            self._at += 1
            self._depth -= 1
            return found
        if text.startswith("tag:", self._at):
            self._at += len("tag:")
            return self._tag()
        if text.startswith("owner:", self._at):
            self._at += len("owner:")
            return Owned(self._value(_TEXT, "an owner"))
        name = _NAME.match(text, self._at)
        if name is None or name[0] in KEYWORDS or (name[0].isascii() and name[0].isdecimal()):
            raise self._unexpected("an asset key, a glob, 'tag:', 'owner:', 'not' or '('")
        if text.startswith(":", name.end()):
            close = difflib.get_close_matches(name[0], ("tag", "owner"), n=1)
            advice = f"; did you mean '{close[0]}:'?" if close else ""
            raise self._unexpected("'tag:' or 'owner:' before a colon", advice)
        self._at = name.end()
        return Named(name[0])

    def _tag(self) -> Tagged:
        name = self._value(_TAG_NAME, "the name of a tag")
        if not self._text.startswith("=", self._at):
            return Tagged(name)
        self._at += 1
        return Tagged(name, self._value(_TEXT, 'a value ("" for the empty one)', may_be_empty=True))

    def _value(self, bare: re.Pattern[str], what: str, *, may_be_empty: bool = False) -> str:
        if self._text.startswith('"', self._at):
            quoted = _QUOTED.match(self._text, self._at)
            if quoted is None:
                raise self._unexpected(
                    'a text that ends with \'"\', with \\" and \\\\ for " and \\'
                )
            if not quoted[1] and not may_be_empty:
                raise self._unexpected(what)
            self._at = quoted.end()
            return _ESCAPE.sub(r"\1", quoted[1])
        found = bare.match(self._text, self._at)
        if found is None:
            raise self._unexpected(what)
        self._at = found.end()
        return found[0]

    # -- where it is ----------------------------------------------------------------------

    def _skip_space(self) -> None:
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()

    def _take(self, word: str) -> bool:
        self._skip_space()
        found = _KEYWORD.match(self._text, self._at)
        if found is None or found[1] != word:
            return False
        self._at = found.end()
        return True

    def _descend(self) -> None:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise self._unexpected(f"at most {_MAX_DEPTH} levels of parentheses and 'not'")

    def _advice(self) -> str:
        """Return what to write instead where one expression follows another."""
        if self._text[self._at : self._at + 1] in ("", ")"):
            return ""
        return ". Give several selections as separate items, or join them with 'or'"

    def _unexpected(self, expected: str, advice: str = "") -> ValueError:
        found = _FOUND.match(self._text, self._at)
        there = (
            repr(found[0]) if found else ("a space" if self._at < len(self._text) else "the end")
        )
        return ValueError(
            f"Invalid selection {self._text!r}: expected {expected} at character {self._at + 1}, "
            f"found {there}{advice}"
        )
