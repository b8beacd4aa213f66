"""Manifests and the chunks in which their assets travel (``manifest.proto``)."""

from __future__ import annotations

from collections.abc import Iterable

from servo._gen.arco.v1 import deployment_pb2
from servo._gen.arco.v1 import manifest_pb2 as pb
from servo._wire.assets import asset_definition_from_proto, asset_definition_to_proto
from servo._wire.times import timestamp_from_proto, timestamp_to_proto
from servo.types.assets import AssetDefinition
from servo.types.manifests import GitContext, ManifestContents, Schedule


def git_context_to_proto(git: GitContext, message: pb.GitContext) -> None:
    """Fill in the state of a source tree."""
    message.repository = git.repository
    message.branch = git.branch
    message.commit_sha = git.commit_sha
    message.commit_message = git.commit_message
    message.author = git.author
    message.dirty = git.dirty


def git_context_from_proto(message: pb.GitContext) -> GitContext:
    """Read the state of a source tree."""
    return GitContext(
        repository=message.repository,
        branch=message.branch,
        commit_sha=message.commit_sha,
        commit_message=message.commit_message,
        author=message.author,
        dirty=message.dirty,
    )


def schedule_to_proto(schedule: Schedule, message: pb.Schedule) -> None:
    """Fill in a schedule."""
    message.name = schedule.name
    message.cron = schedule.cron
    message.timezone = schedule.timezone
    message.selection.extend(schedule.selection)


def schedule_from_proto(message: pb.Schedule) -> Schedule:
    """Read a schedule."""
    return Schedule(
        name=message.name,
        cron=message.cron,
        timezone=message.timezone,
        selection=tuple(message.selection),
    )


def manifest_header_to_proto(contents: ManifestContents, message: pb.AssetManifest) -> None:
    """Fill in everything of a manifest except its assets."""
    message.manifest_version = contents.manifest_version
    message.tenant_id = contents.tenant_id
    message.workspace_id = contents.workspace_id
    message.code_version_id = contents.code_version_id
    if contents.git is not None:
        git_context_to_proto(contents.git, message.git)
    for schedule in contents.schedules:
        schedule_to_proto(schedule, message.schedules.add())
    if contents.deployed_at is not None:
        timestamp_to_proto(contents.deployed_at, message.deployed_at)
    message.deployed_by = contents.deployed_by
    if contents.metadata:
        message.metadata.update(contents.metadata)


def asset_manifest_to_proto(contents: ManifestContents, message: pb.AssetManifest) -> None:
    """Fill in a manifest."""
    manifest_header_to_proto(contents, message)
    for asset in contents.assets:
        asset_definition_to_proto(asset, message.assets.add())


def asset_manifest_from_proto(message: pb.AssetManifest) -> ManifestContents:
    """Read a manifest.

    Raises:
        InvalidArgumentError: An asset uses something that this version does not know.
        ValueError: A part of an asset is malformed.
    """
    has = message.HasField
    return ManifestContents(
        manifest_version=message.manifest_version,
        tenant_id=message.tenant_id,
        workspace_id=message.workspace_id,
        code_version_id=message.code_version_id,
        git=git_context_from_proto(message.git) if has("git") else None,
        assets=tuple([asset_definition_from_proto(asset) for asset in message.assets]),
        schedules=tuple([schedule_from_proto(schedule) for schedule in message.schedules]),
        deployed_at=timestamp_from_proto(message.deployed_at) if has("deployed_at") else None,
        deployed_by=message.deployed_by,
        metadata=dict(message.metadata),
    )


def manifest_chunk_to_proto(
    assets: Iterable[AssetDefinition], message: deployment_pb2.ManifestChunk
) -> None:
    """Fill in a consecutive part of a manifest's assets."""
    for asset in assets:
        asset_definition_to_proto(asset, message.assets.add())


def manifest_chunk_from_proto(
    message: deployment_pb2.ManifestChunk,
) -> tuple[AssetDefinition, ...]:
    """Read a consecutive part of a manifest's assets.

    Raises:
        InvalidArgumentError: An asset uses something that this version does not know.
        ValueError: A part of an asset is malformed.
    """
    return tuple([asset_definition_from_proto(asset) for asset in message.assets])
