"""Calls the configured control plane and finds out what works, step by step."""

from __future__ import annotations

import socket
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from servo import errors
from servo._version import __version__

if TYPE_CHECKING:
    from servo.cli._session import Session
    from servo.client import Client
    from servo.config import Settings

STEPS: Final = ("address", "connection", "tls", "key", "workspace", "versions", "latency")
"""What is looked at, in the order in which one needs the other."""

_SECURE: Final = ("grpcs", "https")
_PROBE_SECONDS: Final = 5.0
_LATENCY_CALLS: Final = 5


class Status(StrEnum):
    """What came of a step."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What came of one step, for people.

    Attributes:
        name: One of `STEPS`.
        status: What came of it.
        detail: What was found, and what to do about it.
    """

    name: str
    status: Status
    detail: str


@dataclass(slots=True)
class Report:
    """What works.

    Attributes:
        url: Address of the control plane; empty for an embedded one that does not run.
        findings: One for each step; the first alone where there is nothing to call.
        exit_code: 0, or that of the first error.
    """

    url: str
    findings: list[Finding] = field(default_factory=list)
    exit_code: int = 0

    def add(self, name: str, status: Status, detail: str) -> None:
        """Note what came of a step."""
        self.findings.append(Finding(name, status, detail))

    def fail(self, name: str, error: errors.ServoError, detail: str = "") -> None:
        """Note that a step failed; the steps after it are left out."""
        self.add(name, Status.FAILED, detail or str(error))
        self.exit_code = self.exit_code or error.exit_code
        for left in STEPS[STEPS.index(name) + 1 :]:
            self.add(left, Status.SKIPPED, f"after the {name}")


def check_server(session: Session) -> Report:
    """Find out what works between this machine and the control plane.

    Args:
        session: The command's session. Looking at an embedded control plane does not start it.
    """
    url = session.settings.api_url if session.is_remote else _embedded_url(session)
    report = Report(url)
    if not url:
        detail = "the project's own, started by the first command that needs it"
        report.add("address", Status.SKIPPED, detail)
        return report
    try:
        with session.connect() as connection:
            client = connection.client
            _passed(report, url)
            _look_around(report, client, session.settings)
    except errors.ServoError as error:
        if not report.findings:
            _explain(report, url, error, session.settings)
        else:
            report.fail(STEPS[len(report.findings)], error)
    return report


def _embedded_url(session: Session) -> str:
    from servo.cli._state import ServerFile, StateFiles

    server = ServerFile.read(StateFiles(session.project.state_dir).server)
    return server.grpc_url if server is not None and server.is_alive else ""


def _passed(report: Report, url: str) -> None:
    """Note the steps that an answer proves."""
    report.add("address", Status.OK, url)
    report.add("connection", Status.OK, "the control plane answers")
    if urlsplit(url).scheme in _SECURE:
        report.add("tls", Status.OK, "encrypted, and the certificate is trusted")
    else:
        report.add("tls", Status.SKIPPED, "not encrypted; use grpcs:// or https:// on a network")
    report.add("key", Status.OK, "accepted")


def _look_around(report: Report, client: Client, settings: Settings) -> None:
    from servo.types.sessions import PROTOCOL_VERSION

    next(iter(client.runs.list(page_size=1)), None)
    where = f"tenant {settings.tenant_id!r}, workspace {settings.workspace_id!r}"
    report.add("workspace", Status.OK, where)
    info = client.server.info()
    same = info.protocol_version == PROTOCOL_VERSION
    report.add(
        "versions",
        Status.OK if same else Status.WARNING,
        f"server {info.servo_version} with contract {info.protocol_version}, "
        f"here {__version__} with contract {PROTOCOL_VERSION}"
        + ("" if same else "; what the older one does not know cannot be used"),
    )
    median = statistics.median(_timed(client.server.info) for _ in range(_LATENCY_CALLS))
    report.add("latency", Status.OK, f"{median * 1000:.1f} ms, the median of {_LATENCY_CALLS}")


def _timed(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _explain(report: Report, url: str, error: errors.ServoError, settings: Settings) -> None:
    """Find the step at which the first call failed."""
    if isinstance(error, errors.UnauthenticatedError | errors.PermissionDeniedError):
        _passed(report, url)
        report.findings.pop()
        report.fail("key", error)
        return
    passing = isinstance(error, errors.UnavailableError | errors.DeadlineError)
    if not passing and error.code != "TLS_UNTRUSTED":
        report.fail("address", error)
        return
    parts = urlsplit(url)
    host, secure = parts.hostname or "", parts.scheme in _SECURE
    port = parts.port or (443 if secure else 80)
    report.add("address", Status.OK, url)
    reached, problem = _connect(host, port)
    if reached is None:
        report.fail("connection", error, problem)
        return
    with reached:
        report.add("connection", Status.OK, f"something listens at {host}:{port}")
        problem = _handshake(reached, host, settings) if secure else ""
    if problem:
        report.fail("tls", error, problem)
        return
    if secure:
        report.add("tls", Status.OK, "encrypted, and the certificate is trusted")
    else:
        report.add("tls", Status.SKIPPED, "not encrypted")
    report.fail("key", error, f"no answer to the first call: {error}")


def _connect(host: str, port: int) -> tuple[socket.socket | None, str]:
    try:
        return socket.create_connection((host, port), _PROBE_SECONDS), ""
    except socket.gaierror as error:
        return None, f"{host!r} has no address ({error.strerror}); check the name, and DNS"
    except TimeoutError:
        return None, (
            f"{host}:{port} does not answer within {_PROBE_SECONDS:.0f} s; check the address, and "
            f"firewalls"
        )
    except OSError as error:
        return None, (
            f"nothing can be reached at {host}:{port} ({error.strerror or error}); check the "
            f"address, and whether the control plane runs"
        )


def _handshake(reached: socket.socket, host: str, settings: Settings) -> str:
    """Return what is wrong with TLS; nothing where a handshake succeeds."""
    import ssl

    try:
        context = ssl.create_default_context(cafile=settings.tls_ca or None)
        if settings.tls_cert and settings.tls_key:
            context.load_cert_chain(settings.tls_cert, settings.tls_key)
        context.set_alpn_protocols(["h2", "http/1.1"])
        with context.wrap_socket(reached, server_hostname=host):
            return ""
    except ssl.SSLCertVerificationError as error:
        return (
            f"the certificate is not trusted: {error.verify_message}; an authority of your own "
            f"goes into SERVO_TLS_CA"
        )
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        return (
            f"the handshake failed: {reason}; check that the server speaks TLS on this port, and "
            f"SERVO_TLS_CA, SERVO_TLS_CERT and SERVO_TLS_KEY"
        )
