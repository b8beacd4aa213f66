"""Tokens of an identity provider: which are taken, as whom, and which are refused."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from http_kit import request
from plane_kit import plane, sync
from servo import errors
from servo.controlplane.oidc import OidcConfig, OidcVerifier
from servo.types.access import Role

ISSUER, AUDIENCE = "https://id.example.com", "servo"
CLAIMS = {"servo_tenant": "acme", "servo_workspace": "prod", "servo_role": "operator"}


class Provider:
    """An identity provider with one key of each kind, and the document that publishes them."""

    def __init__(self) -> None:
        self.rsa = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.ec = ec.generate_private_key(ec.SECP256R1())

    @property
    def document(self) -> dict[str, Any]:
        """The public keys."""
        made = jwt.algorithms.RSAAlgorithm.to_jwk(self.rsa.public_key(), as_dict=True)
        other = jwt.algorithms.ECAlgorithm.to_jwk(self.ec.public_key(), as_dict=True)
        return {"keys": [made | {"kid": "r1", "use": "sig"}, other | {"kid": "e1"}]}

    def token(
        self,
        *,
        kid: str = "r1",
        alg: str = "RS256",
        key: Any = None,
        without: str = "",
        **claims: object,
    ) -> str:
        """Sign a token; what is given replaces what a good one has."""
        now = int(time.time())
        found = {"iss": ISSUER, "aud": AUDIENCE, "sub": "ada", "iat": now, "exp": now + 300}
        found |= CLAIMS | claims
        found.pop(without, None)
        return jwt.encode(found, key or self.rsa, algorithm=alg, headers={"kid": kid})


@pytest.fixture(scope="module")
def provider() -> Provider:
    return Provider()


@contextmanager
def serving(answer: Callable[[], tuple[int, bytes]]) -> Iterator[str]:
    """Serve a document on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer()
            self.send_response(status)
            if status == 302:
                self.send_header("location", "http://127.0.0.1:1/")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/jwks"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def verifier(folder: Path, provider: Provider, **options: Any) -> OidcVerifier:
    path = folder / "jwks.json"
    path.write_text(json.dumps(provider.document))
    config = OidcConfig(issuer=ISSUER, audience=AUDIENCE, jwks=str(path), **options)
    return OidcVerifier(config)


def refusal(folder: Path, provider: Provider, token: str) -> str:
    with pytest.raises(errors.UnauthenticatedError) as caught:
        asyncio.run(verifier(folder, provider).verify(token))
    assert caught.value.code == "TOKEN_REFUSED"
    assert token not in str(caught.value)
    return str(caught.value)


def test_a_good_token_stands_for_its_tenant_workspace_and_role(
    tmp_path: Path, provider: Provider
) -> None:
    found = asyncio.run(verifier(tmp_path, provider).verify(provider.token()))
    assert (found.tenant_id, found.workspace_id, found.role) == ("acme", "prod", Role.OPERATOR)
    assert found.key_id == "token:ada"
    assert found.expires_at is not None


def test_a_key_of_another_kind_is_taken_with_its_own_algorithm(
    tmp_path: Path, provider: Provider
) -> None:
    token = provider.token(kid="e1", alg="ES256", key=provider.ec)
    assert asyncio.run(verifier(tmp_path, provider).verify(token)).tenant_id == "acme"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"exp": 1_000_000_000}, "expired"),
        ({"exp": 10**12}, "'exp' is no moment"),
        ({"exp": 10**30}, "'exp' is no moment"),
        ({"nbf": 4_000_000_000}, "not yet valid"),
        ({"aud": "another"}, "[Aa]udience"),
        ({"iss": "https://evil.example.com"}, "[Ii]ssuer"),
        ({"kid": "r2"}, "not among those of the issuer"),
        ({"kid": "e1"}, "not for RS256"),
        ({"without": "exp"}, '"exp"'),
        ({"without": "aud"}, '"aud"'),
        ({"without": "iss"}, '"iss"'),
        ({"without": "sub"}, '"sub"'),
        ({"without": "servo_tenant"}, "'servo_tenant' is no text"),
        ({"without": "servo_workspace"}, "'servo_workspace' is no text"),
        ({"without": "servo_role"}, "'servo_role' is no text"),
        ({"servo_tenant": ["acme"]}, "'servo_tenant' is no text"),
        ({"servo_tenant": "*"}, "names every tenant"),
        ({"servo_role": "admin"}, "none of the roles"),
        ({"servo_role": "root"}, "none of the roles"),
    ],
)
def test_a_token_that_is_not_for_here_and_now_is_refused(
    tmp_path: Path, provider: Provider, options: dict[str, Any], reason: str
) -> None:
    said = refusal(tmp_path, provider, provider.token(**options))
    assert re.search(reason, said), said


def part(document: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(document).encode()).decode().rstrip("=")


GOOD = {"iss": ISSUER, "aud": AUDIENCE, "sub": "a", "exp": 4_000_000_000} | CLAIMS


def test_a_token_without_a_signature_is_refused(tmp_path: Path, provider: Provider) -> None:
    for alg in ("none", "None", "NONE", ""):
        token = f"{part({'alg': alg, 'kid': 'r1'})}.{part(GOOD)}."
        assert "is not taken" in refusal(tmp_path, provider, token)


def test_a_token_signed_with_the_public_key_as_a_password_is_refused(
    tmp_path: Path, provider: Provider
) -> None:
    public = provider.rsa.public_key().public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    # By hand: the library does not even sign such a thing.
    body = f"{part({'alg': 'HS256', 'kid': 'r1'})}.{part(GOOD)}"
    signature = hmac.digest(public, body.encode(), "sha256")
    token = f"{body}.{base64.urlsafe_b64encode(signature).decode().rstrip('=')}"
    assert "'HS256' is not taken" in refusal(tmp_path, provider, token)


def test_a_token_of_somebody_elses_key_is_refused(tmp_path: Path, provider: Provider) -> None:
    token = provider.token(key=Provider().rsa)
    assert "Signature verification failed" in refusal(tmp_path, provider, token)


def test_a_token_that_was_changed_is_refused(tmp_path: Path, provider: Provider) -> None:
    header, _, signature = provider.token().split(".")
    _, other, _ = provider.token(servo_tenant="globex").split(".")
    refusal(tmp_path, provider, f"{header}.{other}.{signature}")


@pytest.mark.parametrize("token", ["..", "a.b.c", "é.é.é", "x" * 20_000 + ".."])
def test_what_is_no_token_is_refused(tmp_path: Path, provider: Provider, token: str) -> None:
    refusal(tmp_path, provider, token)


def test_claims_may_have_other_names(tmp_path: Path, provider: Provider) -> None:
    checked = verifier(tmp_path, provider, tenant_claim="org")
    found = asyncio.run(checked.verify(provider.token(org="initech")))
    assert found.tenant_id == "initech"


def test_keys_are_fetched_once_and_again_for_a_key_that_is_new(provider: Provider) -> None:
    documents = [{"keys": [provider.document["keys"][0]]}, provider.document]
    fetched = []

    def answer() -> tuple[int, bytes]:
        fetched.append(1)
        return 200, json.dumps(documents[min(len(fetched) - 1, 1)]).encode()

    now = [1000.0]
    with serving(answer) as url:
        config = OidcConfig(issuer=ISSUER, audience=AUDIENCE, jwks=url)
        checked = OidcVerifier(config, clock=lambda: now[0])
        new = provider.token(kid="e1", alg="ES256", key=provider.ec)

        async def test() -> None:
            for _ in range(3):
                await checked.verify(provider.token())
            assert len(fetched) == 1
            # Not at once: whoever invents key ids must not make us call the provider each time.
            with pytest.raises(errors.UnauthenticatedError):
                await checked.verify(new)
            assert len(fetched) == 1
            now[0] += 11
            await checked.verify(new)
            assert len(fetched) == 2

        asyncio.run(test())


def test_known_keys_stay_good_while_the_provider_is_away(provider: Provider) -> None:
    answers = [(200, json.dumps(provider.document).encode())]
    now = [1000.0]
    with serving(lambda: answers.pop() if answers else (500, b"<html>")) as url:
        config = OidcConfig(issuer=ISSUER, audience=AUDIENCE, jwks=url)
        checked = OidcVerifier(config, clock=lambda: now[0])

        async def test() -> None:
            await checked.verify(provider.token())
            now[0] += 1000
            await checked.verify(provider.token())

        asyncio.run(test())


@pytest.mark.parametrize(
    "answer",
    [(500, b"no"), (302, b""), (200, b"<html>"), (200, b"[]"), (200, b"{}"), (200, b" " * 2**21)],
)
def test_keys_that_cannot_be_read_are_no_fault_of_the_token(
    provider: Provider, answer: tuple[int, bytes]
) -> None:
    with serving(lambda: answer) as url:
        checked = OidcVerifier(OidcConfig(issuer=ISSUER, audience=AUDIENCE, jwks=url))
        with pytest.raises(errors.UnavailableError, match="cannot be read") as caught:
            asyncio.run(checked.verify(provider.token()))
        assert caught.value.code == "OIDC_KEYS_UNAVAILABLE"
        assert url not in str(caught.value)


def test_keys_are_not_fetched_without_tls_from_elsewhere() -> None:
    config = OidcConfig(issuer=ISSUER, audience=AUDIENCE, jwks="http://id.example.com/jwks")
    with pytest.raises(errors.ConfigurationError, match="use https"):
        OidcVerifier(config)


@sync
async def test_a_control_plane_takes_tokens_beside_keys(path: Path) -> None:
    provider = Provider()
    (path / "jwks.json").write_text(json.dumps(provider.document))
    oidc = OidcConfig(issuer=ISSUER, audience=AUDIENCE, jwks=str(path / "jwks.json"))
    async with plane(path, oidc=oidc) as (served, _):
        url = served.http_url + "/arco.v1.DeploymentService/FindMissingChunks"
        deployer = provider.token(servo_role="deployer")
        assert (await request(url, b"{}", key=deployer)).status == 200
        viewer = await request(url, b"{}", key=provider.token(servo_role="viewer"))
        assert (viewer.status, viewer.document["code"]) == (403, "permission_denied")
        foreign = await request(url, b"{}", key=deployer, x_servo_tenant_id="globex")
        assert (foreign.status, foreign.document["code"]) == (404, "not_found")
        bad = await request(url, b"{}", key=provider.token(exp=1))
        assert (bad.status, bad.document["code"]) == (401, "unauthenticated")
