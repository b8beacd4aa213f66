"""A manifest as canonical JSON, as a fingerprint and as chunks: asset by asset.

Assets are converted and printed one at a time, so that the messages of a large manifest are never
in memory together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Final

from google.protobuf.message import DecodeError

from servo._gen.arco.v1 import asset_pb2, deployment_pb2, manifest_pb2
from servo._wire.assets import asset_definition_to_proto
from servo._wire.canonical import print_message
from servo._wire.manifests import (
    manifest_chunk_from_proto,
    manifest_chunk_to_proto,
    manifest_header_to_proto,
)
from servo._wire.request_limits import check_items, check_structure
from servo.errors import InvalidArgumentError, ServoError
from servo.types.assets import AssetDefinition
from servo.types.manifests import ManifestContents

_JOINED: Final = 200
# `assets` is the first field by name, which a test of this module keeps true.
_BEGIN: Final = '{"assets":['
_NO_ASSETS: Final = f"{_BEGIN}]"


def manifest_canonical_json(contents: ManifestContents, *, provenance: bool) -> str:
    """Print a manifest as canonical JSON.

    Args:
        contents: The manifest; its assets are sorted by dotted key.
        provenance: Whether to keep what says where, when and by whom it was deployed. Without it
            two manifests with the same content have the same text.

    Raises:
        InvalidArgumentError: A part of it cannot be sent: a number does not fit its field, or a
            text is not Unicode.
    """
    return "".join(_pieces(contents, provenance=provenance))


def manifest_fingerprint(contents: ManifestContents) -> str:
    """Return the content fingerprint: SHA-256 of the canonical JSON without provenance.

    Raises:
        InvalidArgumentError: A part of it cannot be sent.
    """
    digest = hashlib.sha256()
    for piece in _pieces(contents, provenance=False):
        digest.update(piece.encode())
    return digest.hexdigest()


def chunks_fingerprint(header: ManifestContents, chunks: Iterable[bytes]) -> str:
    """Return the content fingerprint of a manifest as it arrived: a header and chunks.

    What arrived is printed as it is. A client may write down what others leave out because it is
    the default; its fingerprint is then another one, and right.

    Raises:
        InvalidArgumentError: A chunk is malformed.
    """
    digest = hashlib.sha256()
    for piece in _joined(header, map(_chunk_texts, chunks), provenance=False):
        digest.update(piece.encode())
    return digest.hexdigest()


def encode_chunk(assets: Iterable[AssetDefinition]) -> bytes:
    """Encode a consecutive part of a manifest's assets as a ``ManifestChunk``.

    Raises:
        InvalidArgumentError: A part of an asset cannot be sent.
    """
    message = deployment_pb2.ManifestChunk()
    try:
        manifest_chunk_to_proto(assets, message)
    except (ValueError, TypeError) as exc:
        raise InvalidArgumentError(f"assets cannot be sent: {exc}") from exc
    return message.SerializeToString(deterministic=True)


def decode_chunk(data: bytes) -> tuple[AssetDefinition, ...]:
    """Decode a ``ManifestChunk``.

    Raises:
        InvalidArgumentError: The bytes are malformed, or an asset is.
    """
    try:
        return manifest_chunk_from_proto(_parse_chunk(data))
    except ServoError:
        raise
    except (ValueError, TypeError) as exc:
        raise _invalid_chunk(data, exc) from exc


def _parse_chunk(data: bytes) -> deployment_pb2.ManifestChunk:
    check_structure(deployment_pb2.ManifestChunk.DESCRIPTOR, data)
    try:
        chunk = deployment_pb2.ManifestChunk.FromString(data)
    except DecodeError as exc:
        raise _invalid_chunk(data, exc) from exc
    check_items(chunk)
    return chunk


def _invalid_chunk(data: bytes, problem: Exception) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"a manifest chunk of {len(data)} bytes is invalid: {problem}; deploy again"
    )


def _chunk_texts(data: bytes) -> list[str]:
    chunk = _parse_chunk(data)
    for message in chunk.assets:
        if message.HasField("code"):
            message.code.line_number = 0
    return [print_message(message) for message in chunk.assets]


def _pieces(contents: ManifestContents, *, provenance: bool) -> Iterator[str]:
    assets = contents.assets
    parts = (
        [_asset_json(asset, provenance) for asset in assets[first : first + _JOINED]]
        for first in range(0, len(assets), _JOINED)
    )
    return _joined(contents, parts, provenance=provenance)


def _joined(
    contents: ManifestContents, parts: Iterable[list[str]], *, provenance: bool
) -> Iterator[str]:
    header = manifest_pb2.AssetManifest()
    manifest_header_to_proto(contents, header)
    if not provenance:
        for field in ("deployed_at", "deployed_by", "code_version_id", "git"):
            header.ClearField(field)
    yield _BEGIN
    separator = ""
    for texts in parts:
        if texts:
            yield f"{separator}{','.join(texts)}"
            separator = ","
    yield f"]{print_message(header).removeprefix(_NO_ASSETS)}"


def _asset_json(asset: AssetDefinition, provenance: bool) -> str:
    message = asset_pb2.AssetDefinition()
    try:
        asset_definition_to_proto(asset, message)
    except (ValueError, TypeError) as exc:
        raise InvalidArgumentError(f"asset {str(asset.key)!r} cannot be sent: {exc}") from exc
    if not provenance:
        message.code.line_number = 0
    return print_message(message)
