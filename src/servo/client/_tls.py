"""Certificates: whom to trust, and who one is."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from servo import errors

if TYPE_CHECKING:
    import ssl

    import grpc


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """Files in PEM form for ``grpcs://`` and ``https://``.

    Attributes:
        ca: Certificates of the authorities to trust; the system's when left out.
        cert: The client's own certificate with its chain, where the server asks for one.
        key: Its private key.
    """

    ca: str | os.PathLike[str] | None = None
    cert: str | os.PathLike[str] | None = None
    key: str | os.PathLike[str] | None = None

    def __post_init__(self) -> None:
        if bool(self.cert) != bool(self.key):
            given, missing = ("cert", "key") if self.cert else ("key", "cert")
            raise errors.ConfigurationError(
                f"TLS has a {given} and no {missing}; a client's certificate needs both: set "
                f"SERVO_TLS_CERT and SERVO_TLS_KEY"
            )


def grpc_credentials(tls: Tls) -> grpc.ChannelCredentials:
    """Make what grpc needs for an encrypted connection.

    Raises:
        ConfigurationError: A file cannot be read.
    """
    import grpc

    return grpc.ssl_channel_credentials(
        root_certificates=_read(tls.ca),
        private_key=_read(tls.key),
        certificate_chain=_read(tls.cert),
    )


def ssl_context(tls: Tls) -> ssl.SSLContext:
    """Make what HTTP needs for an encrypted connection.

    Raises:
        ConfigurationError: A file cannot be read, or holds no certificate or key.
    """
    import ssl

    for path in (tls.ca, tls.cert, tls.key):
        _read(path)
    try:
        context = ssl.create_default_context(cafile=os.fspath(tls.ca) if tls.ca else None)
        if tls.cert and tls.key:
            context.load_cert_chain(os.fspath(tls.cert), os.fspath(tls.key))
    except (ssl.SSLError, ValueError) as exc:
        raise errors.ConfigurationError(
            f"the TLS files cannot be used: {exc}; ca={_shown(tls.ca)}, cert={_shown(tls.cert)} "
            f"and key={_shown(tls.key)} must be PEM, and the key belong to the certificate"
        ) from exc
    return context


def _read(path: str | os.PathLike[str] | None) -> bytes | None:
    if not path:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as exc:
        raise errors.ConfigurationError(
            f"the TLS file {os.fspath(path)!r} cannot be read: {exc.strerror}; check SERVO_TLS_CA, "
            f"SERVO_TLS_CERT and SERVO_TLS_KEY"
        ) from exc


def _shown(path: str | os.PathLike[str] | None) -> str:
    return repr(os.fspath(path)) if path else "none"
