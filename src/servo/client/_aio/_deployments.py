"""Deployments: bringing a manifest to the control plane and reading it back."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from typing import TYPE_CHECKING, Final

from servo import _wire, errors
from servo._wire import methods
from servo.client._aio._calls import Calls, pages
from servo.client._uploads import batches, without_assets
from servo.types.deployments import AssetChange, Deployment
from servo.types.manifests import ManifestContents
from servo.types.requests import (
    DeployRequest,
    DeployResponse,
    DiffDeploymentsRequest,
    FindMissingChunksRequest,
    GetDeploymentRequest,
    ListDeploymentsRequest,
    ReadChunksRequest,
    UploadChunksRequest,
)

if TYPE_CHECKING:
    from servo.manifest.chunks import Chunk
    from servo.types.assets import AssetDefinition

_READ_AT_ONCE: Final = 6
"""Chunks asked for in one call; a chunk has up to half a megabyte, rarely more."""
_DEPLOY_SECONDS: Final = 300.0
"""How long a control plane may take to check a large manifest."""
_ROUNDS: Final = 3

OnProgress = Callable[[int, int], None]
"""Called with the bytes that were sent and the bytes there are to send."""


class AsyncDeployments:
    """What was deployed, and deploying. Use it as ``client.deployments``."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls

    async def deploy(
        self, manifest: ManifestContents, *, on_progress: OnProgress | None = None
    ) -> DeployResponse:
        """Make a manifest the current one.

        Content that the control plane knows costs one small message; of any other, only the
        chunks are sent that it does not have.

        Args:
            manifest: What to deploy, stamped with its provenance.
            on_progress: Is told how much has been sent.

        Raises:
            InvalidArgumentError: The control plane refuses the manifest; the message says why.
            UnavailableError: It cannot be reached.
        """
        fingerprint = _wire.manifest_fingerprint(manifest)
        header = without_assets(manifest)
        request = DeployRequest(content_fingerprint=fingerprint, header=header)
        response = await self._deploy(request)
        if not response.chunks_needed:
            return response
        from servo.manifest.chunks import split

        chunks = split(manifest.assets)
        request = DeployRequest(
            content_fingerprint=fingerprint,
            header=header,
            chunk_digests=tuple(chunk.digest for chunk in chunks),
        )
        # Chunks that were there may be cleaned up before the manifest refers to them.
        for _ in range(_ROUNDS):
            await self._upload_missing(chunks, on_progress)
            response = await self._deploy(request)
            if not response.chunks_needed:
                return response
        raise errors.UnavailableError(
            f"the control plane lost chunks of the manifest {_ROUNDS} times while it was being "
            f"deployed; deploy again"
        )

    async def get(self, deployment_id: str = "") -> Deployment:
        """Read one deployment.

        Args:
            deployment_id: The id; the current deployment when left out.

        Raises:
            NotFoundError: There is none.
        """
        request = GetDeploymentRequest(deployment_id=deployment_id)
        return (await self._calls.unary(methods.GET_DEPLOYMENT, request)).deployment

    async def list(self, *, page_size: int = 0) -> AsyncIterator[Deployment]:
        """Read all deployments, newest first, page by page.

        Args:
            page_size: Deployments in a page; zero for the server's choice.
        """
        async for page in pages(
            lambda token: self._calls.unary(
                methods.LIST_DEPLOYMENTS,
                ListDeploymentsRequest(page_size=page_size, page_token=token),
            ),
            lambda page: page.next_page_token,
        ):
            for deployment in page.deployments:
                yield deployment

    async def diff(
        self, from_deployment_id: str = "", to_deployment_id: str = ""
    ) -> tuple[AssetChange, ...]:
        """Compare two deployments.

        Args:
            from_deployment_id: The older one; the one before the newer when left out.
            to_deployment_id: The newer one; the current one when left out.

        Raises:
            NotFoundError: There is no such deployment.
        """
        request = DiffDeploymentsRequest(
            from_deployment_id=from_deployment_id, to_deployment_id=to_deployment_id
        )
        return (await self._calls.unary(methods.DIFF_DEPLOYMENTS, request)).changes

    async def read_assets(self, deployment: Deployment | str) -> AsyncIterator[AssetDefinition]:
        """Read the assets of a deployment, sorted by key.

        Args:
            deployment: The deployment or its id; the empty id for the current one.

        Raises:
            NotFoundError: There is no such deployment.
            UnavailableError: What arrived is not what was deployed.
        """
        # A deployment from a list comes without its digests.
        if isinstance(deployment, str):
            deployment = await self.get(deployment)
        elif not deployment.chunk_digests and deployment.asset_count:
            deployment = await self.get(deployment.deployment_id)
        digests = deployment.chunk_digests
        for first in range(0, len(digests), _READ_AT_ONCE):
            for chunk in await self._read_chunks(digests[first : first + _READ_AT_ONCE]):
                for asset in _wire.decode_chunk(chunk):
                    yield asset

    async def _deploy(self, request: DeployRequest) -> DeployResponse:
        return await self._calls.unary(methods.DEPLOY, request, at_least=_DEPLOY_SECONDS)

    async def _upload_missing(
        self, chunks: Sequence[Chunk], on_progress: OnProgress | None
    ) -> None:
        by_digest = {chunk.digest: chunk.data for chunk in chunks}
        found = await self._calls.unary(
            methods.FIND_MISSING_CHUNKS, FindMissingChunksRequest(chunk_digests=tuple(by_digest))
        )
        missing = [by_digest[digest] for digest in found.missing_digests if digest in by_digest]
        total = sum(map(len, missing))
        sent = 0
        for batch in batches(missing):
            await self._calls.unary(methods.UPLOAD_CHUNKS, UploadChunksRequest(chunks=tuple(batch)))
            sent += sum(map(len, batch))
            if on_progress is not None:
                on_progress(sent, total)

    async def _read_chunks(self, digests: Sequence[bytes]) -> Sequence[bytes]:
        request = ReadChunksRequest(chunk_digests=tuple(digests))
        try:
            chunks = (await self._calls.unary(methods.READ_CHUNKS, request)).chunks
        except errors.InvalidArgumentError:
            # Together they are too large for a message; each of them fits, or it had not arrived.
            if len(digests) == 1:
                raise
            return [(await self._read_chunks([digest]))[0] for digest in digests]
        if [hashlib.sha256(chunk).digest() for chunk in chunks] != list(digests):
            raise errors.UnavailableError(
                "the control plane sent other chunks than it was asked for; its store may be "
                "damaged: deploy again"
            )
        return chunks
