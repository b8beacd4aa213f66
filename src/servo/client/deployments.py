"""Manifests: bringing them to a control plane, and looking at those that are there."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Final

from servo import _wire, errors
from servo.client.calls import Invoker
from servo.client.pages import items
from servo.manifest.chunks import Chunk, split
from servo.types.assets import AssetDefinition
from servo.types.deployments import AssetChange, Deployment
from servo.types.manifests import ManifestContents
from servo.types.requests import (
    DeployRequest,
    DeployResponse,
    DiffDeploymentsRequest,
    FindMissingChunksRequest,
    GetDeploymentRequest,
    ListDeploymentsRequest,
    ListDeploymentsResponse,
    ReadChunksRequest,
    UploadChunksRequest,
)

_methods = _wire.methods

_UPLOAD_BYTES: Final = 1024 * 1024
"""How much of a manifest one message carries; gRPC refuses messages above 4 MB."""
_READ_CHUNKS: Final = 4
"""How many chunks are asked for at once; one has at most 2 MB, nearly all have 64 KB."""
_SLOW: Final = 300.0
"""How long a control plane may take to check a large manifest, seconds."""


class Deployments:
    """The verbs of deployments."""

    def __init__(self, invoker: Invoker) -> None:
        self._invoker = invoker

    def deploy(
        self,
        manifest: ManifestContents,
        *,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> DeployResponse:
        """Make a manifest current; only what the control plane lacks is sent.

        Args:
            manifest: The manifest.
            on_progress: Called with the number of chunks sent and to send.

        Raises:
            servo.errors.DefinitionError: The assets contradict each other.
            servo.errors.ServoError: What else the control plane answered.
        """
        request = DeployRequest(
            content_fingerprint=_wire.manifest_fingerprint(manifest),
            # A copy of the fields alone: the manifest itself may be of a richer class.
            header=ManifestContents(
                **{name: getattr(manifest, name) for name in _HEADER_FIELDS}, assets=()
            ),
        )
        answer = self._invoker.unary(_methods.DEPLOY, request, timeout=_SLOW)
        if not answer.chunks_needed:
            return answer
        chunks = split(manifest.assets)
        self._upload(chunks, on_progress)
        request = replace(request, chunk_digests=tuple(chunk.digest for chunk in chunks))
        answer = self._invoker.unary(_methods.DEPLOY, request, timeout=_SLOW)
        if answer.chunks_needed:
            raise errors.UnavailableError(
                "the control plane lost chunks of the manifest while they were sent; deploy again",
                code="CHUNKS_LOST",
            )
        return answer

    def _upload(
        self, chunks: Sequence[Chunk], on_progress: Callable[[int, int], None] | None
    ) -> None:
        find = FindMissingChunksRequest(chunk_digests=tuple(chunk.digest for chunk in chunks))
        missing = set(self._invoker.unary(_methods.FIND_MISSING_CHUNKS, find).missing_digests)
        wanted = [chunk for chunk in chunks if chunk.digest in missing]
        sent = 0
        for group in _groups(wanted):
            request = UploadChunksRequest(chunks=tuple(chunk.data for chunk in group))
            self._invoker.unary(_methods.UPLOAD_CHUNKS, request, timeout=_SLOW)
            sent += len(group)
            if on_progress is not None:
                on_progress(sent, len(wanted))

    def get(self, deployment_id: str = "") -> Deployment:
        """Return a deployment, by default the current one.

        Raises:
            servo.errors.NotFoundError: There is none.
        """
        request = GetDeploymentRequest(deployment_id=deployment_id)
        return self._invoker.unary(_methods.GET_DEPLOYMENT, request).deployment

    def list(self) -> Iterator[Deployment]:
        """Yield the deployments, newest first, without their chunk digests."""

        def fetch(token: str) -> ListDeploymentsResponse:
            request = ListDeploymentsRequest(page_token=token)
            return self._invoker.unary(_methods.LIST_DEPLOYMENTS, request)

        return items(fetch, lambda page: page.deployments)

    def diff(
        self, from_deployment_id: str = "", to_deployment_id: str = ""
    ) -> tuple[AssetChange, ...]:
        """Return what differs between two deployments, sorted by key.

        Args:
            from_deployment_id: The older one; empty for the one before the newer.
            to_deployment_id: The newer one; empty for the current one.

        Raises:
            servo.errors.NotFoundError: One of them does not exist.
        """
        request = DiffDeploymentsRequest(
            from_deployment_id=from_deployment_id, to_deployment_id=to_deployment_id
        )
        return self._invoker.unary(_methods.DIFF_DEPLOYMENTS, request, timeout=_SLOW).changes

    def read_assets(self, deployment: Deployment) -> Iterator[AssetDefinition]:
        """Yield the assets of a deployment that `get` returned, sorted by key."""
        digests = deployment.chunk_digests
        for start in range(0, len(digests), _READ_CHUNKS):
            request = ReadChunksRequest(chunk_digests=digests[start : start + _READ_CHUNKS])
            for chunk in self._invoker.unary(_methods.READ_CHUNKS, request).chunks:
                yield from _wire.decode_chunk(chunk)


_HEADER_FIELDS: Final = (
    "manifest_version",
    "tenant_id",
    "workspace_id",
    "code_version_id",
    "git",
    "schedules",
    "deployed_at",
    "deployed_by",
    "metadata",
)


def _groups(chunks: Sequence[Chunk]) -> Iterator[list[Chunk]]:
    group: list[Chunk] = []
    size = 0
    for chunk in chunks:
        if group and size + len(chunk.data) > _UPLOAD_BYTES:
            yield group
            group, size = [], 0
        group.append(chunk)
        size += len(chunk.data)
    if group:
        yield group
