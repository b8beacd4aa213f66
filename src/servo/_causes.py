"""The chain of causes behind an exception, as a traceback would name it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

MAX_CAUSES: Final = 10
"""How many causes of an error are kept and carried over a border."""


def cause_chain(
    error: BaseException, *, limit: int | None = MAX_CAUSES
) -> tuple[BaseException, ...]:
    """List what led to an error, nearest cause first.

    Args:
        error: The error that is reported; it is not part of the answer.
        limit: Longest chain returned; ``None`` for all of it.

    Returns:
        Causes in the order in which a traceback would name them, without repetition.
    """
    chain: list[BaseException] = []
    seen = {id(error)}
    current: BaseException | None = error
    while current is not None and (limit is None or len(chain) < limit):
        suppressed = current.__suppress_context__
        following = current.__cause__ or (None if suppressed else current.__context__)
        if following is None or id(following) in seen:
            break
        seen.add(id(following))
        chain.append(following)
        current = following
    return tuple(chain)


def link_causes(error: BaseException, causes: Iterable[BaseException]) -> None:
    """Make each of ``causes`` the cause of the one before it, and the first that of ``error``."""
    for cause in causes:
        error.__cause__ = cause
        error = cause
