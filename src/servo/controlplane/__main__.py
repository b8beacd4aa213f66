"""``python -m servo.controlplane``: a control plane alone, without a worker."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from servo import errors
from servo.config import Settings, load
from servo.config.logs import configure_logging
from servo.controlplane.limits import MAX_REQUEST_BYTES, SWITCH_SECONDS, RateLimit
from servo.controlplane.oidc import OidcConfig
from servo.controlplane.serve import ControlPlane, ControlPlaneConfig
from servo.controlplane.tls import TlsConfig
from servo.manifest import atomic

_CALLS_PER_SECOND = 200.0
_BURST_SECONDS = 2


def write_server_file(path: Path, grpc_url: str, http_url: str, api_key: str) -> None:
    """Say where this process serves, readable by the owner only; atomic.

    Args:
        path: The file, usually ``.servo/server.json``.
        grpc_url: The gRPC URL.
        http_url: The HTTP URL.
        api_key: The key that callers have to present.
    """
    document = {"grpcUrl": grpc_url, "httpUrl": http_url, "apiKey": api_key, "pid": os.getpid()}
    atomic.write(path, json.dumps(document).encode(), mode=0o600)


async def _serve(config: ControlPlaneConfig, server_file: Path | None) -> None:
    plane = ControlPlane(config)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    url = await plane.start()
    try:
        if server_file is not None:
            write_server_file(server_file, url, plane.http_url, config.api_key)
        print(url, flush=True)
        print(plane.http_url, flush=True)
        await stop.wait()
    finally:
        if server_file is not None:
            server_file.unlink(missing_ok=True)
        await plane.stop()


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGINT or SIGTERM; return the exit code."""
    given = _parser().parse_args(arguments)
    try:
        settings = load(None, os.environ)
        configure_logging(settings)
        config = _config(given, settings)
        sys.setswitchinterval(SWITCH_SECONDS)
        asyncio.run(_serve(config, given.server_file))
    except errors.ServoError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return exc.exit_code
    return 0


def _config(given: argparse.Namespace, settings: Settings) -> ControlPlaneConfig:
    key = settings.read_api_key()
    database = given.database or settings.database_url
    if not database:
        raise errors.ConfigurationError(
            "no database is given; set --database or SERVO_DATABASE_URL to the path of a SQLite "
            "file or to a postgresql:// URL",
            code="DATABASE_MISSING",
        )
    config = ControlPlaneConfig(
        database=database,
        api_key=key,
        listen=given.listen,
        http_listen=given.http_listen,
        advertise=given.advertise,
        peer_ca=Path(settings.tls_ca) if settings.tls_ca else None,
        tls=_tls(given),
        oidc=_oidc(given),
        rate_limit=_rate_limit(given.rate_limit),
        max_request_bytes=given.max_request_bytes,
        cors_origins=tuple(given.cors_origin),
        http_hosts=tuple(given.http_host),
        lease_length=timedelta(seconds=settings.lease_seconds),
        max_tasks_per_tenant=given.max_tasks_per_tenant,
        max_tasks=given.max_tasks,
    )
    if key or config.is_exposed or isinstance(config.location, str):
        return config
    # On loopback a key that only the server file tells is as good as one that somebody chose.
    return replace(config, api_key=secrets.token_urlsafe(32))


def _tls(given: argparse.Namespace) -> TlsConfig | None:
    if given.tls_cert is None and given.tls_key is None:
        if given.tls_client_ca is not None:
            raise errors.ConfigurationError(
                "--tls-client-ca asks for certificates of clients, which takes a certificate of "
                "the server; give --tls-cert and --tls-key as well"
            )
        return None
    if given.tls_cert is None or given.tls_key is None:
        raise errors.ConfigurationError("TLS takes both --tls-cert and --tls-key")
    return TlsConfig(cert=given.tls_cert, key=given.tls_key, client_ca=given.tls_client_ca)


def _oidc(given: argparse.Namespace) -> OidcConfig | None:
    values = (given.oidc_issuer, given.oidc_audience, given.oidc_jwks)
    if not any(values):
        return None
    if not all(values):
        raise errors.ConfigurationError(
            "tokens are verified with all three of --oidc-issuer, --oidc-audience and --oidc-jwks"
        )
    issuer, audience, jwks = values
    return OidcConfig(issuer=issuer, audience=audience, jwks=jwks)


def _rate_limit(per_second: float) -> RateLimit | None:
    if per_second == 0:
        return None
    return RateLimit(per_second=per_second, burst=max(int(per_second * _BURST_SECONDS), 1))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m servo.controlplane", description=__doc__)
    option = parser.add_argument
    option(
        "--database",
        default="",
        help="path of the SQLite file, or postgresql:// URL (default: SERVO_DATABASE_URL, which "
        "unlike this option does not show a password to everybody on the machine)",
    )
    option("--listen", default="127.0.0.1:0", help="host:port for gRPC, port 0 for a free one")
    option("--http-listen", default="", help="host:port for HTTP; default: a free port there")
    option(
        "--advertise",
        default="",
        help="host:port for gRPC at which other control planes on the same PostgreSQL database "
        "reach this one; default: where it listens",
    )
    option("--server-file", type=Path, help="write URLs, key and pid to this file")
    for name, what in (("cert", "the server's certificate"), ("key", "its private key")):
        variable = f"SERVO_TLS_{name.upper()}"
        option(
            f"--tls-{name}",
            type=Path,
            default=os.environ.get(variable) or None,
            help=f"{what}, PEM (default: {variable})",
        )
    option("--tls-client-ca", type=Path, help="authorities; clients must show a certificate")
    option("--oidc-issuer", default="", help="take tokens of this issuer (extra 'oidc')")
    option("--oidc-audience", default="", help="what a token's audience must be")
    option("--oidc-jwks", default="", help="URL or file of the issuer's public keys")
    option(
        "--max-tasks-per-tenant",
        type=int,
        default=0,
        help="attempts that one tenant may have under way; default: no limit",
    )
    option(
        "--max-tasks",
        type=int,
        default=0,
        help="attempts that all tenants may have under way together, shared fairly among those "
        "that want some; default: no limit",
    )
    option(
        "--rate-limit",
        type=float,
        default=_CALLS_PER_SECOND,
        help="calls per second that each key may make; 0 for any number (default: %(default)g)",
    )
    option(
        "--max-request-bytes",
        type=int,
        default=MAX_REQUEST_BYTES,
        help="the largest request that is read; most RPCs take at most a quarter of the default "
        "(default and most: %(default)s)",
    )
    option(
        "--http-host",
        action="append",
        default=[],
        help="answer HTTP requests for this host on loopback too, such as that of a proxy in "
        "front; may be given several times (default: localhost and loopback addresses only)",
    )
    option(
        "--cors-origin",
        action="append",
        default=[],
        help="let pages of this origin call over HTTP; may be given several times",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
