"""What selections mean for the assets of a deployment; nothing here recurses over assets."""

from __future__ import annotations

import difflib
import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from servo import errors
from servo.types.keys import AssetKey
from servo.types.selection import (
    And,
    Around,
    Named,
    Not,
    Or,
    Owned,
    Selection,
    Tagged,
    is_glob,
    parse,
)

if TYPE_CHECKING:
    from servo.controlplane.catalog import Catalog

_SHOWN = 10


def select(expressions: Sequence[str], catalog: Catalog) -> set[AssetKey]:
    """Return the assets that some expressions mean together.

    The order does not matter: what an expression ``not …`` names is taken away from what all the
    others mean, or from every asset where there are no others.

    Args:
        expressions: What to select; see `servo.types.selection`.
        catalog: The assets.

    Raises:
        servo.errors.InvalidArgumentError: An expression cannot be read.
        servo.errors.NotFoundError: A key or a glob names nothing, an expression means no asset, or
            nothing is left.
    """
    chosen: set[AssetKey] = set()
    left_out: set[AssetKey] = set()
    has_positive = False
    for text in expressions:
        selection = _parsed(text)
        if isinstance(selection, Not):
            left_out |= _meant(selection.term, catalog, is_left_out=True)
            continue
        has_positive = True
        found = _meant(selection, catalog)
        if not found:
            raise _nothing(selection, catalog)
        chosen |= found
    if not has_positive and expressions:
        chosen = set(catalog.assets)
    chosen -= left_out
    if not chosen and expressions:
        raise errors.NotFoundError(
            f"nothing is left of the selection {', '.join(map(repr, expressions))}: "
            "what it names is left out again",
            code="SELECTION_EMPTY",
        )
    return chosen


def _parsed(text: str) -> Selection:
    try:
        return parse(text)
    except ValueError as exc:
        raise errors.InvalidArgumentError(str(exc), code="INVALID_SELECTION") from exc


def _meant(selection: Selection, catalog: Catalog, *, is_left_out: bool = False) -> set[AssetKey]:
    """Evaluate one expression; it is as deep as its parentheses, which the parser limits."""
    match selection:
        case Named(pattern):
            return _named(pattern, catalog, may_be_none=is_left_out)
        case Tagged(name, value):
            is_name, is_value = _matcher(name), _matcher("*" if value is None else value)
            return {
                key
                for key, asset in catalog.assets.items()
                if any(is_name(tag) and is_value(given) for tag, given in asset.tags.items())
            }
        case Owned(owner):
            is_owner = _matcher(owner)
            return {
                key for key, asset in catalog.assets.items() if any(map(is_owner, asset.owners))
            }
        case Around(base, upstream, downstream):
            start = _meant(base, catalog, is_left_out=is_left_out)
            above = reach(start, catalog.upstream, upstream)
            return above | reach(start, catalog.downstream, downstream)
        case Not(term):
            return catalog.assets.keys() - _meant(term, catalog, is_left_out=True)
        case And(terms):
            found = [_meant(term, catalog, is_left_out=is_left_out) for term in terms]
            return set.intersection(*found)
        case Or(terms):
            return set().union(*(_meant(term, catalog, is_left_out=is_left_out) for term in terms))


def reach(
    start: Iterable[AssetKey], neighbours: Callable[[AssetKey], Iterable[AssetKey]], levels: int
) -> set[AssetKey]:
    """Return where one gets from some assets, themselves included.

    Args:
        start: The assets.
        neighbours: Returns those that are one level away.
        levels: How far to go; `servo.types.selection.ANY_LEVEL` for as far as possible.
    """
    reached = set(start)
    border = list(reached)
    while border and levels:
        beyond: list[AssetKey] = []
        for key in border:
            for neighbour in neighbours(key):
                if neighbour not in reached:
                    reached.add(neighbour)
                    beyond.append(neighbour)
        border = beyond
        levels -= 1
    return reached


def _named(pattern: str, catalog: Catalog, *, may_be_none: bool) -> set[AssetKey]:
    if not is_glob(pattern):
        key = catalog.named(pattern)
        if key is None:
            raise catalog.unknown(pattern)
        return {key}
    matches = _matcher(pattern)
    found = {key for key in catalog.assets if matches(str(key))}
    # It is no mistake to leave out what happens not to be there; a key that is misspelt is one.
    if not found and not may_be_none:
        raise catalog.unknown(pattern)
    return found


def _matcher(pattern: str) -> Callable[[str], object]:
    if is_glob(pattern):
        return re.compile(fnmatch.translate(pattern)).match
    return pattern.__eq__


def _nothing(selection: Selection, catalog: Catalog) -> errors.NotFoundError:
    """Return what is said of an expression that no asset fits."""
    assets = catalog.assets.values()
    advice = ""
    if isinstance(selection, Tagged):
        has_value = selection.value is not None
        tags = {
            str(Tagged(name, value if has_value else None))
            for asset in assets
            for name, value in asset.tags.items()
            if name
        }
        advice = _advice(str(selection), "tags", tags)
    elif isinstance(selection, Owned):
        owners = {str(Owned(owner)) for asset in assets for owner in asset.owners if owner}
        advice = _advice(str(selection), "owners", owners)
    return errors.NotFoundError(
        f"no asset fits the selection {str(selection)!r}{advice}",
        code="SELECTION_EMPTY",
        context={"selection": str(selection)},
    )


def _advice(text: str, what: str, known: Iterable[str]) -> str:
    names = sorted(known)
    if close := difflib.get_close_matches(text, names, n=3):
        return f"; did you mean {', '.join(close)}?"
    if not names:
        return f"; the assets have no {what}"
    return f"; the {what} are {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
