"""The verbs of API keys."""

from __future__ import annotations

from servo import errors
from servo.controlplane import paging
from servo.controlplane.caller import Caller, check_name
from servo.controlplane.keys import KeyRing
from servo.types.access import (
    ANY_WORKSPACE,
    CreateKeyRequest,
    CreateKeyResponse,
    ListKeysRequest,
    ListKeysResponse,
    RevokeKeyRequest,
    RevokeKeyResponse,
)

_MAX_NAME = 200


class Access:
    """The RPCs of ``KeyService``.

    Args:
        keys: What they act on.
    """

    def __init__(self, keys: KeyRing) -> None:
        self.keys = keys

    async def create_key(self, caller: Caller, request: CreateKeyRequest) -> CreateKeyResponse:
        """Make a key of the caller's tenant, for no more than the caller's own key is for.

        Raises:
            servo.errors.InvalidArgumentError: It would have expired already, or its name is long.
            servo.errors.PermissionDeniedError: It would be for more workspaces than the caller's,
                or last longer.
        """
        workspace_id = request.workspace_id or caller.workspace_id
        if caller.key_workspace not in (ANY_WORKSPACE, workspace_id):
            raise errors.PermissionDeniedError(
                f"the key {caller.key_id!r} is for the workspace {caller.key_workspace!r} and "
                f"cannot make one for {workspace_id!r}",
                code="SCOPE_NOT_ALLOWED",
            )
        if caller.expires_at is not None and (
            request.expires_at is None or request.expires_at > caller.expires_at
        ):
            raise errors.PermissionDeniedError(
                f"the key {caller.key_id!r} expires at {caller.expires_at.isoformat()} and cannot "
                "make one that lasts longer",
                code="SCOPE_NOT_ALLOWED",
            )
        if len(request.name) > _MAX_NAME:
            raise errors.InvalidArgumentError(
                f"the name of a key has at most {_MAX_NAME} characters, not {len(request.name)}"
            )
        if workspace_id != ANY_WORKSPACE:
            check_name("workspace", workspace_id)
        key, text = await self.keys.create(
            tenant_id=caller.tenant_id,
            workspace_id=workspace_id,
            role=request.role,
            name=request.name,
            expires_at=request.expires_at,
        )
        return CreateKeyResponse(key=key, api_key=text)

    async def list_keys(self, caller: Caller, request: ListKeysRequest) -> ListKeysResponse:
        """Return a page of the keys of the caller's tenant, oldest first.

        Raises:
            servo.errors.InvalidArgumentError: The size or the token of the page is not one.
        """
        size = paging.KEYS.size(request.page_size)
        first = paging.KEYS.number(request.page_token)
        found = self.keys.visible(caller.tenant_id, caller.key_workspace)
        more = paging.KEYS.token(first + size) if len(found) > first + size else ""
        return ListKeysResponse(keys=tuple(found[first : first + size]), next_page_token=more)

    async def revoke_key(self, caller: Caller, request: RevokeKeyRequest) -> RevokeKeyResponse:
        """End a key of the caller's tenant.

        Raises:
            servo.errors.NotFoundError: There is no such key.
        """
        key = await self.keys.revoke(caller.tenant_id, caller.key_workspace, request.key_id)
        return RevokeKeyResponse(key=key)
