"""Who may do what: the roles, and the API keys that carry them."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

__all__ = [
    "ANY_WORKSPACE",
    "ApiKey",
    "CreateKeyRequest",
    "CreateKeyResponse",
    "ListKeysRequest",
    "ListKeysResponse",
    "RevokeKeyRequest",
    "RevokeKeyResponse",
    "Role",
]

ANY_WORKSPACE = "*"
"""What a key has for its workspace when it is for all of its tenant's."""


class Role(StrEnum):
    """What a key is for; ``docs/security.md`` has the table of what each role may call."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    DEPLOYER = "deployer"
    WORKER = "worker"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """An API key without its secret, which nobody can read again.

    Attributes:
        key_id: What identifies it: the eight characters after ``servo_`` in the key.
        name: What it is for, for people.
        tenant_id: The tenant that it is for.
        workspace_id: The workspace that it is for; ``*`` for all of the tenant's.
        role: What it may do.
        created_at: When it was made.
        expires_at: When it ends by itself; ``None`` for never.
        revoked_at: When it was revoked; ``None`` when it was not.
    """

    key_id: str
    name: str = ""
    tenant_id: str
    workspace_id: str = ANY_WORKSPACE
    role: Role
    created_at: datetime | None = None
    expires_at: datetime | None = None
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKeyRequest:
    """Asks for a key of the caller's tenant; an empty workspace is the caller's."""

    role: Role
    name: str = ""
    workspace_id: str = ""
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CreateKeyResponse:
    """A new key, and the only sight of its text."""

    key: ApiKey
    api_key: str = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeysRequest:
    """Asks for the keys of the caller's tenant; a page size of 0 means 500."""

    page_size: int = 0
    page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ListKeysResponse:
    """A page of keys, oldest first."""

    keys: tuple[ApiKey, ...] = ()
    next_page_token: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKeyRequest:
    """Asks for the end of a key."""

    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RevokeKeyResponse:
    """The key as it is now."""

    key: ApiKey
