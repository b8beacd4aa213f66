"""Requests and responses of the service for assets (``asset_service.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import asset_service_pb2 as pb
from servo._wire.assets import asset_definition_from_proto, asset_definition_to_proto
from servo._wire.keys import (
    asset_key_from_proto,
    asset_key_to_proto,
    partition_key_from_proto,
    partition_key_to_proto,
)
from servo._wire.runs import materialization_from_proto, materialization_to_proto
from servo.types.requests import (
    AssetSummary,
    GetAssetRequest,
    GetAssetResponse,
    ListAssetsRequest,
    ListAssetsResponse,
    ListMaterializationsRequest,
    ListMaterializationsResponse,
)


def asset_summary_to_proto(summary: AssetSummary, message: pb.AssetSummary) -> None:
    """Fill in an asset and what is materialised of it."""
    asset_definition_to_proto(summary.definition, message.definition)
    if summary.latest_materialization is not None:
        materialization_to_proto(summary.latest_materialization, message.latest_materialization)
    message.materialized_partitions = summary.materialized_partitions
    if summary.declared_partitions is not None:
        message.declared_partitions = summary.declared_partitions


def asset_summary_from_proto(message: pb.AssetSummary) -> AssetSummary:
    """Read an asset and what is materialised of it."""
    has = message.HasField
    return AssetSummary(
        definition=asset_definition_from_proto(message.definition),
        latest_materialization=(
            materialization_from_proto(message.latest_materialization)
            if has("latest_materialization")
            else None
        ),
        materialized_partitions=message.materialized_partitions,
        declared_partitions=(message.declared_partitions if has("declared_partitions") else None),
    )


def list_assets_request_to_proto(request: ListAssetsRequest, message: pb.ListAssetsRequest) -> None:
    """Fill in which assets are read."""
    message.selection.extend(request.selection)
    message.page_size = request.page_size
    message.page_token = request.page_token


def list_assets_request_from_proto(message: pb.ListAssetsRequest) -> ListAssetsRequest:
    """Read which assets are read."""
    return ListAssetsRequest(
        selection=tuple(message.selection),
        page_size=message.page_size,
        page_token=message.page_token,
    )


def list_assets_response_to_proto(
    response: ListAssetsResponse, message: pb.ListAssetsResponse
) -> None:
    """Fill in a page of assets."""
    for summary in response.assets:
        asset_summary_to_proto(summary, message.assets.add())
    message.next_page_token = response.next_page_token


def list_assets_response_from_proto(message: pb.ListAssetsResponse) -> ListAssetsResponse:
    """Read a page of assets."""
    return ListAssetsResponse(
        assets=tuple([asset_summary_from_proto(summary) for summary in message.assets]),
        next_page_token=message.next_page_token,
    )


def get_asset_request_to_proto(request: GetAssetRequest, message: pb.GetAssetRequest) -> None:
    """Fill in which asset is read."""
    asset_key_to_proto(request.key, message.key)


def get_asset_request_from_proto(message: pb.GetAssetRequest) -> GetAssetRequest:
    """Read which asset is read.

    Raises:
        ValueError: The key is malformed or missing.
    """
    return GetAssetRequest(key=asset_key_from_proto(message.key))


def get_asset_response_to_proto(response: GetAssetResponse, message: pb.GetAssetResponse) -> None:
    """Fill in an asset and those that read it."""
    asset_summary_to_proto(response.asset, message.asset)
    for key in response.downstream:
        asset_key_to_proto(key, message.downstream.add())


def get_asset_response_from_proto(message: pb.GetAssetResponse) -> GetAssetResponse:
    """Read an asset and those that read it."""
    return GetAssetResponse(
        asset=asset_summary_from_proto(message.asset),
        downstream=tuple([asset_key_from_proto(key) for key in message.downstream]),
    )


def list_materializations_request_to_proto(
    request: ListMaterializationsRequest, message: pb.ListMaterializationsRequest
) -> None:
    """Fill in which materialisations are read."""
    asset_key_to_proto(request.key, message.key)
    if request.partition_key is not None:
        partition_key_to_proto(request.partition_key, message.partition_key)
    message.latest_only = request.latest_only
    message.page_size = request.page_size
    message.page_token = request.page_token


def list_materializations_request_from_proto(
    message: pb.ListMaterializationsRequest,
) -> ListMaterializationsRequest:
    """Read which materialisations are read.

    Raises:
        ValueError: A key is malformed or missing.
    """
    return ListMaterializationsRequest(
        key=asset_key_from_proto(message.key),
        partition_key=(
            partition_key_from_proto(message.partition_key)
            if message.HasField("partition_key")
            else None
        ),
        latest_only=message.latest_only,
        page_size=message.page_size,
        page_token=message.page_token,
    )


def list_materializations_response_to_proto(
    response: ListMaterializationsResponse, message: pb.ListMaterializationsResponse
) -> None:
    """Fill in a page of materialisations."""
    for found in response.materializations:
        materialization_to_proto(found, message.materializations.add())
    message.next_page_token = response.next_page_token


def list_materializations_response_from_proto(
    message: pb.ListMaterializationsResponse,
) -> ListMaterializationsResponse:
    """Read a page of materialisations."""
    return ListMaterializationsResponse(
        materializations=tuple(
            [materialization_from_proto(found) for found in message.materializations]
        ),
        next_page_token=message.next_page_token,
    )
