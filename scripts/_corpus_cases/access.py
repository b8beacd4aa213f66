"""API keys."""

from __future__ import annotations

from typing import Final

from _corpus_cases.case import Case

ACCESS_KEY: Final = {
    "keyId": "k3j9x2ma",
    "name": "nightly, für CI",
    "tenantId": "acme",
    "workspaceId": "*",
    "role": "ROLE_DEPLOYER",
    "createdAt": "2025-01-15T10:30:00.123456Z",
    "expiresAt": "2025-02-14T10:30:00Z",
    "revokedAt": "2025-01-20T08:00:00Z",
}
ENDLESS_KEY: Final = {
    "keyId": "0a1b2c3d",
    "tenantId": "acme",
    "workspaceId": "prod",
    "role": "ROLE_WORKER",
    "createdAt": "2025-01-15T10:30:00Z",
}

ACCESS: tuple[Case, ...] = (
    Case("api-key", "ApiKey", ACCESS_KEY, "a key that was revoked before it expired"),
    Case("api-key-endless", "ApiKey", ENDLESS_KEY, "a key without an end"),
    *(
        Case(f"api-key-{role}", "ApiKey", ENDLESS_KEY | {"role": f"ROLE_{role.upper()}"}, "a role")
        for role in ("viewer", "operator", "admin")
    ),
    Case(
        "create-key-request",
        "CreateKeyRequest",
        {
            "name": "nightly",
            "workspaceId": "prod",
            "role": "ROLE_OPERATOR",
            "expiresAt": "2025-02-14T10:30:00Z",
        },
        "a key that expires",
    ),
    Case(
        "create-key-response",
        "CreateKeyResponse",
        {"key": ENDLESS_KEY, "apiKey": f"servo_0a1b2c3d_{'A' * 43}"},
        "the only time that a key is shown",
    ),
    Case("list-keys-request", "ListKeysRequest", {"pageSize": 2, "pageToken": "2"}, "a page"),
    Case(
        "list-keys-response",
        "ListKeysResponse",
        {"keys": [ACCESS_KEY, ENDLESS_KEY], "nextPageToken": "4"},
        "a page of keys",
    ),
    Case("revoke-key-request", "RevokeKeyRequest", {"keyId": "k3j9x2ma"}, "the end of a key"),
    Case("revoke-key-response", "RevokeKeyResponse", {"key": ACCESS_KEY}, "a key that has ended"),
)
