"""Deployments and their differences (``deployment.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import deployment_pb2 as pb
from servo._wire.enums import ASSET_CHANGE_KIND
from servo._wire.keys import asset_key_from_proto, asset_key_to_proto
from servo._wire.manifests import git_context_from_proto, git_context_to_proto
from servo._wire.times import timestamp_from_proto, timestamp_to_proto
from servo.types.deployments import AssetChange, Deployment


def deployment_to_proto(deployment: Deployment, message: pb.Deployment) -> None:
    """Fill in a deployment."""
    message.deployment_id = deployment.deployment_id
    message.content_fingerprint = deployment.content_fingerprint
    if deployment.created_at is not None:
        timestamp_to_proto(deployment.created_at, message.created_at)
    message.deployed_by = deployment.deployed_by
    message.asset_count = deployment.asset_count
    if deployment.git is not None:
        git_context_to_proto(deployment.git, message.git)
    message.current = deployment.current
    message.code_version_id = deployment.code_version_id
    message.chunk_digests.extend(deployment.chunk_digests)


def deployment_from_proto(message: pb.Deployment) -> Deployment:
    """Read a deployment."""
    has = message.HasField
    return Deployment(
        deployment_id=message.deployment_id,
        content_fingerprint=message.content_fingerprint,
        created_at=timestamp_from_proto(message.created_at) if has("created_at") else None,
        deployed_by=message.deployed_by,
        asset_count=message.asset_count,
        git=git_context_from_proto(message.git) if has("git") else None,
        current=message.current,
        code_version_id=message.code_version_id,
        chunk_digests=tuple(message.chunk_digests),
    )


def asset_change_to_proto(change: AssetChange, message: pb.AssetChange) -> None:
    """Fill in one line of a difference."""
    asset_key_to_proto(change.key, message.key)
    message.kind = ASSET_CHANGE_KIND.number[change.kind]
    message.fields.extend(change.fields)
    if change.previous_key is not None:
        asset_key_to_proto(change.previous_key, message.previous_key)


def asset_change_from_proto(message: pb.AssetChange) -> AssetChange:
    """Read one line of a difference.

    Raises:
        InvalidArgumentError: The kind of change is not known to this version.
        ValueError: A key is malformed.
    """
    return AssetChange(
        key=asset_key_from_proto(message.key),
        kind=ASSET_CHANGE_KIND.member[message.kind],
        fields=tuple(message.fields),
        previous_key=(
            asset_key_from_proto(message.previous_key) if message.HasField("previous_key") else None
        ),
    )
