"""Tokens of somebody else's identity provider (OpenID Connect), checked against its keys.

A token is taken when the provider that was set up has signed it for this control plane, and while
it lasts. Its claims say for which tenant, workspace and role; none of the three has a default.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import HTTPRedirectHandler, build_opener

from servo import _extras, errors
from servo.controlplane import listener
from servo.controlplane.keys import Principal
from servo.types.access import ANY_WORKSPACE, Role

ALGORITHMS: Final = (
    "RS256",
    "RS384",
    "RS512",
    "PS256",
    "PS384",
    "PS512",
    "ES256",
    "ES384",
    "EdDSA",
)
"""Signatures that are taken. Never ``none``, and nothing symmetric: a public key is no secret."""

_LEEWAY_SECONDS: Final = 30
_REFRESH_SECONDS: Final = 300.0
_SHORTEST_REFRESH_SECONDS: Final = 10.0
_FETCH_SECONDS: Final = 5.0
_MAX_JWKS_BYTES: Final = 1024 * 1024
_MAX_TOKEN_CHARACTERS: Final = 16 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class OidcConfig:
    """Whose tokens are taken, and what their claims are called.

    Attributes:
        issuer: What ``iss`` must be.
        audience: What ``aud`` must hold.
        jwks: Where the provider's public keys are: an ``https://`` URL, or a file.
        tenant_claim: The claim that has the tenant.
        workspace_claim: The claim that has the workspace; ``*`` for all of the tenant's.
        role_claim: The claim that has the role: viewer, operator, deployer or worker.
    """

    issuer: str
    audience: str
    jwks: str
    tenant_claim: str = "servo_tenant"
    workspace_claim: str = "servo_workspace"
    role_claim: str = "servo_role"


class OidcVerifier:
    """Verifies tokens.

    Args:
        config: Whose tokens are taken.
        clock: Seconds, monotonic; decides when the keys are read again.

    Raises:
        servo.errors.ConfigurationError: The extra is not installed, or the keys would be fetched
            without TLS.
    """

    def __init__(self, config: OidcConfig, clock: Callable[[], float] = time.monotonic) -> None:
        with _extras.needing("jwt", "verifying tokens of an identity provider"):
            import jwt
        parts = urlsplit(config.jwks)
        if parts.scheme == "http" and not listener.is_loopback(parts.hostname or ""):
            raise errors.ConfigurationError(
                f"the keys at {config.jwks!r} would come without TLS, and with them anybody's "
                "tokens; use https://",
                code="OIDC_JWKS_INSECURE",
            )
        self._jwt = jwt
        self._config = config
        self._clock = clock
        self._keys: dict[str, Any] = {}
        self._read_at = -_REFRESH_SECONDS
        self._reading = asyncio.Lock()

    async def verify(self, token: str) -> Principal:
        """Return whom a token stands for.

        Raises:
            servo.errors.UnauthenticatedError: It is malformed, not signed by the provider, for
                somebody else, or has expired; or its claims name no tenant, workspace and role.
            servo.errors.UnavailableError: The provider's keys cannot be read.
        """
        if len(token) > _MAX_TOKEN_CHARACTERS:
            raise _refused("it is too long")
        try:
            header = self._jwt.get_unverified_header(token)
            key = await self._key(str(header.get("kid", "")), str(header.get("alg", "")))
            claims = self._jwt.decode(
                token,
                key,
                # The key's own algorithm: what the header says is the caller's wish.
                algorithms=[key.algorithm_name],
                audience=self._config.audience,
                issuer=self._config.issuer,
                leeway=_LEEWAY_SECONDS,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except self._jwt.PyJWTError as exc:
            # PyJWT's texts name claims and numbers, never the token.
            raise _refused(str(exc) or type(exc).__name__) from exc
        return self._principal(claims)

    def _principal(self, claims: dict[str, Any]) -> Principal:
        config = self._config
        found = {}
        for claim in (config.tenant_claim, config.workspace_claim, config.role_claim):
            value = claims.get(claim)
            if not isinstance(value, str) or not value:
                raise _refused(f"its claim {claim!r} is no text")
            found[claim] = value
        if found[config.tenant_claim] == ANY_WORKSPACE:
            raise _refused(f"its claim {config.tenant_claim!r} names every tenant")
        try:
            role = Role(found[config.role_claim])
        except ValueError:
            role = Role.ADMIN
        if role is Role.ADMIN:
            raise _refused(f"its claim {config.role_claim!r} is none of the roles of tokens")
        try:
            expires_at = datetime.fromtimestamp(int(claims["exp"]) + _LEEWAY_SECONDS, UTC)
        except (OverflowError, ValueError, OSError) as exc:
            raise _refused("its claim 'exp' is no moment of the calendar") from exc
        return Principal(
            key_id=f"token:{str(claims['sub'])[:100]}",
            role=role,
            tenant_id=found[config.tenant_claim],
            workspace_id=found[config.workspace_claim],
            expires_at=expires_at,
        )

    async def _key(self, kid: str, algorithm: str) -> Any:
        """Return a key of the provider; read again when it is not known, but not all the time."""
        if algorithm not in ALGORITHMS:
            raise _refused(f"its algorithm {algorithm[:20]!r} is not taken")
        if self._is_stale(kid):
            async with self._reading:
                if self._is_stale(kid):
                    await self._read()
        key = self._keys.get(kid)
        if key is None:
            raise _refused(f"its key {kid[:100]!r} is not among those of the issuer")
        if key.algorithm_name != algorithm:
            raise _refused(f"its key {kid[:100]!r} is not for {algorithm}")
        return key

    def _is_stale(self, kid: str) -> bool:
        age = self._clock() - self._read_at
        return age >= (_REFRESH_SECONDS if kid in self._keys else _SHORTEST_REFRESH_SECONDS)

    async def _read(self) -> None:
        try:
            document = json.loads(await asyncio.to_thread(_fetch, self._config.jwks))
            keys = self._jwt.PyJWKSet.from_dict(document).keys
        except (OSError, ValueError, AttributeError, self._jwt.PyJWTError) as exc:
            if self._keys:
                # Those that are known stay good; the provider may be away for a while.
                self._read_at = self._clock() - _REFRESH_SECONDS + _SHORTEST_REFRESH_SECONDS
                return
            raise errors.UnavailableError(
                "the keys of the identity provider cannot be read, so no token can be verified; "
                "check the server's setting of the JWKS",
                code="OIDC_KEYS_UNAVAILABLE",
            ) from exc
        self._keys = {
            key.key_id or "": key
            for key in keys
            if key.public_key_use in (None, "sig") and key.algorithm_name in ALGORITHMS
        }
        self._read_at = self._clock()


class _NoRedirect(HTTPRedirectHandler):
    """Does not go elsewhere for keys: a redirect is an answer like any other that is not 200."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        return None


def _fetch(jwks: str) -> bytes:
    if urlsplit(jwks).scheme not in ("http", "https"):
        return Path(jwks.removeprefix("file://")).read_bytes()
    try:
        with build_opener(_NoRedirect).open(jwks, timeout=_FETCH_SECONDS) as response:
            data: bytes = response.read(_MAX_JWKS_BYTES + 1)
    except HTTPError as exc:
        exc.close()
        raise
    if len(data) > _MAX_JWKS_BYTES:
        raise ValueError("the document with the keys is too large")
    return data


def _refused(reason: str) -> errors.UnauthenticatedError:
    return errors.UnauthenticatedError(
        f"the token was refused: {reason}; get a new one", code="TOKEN_REFUSED"
    )
