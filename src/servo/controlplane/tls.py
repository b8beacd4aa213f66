"""TLS for both transports, from the same files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

from servo import errors


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsConfig:
    """The files that a server shows and trusts, PEM.

    Attributes:
        cert: The server's certificate, followed by those between it and its authority.
        key: The certificate's private key.
        client_ca: Authorities of client certificates; with it every client must show one.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def grpc_credentials(self) -> grpc.ServerCredentials:
        """Return the credentials of a gRPC port.

        Raises:
            servo.errors.ConfigurationError: A file cannot be used; the message says which.
        """
        # grpc finds out at the first handshake what is wrong with a file, and tells nobody.
        self.ssl_context()
        ca = None if self.client_ca is None else _read(self.client_ca)
        return grpc.ssl_server_credentials(
            [(_read(self.key), _read(self.cert))],
            root_certificates=ca,
            require_client_auth=ca is not None,
        )

    def ssl_context(self) -> ssl.SSLContext:
        """Return the context of an HTTP port.

        Raises:
            servo.errors.ConfigurationError: A file cannot be used; the message says which.
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        for path in (self.cert, self.key):
            _read(path)
        try:
            context.load_cert_chain(self.cert, self.key)
        except (ssl.SSLError, OSError) as exc:
            raise errors.ConfigurationError(
                f"the certificate {str(self.cert)!r} and the key {str(self.key)!r} cannot be used "
                f"together: {exc}; give the PEM files of one pair, the key without a password",
                code="TLS_FILES",
            ) from exc
        if self.client_ca is not None:
            _read(self.client_ca)
            try:
                context.load_verify_locations(self.client_ca)
            except (ssl.SSLError, OSError) as exc:
                raise errors.ConfigurationError(
                    f"the authorities in {str(self.client_ca)!r} cannot be used: {exc}; give a PEM "
                    "file of certificates",
                    code="TLS_FILES",
                ) from exc
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise errors.ConfigurationError(
            f"the TLS file {str(path)!r} cannot be read: {exc.strerror}", code="TLS_FILES"
        ) from exc
