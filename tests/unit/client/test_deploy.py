"""Deploying: only what is missing is sent, in messages of a usual size."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from servo._wire import encode_chunk, manifest_fingerprint
from servo.client import Client
from servo.client._uploads import batches
from servo.errors import InvalidArgumentError, UnavailableError
from servo.types.assets import AssetDefinition, CodeLocation
from servo.types.deployments import Deployment
from servo.types.keys import AssetKey
from servo.types.manifests import ManifestContents
from servo.types.requests import (
    DeployResponse,
    FindMissingChunksResponse,
    GetDeploymentResponse,
    ReadChunksResponse,
    UploadChunksResponse,
)

STOCK_LIMIT = 4 * 1024 * 1024


def manifest(count: int, *, text: str = "") -> ManifestContents:
    return ManifestContents(
        tenant_id="acme",
        workspace_id="prod",
        deployed_by="ada",
        assets=tuple(
            AssetDefinition(
                AssetKey("raw", f"asset_{number:05d}"),
                code=CodeLocation("assets", "f"),
                description=text,
            )
            for number in range(count)
        ),
    )


class Store:
    """Keeps chunks and deployments as a control plane does."""

    def __init__(self, plane: Any) -> None:
        self.chunks: dict[bytes, bytes] = {}
        self.known: dict[str, Deployment] = {}
        plane.answers |= {
            "Deploy": self.deploy,
            "FindMissingChunks": lambda request: FindMissingChunksResponse(
                missing_digests=tuple(d for d in request.chunk_digests if d not in self.chunks)
            ),
            "UploadChunks": self.upload,
            "ReadChunks": lambda request: ReadChunksResponse(
                chunks=tuple(self.chunks[digest] for digest in request.chunk_digests)
            ),
            "GetDeployment": lambda request: GetDeploymentResponse(
                deployment=self.known[request.deployment_id]
            ),
        }

    def upload(self, request: Any) -> UploadChunksResponse:
        for chunk in request.chunks:
            self.chunks[hashlib.sha256(chunk).digest()] = chunk
        return UploadChunksResponse(stored=len(request.chunks))

    def deploy(self, request: Any) -> DeployResponse:
        fingerprint = request.content_fingerprint
        if fingerprint in self.known:
            return DeployResponse(deployment=self.known[fingerprint])
        if not request.chunk_digests or set(request.chunk_digests) - set(self.chunks):
            return DeployResponse(chunks_needed=True)
        self.known[fingerprint] = Deployment(
            deployment_id=fingerprint,
            content_fingerprint=fingerprint,
            asset_count=1,
            chunk_digests=request.chunk_digests,
        )
        return DeployResponse(deployment=self.known[fingerprint], created=True)


@pytest.fixture
def store(plane: Any) -> Store:
    return Store(plane)


def test_a_new_manifest_is_sent_and_can_be_read_back(
    plane: Any, client: Client, store: Store
) -> None:
    contents = manifest(300)
    seen: list[tuple[int, int]] = []
    response = client.deployments.deploy(contents, on_progress=lambda *now: seen.append(now))
    assert response.created
    assert response.deployment is not None
    assert response.deployment.content_fingerprint == manifest_fingerprint(contents)
    assert tuple(client.deployments.read_assets(response.deployment)) == contents.assets
    assert seen[-1][0] == seen[-1][1] == sum(map(len, store.chunks.values()))
    header = plane.requests("Deploy")[-1].header
    assert (header.assets, header.deployed_by) == ((), "ada")


def test_the_same_content_again_costs_one_small_message(
    plane: Any, client: Client, store: Store
) -> None:
    client.deployments.deploy(manifest(300))
    plane.asked.clear()
    plane.sizes.clear()
    response = client.deployments.deploy(dataclasses.replace(manifest(300), deployed_by="grace"))
    assert not response.created
    assert [name for name, _ in plane.asked] == ["Deploy"]
    assert plane.sizes[0] < 300


def test_only_the_chunks_that_changed_are_sent(plane: Any, client: Client, store: Store) -> None:
    contents = manifest(2_000)
    client.deployments.deploy(contents)
    sent = sum(map(len, store.chunks.values()))
    plane.sizes.clear()
    changed = (dataclasses.replace(contents.assets[0], description="new"), *contents.assets[1:])
    assert client.deployments.deploy(dataclasses.replace(contents, assets=changed)).created
    assert sum(plane.sizes) < sent / 4


def test_a_large_manifest_stays_below_the_stock_message_limit(
    plane: Any, client: Client, store: Store
) -> None:
    contents = manifest(3_000, text="x" * 4_000)
    response = client.deployments.deploy(contents)
    assert sum(plane.sizes) > 2 * STOCK_LIMIT
    assert max(plane.sizes) < 1_000_000
    assert response.deployment is not None
    assert sum(1 for _ in client.deployments.read_assets(response.deployment)) == 3_000


def test_chunks_too_large_for_one_message_are_read_one_by_one(
    plane: Any, client: Client, store: Store
) -> None:
    chunks = [
        encode_chunk(manifest(1, text=letter * 1_500_000).assets) for letter in ("a", "b", "c")
    ]
    store.chunks = {hashlib.sha256(chunk).digest(): chunk for chunk in chunks}
    deployment = Deployment(
        deployment_id="d", content_fingerprint="f", chunk_digests=tuple(store.chunks)
    )
    found = [asset.description[0] for asset in client.deployments.read_assets(deployment)]
    assert found == ["a", "b", "c"]


def test_a_deployment_from_a_list_is_read_with_its_digests(client: Client, store: Store) -> None:
    deployment = client.deployments.deploy(manifest(3)).deployment
    assert deployment is not None
    listed = replace(deployment, chunk_digests=())
    assert len(list(client.deployments.read_assets(listed))) == 3
    assert len(list(client.deployments.read_assets(deployment.deployment_id))) == 3


def test_chunks_that_vanish_while_deploying_are_sent_again(
    plane: Any, client: Client, store: Store
) -> None:
    keep = plane.answers["UploadChunks"]
    uploads = []

    def lose_the_first(request: Any) -> UploadChunksResponse:
        uploads.append(request)
        return UploadChunksResponse() if len(uploads) == 1 else keep(request)

    plane.answers["UploadChunks"] = lose_the_first
    assert client.deployments.deploy(manifest(3)).created
    assert len(uploads) == 2


def test_a_store_that_loses_every_chunk_is_reported(
    plane: Any, client: Client, store: Store
) -> None:
    plane.answers["UploadChunks"] = lambda _: UploadChunksResponse()
    with pytest.raises(UnavailableError, match="lost chunks"):
        client.deployments.deploy(manifest(3))


def test_a_damaged_chunk_is_not_taken_for_what_was_deployed(client: Client, store: Store) -> None:
    deployment = client.deployments.deploy(manifest(3)).deployment
    assert deployment is not None
    store.chunks = {digest: encode_chunk(()) for digest in store.chunks}
    with pytest.raises(UnavailableError, match="may be damaged"):
        list(client.deployments.read_assets(deployment))


def test_a_manifest_that_is_refused_says_why(plane: Any, client: Client, store: Store) -> None:
    def refuse(_: object) -> DeployResponse:
        raise InvalidArgumentError("asset 'raw.a' reads itself; remove the parameter")

    plane.answers["Deploy"] = refuse
    with pytest.raises(InvalidArgumentError, match=r"'raw\.a' reads itself"):
        client.deployments.deploy(manifest(1))


@given(st.lists(st.integers(0, 1_500_000), max_size=8))
def test_batches_hold_every_chunk_in_order_and_are_small_unless_a_chunk_is_not(
    sizes: list[int],
) -> None:
    chunks = [bytes(size) for size in sizes]
    found = list(batches(chunks))
    assert [chunk for batch in found for chunk in batch] == chunks
    assert all(len(batch) == 1 or sum(map(len, batch)) <= 900_000 for batch in found)
    assert all(batch for batch in found)
