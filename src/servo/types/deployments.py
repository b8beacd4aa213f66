"""Deployments and their differences; mirrors ``proto/arco/v1/deployment.proto``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from servo.types.keys import AssetKey
from servo.types.manifests import GitContext


class Deployment(Struct, frozen=True, kw_only=True):
    """A manifest that was accepted."""

    deployment_id: str
    content_fingerprint: str
    created_at: datetime | None = None
    deployed_by: str = ""
    asset_count: int = 0
    git: GitContext | None = None
    current: bool = False
    code_version_id: str = ""
    chunk_digests: tuple[bytes, ...] = ()


class AssetChangeKind(StrEnum):
    """What happened to an asset between two manifests."""

    ADDED = "added"
    REMOVED = "removed"
    CHANGED = "changed"
    RENAMED = "renamed"


class AssetChange(Struct, frozen=True, kw_only=True):
    """One line of a difference; ``fields`` are JSON names of `AssetDefinition`, sorted."""

    key: AssetKey
    kind: AssetChangeKind
    fields: tuple[str, ...] = ()
    previous_key: AssetKey | None = None
