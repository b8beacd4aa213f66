"""From a project on disk to a validated manifest with ids: what gen, deploy and validate share."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence

from servo.manifest import graph
from servo.manifest._ahead import FactsAhead
from servo.manifest._garbage import paused_gc
from servo.manifest._source_files import source_files
from servo.manifest.builder import ManifestBuilder, altered
from servo.manifest.discovery import AssetDiscovery
from servo.manifest.lockfile import Lockfile
from servo.manifest.manifest import AssetManifest
from servo.manifest.project import Project
from servo.manifest.project_code import ProjectCode
from servo.manifest.verify import Verification
from servo.types import AssetDefinition, AssetKey

__all__ = ["build_project", "is_frozen_by_default"]


def is_frozen_by_default(environ: Mapping[str, str] | None = None) -> bool:
    """Whether new assets are refused unless asked otherwise: in continuous integration."""
    value = (os.environ if environ is None else environ).get("CI", "")
    return value.strip().lower() not in ("", "0", "false", "no")


def build_project(
    project: Project,
    *,
    frozen: bool | None = None,
    write_lockfile: bool = True,
    verify: bool = False,
    renames: Callable[[Sequence[AssetDefinition]], Mapping[AssetKey, AssetKey]] | None = None,
) -> AssetManifest:
    """Discover, build and validate; the manifest has no provenance (`AssetManifest.stamped`).

    Nothing is written unless everything is valid.

    Args:
        project: The project.
        frozen: Whether an asset without an id is an error; by default `is_frozen_by_default`.
        write_lockfile: Whether new ids are minted and saved; otherwise new assets have none.
        verify: Whether the manifest is built a second time in another process and compared.
        renames: Asked, with all assets, which of the lockfile's keys were renamed to which new
            ones; only where the lockfile knows assets that are gone and lacks others.

    Raises:
        DiscoveryError: Some modules cannot be imported.
        DefinitionError: The assets contradict themselves or each other, or two builds differ.
        LockfileError: The lockfile cannot be used, or is frozen and lacks ids.
        FilesystemError: The lockfile cannot be written.
    """
    if frozen is None:
        frozen = is_frozen_by_default()
    with contextlib.ExitStack() as stack, paused_gc():
        second = stack.enter_context(Verification(project)) if verify else None
        lockfile = Lockfile.load(project.lockfile_path, frozen=frozen)
        # A second build keeps the other core busy already.
        files = [] if verify else source_files(project)
        ahead = stack.enter_context(FactsAhead(files, project.import_roots))
        code = ProjectCode(project.import_roots, known_facts=ahead.find)
        assets = AssetDiscovery(project=project, code=code).discover()
        builder = ManifestBuilder(
            tenant_id=project.settings.tenant_id,
            workspace_id=project.settings.workspace_id,
            include_git=False,
            lockfile=lockfile,
            mint_ids=False,
            root=project.root,
            code=code,
        )
        manifest = builder.build(assets)
        graph.check(manifest)
        if frozen:
            lockfile.require(one.key for one in manifest.assets)
        elif write_lockfile:
            keys = {str(one.key) for one in manifest.assets}
            if renames and lockfile.missing(keys) and not keys.issuperset(lockfile.asset_ids):
                for old, new in renames(manifest.assets).items():
                    lockfile.rename(old, new)
            manifest = reserve_ids(manifest, lockfile)
        if second is not None:
            second.compare(manifest)
    return manifest


def reserve_ids(manifest: AssetManifest, lockfile: Lockfile) -> AssetManifest:
    """Give every asset an id, and save the lockfile before anybody learns of them.

    Saving comes first because another process may have given the same asset an id meanwhile, and
    then that one counts.
    """
    keys = {str(one.key) for one in manifest.assets}
    lockfile.settle(keys)
    while missing := keys - lockfile.resolve(keys).keys():
        for key in sorted(missing):
            lockfile.get_or_create(key)
        # Another process may have renamed one of them meanwhile: then it has no id here yet.
        lockfile.save()
    lockfile.save()
    ids = lockfile.resolve(keys)
    return dataclasses.replace(
        manifest,
        assets=tuple(
            one if one.id == ids[str(one.key)] else altered(one, id=ids[str(one.key)])
            for one in manifest.assets
        ),
    )
