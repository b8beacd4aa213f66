"""From decorated functions to a manifest."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from servo import errors
from servo._fingerprint import fingerprint_all
from servo._introspect import function_of
from servo.asset import Asset
from servo.manifest._garbage import paused_gc
from servo.manifest.git import extract_git_context
from servo.manifest.lockfile import Lockfile
from servo.manifest.manifest import AssetManifest
from servo.manifest.project import default_import_roots, find_root, relative_path
from servo.manifest.project_code import ProjectCode
from servo.types import AssetDefinition, AssetId, CodeLocation

__all__ = ["ManifestBuilder"]

_MOST_LISTED: Final = 50


class ManifestBuilder:
    """Builds manifests; the content depends on the assets and the lockfile only.

    Args:
        tenant_id: The tenant that the project belongs to.
        workspace_id: The workspace that it is deployed to.
        deployed_by: Who deploys it; given, the manifest also says when.
        include_git: Whether the manifest says from which commit it was built, where git can
            tell. Provenance: not part of the content fingerprint.
        lockfile: Where ids come from, and where new ones are added (`Lockfile.save` writes
            them); without one, assets have no id.
        mint_ids: Whether assets that the lockfile does not know get a new id; otherwise they
            have none.
        root: The project's root, to which paths are relative; by default found from the files.
        code: The project's code; by default what lies below the root and its ``src`` now. Give the
            one that the assets were imported with: then what is fingerprinted is what they do.
    """

    def __init__(
        self,
        *,
        tenant_id: str = "default",
        workspace_id: str = "default",
        deployed_by: str | None = None,
        include_git: bool = True,
        lockfile: Lockfile | None = None,
        mint_ids: bool = True,
        root: str | Path | None = None,
        code: ProjectCode | None = None,
    ) -> None:
        self._code = code
        self._tenant_id = tenant_id
        self._workspace_id = workspace_id
        self._deployed_by = deployed_by
        self._include_git = include_git
        self._lockfile = lockfile
        self._mint_ids = mint_ids
        self._root = None if root is None else Path(root).resolve()

    def build(self, assets: Iterable[Asset[..., Any]]) -> AssetManifest:
        """Build the manifest of some assets.

        Raises:
            DefinitionError: The annotations of some assets make no sense; the message lists all
                of them.
            LockfileError: The lockfile is frozen and lacks ids; the message lists the keys.
        """
        ordered = sorted(assets, key=lambda asset: asset.key)
        root = self._root or _root_of(ordered)
        code = self._code or ProjectCode(() if root is None else default_import_roots(root))
        with paused_gc():
            definitions = self._with_ids(_definitions(ordered, root, code))
        return AssetManifest(
            tenant_id=self._tenant_id,
            workspace_id=self._workspace_id,
            git=extract_git_context(root) if self._include_git and root is not None else None,
            assets=tuple(definitions),
            deployed_at=datetime.now(UTC) if self._deployed_by else None,
            deployed_by=self._deployed_by or "",
        )

    def _with_ids(self, definitions: list[AssetDefinition]) -> list[AssetDefinition]:
        lockfile = self._lockfile
        if lockfile is None:
            return definitions
        ids = resolve_ids(lockfile, definitions, mint=self._mint_ids)
        return [
            one if (found := ids.get(str(one.key))) is None else altered(one, id=found)
            for one in definitions
        ]


def resolve_ids(
    lockfile: Lockfile, definitions: Sequence[AssetDefinition], *, mint: bool
) -> dict[str, AssetId]:
    """Find the ids of some assets, following ``renamed_from``.

    Args:
        lockfile: Where they come from; renames and new ids are recorded in it.
        definitions: The assets.
        mint: Whether the others get new ids.

    Raises:
        LockfileError: The lockfile is frozen and lacks ids, and ``mint`` is set.
        DefinitionError: An asset was renamed, and its former key is still there as well.
    """
    present = {str(one.key) for one in definitions}
    for one in definitions:
        said = str(one.renamed_from) if one.renamed_from is not None else ""
        known = lockfile.asset_ids
        old = said if said in known else lockfile.renamed_to(said)
        if (
            old is not None
            and old in known
            and not {old, said} & present
            and str(one.key) not in known
        ):
            lockfile.rename(old, one.key)
    found = lockfile.resolve(present)
    if mint:
        if lockfile.frozen:
            lockfile.require(present)
        found |= {key: lockfile.get_or_create(key)[0] for key in sorted(present - found.keys())}
    return found


T = TypeVar("T", AssetDefinition, CodeLocation)


def altered(value: T, **changes: object) -> T:
    """Return a copy with other fields, like `dataclasses.replace` without validating again.

    What is changed here was made by this package, and everything else was validated when
    ``value`` was made; checking it once more would double the time of a build.
    """
    copy = object.__new__(type(value))
    for name in _FIELD_NAMES[type(value)]:
        object.__setattr__(copy, name, changes.get(name, getattr(value, name)))
    return copy


_FIELD_NAMES: Final[dict[type, tuple[str, ...]]] = {
    kind: tuple(field.name for field in dataclasses.fields(kind))
    for kind in (AssetDefinition, CodeLocation)
}


def _definitions(
    assets: Sequence[Asset[..., Any]], root: Path | None, code: ProjectCode
) -> list[AssetDefinition]:
    problems: list[str] = []
    plain: list[AssetDefinition] = []
    for asset in assets:
        try:
            plain.append(asset.declared)
        except (TypeError, ValueError) as error:
            problems.append(f"'{asset.key}': {error}")
    if problems:
        raise _definition_error(problems)
    paths = {path: _project_path(path, root) for path in {one.code.file_path for one in plain}}
    # First, because it reads the files of the functions.
    runs_with = [code.fingerprint(one.code.module, one.code.function) for one in plain]
    fingerprints = fingerprint_all([asset.function for asset in assets], known_files=code)
    return [
        altered(
            one,
            code=altered(
                one.code,
                file_path=paths[one.code.file_path],
                line_number=fingerprint.line_number or one.code.line_number,
                fingerprint=needed,
            ),
            transform_fingerprint=fingerprint.digest,
        )
        for one, fingerprint, needed in zip(plain, fingerprints, runs_with, strict=True)
    ]


def _project_path(path: str, root: Path | None) -> str:
    # What was typed into a shell has no file, only a name such as <stdin>.
    if not path or os.path.basename(path).startswith("<"):  # noqa: PTH119  # a name, not a path
        return ""
    return path if root is None else relative_path(root, path)


def _root_of(assets: Sequence[Asset[..., Any]]) -> Path | None:
    """Return the project that the first asset with a file lies in."""
    for asset in assets:
        path = Path(function_of(asset.function).__code__.co_filename)
        if path.is_absolute() and path.is_file():
            return find_root(path.parent) or path.parent
    return None


def _definition_error(problems: list[str]) -> errors.DefinitionError:
    lines = [f"  {problem}" for problem in problems[:_MOST_LISTED]]
    if len(problems) > _MOST_LISTED:
        lines.append(f"  … and {len(problems) - _MOST_LISTED} more")
    count = f"{len(problems)} asset definition{'s are' if len(problems) > 1 else ' is'} wrong"
    return errors.DefinitionError("\n".join([f"{count}:", *lines]))
