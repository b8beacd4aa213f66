"""What every verb is told of its caller, and how listings are continued."""

from __future__ import annotations

from dataclasses import dataclass

from servo import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: a tenant's workspace, through which kind of program."""

    tenant_id: str
    workspace_id: str
    source: str = ""


def page_number(token: str) -> int:
    """Return the number in a page token; an empty one is 0.

    Raises:
        servo.errors.InvalidArgumentError: It was not made here.
    """
    if token and not (token.isascii() and token.isdigit()):
        raise errors.InvalidArgumentError(
            f"{token!r} is no page token; pass the one of the last response"
        )
    return int(token or 0)
