"""Manifests in messages of a usual size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields
from typing import Final

from servo.types.manifests import ManifestContents

_MESSAGE_BYTES: Final = 900_000
"""What one upload holds at most: well below grpc's stock limit of 4 MiB."""


def batches(chunks: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    """Pack chunks into as few messages as their size allows, keeping their order."""
    batch: list[bytes] = []
    size = 0
    for chunk in chunks:
        if batch and size + len(chunk) > _MESSAGE_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(chunk)
        size += len(chunk)
    if batch:
        yield batch


def without_assets(manifest: ManifestContents) -> ManifestContents:
    """Return everything of a manifest but its assets."""
    # A subclass may make assets part of its own state; only the fields travel.
    values = {
        field.name: getattr(manifest, field.name)
        for field in fields(ManifestContents)
        if field.name != "assets"
    }
    return ManifestContents(**values)
