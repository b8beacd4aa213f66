"""The manifest: everything that a project declares, as one value."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Self

from servo import errors
from servo.types.manifests import GitContext, ManifestContents

__all__ = ["AssetManifest"]


@dataclass(frozen=True, kw_only=True)
class AssetManifest(ManifestContents):
    """Everything that a project declares; assets are sorted by key whatever order is given.

    Its JSON is canonical: the same content gives the same bytes on every machine.
    """

    def __post_init__(self) -> None:
        assets = tuple(sorted(self.assets, key=lambda asset: asset.key))
        object.__setattr__(self, "assets", assets)
        schedules = tuple(sorted(self.schedules, key=lambda schedule: schedule.name))
        object.__setattr__(self, "schedules", schedules)

    def to_canonical_json(self) -> str:
        """Print the whole manifest, provenance included."""
        from servo import _wire

        return _wire.manifest_canonical_json(self, provenance=True)

    def fingerprint(self) -> str:
        """Return the content fingerprint: SHA-256 without provenance, 64 hex digits.

        Provenance is what says when, by whom and from which commit and lines something was
        deployed: two deploys of the same content have the same fingerprint.
        """
        from servo import _wire

        text = _wire.manifest_canonical_json(self, provenance=False)
        return sha256(text.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the JSON document as Python values."""
        document: dict[str, Any] = json.loads(self.to_canonical_json())
        return document

    @classmethod
    def from_contents(cls, contents: ManifestContents) -> Self:
        """Make a manifest of the same contents."""
        names = (field.name for field in dataclasses.fields(ManifestContents))
        return cls(**{name: getattr(contents, name) for name in names})

    @classmethod
    def from_json(cls, text: str | bytes, *, source: str = "the manifest") -> Self:
        """Read a manifest.

        Args:
            text: Its JSON, canonical or not.
            source: What the text is, for messages, such as a file name.

        Raises:
            InvalidArgumentError: It is no JSON, no manifest, or has unknown or malformed fields;
                the message names the place.
        """
        from servo import _wire

        if isinstance(text, bytes):
            try:
                text = text.decode()
            except UnicodeDecodeError as error:
                raise _malformed(source, f"it is no UTF-8 text: {error}") from error
        try:
            contents = _wire.from_json(ManifestContents, text)
        except errors.InvalidArgumentError as error:
            raise _malformed(source, error.message) from error
        except (ValueError, TypeError, RecursionError) as error:
            raise _malformed(source, str(error)) from error
        if contents.manifest_version != ManifestContents().manifest_version:
            raise _malformed(
                source,
                f"it has the manifest version {contents.manifest_version!r} and this Servo reads "
                f"{ManifestContents().manifest_version!r}; use the version that wrote it",
            )
        return cls.from_contents(contents)

    def stamped(
        self,
        *,
        deployed_by: str,
        deployed_at: datetime | None = None,
        git: GitContext | None = None,
        code_version_id: str = "",
    ) -> Self:
        """Return the manifest with provenance; the content fingerprint stays the same.

        Args:
            deployed_by: Who deploys it.
            deployed_at: When; aware; by default now.
            git: The state of the source tree; by default what the manifest has.
            code_version_id: The version of the code; by default what the manifest has.
        """
        return dataclasses.replace(
            self,
            deployed_by=deployed_by,
            deployed_at=deployed_at if deployed_at is not None else datetime.now(UTC),
            git=git if git is not None else self.git,
            code_version_id=code_version_id or self.code_version_id,
        )


def _malformed(source: str, why: str) -> errors.InvalidArgumentError:
    return errors.InvalidArgumentError(
        f"{source} cannot be read as a manifest: {why}. A manifest is not edited by hand: "
        f"print it again with 'servo-gen manifest'.",
        code="INVALID_MANIFEST",
    )
