"""API keys: made here, shown once, and found again by their hash.

A key is ``servo_`` and eight characters that identify it, then 256 bits of chance. Nobody can try
such a number of guesses, so a fast hash is enough where passwords would need a slow one: what is
stored is the SHA-256 of the key, and neither the database nor a copy of it opens anything.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from servo import errors
from servo.controlplane.store.stored import StoredKey
from servo.types.access import ANY_WORKSPACE, ApiKey, Role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from servo.controlplane.store.store import Store

BOOTSTRAP_ID: Final = "bootstrap"
"""The id of the key that the control plane was started with."""

_ALPHABET: Final = string.ascii_lowercase + string.digits
_ID_LENGTH: Final = 8
_SECRET_BYTES: Final = 32
_key_id = re.compile(r"servo_([a-z0-9]{8})_[A-Za-z0-9_-]{43}", re.ASCII).fullmatch
_NOBODY: Final = bytes(32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Whom a credential stands for.

    Attributes:
        key_id: Identifies the credential in logs and limits; no secret.
        role: What it may do.
        tenant_id: The tenant that it is for; ``*`` for every tenant, which only the key has that
            the control plane was started with.
        workspace_id: The workspace that it is for; ``*`` for all of the tenant's.
        expires_at: When it ends.
    """

    key_id: str
    role: Role
    tenant_id: str
    workspace_id: str
    expires_at: datetime | None = None

    def covers(self, tenant_id: str, workspace_id: str) -> bool:
        """Tell whether a workspace is one that the credential is for."""
        return self.tenant_id in (ANY_WORKSPACE, tenant_id) and self.workspace_id in (
            ANY_WORKSPACE,
            workspace_id,
        )


class KeyRing:
    """Every key that opens this control plane.

    Args:
        store: Where keys are kept.
        bootstrap: The key that the control plane was started with, for everything; empty for none.
        clock: The time.
    """

    def __init__(
        self,
        store: Store,
        bootstrap: str = "",
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._store = store
        self._clock = clock
        self._bootstrap = _digest(bootstrap) if bootstrap else b""
        self._keys: dict[str, tuple[StoredKey, Principal]] = {}
        self._lent: dict[bytes, Principal] = {}
        self._open: dict[str, set[asyncio.Timeout]] = {}
        self._changing = asyncio.Lock()

    @property
    def is_empty(self) -> bool:
        """Whether no key at all opens the control plane."""
        return not self._bootstrap and not any(
            self._problem(stored.key) is None for stored, _ in self._keys.values()
        )

    async def load(self) -> None:
        """Read the keys from the store."""
        for stored in await self._store.keys():
            self._remember(stored)

    def find(self, credential: str) -> Principal | None:
        """Return whom a credential stands for; `None` when it is no key of this control plane.

        Whether an id exists, and how much of a secret is right, does not show in the time this
        takes: every path hashes what was presented and compares all of a digest.

        Raises:
            servo.errors.UnauthenticatedError: The key is right, and was revoked or has expired.
        """
        digest = _digest(credential)
        if self._bootstrap and hmac.compare_digest(digest, self._bootstrap):
            return _BOOTSTRAP
        # By its digest, of which nobody can choose a part.
        if (lent := self._lent.get(digest)) is not None:
            return lent
        shape = _key_id(credential)
        known = self._keys.get(shape[1]) if shape else None
        if not hmac.compare_digest(digest, known[0].digest if known else _NOBODY) or not known:
            return None
        stored, principal = known
        problem = self._problem(stored.key)
        if problem is not None:
            raise problem
        return principal

    def lend(self, *, tenant_id: str, workspace_id: str, role: Role, key_id: str) -> str:
        """Make a key that lives as long as this process; it is neither stored nor listed.

        Args:
            tenant_id: The tenant that it is for.
            workspace_id: The workspace that it is for.
            role: What it may do.
            key_id: Identifies it in logs and limits.

        Returns:
            Its text.
        """
        text = secrets.token_urlsafe(_SECRET_BYTES)
        self._lent[_digest(text)] = Principal(
            key_id=key_id, role=role, tenant_id=tenant_id, workspace_id=workspace_id
        )
        return text

    async def create(
        self,
        *,
        tenant_id: str,
        workspace_id: str,
        role: Role,
        name: str = "",
        expires_at: datetime | None = None,
    ) -> tuple[ApiKey, str]:
        """Make a key; return it and its text, which is not kept anywhere.

        Raises:
            servo.errors.InvalidArgumentError: It would have expired already.
            servo.errors.FilesystemError: The disk refused; there is no such key.
        """
        now = self._clock()
        if expires_at is not None and expires_at <= now:
            raise errors.InvalidArgumentError(
                f"a key that expires at {expires_at.isoformat()!r} has expired already; give a "
                "moment in the future"
            )
        async with self._changing:
            while (key_id := _random_id()) in self._keys:
                pass
            text = f"servo_{key_id}_{secrets.token_urlsafe(_SECRET_BYTES)}"
            key = ApiKey(
                key_id=key_id,
                name=name,
                tenant_id=tenant_id,
                workspace_id=workspace_id,
                role=role,
                created_at=now,
                expires_at=expires_at,
            )
            stored = StoredKey(key, _digest(text))
            await self._store.put_key(stored)
            self._remember(stored)
        return key, text

    def visible(self, tenant_id: str, workspace_id: str) -> list[ApiKey]:
        """Return the keys of a tenant, oldest first, that somebody of a workspace may know of.

        Args:
            tenant_id: The tenant.
            workspace_id: The workspace; ``*`` shows the keys of all of them.
        """
        return [
            stored.key
            for stored, _ in self._keys.values()
            if stored.key.tenant_id == tenant_id
            and workspace_id in (ANY_WORKSPACE, stored.key.workspace_id)
        ]

    async def revoke(self, tenant_id: str, workspace_id: str, key_id: str) -> ApiKey:
        """Revoke a key and end the streams that it opened; once revoked it stays so.

        Raises:
            servo.errors.NotFoundError: There is no such key that the caller may know of.
            servo.errors.FilesystemError: The disk refused; the key still works.
        """
        async with self._changing:
            seen = {key.key_id: key for key in self.visible(tenant_id, workspace_id)}
            if key_id not in seen:
                raise errors.NotFoundError(
                    f"there is no API key {key_id!r}; `servo keys list` shows them",
                    code="KEY_NOT_FOUND",
                )
            stored, _ = self._keys[key_id]
            if stored.key.revoked_at is None:
                now = self._clock()
                await self._store.revoke_key(key_id, now)
                stored = replace(stored, key=replace(stored.key, revoked_at=now))
                self._remember(stored)
                for timeout in self._open.pop(key_id, ()):
                    if not timeout.expired():
                        timeout.reschedule(asyncio.get_running_loop().time())
        return stored.key

    @asynccontextmanager
    async def while_valid(
        self, key_id: str, expires_at: datetime | None = None
    ) -> AsyncIterator[None]:
        """Let a block go on for as long as a credential is good.

        Raises:
            servo.errors.UnauthenticatedError: It was revoked, or has expired meanwhile.
        """
        left = None
        if expires_at is not None:
            left = max((expires_at - self._clock()).total_seconds(), 0.0)
        timeout = asyncio.timeout(left)
        held = self._open.setdefault(key_id, set())
        held.add(timeout)
        try:
            async with timeout:
                yield
        except TimeoutError as exc:
            if not timeout.expired():
                raise
            raise errors.UnauthenticatedError(
                f"the credential {key_id!r} was revoked or has expired; get a new one",
                code="CREDENTIAL_ENDED",
            ) from exc
        finally:
            held.discard(timeout)
            if not held and self._open.get(key_id) is held:
                del self._open[key_id]

    def _remember(self, stored: StoredKey) -> None:
        key = stored.key
        principal = Principal(
            key_id=key.key_id,
            role=key.role,
            tenant_id=key.tenant_id,
            workspace_id=key.workspace_id,
            expires_at=key.expires_at,
        )
        self._keys[key.key_id] = (stored, principal)

    def _problem(self, key: ApiKey) -> errors.UnauthenticatedError | None:
        if key.revoked_at is not None:
            return errors.UnauthenticatedError(
                f"the API key {key.key_id!r} was revoked; ask for a new one", code="KEY_REVOKED"
            )
        if key.expires_at is not None and key.expires_at <= self._clock():
            return errors.UnauthenticatedError(
                f"the API key {key.key_id!r} expired at {key.expires_at.isoformat()}; ask for a "
                "new one",
                code="KEY_EXPIRED",
            )
        return None


_BOOTSTRAP: Final = Principal(
    key_id=BOOTSTRAP_ID, role=Role.ADMIN, tenant_id=ANY_WORKSPACE, workspace_id=ANY_WORKSPACE
)


def _digest(credential: str) -> bytes:
    return hashlib.sha256(credential.encode("utf-8", "surrogatepass")).digest()


def _random_id() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_ID_LENGTH))
