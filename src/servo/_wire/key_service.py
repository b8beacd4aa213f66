"""API keys, and requests and responses of their service (``key.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import key_pb2 as pb
from servo._wire.enums import ROLE
from servo._wire.times import timestamp_from_proto, timestamp_to_proto
from servo.types.access import (
    ApiKey,
    CreateKeyRequest,
    CreateKeyResponse,
    ListKeysRequest,
    ListKeysResponse,
    RevokeKeyRequest,
    RevokeKeyResponse,
)


def api_key_to_proto(key: ApiKey, message: pb.ApiKey) -> None:
    """Fill in a key."""
    message.key_id = key.key_id
    message.name = key.name
    message.tenant_id = key.tenant_id
    message.workspace_id = key.workspace_id
    message.role = ROLE.number[key.role]
    if key.created_at is not None:
        timestamp_to_proto(key.created_at, message.created_at)
    if key.expires_at is not None:
        timestamp_to_proto(key.expires_at, message.expires_at)
    if key.revoked_at is not None:
        timestamp_to_proto(key.revoked_at, message.revoked_at)


def api_key_from_proto(message: pb.ApiKey) -> ApiKey:
    """Read a key."""
    has = message.HasField
    return ApiKey(
        key_id=message.key_id,
        name=message.name,
        tenant_id=message.tenant_id,
        workspace_id=message.workspace_id,
        role=ROLE.member[message.role],
        created_at=timestamp_from_proto(message.created_at) if has("created_at") else None,
        expires_at=timestamp_from_proto(message.expires_at) if has("expires_at") else None,
        revoked_at=timestamp_from_proto(message.revoked_at) if has("revoked_at") else None,
    )


def create_key_request_to_proto(request: CreateKeyRequest, message: pb.CreateKeyRequest) -> None:
    """Fill in which key is wanted."""
    message.name = request.name
    message.workspace_id = request.workspace_id
    message.role = ROLE.number[request.role]
    if request.expires_at is not None:
        timestamp_to_proto(request.expires_at, message.expires_at)


def create_key_request_from_proto(message: pb.CreateKeyRequest) -> CreateKeyRequest:
    """Read which key is wanted."""
    return CreateKeyRequest(
        name=message.name,
        workspace_id=message.workspace_id,
        role=ROLE.member[message.role],
        expires_at=(
            timestamp_from_proto(message.expires_at) if message.HasField("expires_at") else None
        ),
    )


def create_key_response_to_proto(
    response: CreateKeyResponse, message: pb.CreateKeyResponse
) -> None:
    """Fill in a new key."""
    api_key_to_proto(response.key, message.key)
    message.api_key = response.api_key


def create_key_response_from_proto(message: pb.CreateKeyResponse) -> CreateKeyResponse:
    """Read a new key."""
    return CreateKeyResponse(key=api_key_from_proto(message.key), api_key=message.api_key)


def list_keys_request_to_proto(request: ListKeysRequest, message: pb.ListKeysRequest) -> None:
    """Fill in which page of keys is read."""
    message.page_size = request.page_size
    message.page_token = request.page_token


def list_keys_request_from_proto(message: pb.ListKeysRequest) -> ListKeysRequest:
    """Read which page of keys is read."""
    return ListKeysRequest(page_size=message.page_size, page_token=message.page_token)


def list_keys_response_to_proto(response: ListKeysResponse, message: pb.ListKeysResponse) -> None:
    """Fill in a page of keys."""
    for key in response.keys:
        api_key_to_proto(key, message.keys.add())
    message.next_page_token = response.next_page_token


def list_keys_response_from_proto(message: pb.ListKeysResponse) -> ListKeysResponse:
    """Read a page of keys."""
    return ListKeysResponse(
        keys=tuple([api_key_from_proto(key) for key in message.keys]),
        next_page_token=message.next_page_token,
    )


def revoke_key_request_to_proto(request: RevokeKeyRequest, message: pb.RevokeKeyRequest) -> None:
    """Fill in which key ends."""
    message.key_id = request.key_id


def revoke_key_request_from_proto(message: pb.RevokeKeyRequest) -> RevokeKeyRequest:
    """Read which key ends."""
    return RevokeKeyRequest(key_id=message.key_id)


def revoke_key_response_to_proto(
    response: RevokeKeyResponse, message: pb.RevokeKeyResponse
) -> None:
    """Fill in the key that has ended."""
    api_key_to_proto(response.key, message.key)


def revoke_key_response_from_proto(message: pb.RevokeKeyResponse) -> RevokeKeyResponse:
    """Read the key that has ended."""
    return RevokeKeyResponse(key=api_key_from_proto(message.key))
