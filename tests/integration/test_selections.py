"""Selections over the wire: what a control plane makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from plane_kit import Caller, asset, plane, sync
from servo import _wire, errors
from servo.types.requests import ListAssetsRequest

rpc = _wire.methods
SHOP = (
    asset("raw.orders", tags={"tier": "bronze"}),
    asset("raw.returns", owners=("ada@example.com",)),
    asset("mart.sales", "raw.orders"),
    asset("mart.net", "mart.sales", "raw.returns", tags={"tier": "gold"}),
)


async def listed(caller: Caller, *selection: str, size: int = 1) -> list[str]:
    """List assets page by page."""
    found: list[str] = []
    token = ""
    while True:
        request = ListAssetsRequest(selection=selection, page_size=size, page_token=token)
        page = await caller.call(rpc.LIST_ASSETS, request)
        found += [str(item.definition.key) for item in page.assets]
        token = page.next_page_token
        if not token:
            return found


@sync
async def test_assets_are_listed_by_selections_page_by_page(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(SHOP)
        everything = ["mart.net", "mart.sales", "raw.orders", "raw.returns"]
        assert await listed(caller) == everything
        assert await listed(caller, "+mart.net") == everything
        assert await listed(caller, "1+mart.net", "not raw.*") == ["mart.net", "mart.sales"]
        assert await listed(caller, "tag:tier", "owner:ada@*") == [
            "mart.net",
            "raw.orders",
            "raw.returns",
        ]
        await caller.deploy(SHOP[:2])
        assert await listed(caller, "+raw.*") == ["raw.orders", "raw.returns"]


@sync
async def test_a_run_is_of_what_its_selections_mean(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(SHOP)
        created = await caller.create_run("+mart.net", "not mart.net")
        run = await caller.get_run(created.run.run_id)
        assert [str(task.asset_key) for task in run.tasks] == [
            "raw.orders",
            "mart.sales",
            "raw.returns",
        ]
        assert run.selection == ("+mart.net", "not mart.net")
        more = await caller.create_run("raw.orders", downstream=True, upstream=True)
        assert more.run.counts.total == 4


@sync
async def test_a_selection_that_cannot_be_read_or_means_nothing_is_refused(path: Path) -> None:
    async with plane(path) as (_, caller):
        await caller.deploy(SHOP)
        with pytest.raises(errors.InvalidArgumentError, match="at character 12") as unread:
            await caller.create_run("raw.orders raw.returns")
        assert unread.value.code == "INVALID_SELECTION"
        with pytest.raises(errors.NotFoundError, match="did you mean tag:tier=gold") as nothing:
            await listed(caller, "tag:tier=glod")
        assert nothing.value.code == "SELECTION_EMPTY"
        with pytest.raises(errors.NotFoundError, match=r"did you mean mart\.net") as unknown:
            await caller.create_run("+mart.nett", upstream=True)
        assert unknown.value.code == "ASSET_NOT_FOUND"
        with pytest.raises(errors.InvalidArgumentError, match="at least one"):
            await caller.create_run()
