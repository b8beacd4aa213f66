"""What every verb is told of its caller."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from servo import errors
from servo.types.access import ANY_WORKSPACE, Role

_is_name = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@:+-]{0,127}", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """Who calls: a tenant's workspace, through which kind of program, by which right.

    Attributes:
        tenant_id: The tenant that the call is for.
        workspace_id: The workspace that the call is for.
        source: The program that calls, as it says itself; recorded only.
        role: What the caller may do.
        key_id: The key or the subject of the token that was presented.
        key_workspace: The workspace that the key is for; ``*`` for all.
        expires_at: When what was presented ends; streams end with it.
        request_id: Identifies the call in logs, on both sides.
        trace_context: ``traceparent`` and ``tracestate`` as the caller sent them, if any.
    """

    tenant_id: str
    workspace_id: str
    source: str = ""
    role: Role = Role.VIEWER
    key_id: str = ""
    key_workspace: str = ANY_WORKSPACE
    expires_at: datetime | None = None
    request_id: str = ""
    trace_context: Mapping[str, str] = field(default_factory=dict)


def check_name(kind: str, value: str) -> None:
    """Check the id of a tenant or a workspace.

    Raises:
        servo.errors.InvalidArgumentError: It is no such id.
    """
    if _is_name(value) is None:
        raise errors.InvalidArgumentError(
            f"{value[:200]!r} is no {kind} id; it begins with a letter or digit and has at most "
            "128 letters, digits and . _ - @ : +",
            code="INVALID_WORKSPACE",
        )
