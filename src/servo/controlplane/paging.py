"""Pages of listings: sizes and tokens, read in one place for all of them.

A token is the name of its listing, a dot, and where to go on: a position, a sequence number or an
id. Callers pass it back as it is.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Final, TypeVar

from servo import _wire, errors
from servo.types.ids import Ulid

_MAX_PAGE: Final = 1_000
_NEWEST: Final = "~"
"""Sorts after every ULID."""
_MAX_NUMBER: Final = 2**63 - 1
# Not more digits than that: reading takes longer than linear, and Python refuses very many.
_is_number = re.compile(r"[1-9][0-9]{0,18}", re.ASCII).fullmatch
_SHOWN: Final = 100
_MOST_PARTS: Final = 50_000
"""Items of lists and maps inside what is on one page."""

_T = TypeVar("_T")


class Listing:
    """What can be listed page by page.

    Args:
        name: What its tokens begin with.
        usual_size: The size of a page where a request asks for none.
    """

    def __init__(self, name: str, *, usual_size: int) -> None:
        self._prefix = f"{name}."
        self._usual_size = usual_size

    def size(self, wanted: int) -> int:
        """Return the size of a page.

        Args:
            wanted: The size that a request asks for; 0 for the usual one.

        Raises:
            servo.errors.InvalidArgumentError: It is negative.
        """
        if wanted < 0:
            raise errors.InvalidArgumentError(
                f"the page size {wanted} is negative; 0 means {self._usual_size}, and more than "
                f"{_MAX_PAGE:,} is taken as that",
                code="INVALID_PAGE_SIZE",
            )
        return min(wanted or self._usual_size, _MAX_PAGE)

    def fitting(self, items: Sequence[_T], size: int) -> Sequence[_T]:
        """Return the items of a page: so many, or fewer where they are large, one at least.

        Args:
            items: What there is to list.
            size: The size of the page.
        """
        left = _MOST_PARTS
        for count, item in enumerate(items[:size]):
            left -= 1 + _wire.parts_of(item, left)
            if left < 0:
                return items[: max(count, 1)]
        return items[:size]

    def token(self, place: object) -> str:
        """Return the token for going on at a place."""
        return f"{self._prefix}{place}"

    def number(self, token: str, *, first: int = 0) -> int:
        """Return the number in a token.

        Args:
            token: The token of a request.
            first: What an empty one stands for.

        Raises:
            servo.errors.InvalidArgumentError: It was not made for this listing.
        """
        if not token:
            return first
        text = token.removeprefix(self._prefix)
        if token.startswith(self._prefix) and _is_number(text) and int(text) <= _MAX_NUMBER:
            return int(text)
        raise self._unknown(token)

    def identifier(self, token: str) -> str:
        """Return the id in a token; one that sorts after every id for an empty token.

        Raises:
            servo.errors.InvalidArgumentError: It was not made for this listing.
        """
        if not token:
            return _NEWEST
        text = token.removeprefix(self._prefix)
        with contextlib.suppress(ValueError):
            if token.startswith(self._prefix) and Ulid(text) == text:
                return text
        raise self._unknown(token)

    def _unknown(self, token: str) -> errors.InvalidArgumentError:
        return errors.InvalidArgumentError(
            f"{token[:_SHOWN]!r} is not a page token of this listing; pass the one of the last "
            "response, or none for the first page",
            code="INVALID_PAGE_TOKEN",
        )


RUNS: Final = Listing("runs", usual_size=50)
TASKS: Final = Listing("tasks", usual_size=1_000)
DEPLOYMENTS: Final = Listing("deployments", usual_size=50)
ASSETS: Final = Listing("assets", usual_size=500)
MATERIALIZATIONS: Final = Listing("materializations", usual_size=500)
KEYS: Final = Listing("keys", usual_size=500)
