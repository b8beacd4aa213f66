"""The verbs of deployments: a manifest arrives in chunks, is checked and becomes current."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

from msgspec.structs import replace

from servo import _wire, errors
from servo.controlplane import paging
from servo.controlplane.caller import Caller
from servo.controlplane.catalog import Catalog
from servo.controlplane.plane import Plane
from servo.controlplane.store.batch import NewDeployment
from servo.controlplane.store.batch_rows import digest_of
from servo.controlplane.workspace import Workspace
from servo.manifest import diff, graph
from servo.types.assets import AssetDefinition
from servo.types.deployments import Deployment
from servo.types.events import DeploymentActivated
from servo.types.ids import AssetId, DeploymentId
from servo.types.requests import (
    DeployRequest,
    DeployResponse,
    DiffDeploymentsRequest,
    DiffDeploymentsResponse,
    FindMissingChunksRequest,
    FindMissingChunksResponse,
    GetDeploymentRequest,
    GetDeploymentResponse,
    ListDeploymentsRequest,
    ListDeploymentsResponse,
    ReadChunksRequest,
    ReadChunksResponse,
    UploadChunksRequest,
    UploadChunksResponse,
)

_DIGEST_BYTES = 32
_MOST_ASSETS = 20_000
"""Assets of all chunks in one upload; a usual definition has several hundred bytes."""
_CHUNKS_AT_ONCE = 64
_MOST_CHUNK_BYTES = 16 * 1024 * 1024


class Deployments:
    """The RPCs of ``DeploymentService``.

    Args:
        plane: What they act on.
    """

    def __init__(self, plane: Plane) -> None:
        self.plane = plane

    async def deploy(self, caller: Caller, request: DeployRequest) -> DeployResponse:
        """Make a manifest current, or say that its chunks are needed.

        Raises:
            servo.errors.DefinitionError: The assets contradict each other.
            servo.errors.InvalidArgumentError: The content is not what its fingerprint says.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        async with workspace.deploying:
            known = await workspace.store.deployment_by_content(
                workspace.number, request.content_fingerprint
            )
            if known is not None:
                return await self._activate_known(workspace, known)
            digests = request.chunk_digests
            if not digests and not _is_empty(request):
                return DeployResponse(chunks_needed=True)
            if await workspace.store.missing_chunks(workspace.number, digests):
                return DeployResponse(chunks_needed=True)
            assets = await self._read(workspace, request)
            return await self._activate_new(workspace, request, assets)

    async def _read(self, workspace: Workspace, request: DeployRequest) -> list[AssetDefinition]:
        """Return the assets of a manifest, checked in a thread: there may be many."""
        chunks = await workspace.store.chunks(workspace.number, request.chunk_digests)

        def check() -> list[AssetDefinition]:
            assets = list(chain.from_iterable(map(_wire.decode_chunk, chunks)))
            found = _wire.chunks_fingerprint(request.header, chunks)
            if found != request.content_fingerprint:
                raise errors.InvalidArgumentError(
                    f"the manifest's content has the fingerprint {found}, not "
                    f"{request.content_fingerprint!r} as announced; deploy it again, and if this "
                    "persists check that client and server have the same version",
                    code="CONTENT_MISMATCH",
                )
            graph.check(assets)
            return assets

        return await self.plane.threads.run(workspace.tenant_id, check)

    async def _activate_known(self, workspace: Workspace, known: Deployment) -> DeployResponse:
        catalog = await self.plane.catalog(workspace, known.deployment_id)
        moved = await _new_ids(workspace, list(catalog.assets.values()))
        if moved or known.deployment_id != workspace.current_deployment_id:
            await self._activate(workspace, NewDeployment(known, None, moved), catalog)
        return DeployResponse(
            deployment=replace(known, current=True),
            asset_ids=_other_ids(catalog.assets.values(), workspace.asset_ids),
        )

    async def _activate_new(
        self, workspace: Workspace, request: DeployRequest, assets: list[AssetDefinition]
    ) -> DeployResponse:
        header = request.header
        deployment = Deployment(
            deployment_id=DeploymentId.generate(),
            content_fingerprint=request.content_fingerprint,
            created_at=workspace.clock.now(),
            deployed_by=header.deployed_by,
            asset_count=len(assets),
            git=header.git,
            code_version_id=header.code_version_id,
            chunk_digests=request.chunk_digests,
        )
        catalog = Catalog(deployment.deployment_id, assets, workspace.asset_ids)
        moved = await _new_ids(workspace, assets)
        await self._activate(workspace, NewDeployment(deployment, header, moved), catalog)
        return DeployResponse(
            deployment=replace(deployment, current=True),
            created=True,
            asset_ids=_other_ids(assets, workspace.asset_ids),
        )

    async def _activate(self, workspace: Workspace, new: NewDeployment, catalog: Catalog) -> None:
        await workspace.hold_moved(new.asset_ids)
        # The digests are many and stored once; the history refers to them by the id.
        shown = replace(new.deployment, current=True, chunk_digests=())
        workspace.append_event("", DeploymentActivated(deployment=shown), workspace.clock.now())
        ids = workspace.asset_ids
        taken = set(new.asset_ids.values())
        for key in [key for key, asset_id in ids.items() if asset_id in taken]:
            for active in workspace.active.values():
                active.catalog.keep_id(key, ids[key])
            del ids[key]
        ids.update(new.asset_ids)
        workspace.current_deployment_id = new.deployment.deployment_id
        workspace.journal.batch.deployments.append((workspace.number, new))
        await workspace.journal.durable()
        self.plane.keep_catalog(workspace, catalog)

    async def find_missing_chunks(
        self, caller: Caller, request: FindMissingChunksRequest
    ) -> FindMissingChunksResponse:
        """Say which chunks the server lacks."""
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        _check_digests(request.chunk_digests)
        missing = await workspace.store.missing_chunks(workspace.number, request.chunk_digests)
        return FindMissingChunksResponse(missing_digests=tuple(missing))

    async def upload_chunks(
        self, caller: Caller, request: UploadChunksRequest
    ) -> UploadChunksResponse:
        """Store chunks; durable when it returns.

        Raises:
            servo.errors.InvalidArgumentError: A chunk is no ``ManifestChunk``.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        digests = await self.plane.threads.run(caller.tenant_id, _checked, request.chunks)
        missing = set(await workspace.store.missing_chunks(workspace.number, digests))
        batch = workspace.journal.batch
        batch.chunks += [
            (workspace.number, digest, chunk)
            for digest, chunk in zip(digests, request.chunks, strict=True)
            if digest in missing
        ]
        await workspace.journal.durable()
        return UploadChunksResponse(stored=len(missing))

    async def read_chunks(self, caller: Caller, request: ReadChunksRequest) -> ReadChunksResponse:
        """Return chunks as they arrived.

        Raises:
            servo.errors.NotFoundError: A chunk is not stored.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        _check_digests(request.chunk_digests)
        chunks: list[bytes] = []
        for first in range(0, len(request.chunk_digests), _CHUNKS_AT_ONCE):
            digests = request.chunk_digests[first : first + _CHUNKS_AT_ONCE]
            chunks += await workspace.store.chunks(workspace.number, digests)
            if sum(map(len, chunks)) > _MOST_CHUNK_BYTES:
                raise errors.InvalidArgumentError(
                    f"these {len(request.chunk_digests)} chunks have more than "
                    f"{_MOST_CHUNK_BYTES:,} bytes together; ask for fewer at once",
                    code="RESPONSE_TOO_LARGE",
                )
        return ReadChunksResponse(chunks=tuple(chunks))

    async def get_deployment(
        self, caller: Caller, request: GetDeploymentRequest
    ) -> GetDeploymentResponse:
        """Return one deployment, by default the current one.

        Raises:
            servo.errors.NotFoundError: There is none.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        return GetDeploymentResponse(
            deployment=await self._deployment(workspace, request.deployment_id)
        )

    async def _deployment(self, workspace: Workspace, deployment_id: str) -> Deployment:
        current = workspace.current_deployment_id
        wanted = deployment_id or current
        found = await workspace.store.deployment(workspace.number, wanted) if wanted else None
        if found is None:
            raise errors.NotFoundError(
                f"there is no deployment {wanted!r}; `servo deploy` makes one"
                if wanted
                else "nothing is deployed yet; run `servo deploy` first",
                code="DEPLOYMENT_NOT_FOUND" if wanted else "NO_DEPLOYMENT",
            )
        return replace(found, current=found.deployment_id == current)

    async def list_deployments(
        self, caller: Caller, request: ListDeploymentsRequest
    ) -> ListDeploymentsResponse:
        """Return a page of deployments, newest first, without their digests.

        Raises:
            servo.errors.InvalidArgumentError: The size or the token of the page is not one.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        size = paging.DEPLOYMENTS.size(request.page_size)
        before = paging.DEPLOYMENTS.identifier(request.page_token)
        found = await workspace.store.deployments(workspace.number, before, size + 1)
        page = paging.DEPLOYMENTS.fitting(found, size)
        last = page[-1].deployment_id if len(found) > len(page) else ""
        current = workspace.current_deployment_id
        return ListDeploymentsResponse(
            deployments=tuple(
                replace(d, chunk_digests=(), current=d.deployment_id == current) for d in page
            ),
            next_page_token=paging.DEPLOYMENTS.token(last) if last else "",
        )

    async def diff_deployments(
        self, caller: Caller, request: DiffDeploymentsRequest
    ) -> DiffDeploymentsResponse:
        """Return what differs between two deployments.

        Raises:
            servo.errors.NotFoundError: One of them does not exist.
        """
        workspace = await self.plane.workspace(caller.tenant_id, caller.workspace_id)
        newer = await self._deployment(workspace, request.to_deployment_id)
        older_id = request.from_deployment_id
        if not older_id:
            before = await workspace.store.deployments(workspace.number, newer.deployment_id, 1)
            older_id = before[0].deployment_id if before else ""
        older: Sequence[AssetDefinition] = ()
        if older_id:
            older = list((await self.plane.catalog(workspace, older_id)).assets.values())
        catalog = await self.plane.catalog(workspace, newer.deployment_id)
        changes = await self.plane.threads.run(
            caller.tenant_id, diff.diff, older, list(catalog.assets.values())
        )
        return DiffDeploymentsResponse(changes=changes)


def _is_empty(request: DeployRequest) -> bool:
    """Whether the announced manifest has no assets, and thus no chunks either."""
    return _wire.manifest_fingerprint(request.header) == request.content_fingerprint


def _checked(chunks: Sequence[bytes]) -> list[bytes]:
    """Return the digests of chunks, each of which can be read."""
    assets = 0
    for chunk in chunks:
        assets += len(_wire.decode_chunk(chunk))
        if assets > _MOST_ASSETS:
            raise errors.InvalidArgumentError(
                f"the chunks of one request hold more than {_MOST_ASSETS:,} assets; send fewer "
                "chunks at once",
                code="TOO_MANY_ITEMS",
            )
    return [digest_of(chunk) for chunk in chunks]


def _check_digests(digests: Sequence[bytes]) -> None:
    for digest in digests:
        if len(digest) != _DIGEST_BYTES:
            raise errors.InvalidArgumentError(
                f"a chunk digest has {_DIGEST_BYTES} bytes, got {len(digest)}: {digest.hex()!r}"
            )


async def _new_ids(workspace: Workspace, assets: Sequence[AssetDefinition]) -> dict[str, str]:
    """Return the ids that a deploy adds or moves to another key.

    Raises:
        servo.errors.ConflictError: An asset says that it was renamed, and both it and what it was
            before have a history.
    """
    known, store = workspace.asset_ids, workspace.store
    moved = _assign_ids(assets, known)
    present, taken = {str(asset.key) for asset in assets}, set(known.values())
    for asset in assets:
        key, old = str(asset.key), str(asset.renamed_from or "")
        if old not in known or old in present or moved.get(key) in taken:
            continue
        # It was deployed under its new name before it said that it is the old one.
        before, now = known[old], moved.get(key) or known[key]
        if before == now or not await store.count_current_materializations(
            workspace.number, before
        ):
            continue
        made = await store.count_current_materializations(workspace.number, now)
        if made:
            raise errors.ConflictError(
                f"{key!r} has renamed_from={old!r}, and both have a history by now: {made} "
                f"partitions were materialised under the new name. To keep the history of {old!r} "
                f"and set the other aside: servo asset rename --replace {old} {key}. To keep that "
                f"of {key!r}, remove renamed_from",
                code="RENAME_TWO_HISTORIES",
                context={"old": old, "new": key},
            )
        moved[key] = before
    return moved


def _assign_ids(assets: Iterable[AssetDefinition], known: dict[str, str]) -> dict[str, str]:
    """Return the ids that a deploy adds or moves to another key.

    A key that the workspace knows keeps its id, whatever the manifest says: fresh ids would
    duplicate the asset. An id that the workspace knows under a key which is gone moves along: the
    asset was renamed.
    """
    definitions = list(assets)
    present = {str(asset.key) for asset in definitions}
    owner = {asset_id: key for key, asset_id in known.items()}
    moved: dict[str, str] = {}
    for asset in definitions:
        key, own = str(asset.key), str(asset.id or "")
        previous = owner.get(own)
        if not own and asset.renamed_from is not None:
            previous = str(asset.renamed_from) if str(asset.renamed_from) in known else None
            own = known[previous] if previous else ""
        if previous is not None and previous != key and previous not in present:
            moved[key] = own
        elif key not in known:
            moved[key] = own if own and previous is None else str(AssetId.generate())
    return moved


def _other_ids(assets: Iterable[AssetDefinition], known: dict[str, str]) -> dict[str, str]:
    """Return the ids that differ from those in the definitions."""
    return {
        str(asset.key): known[str(asset.key)]
        for asset in assets
        if known[str(asset.key)] != str(asset.id or "")
    }
