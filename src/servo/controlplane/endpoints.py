"""What both transports have in common: a verb for each path, and how a call ends in an error."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, Protocol

from servo import errors
from servo._wire import METHODS, Method
from servo.controlplane.caller import Caller
from servo.controlplane.connect import RequestTooLargeError
from servo.controlplane.converting import Converter
from servo.controlplane.identity import Gate
from servo.controlplane.pace import taken_in_time
from servo.controlplane.service import Service

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An RPC and the verb that answers it."""

    method: Method[Any, Any]
    verb: Callable[..., Any]


class Admission(Protocol):
    """Lets calls in."""

    async def admit(self, method: Method[Any, Any], headers: Mapping[str, str | bytes]) -> Any:
        """Return who calls, or raise why they may not."""


class Served(Protocol):
    """What a transport needs to know of the RPCs that it serves."""

    by_path: Mapping[str, Endpoint]
    converter: Converter

    @property
    def gate(self) -> Admission:
        """What lets calls in."""

    def tenant_of(self, caller: Any) -> str:
        """Return whose call it is, for sharing what is scarce."""

    def while_valid(self, caller: Any) -> AbstractAsyncContextManager[None]:
        """Hold a stream open for as long as the caller's credential is good."""

    def taken_in_time(self, response: object) -> AbstractAsyncContextManager[None]:
        """Bound how long a caller takes for one response of a stream."""


class Endpoints:
    """Every RPC of the method table, behind the gate.

    Args:
        service: The verbs.
        gate: Lets calls in.
    """

    def __init__(self, service: Service, gate: Gate) -> None:
        self.by_path: Mapping[str, Endpoint] = {
            path: Endpoint(method, getattr(service, verb_name(method.name)))
            for path, method in METHODS.items()
        }
        self.gate = gate
        self.converter = Converter()
        self._watch_limits = service.watch_limits

    def tenant_of(self, caller: Caller) -> str:
        """Return the tenant of a caller."""
        return caller.tenant_id

    def while_valid(self, caller: Caller) -> AbstractAsyncContextManager[None]:
        """Hold a stream open for as long as the caller's credential is good."""
        return self.gate.keys.while_valid(caller.key_id, caller.expires_at)

    def taken_in_time(self, response: object) -> AbstractAsyncContextManager[None]:
        """Bound how long a caller takes for one response of a stream."""
        return taken_in_time(response, self._watch_limits)


def check_size(method: Method[Any, Any], size: int) -> None:
    """Refuse a request that is larger than its RPC takes.

    Raises:
        RequestTooLargeError: It is.
    """
    if size > method.max_request_bytes:
        raise too_large(method, method.max_request_bytes)


def too_large(method: Method[Any, Any], limit: int) -> RequestTooLargeError:
    """Return the error for a request of more bytes than are read."""
    return RequestTooLargeError(
        f"the request has more than {limit:,} bytes, which is the most that {method.name} takes; "
        "send less at once"
    )


def verb_name(rpc: str) -> str:
    """Return the method of `Service` for an RPC: ``CreateRun`` is ``create_run``."""
    return "".join(f"_{c.lower()}" if c.isupper() else c for c in rpc).removeprefix("_")


def note_failure(exc: BaseException, path: str, request_id: str) -> str:
    """Log an error that nobody foresaw; return what names it in the answer, which says no more."""
    if isinstance(exc, errors.ServoError):
        return ""
    incident = secrets.token_hex(4)
    _LOG.error(
        "%s failed (%s, request %s)",
        *(path, incident, request_id),
        exc_info=exc,
        extra={"request_id": request_id},
    )
    return incident
