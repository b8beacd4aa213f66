"""Deploying, and asking for what is deployed."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import Final

from _corpus_cases.case import (
    ASSET_ID,
    CREATED,
    DAILY,
    DEPLOYMENT_ID,
    EVENTS,
    GIT,
    MATERIALIZATION,
    ONE_DAY,
    STORE_ID,
    Case,
    Json,
    ulid,
)
from _corpus_cases.definitions import ASSET, MANIFEST, PLAIN_ASSET

FINGERPRINT: Final = sha256(b"content").hexdigest()
DIGESTS: Final = [b64encode(sha256(text).digest()).decode() for text in (b"one", b"two")]
DEPLOYMENT: Final[Json] = {
    "deploymentId": DEPLOYMENT_ID,
    "contentFingerprint": FINGERPRINT,
    "createdAt": CREATED,
    "deployedBy": "ada@example.org",
    "assetCount": 2,
    "git": GIT,
    "current": True,
    "codeVersionId": "git-0123456789ab",
    "chunkDigests": DIGESTS,
}
SUMMARY: Final[Json] = {
    "definition": PLAIN_ASSET,
    "latestMaterialization": MATERIALIZATION,
    "materializedPartitions": "12",
    "declaredPartitions": "365",
}
CHANGES: Final[list[Json]] = [
    {"key": DAILY, "kind": "ASSET_CHANGE_KIND_ADDED"},
    {"key": EVENTS, "kind": "ASSET_CHANGE_KIND_REMOVED"},
    {"key": EVENTS, "kind": "ASSET_CHANGE_KIND_CHANGED", "fields": ["checks", "io"]},
    {
        "key": DAILY,
        "kind": "ASSET_CHANGE_KIND_RENAMED",
        "fields": ["key"],
        "previousKey": {"namespace": "mart", "name": "by_day"},
    },
]

DEPLOYMENTS: Final = (
    Case("manifest-chunk", "ManifestChunk", {"assets": [ASSET, PLAIN_ASSET]}, "assets in a row"),
    Case("deployment", "Deployment", DEPLOYMENT, "a deployment with every field set"),
    *(
        Case(
            f"asset-change-{change['kind'].split('_')[-1].lower()}",
            "AssetChange",
            change,
            "a kind of change",
        )
        for change in CHANGES
    ),
    Case(
        "deploy-request",
        "DeployRequest",
        {
            "contentFingerprint": FINGERPRINT,
            "header": {name: value for name, value in MANIFEST.items() if name != "assets"},
            "chunkDigests": DIGESTS,
        },
        "a manifest without its assets, and the chunks that hold them",
    ),
    Case(
        "deploy-response",
        "DeployResponse",
        {"deployment": DEPLOYMENT, "created": True, "assetIds": {"raw.events": ASSET_ID}},
        "a deploy that was accepted",
    ),
    Case("deploy-response-chunks-needed", "DeployResponse", {"chunksNeeded": True}, "not yet"),
    Case(
        "find-missing-chunks-request",
        "FindMissingChunksRequest",
        {"chunkDigests": DIGESTS},
        "bytes in a repeated field",
    ),
    Case(
        "find-missing-chunks-response",
        "FindMissingChunksResponse",
        {"missingDigests": DIGESTS[:1]},
        "the chunks to send",
    ),
    Case(
        "upload-chunks-request",
        "UploadChunksRequest",
        {"chunks": [b64encode(b"\n\x00").decode(), ""]},
        "bytes of messages inside a message, one of them empty",
    ),
    Case(
        "upload-chunks-response", "UploadChunksResponse", {"stored": 2}, "the chunks that were new"
    ),
    Case("read-chunks-request", "ReadChunksRequest", {"chunkDigests": DIGESTS}, "chunks wanted"),
    Case(
        "read-chunks-response",
        "ReadChunksResponse",
        {"chunks": [b64encode(bytes(range(256))).decode()]},
        "every byte there is, in base64 with `+`, `/` and padding",
    ),
    Case(
        "get-deployment-request",
        "GetDeploymentRequest",
        {"deploymentId": DEPLOYMENT_ID},
        "by its id",
    ),
    Case(
        "get-deployment-response",
        "GetDeploymentResponse",
        {"deployment": DEPLOYMENT},
        "one deployment",
    ),
    Case(
        "list-deployments-request",
        "ListDeploymentsRequest",
        {"pageSize": 50, "pageToken": "p2"},
        "a page",
    ),
    Case(
        "list-deployments-response",
        "ListDeploymentsResponse",
        {"deployments": [DEPLOYMENT, {"deploymentId": ulid("D0")}], "nextPageToken": "p3"},
        "a page, the second deployment nearly empty",
    ),
    Case(
        "diff-deployments-request",
        "DiffDeploymentsRequest",
        {"fromDeploymentId": ulid("D0"), "toDeploymentId": DEPLOYMENT_ID},
        "two deployments to compare",
    ),
    Case(
        "diff-deployments-response",
        "DiffDeploymentsResponse",
        {"changes": CHANGES},
        "every kind of change",
    ),
    Case(
        "list-assets-request",
        "ListAssetsRequest",
        {"selection": ["raw.*"], "pageSize": 500, "pageToken": "p2"},
        "a page of a selection",
    ),
    Case(
        "list-assets-response",
        "ListAssetsResponse",
        {"assets": [SUMMARY], "nextPageToken": "p"},
        "a page",
    ),
    Case("get-asset-request", "GetAssetRequest", {"key": EVENTS}, "by its key"),
    Case(
        "get-asset-response",
        "GetAssetResponse",
        {"asset": SUMMARY, "downstream": [DAILY]},
        "one asset",
    ),
    Case(
        "list-materializations-request",
        "ListMaterializationsRequest",
        {
            "key": EVENTS,
            "partitionKey": ONE_DAY,
            "latestOnly": True,
            "pageSize": 500,
            "pageToken": "p2",
        },
        "one partition, its latest only",
    ),
    Case(
        "list-materializations-response",
        "ListMaterializationsResponse",
        {"materializations": [MATERIALIZATION], "nextPageToken": "p3"},
        "a page",
    ),
    Case("get-server-info-request", "GetServerInfoRequest", {}, "a request without fields"),
    Case(
        "get-server-info-response",
        "GetServerInfoResponse",
        {
            "servoVersion": "0.1.0",
            "protocolVersion": 1,
            "storeId": STORE_ID,
            "ready": True,
            "workers": 2,
            "activeRuns": 3,
        },
        "a control plane that serves",
    ),
)
