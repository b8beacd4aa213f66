"""Finding the run that somebody means."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

from servo import errors

if TYPE_CHECKING:
    from servo.client import Client

LATEST: Final = "latest"
_ULID_LENGTH: Final = 26
_SEARCHED: Final = 1000
_SHOWN: Final = 5


def resolve(client: Client, text: str) -> str:
    """Return the id of the run that ``text`` names.

    Args:
        client: The control plane.
        text: An id, the unique beginning of one, or ``latest``.

    Raises:
        NotFoundError: No run matches.
        InvalidArgumentError: Several runs match; the message lists some.
    """
    if len(text) == _ULID_LENGTH:
        return text.upper()
    if text.lower() == LATEST:
        newest = next(iter(client.runs.list()), None)
        if newest is None:
            raise errors.NotFoundError("there is no run yet; start one with 'servo run'")
        return newest.run_id
    prefix = text.upper()
    found = [
        run.run_id for run in islice(client.runs.list(), _SEARCHED) if run.run_id.startswith(prefix)
    ]
    if not found or not prefix:
        raise errors.NotFoundError(
            f"no run's id begins with {text!r}; 'servo status' lists the recent runs",
            code="RUN_NOT_FOUND",
        )
    if len(found) > 1:
        shown = ", ".join(found[:_SHOWN])
        raise errors.InvalidArgumentError(
            f"{text!r} is the beginning of {len(found)} runs ({shown}); give more of the id",
            code="RUN_AMBIGUOUS",
        )
    return found[0]
