"""Listings that come in pages, as iterators."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar


class Page(Protocol):
    """A response that says where to go on."""

    @property
    def next_page_token(self) -> str:
        """Where to go on; empty at the end."""
        ...


P = TypeVar("P", bound=Page)
Item = TypeVar("Item")


def items(fetch: Callable[[str], P], of: Callable[[P], Iterable[Item]]) -> Iterator[Item]:
    """Yield the items of all pages; a page is fetched when its first item is asked for.

    Args:
        fetch: Returns the page for a token; the first token is empty.
        of: Returns the items of a page.
    """
    token = ""
    while True:
        page = fetch(token)
        yield from of(page)
        token = page.next_page_token
        if not token:
            return
