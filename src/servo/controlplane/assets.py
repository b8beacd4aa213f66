"""The verbs of assets: what is deployed, and what was made of it."""

from __future__ import annotations

from dataclasses import replace

from servo import errors
from servo.controlplane import paging
from servo.controlplane.caller import Caller
from servo.controlplane.catalog import Catalog
from servo.controlplane.mapping import Scope
from servo.controlplane.plane import Plane
from servo.controlplane.workspace import Workspace
from servo.types.ids import AssetId
from servo.types.keys import AssetKey
from servo.types.requests import (
    AssetSummary,
    GetAssetRequest,
    GetAssetResponse,
    ListAssetsRequest,
    ListAssetsResponse,
    ListMaterializationsRequest,
    ListMaterializationsResponse,
)

_MAX_SEQUENCE = 2**63 - 1


class Assets:
    """The RPCs of ``AssetService``.

    Args:
        plane: What they act on.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    async def list_assets(self, caller: Caller, request: ListAssetsRequest) -> ListAssetsResponse:
        """Return a page of the assets of the current deployment, sorted by key.

        Raises:
            servo.errors.InvalidArgumentError: A selection cannot be read.
            servo.errors.NotFoundError: A selection names nothing, or nothing is deployed.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        catalog = await self.plane.chosen_catalog(workspace, "")
        keys = catalog.keys
        if request.selection:
            keys = await self.plane.threads.run(caller.tenant_id, catalog.select, request.selection)
        size = paging.ASSETS.size(request.page_size)
        first = paging.ASSETS.number(request.page_token)
        there = keys[first : first + size]
        definitions = [catalog.assets[key] for key in there]
        page = there[: len(paging.ASSETS.fitting(definitions, size))]
        more = paging.ASSETS.token(first + len(page)) if len(keys) > first + len(page) else ""
        found = [await self._summary(workspace, catalog, key) for key in page]
        return ListAssetsResponse(assets=tuple(found), next_page_token=more)

    async def get_asset(self, caller: Caller, request: GetAssetRequest) -> GetAssetResponse:
        """Return one asset of the current deployment.

        Raises:
            servo.errors.NotFoundError: There is no such asset, or nothing is deployed.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        catalog = await self.plane.chosen_catalog(workspace, "")
        catalog.get(request.key)
        return GetAssetResponse(
            asset=await self._summary(workspace, catalog, request.key),
            downstream=tuple(catalog.downstream(request.key)),
        )

    async def _summary(self, workspace: Workspace, catalog: Catalog, key: AssetKey) -> AssetSummary:
        asset_id = catalog.asset_id(key)
        store = workspace.store
        newest = await store.materializations(
            workspace.number, asset_id, before=_MAX_SEQUENCE, limit=1
        )
        definition = catalog.assets[key]
        try:
            scope = Scope(workspace.clock.now(), workspace.tenant_id)
            declared: int | None = scope.declared(definition).size
        except errors.InvalidArgumentError:
            declared = None  # open at the start: nobody can count the partitions
        if definition.id != asset_id:
            # The manifest may come from a lockfile that did not have the workspace's id yet.
            definition = replace(definition, id=AssetId(asset_id))
        return AssetSummary(
            definition=definition,
            latest_materialization=newest[0][1] if newest else None,
            materialized_partitions=await store.count_current_materializations(
                workspace.number, asset_id
            ),
            declared_partitions=declared,
        )

    async def list_materializations(
        self, caller: Caller, request: ListMaterializationsRequest
    ) -> ListMaterializationsResponse:
        """Return a page of materialisations, newest first.

        Raises:
            servo.errors.NotFoundError: There is no such asset, or nothing is deployed.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        catalog = await self.plane.chosen_catalog(workspace, "")
        catalog.get(request.key)
        size = paging.MATERIALIZATIONS.size(request.page_size)
        before = paging.MATERIALIZATIONS.number(request.page_token, first=_MAX_SEQUENCE)
        partition = request.partition_key
        found = await workspace.store.materializations(
            workspace.number,
            catalog.asset_id(request.key),
            before=before,
            limit=size + 1,
            partition_key=None if partition is None else partition.to_canonical(),
            latest_only=request.latest_only,
        )
        page = paging.MATERIALIZATIONS.fitting(found, size)
        more = paging.MATERIALIZATIONS.token(page[-1][0]) if len(found) > len(page) else ""
        return ListMaterializationsResponse(
            materializations=tuple(made for _, made in page), next_page_token=more
        )
