"""What selections mean for the assets of a deployment; nothing here recurses over assets."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final

from servo import errors
from servo.controlplane.globs import Glob
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

MAX_EXPRESSION: Final = 4_096
"""Characters of one expression."""
MAX_COMPARISONS: Final = 1_000_000
"""Globs, tags, owners and neighbourhoods of all expressions of a request, times the assets."""

_SHOWN = 10
_ADVISED = 1_000


def select(expressions: Sequence[str], catalog: Catalog) -> set[AssetKey]:
    """Return the assets that some expressions mean together.

    The order does not matter: what an expression ``not …`` names is taken away from what all the
    others mean, or from every asset where there are no others.

    Args:
        expressions: What to select; see `servo.types.selection`.
        catalog: The assets.

    Raises:
        servo.errors.InvalidArgumentError: An expression cannot be read or is too long, or
            there is too much to compare.
        servo.errors.NotFoundError: A key or a glob names nothing, an expression means no asset, or
            nothing is left.
    """
    chosen: set[AssetKey] = set()
    left_out: set[AssetKey] = set()
    has_positive = False
    left = MAX_COMPARISONS // max(len(catalog.assets), 1)
    for text in dict.fromkeys(expressions):
        selection = _parsed(text)
        left -= _searches(selection)
        if left < 0:
            raise errors.InvalidArgumentError(
                f"the selections have too many globs, tags, owners and neighbourhoods for "
                f"{len(catalog.assets):,} assets: together they may look at "
                f"{MAX_COMPARISONS:,}; select in several requests, or name the assets",
                code="SELECTION_TOO_LARGE",
            )
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


def _searches(selection: Selection) -> int:
    """Return how many parts of an expression look at every asset."""
    match selection:
        case Named(pattern):
            return int(is_glob(pattern))
        case Around(term, _, _) | Not(term):
            return 1 + _searches(term)
        case And(terms) | Or(terms):
            return sum(map(_searches, terms))
        case _:
            return 1


def _parsed(text: str) -> Selection:
    if len(text) > MAX_EXPRESSION:
        raise errors.InvalidArgumentError(
            f"a selection of {len(text):,} characters is too long: it has at most "
            f"{MAX_EXPRESSION:,}; give several selections",
            code="INVALID_SELECTION",
        )
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
    return Glob(pattern).matches if is_glob(pattern) else pattern.__eq__


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
    names = sorted(known)[:_ADVISED]
    if close := difflib.get_close_matches(text, names, n=3):
        return f"; did you mean {', '.join(close)}?"
    if not names:
        return f"; the assets have no {what}"
    return f"; the {what} are {', '.join(names[:_SHOWN])}{', …' if len(names) > _SHOWN else ''}"
