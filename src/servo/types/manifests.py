"""What a project deploys; mirrors ``proto/arco/v1/manifest.proto``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from servo.types.assets import AssetDefinition

MANIFEST_VERSION = "1.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class GitContext:
    """The state of the source tree from which a manifest was deployed."""

    repository: str = ""
    branch: str = ""
    commit_sha: str = ""
    commit_message: str = ""
    author: str = ""
    dirty: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When something is started by the clock."""

    name: str
    cron: str = ""
    timezone: str = "UTC"
    selection: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ManifestContents:
    """The fields of a manifest; `servo.manifest.AssetManifest` adds what one does with them."""

    manifest_version: str = MANIFEST_VERSION
    tenant_id: str = ""
    workspace_id: str = ""
    code_version_id: str = ""
    git: GitContext | None = None
    assets: tuple[AssetDefinition, ...] = ()
    schedules: tuple[Schedule, ...] = ()
    deployed_at: datetime | None = None
    deployed_by: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)
