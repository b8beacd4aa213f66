"""Managing keys over the API: what an admin may make, see and end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plane_kit import KEY, Caller, plane, sync
from servo import errors
from servo._wire import methods
from servo.client import Client
from servo.controlplane.serve import ControlPlane
from servo.types.access import (
    CreateKeyRequest,
    CreateKeyResponse,
    ListKeysRequest,
    RevokeKeyRequest,
    Role,
)
from servo.types.requests import ListRunsRequest

SOON = datetime.now(UTC) + timedelta(days=1)


@asynccontextmanager
async def admin_of(
    served: ControlPlane, url: str, workspace: str = "*", expires_at: datetime | None = None
) -> AsyncIterator[Caller]:
    """A caller with an admin's key of one tenant."""
    _, text = await served.keys.create(
        tenant_id="acme", workspace_id=workspace, role=Role.ADMIN, expires_at=expires_at
    )
    caller = Caller(url, key=text)
    try:
        yield caller
    finally:
        await caller.channel.close()


async def make(caller: Caller, **wanted: object) -> CreateKeyResponse:
    request = CreateKeyRequest(**{"role": Role.VIEWER} | wanted)  # type: ignore[arg-type]  # by name
    made: CreateKeyResponse = await caller.call(methods.CREATE_KEY, request)
    return made


@sync
async def test_a_key_works_until_it_is_revoked(path: Path) -> None:
    async with plane(path) as (_, root):
        made = await make(root, role=Role.DEPLOYER, name="ci", workspace_id="*", expires_at=SOON)
        assert (made.key.tenant_id, made.key.name, made.key.role) == (
            "default",
            "ci",
            Role.DEPLOYER,
        )
        caller = Caller(root.url, key=made.api_key)
        await caller.call(methods.LIST_RUNS, ListRunsRequest())
        ended = await root.call(methods.REVOKE_KEY, RevokeKeyRequest(key_id=made.key.key_id))
        assert ended.key.revoked_at is not None
        with pytest.raises(errors.UnauthenticatedError, match="was revoked"):
            await caller.call(methods.LIST_RUNS, ListRunsRequest())
        await caller.channel.close()


@sync
async def test_listing_goes_on_where_the_last_page_ended(path: Path) -> None:
    async with plane(path) as (_, root):
        made = [(await make(root, name=str(number))).key.key_id for number in range(5)]
        seen: list[str] = []
        token = ""
        while True:
            page = await root.call(
                methods.LIST_KEYS, ListKeysRequest(page_size=2, page_token=token)
            )
            seen += [key.key_id for key in page.keys]
            if not (token := page.next_page_token):
                break
        assert seen == made


@sync
async def test_an_answer_that_lists_keys_has_no_secret(path: Path) -> None:
    async with plane(path) as (_, root):
        made = await make(root)
        assert made.api_key not in repr(made)
        listed = await root.call(methods.LIST_KEYS, ListKeysRequest())
        assert made.api_key[-43:].encode() not in methods.LIST_KEYS.encode_response(listed)


@sync
async def test_a_key_makes_none_for_other_workspaces_than_its_own(path: Path) -> None:
    async with plane(path) as (served, root), admin_of(served, root.url, "prod") as admin:
        assert (await make(admin)).key.workspace_id == "prod"
        for wanted in ("*", "other"):
            with pytest.raises(errors.PermissionDeniedError, match="for the workspace 'prod'"):
                await make(admin, workspace_id=wanted)


@sync
async def test_a_key_makes_none_that_lasts_longer_than_itself(path: Path) -> None:
    async with plane(path) as (served, root), admin_of(served, root.url, expires_at=SOON) as admin:
        assert (await make(admin, expires_at=SOON)).key.expires_at == SOON
        for wanted in (None, SOON + timedelta(seconds=1)):
            with pytest.raises(errors.PermissionDeniedError, match="cannot make one that lasts"):
                await make(admin, expires_at=wanted)


@sync
async def test_an_admin_of_a_workspace_sees_and_ends_its_keys_only(path: Path) -> None:
    async with plane(path) as (served, root), admin_of(served, root.url, "prod") as admin:
        other, _ = await served.keys.create(tenant_id="acme", workspace_id="test", role=Role.VIEWER)
        listed = await admin.call(methods.LIST_KEYS, ListKeysRequest())
        assert other.key_id not in {key.key_id for key in listed.keys}
        with pytest.raises(errors.NotFoundError):
            await admin.call(methods.REVOKE_KEY, RevokeKeyRequest(key_id=other.key_id))


@pytest.mark.parametrize(
    ("wanted", "part"),
    [
        ({"workspace_id": "a/b"}, "no workspace id"),
        ({"name": "x" * 201}, "at most 200"),
        ({"expires_at": datetime(2020, 1, 1, tzinfo=UTC)}, "expired already"),
    ],
)
def test_a_key_that_makes_no_sense_is_refused(
    tmp_path: Path, wanted: dict[str, object], part: str
) -> None:
    async def test() -> None:
        async with plane(tmp_path) as (_, root):
            with pytest.raises(errors.InvalidArgumentError, match=part):
                await make(root, **wanted)

    asyncio.run(asyncio.wait_for(test(), 60))


@sync
async def test_the_client_has_the_verbs_of_keys(path: Path) -> None:
    def use(url: str, key: str) -> None:
        with Client(url, api_key=key) as client:
            made = client.keys.create(Role.WORKER, name="w", expires_at=SOON)
            assert [one.key_id for one in client.keys.list()] == [made.key.key_id]
            assert client.keys.revoke(made.key.key_id).revoked_at is not None

    async with plane(path) as (_, root):
        await asyncio.to_thread(use, root.url, KEY)
