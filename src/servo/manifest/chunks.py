"""A manifest's assets in content-addressed chunks, so that a deploy sends only what changed.

The assets are cut where the hash of a key says so, not by counting: an inserted, removed or
edited asset changes the chunk that it is in and hardly ever a neighbour. The assets of a
``ManifestChunk`` are a repeated field, so the bytes of a chunk are those of its assets in a row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from zlib import crc32

from servo import errors
from servo.types import AssetDefinition

__all__ = ["Chunk", "split"]

_CUT_ONE_IN: Final = 96
"""How many assets a chunk has on average: about 64 KB of usual definitions."""
_MOST_BYTES: Final = 448 * 1024
"""A chunk is cut before it grows larger."""
_LARGEST_ASSET: Final = 2 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some consecutive assets of a manifest.

    Attributes:
        digest: SHA-256 of ``data``, 32 bytes.
        data: Serialised ``ManifestChunk``.
    """

    digest: bytes
    data: bytes


def split(assets: Iterable[AssetDefinition]) -> list[Chunk]:
    """Cut assets into chunks; the chunks in order hold all of them, sorted by key.

    Raises:
        DefinitionError: One definition alone is larger than a message may be.
    """
    return list(_chunks(sorted(assets, key=lambda asset: asset.key)))


def _chunks(assets: Iterable[AssetDefinition]) -> Iterator[Chunk]:
    from servo import _wire

    parts: list[bytes] = []
    size = 0
    for asset in assets:
        data = _wire.encode_chunk((asset,))
        if len(data) > _LARGEST_ASSET:
            raise errors.DefinitionError(
                f"the definition of '{asset.key}' takes {len(data):,} bytes, more than the "
                f"{_LARGEST_ASSET:,} that can be sent; move long texts (descriptions, SQL, "
                f"metadata, lists of partition values) out of it",
                code="DEFINITION_TOO_LARGE",
            )
        if parts and (size + len(data) > _MOST_BYTES or _starts_chunk(asset)):
            yield _chunk(parts)
            parts, size = [], 0
        parts.append(data)
        size += len(data)
    if parts:
        yield _chunk(parts)


def _starts_chunk(asset: AssetDefinition) -> bool:
    return crc32(str(asset.key).encode()) % _CUT_ONE_IN == 0


def _chunk(parts: list[bytes]) -> Chunk:
    data = b"".join(parts)
    return Chunk(sha256(data).digest(), data)
