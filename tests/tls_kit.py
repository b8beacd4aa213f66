"""Certificates for one test, and the files in which programs want them."""

from __future__ import annotations

import ssl
from datetime import datetime
from pathlib import Path

import grpc
import trustme

from servo.controlplane.tls import TlsConfig


class Authority:
    """An authority, a server's certificate and a client's.

    Args:
        folder: Where the files go.
        expires_at: When the server's certificate ends; far in the future when left out.
    """

    def __init__(self, folder: Path, *, expires_at: datetime | None = None) -> None:
        folder.mkdir(exist_ok=True)
        authority = trustme.CA()
        server = authority.issue_cert("localhost", "127.0.0.1", not_after=expires_at)
        client = authority.issue_cert("client@example.com")
        self.ca = folder / "ca.pem"
        self.server_cert, self.server_key = folder / "server.pem", folder / "server.key"
        self.client_cert, self.client_key = folder / "client.pem", folder / "client.key"
        authority.cert_pem.write_to_path(str(self.ca))
        for made, cert, key in (
            (server, self.server_cert, self.server_key),
            (client, self.client_cert, self.client_key),
        ):
            made.private_key_pem.write_to_path(str(key))
            cert.write_bytes(b"".join(blob.bytes() for blob in made.cert_chain_pems))

    def server(self, *, mutual: bool = False) -> TlsConfig:
        """How a control plane uses the server's certificate."""
        return TlsConfig(
            cert=self.server_cert, key=self.server_key, client_ca=self.ca if mutual else None
        )

    def channel_credentials(self, *, mutual: bool = False) -> grpc.ChannelCredentials:
        """Return what a gRPC client trusts, and shows."""
        if not mutual:
            return grpc.ssl_channel_credentials(self.ca.read_bytes())
        return grpc.ssl_channel_credentials(
            self.ca.read_bytes(), self.client_key.read_bytes(), self.client_cert.read_bytes()
        )

    def context(self, *, mutual: bool = False) -> ssl.SSLContext:
        """Return what an HTTP client trusts, and shows."""
        context = ssl.create_default_context(cafile=self.ca)
        if mutual:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context
