"""API keys as rows: moments are whole microseconds since 1970."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from servo.controlplane.store.stored import StoredKey
from servo.types.access import ApiKey, Role

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def microseconds(moment: datetime) -> int:
    """Return a moment as it is stored."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def to_row(stored: StoredKey) -> dict[str, Any]:
    """Return the row of a key that is not revoked."""
    key = stored.key
    assert key.created_at is not None
    return {
        "key_id": key.key_id,
        "digest": stored.digest,
        "name": key.name,
        "tenant_id": key.tenant_id,
        "workspace_id": key.workspace_id,
        "role": key.role.value,
        "created_at": microseconds(key.created_at),
        "expires_at": None if key.expires_at is None else microseconds(key.expires_at),
    }


def from_row(row: Sequence[Any]) -> StoredKey:
    """Read a key out of the columns in the order in which the query names them."""
    key_id, digest, name, tenant_id, workspace_id, role, created, expires, revoked = row
    key = ApiKey(
        key_id=key_id,
        name=name,
        tenant_id=tenant_id,
        workspace_id=workspace_id,
        role=Role(role),
        created_at=_moment(created),
        expires_at=_moment(expires),
        revoked_at=_moment(revoked),
    )
    return StoredKey(key, digest)


def _moment(stored: int | None) -> datetime | None:
    return None if stored is None else _EPOCH + timedelta(microseconds=stored)
