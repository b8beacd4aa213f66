"""The manifest: discover the assets of a project, build, compare and identify them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from servo._lazy import attach

if TYPE_CHECKING:
    from servo.manifest.builder import ManifestBuilder
    from servo.manifest.discovery import AssetDiscovery
    from servo.manifest.git import GitContext, extract_git_context
    from servo.manifest.graph import Problem, check, validate
    from servo.manifest.lockfile import Lockfile
    from servo.manifest.manifest import AssetManifest
    from servo.manifest.pipeline import build_project
    from servo.manifest.project import Project

__all__ = [
    "AssetDiscovery",
    "AssetManifest",
    "GitContext",
    "Lockfile",
    "ManifestBuilder",
    "Problem",
    "Project",
    "build_project",
    "check",
    "extract_git_context",
    "validate",
]

__getattr__, __dir__ = attach(
    __name__,
    {
        "servo.manifest.builder": "ManifestBuilder",
        "servo.manifest.discovery": "AssetDiscovery",
        "servo.manifest.git": "GitContext extract_git_context",
        "servo.manifest.graph": "Problem check validate",
        "servo.manifest.lockfile": "Lockfile",
        "servo.manifest.manifest": "AssetManifest",
        "servo.manifest.pipeline": "build_project",
        "servo.manifest.project": "Project",
    },
)
