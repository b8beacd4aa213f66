"""The wire: the only place that knows both the façade and the generated messages.

Everything here takes and returns types of ``servo.types``, text and bytes. Importing it loads
protobuf, and neither grpc nor anything above.
"""

from __future__ import annotations

from servo._wire import methods
from servo._wire.canonical_value import canonical_value
from servo._wire.codec import decode, encode, from_json, to_canonical_json, to_json_dict
from servo._wire.connect_errors import ConnectFailure, connect_failure_for, error_from_connect
from servo._wire.manifest_documents import (
    chunks_fingerprint,
    decode_chunk,
    encode_chunk,
    manifest_canonical_json,
    manifest_fingerprint,
)
from servo._wire.methods import METHODS, Method, MethodKind
from servo._wire.statuses import DETAILS_KEY, WireStatus, error_from_status, status_for
from servo._wire.weight import is_heavier_than, parts_of

__all__ = [
    "DETAILS_KEY",
    "METHODS",
    "ConnectFailure",
    "Method",
    "MethodKind",
    "WireStatus",
    "canonical_value",
    "chunks_fingerprint",
    "connect_failure_for",
    "decode",
    "decode_chunk",
    "encode",
    "encode_chunk",
    "error_from_connect",
    "error_from_status",
    "from_json",
    "is_heavier_than",
    "manifest_canonical_json",
    "manifest_fingerprint",
    "methods",
    "parts_of",
    "status_for",
    "to_canonical_json",
    "to_json_dict",
]
