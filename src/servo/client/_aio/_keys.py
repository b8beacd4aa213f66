"""API keys: making, listing and revoking them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from servo._wire import methods
from servo.client._aio._calls import Calls, pages
from servo.types.access import (
    ApiKey,
    CreateKeyRequest,
    CreateKeyResponse,
    ListKeysRequest,
    RevokeKeyRequest,
    Role,
)


class AsyncKeys:
    """The API keys of a tenant. Use it as ``client.keys``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def create(
        self,
        role: Role,
        *,
        name: str = "",
        workspace_id: str = "",
        expires_at: datetime | None = None,
    ) -> CreateKeyResponse:
        """Make a key. The answer is the only place where its text is ever shown.

        Args:
            role: What it may do.
            name: What it is for, for people.
            workspace_id: The workspace that it is for, ``"*"`` for all; the client's own when left
                out.
            expires_at: When it ends by itself; never when left out.

        Raises:
            PermissionDeniedError: The caller is no admin, or asks for more than it has itself.
            InvalidArgumentError: It would have expired already.
        """
        request = CreateKeyRequest(
            role=role, name=name, workspace_id=workspace_id, expires_at=expires_at
        )
        return await self._calls.unary(methods.CREATE_KEY, request)

    async def list(self, *, page_size: int = 0) -> AsyncIterator[ApiKey]:
        """Read the keys, oldest first and also those that have ended, page by page.

        Args:
            page_size: Keys in a page; zero for the server's choice.
        """
        async for page in pages(
            lambda token: self._calls.unary(
                methods.LIST_KEYS, ListKeysRequest(page_size=page_size, page_token=token)
            ),
            lambda page: page.next_page_token,
        ):
            for key in page.keys:
                yield key

    async def revoke(self, key_id: str) -> ApiKey:
        """End a key, and every stream that it opened.

        Args:
            key_id: The eight characters after ``servo_`` in the key.

        Raises:
            NotFoundError: There is no such key.
        """
        return (await self._calls.unary(methods.REVOKE_KEY, RevokeKeyRequest(key_id=key_id))).key
