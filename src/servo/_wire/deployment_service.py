"""Requests and responses of the service for deployments (``deployment.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import deployment_pb2 as pb
from servo._wire.deployments import (
    asset_change_from_proto,
    asset_change_to_proto,
    deployment_from_proto,
    deployment_to_proto,
)
from servo._wire.manifests import asset_manifest_from_proto, asset_manifest_to_proto
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


def deploy_request_to_proto(request: DeployRequest, message: pb.DeployRequest) -> None:
    """Fill in a request to make a manifest current."""
    message.content_fingerprint = request.content_fingerprint
    asset_manifest_to_proto(request.header, message.header)
    message.chunk_digests.extend(request.chunk_digests)


def deploy_request_from_proto(message: pb.DeployRequest) -> DeployRequest:
    """Read a request to make a manifest current."""
    return DeployRequest(
        content_fingerprint=message.content_fingerprint,
        header=asset_manifest_from_proto(message.header),
        chunk_digests=tuple(message.chunk_digests),
    )


def deploy_response_to_proto(response: DeployResponse, message: pb.DeployResponse) -> None:
    """Fill in what became of a deploy."""
    if response.deployment is not None:
        deployment_to_proto(response.deployment, message.deployment)
    message.created = response.created
    message.chunks_needed = response.chunks_needed
    if response.asset_ids:
        message.asset_ids.update(response.asset_ids)


def deploy_response_from_proto(message: pb.DeployResponse) -> DeployResponse:
    """Read what became of a deploy."""
    return DeployResponse(
        deployment=(
            deployment_from_proto(message.deployment) if message.HasField("deployment") else None
        ),
        created=message.created,
        chunks_needed=message.chunks_needed,
        asset_ids=dict(message.asset_ids),
    )


def find_missing_chunks_request_to_proto(
    request: FindMissingChunksRequest, message: pb.FindMissingChunksRequest
) -> None:
    """Fill in a question for missing chunks."""
    message.chunk_digests.extend(request.chunk_digests)


def find_missing_chunks_request_from_proto(
    message: pb.FindMissingChunksRequest,
) -> FindMissingChunksRequest:
    """Read a question for missing chunks."""
    return FindMissingChunksRequest(chunk_digests=tuple(message.chunk_digests))


def find_missing_chunks_response_to_proto(
    response: FindMissingChunksResponse, message: pb.FindMissingChunksResponse
) -> None:
    """Fill in which chunks are missing."""
    message.missing_digests.extend(response.missing_digests)


def find_missing_chunks_response_from_proto(
    message: pb.FindMissingChunksResponse,
) -> FindMissingChunksResponse:
    """Read which chunks are missing."""
    return FindMissingChunksResponse(missing_digests=tuple(message.missing_digests))


def upload_chunks_request_to_proto(
    request: UploadChunksRequest, message: pb.UploadChunksRequest
) -> None:
    """Fill in chunks to store."""
    message.chunks.extend(request.chunks)


def upload_chunks_request_from_proto(message: pb.UploadChunksRequest) -> UploadChunksRequest:
    """Read chunks to store."""
    return UploadChunksRequest(chunks=tuple(message.chunks))


def upload_chunks_response_to_proto(
    response: UploadChunksResponse, message: pb.UploadChunksResponse
) -> None:
    """Fill in how many chunks were new."""
    message.stored = response.stored


def upload_chunks_response_from_proto(message: pb.UploadChunksResponse) -> UploadChunksResponse:
    """Read how many chunks were new."""
    return UploadChunksResponse(stored=message.stored)


def read_chunks_request_to_proto(request: ReadChunksRequest, message: pb.ReadChunksRequest) -> None:
    """Fill in a request for chunks."""
    message.chunk_digests.extend(request.chunk_digests)


def read_chunks_request_from_proto(message: pb.ReadChunksRequest) -> ReadChunksRequest:
    """Read a request for chunks."""
    return ReadChunksRequest(chunk_digests=tuple(message.chunk_digests))


def read_chunks_response_to_proto(
    response: ReadChunksResponse, message: pb.ReadChunksResponse
) -> None:
    """Fill in chunks that were asked for."""
    message.chunks.extend(response.chunks)


def read_chunks_response_from_proto(message: pb.ReadChunksResponse) -> ReadChunksResponse:
    """Read chunks that were asked for."""
    return ReadChunksResponse(chunks=tuple(message.chunks))


def get_deployment_request_to_proto(
    request: GetDeploymentRequest, message: pb.GetDeploymentRequest
) -> None:
    """Fill in a request for a deployment."""
    message.deployment_id = request.deployment_id


def get_deployment_request_from_proto(message: pb.GetDeploymentRequest) -> GetDeploymentRequest:
    """Read a request for a deployment."""
    return GetDeploymentRequest(deployment_id=message.deployment_id)


def get_deployment_response_to_proto(
    response: GetDeploymentResponse, message: pb.GetDeploymentResponse
) -> None:
    """Fill in a deployment that was asked for."""
    deployment_to_proto(response.deployment, message.deployment)


def get_deployment_response_from_proto(
    message: pb.GetDeploymentResponse,
) -> GetDeploymentResponse:
    """Read a deployment that was asked for."""
    return GetDeploymentResponse(deployment=deployment_from_proto(message.deployment))


def list_deployments_request_to_proto(
    request: ListDeploymentsRequest, message: pb.ListDeploymentsRequest
) -> None:
    """Fill in a request for deployments."""
    message.page_size = request.page_size
    message.page_token = request.page_token


def list_deployments_request_from_proto(
    message: pb.ListDeploymentsRequest,
) -> ListDeploymentsRequest:
    """Read a request for deployments."""
    return ListDeploymentsRequest(page_size=message.page_size, page_token=message.page_token)


def list_deployments_response_to_proto(
    response: ListDeploymentsResponse, message: pb.ListDeploymentsResponse
) -> None:
    """Fill in a page of deployments."""
    for deployment in response.deployments:
        deployment_to_proto(deployment, message.deployments.add())
    message.next_page_token = response.next_page_token


def list_deployments_response_from_proto(
    message: pb.ListDeploymentsResponse,
) -> ListDeploymentsResponse:
    """Read a page of deployments."""
    return ListDeploymentsResponse(
        deployments=tuple([deployment_from_proto(item) for item in message.deployments]),
        next_page_token=message.next_page_token,
    )


def diff_deployments_request_to_proto(
    request: DiffDeploymentsRequest, message: pb.DiffDeploymentsRequest
) -> None:
    """Fill in which deployments to compare."""
    message.from_deployment_id = request.from_deployment_id
    message.to_deployment_id = request.to_deployment_id


def diff_deployments_request_from_proto(
    message: pb.DiffDeploymentsRequest,
) -> DiffDeploymentsRequest:
    """Read which deployments to compare."""
    return DiffDeploymentsRequest(
        from_deployment_id=message.from_deployment_id,
        to_deployment_id=message.to_deployment_id,
    )


def diff_deployments_response_to_proto(
    response: DiffDeploymentsResponse, message: pb.DiffDeploymentsResponse
) -> None:
    """Fill in what differs."""
    for change in response.changes:
        asset_change_to_proto(change, message.changes.add())


def diff_deployments_response_from_proto(
    message: pb.DiffDeploymentsResponse,
) -> DiffDeploymentsResponse:
    """Read what differs."""
    return DiffDeploymentsResponse(
        changes=tuple([asset_change_from_proto(change) for change in message.changes])
    )
