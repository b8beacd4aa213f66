"""Keys: what is stored of them, how they are found, and how they end."""

from __future__ import annotations

import asyncio
import hashlib
import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plane_kit import sync
from servo import errors
from servo.controlplane.keys import KeyRing
from servo.controlplane.store.sqlite import SqliteStore
from servo.types.access import Role

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Clock:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now


@asynccontextmanager
async def ring(folder: Path, bootstrap: str = "") -> AsyncIterator[tuple[KeyRing, Clock]]:
    store, clock = SqliteStore(folder / "servo.db"), Clock()
    keys = KeyRing(store, bootstrap, clock)
    await keys.load()
    try:
        yield keys, clock
    finally:
        store.close()


@sync
async def test_a_key_says_what_it_is_and_who_it_is(path: Path) -> None:
    async with ring(path) as (keys, _):
        key, text = await keys.create(tenant_id="acme", workspace_id="*", role=Role.VIEWER)
        shape = re.fullmatch(r"servo_([a-z0-9]{8})_[A-Za-z0-9_-]{43}", text)
        assert shape is not None
        assert shape[1] == key.key_id


@sync
async def test_the_database_holds_the_hash_of_a_key_and_never_the_key(path: Path) -> None:
    async with ring(path) as (keys, _):
        key, text = await keys.create(tenant_id="acme", workspace_id="*", role=Role.VIEWER)
    with sqlite3.connect(path / "servo.db") as db:
        ((digest,),) = db.execute("SELECT digest FROM api_keys WHERE key_id = ?", (key.key_id,))
    db.close()
    assert digest == hashlib.sha256(text.encode()).digest()
    secret = text.rpartition(f"{key.key_id}_")[2].encode()
    for file in path.iterdir():
        assert secret not in file.read_bytes()


@sync
async def test_keys_survive_a_restart(path: Path) -> None:
    async with ring(path) as (keys, _):
        key, text = await keys.create(
            tenant_id="acme",
            workspace_id="prod",
            role=Role.WORKER,
            name="ci",
            expires_at=NOW + timedelta(days=30),
        )
    async with ring(path) as (keys, _):
        found = keys.find(text)
        assert found is not None
        assert (found.tenant_id, found.workspace_id, found.role) == ("acme", "prod", Role.WORKER)
        assert keys.visible("acme", "*") == [key]


@sync
async def test_a_key_that_is_wrong_in_any_character_is_nobodys(path: Path) -> None:
    async with ring(path, bootstrap="boot") as (keys, _):
        _, text = await keys.create(tenant_id="acme", workspace_id="*", role=Role.VIEWER)
        for index in range(len(text)):
            other = "x" if text[index] != "x" else "y"
            assert keys.find(text[:index] + other + text[index + 1 :]) is None
        for wrong in ("", "boo", "boot ", text[:-1], text + "x", "servo_" + "é" * 8, "\ud800"):
            assert keys.find(wrong) is None


@sync
async def test_a_key_ends_when_it_expires(path: Path) -> None:
    async with ring(path) as (keys, clock):
        soon = NOW + timedelta(minutes=1)
        _, text = await keys.create(
            tenant_id="acme", workspace_id="*", role=Role.VIEWER, expires_at=soon
        )
        assert keys.find(text) is not None
        clock.now = soon
        with pytest.raises(errors.UnauthenticatedError, match="expired at 2026-01-01T00:01") as e:
            keys.find(text)
        assert e.value.code == "KEY_EXPIRED"


@sync
async def test_a_key_that_would_have_expired_already_is_not_made(path: Path) -> None:
    async with ring(path) as (keys, _):
        with pytest.raises(errors.InvalidArgumentError, match="has expired already"):
            await keys.create(tenant_id="acme", workspace_id="*", role=Role.VIEWER, expires_at=NOW)
        assert keys.is_empty


@sync
async def test_a_revoked_key_stays_revoked_after_a_restart(path: Path) -> None:
    async with ring(path) as (keys, clock):
        key, text = await keys.create(tenant_id="acme", workspace_id="*", role=Role.VIEWER)
        revoked = await keys.revoke("acme", "*", key.key_id)
        clock.now += timedelta(days=1)
        assert await keys.revoke("acme", "*", key.key_id) == revoked
        assert keys.is_empty
    async with ring(path) as (keys, _):
        with pytest.raises(errors.UnauthenticatedError, match="was revoked"):
            keys.find(text)


@sync
async def test_revoking_ends_what_the_key_holds_open_and_nothing_else(path: Path) -> None:
    async with ring(path) as (keys, _):
        key, _ = await keys.create(tenant_id="acme", workspace_id="*", role=Role.VIEWER)

        async def hold(key_id: str) -> None:
            async with keys.while_valid(key_id):
                await asyncio.sleep(0.5)

        mine = asyncio.create_task(hold(key.key_id))
        others = asyncio.create_task(hold("other"))
        await asyncio.sleep(0)
        await keys.revoke("acme", "*", key.key_id)
        with pytest.raises(errors.UnauthenticatedError, match="was revoked or has expired"):
            await mine
        await others


@sync
async def test_a_stream_ends_when_its_credential_does(path: Path) -> None:
    async with ring(path) as (keys, _):
        with pytest.raises(errors.UnauthenticatedError):
            async with keys.while_valid("abc", NOW + timedelta(milliseconds=20)):
                await asyncio.sleep(5)


@sync
async def test_a_timeout_of_the_block_itself_is_not_taken_for_the_end_of_the_key(
    path: Path,
) -> None:
    async with ring(path) as (keys, _):
        with pytest.raises(TimeoutError, match="own"):
            async with keys.while_valid("abc"):
                raise TimeoutError("own")


@sync
async def test_keys_of_others_cannot_be_seen_or_revoked(path: Path) -> None:
    async with ring(path) as (keys, _):
        theirs, text = await keys.create(tenant_id="acme", workspace_id="a", role=Role.VIEWER)
        assert keys.visible("globex", "*") == []
        assert keys.visible("acme", "b") == []
        for scope in (("globex", "*"), ("acme", "b")):
            with pytest.raises(errors.NotFoundError, match=f"no API key '{theirs.key_id}'"):
                await keys.revoke(*scope, theirs.key_id)
        assert keys.find(text) is not None


@sync
async def test_the_bootstrap_key_is_for_everything(path: Path) -> None:
    async with ring(path, bootstrap="boot") as (keys, _):
        found = keys.find("boot")
        assert found is not None
        assert found.covers("any", "thing")
        assert found.role is Role.ADMIN


@sync
async def test_a_lent_key_is_for_its_role_and_workspace_and_is_not_listed(path: Path) -> None:
    async with ring(path, "bootstrap") as (keys, _):
        text = keys.lend(tenant_id="t", workspace_id="w", role=Role.WORKER, key_id="worker:t/w")
        found = keys.find(text)
        assert found is not None
        assert (found.role, found.key_id) == (Role.WORKER, "worker:t/w")
        assert (found.covers("t", "w"), found.covers("t", "x")) == (True, False)
        assert keys.visible("t", "*") == []
        assert keys.find(text[:-1]) is None
    async with ring(path, "bootstrap") as (keys, _):
        assert keys.find(text) is None
