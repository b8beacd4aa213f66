"""Who calls, and what they may do: the one gate that every call passes, whatever carried it.

What a credential is not for answers like what does not exist: with the same code and the same
words, decided without looking at what lies there.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Protocol

from servo import errors
from servo._wire import Method, methods
from servo.controlplane.caller import Caller, check_name
from servo.controlplane.keys import KeyRing, Principal
from servo.controlplane.limits import Limiter
from servo.types.access import ANY_WORKSPACE, Role
from servo.types.ids import Ulid

_LOG = logging.getLogger(__name__)

TENANT_HEADER: Final = "x-servo-tenant-id"
WORKSPACE_HEADER: Final = "x-servo-workspace-id"
SOURCE_HEADER: Final = "x-servo-source"
REQUEST_ID_HEADER: Final = "x-servo-request-id"

_DEFAULT: Final = "default"
_is_traceparent = re.compile(
    r"(?!ff)[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", re.ASCII
).fullmatch
_is_tracestate = re.compile(r"[\x20-\x7e]{1,512}", re.ASCII).fullmatch
_is_request_id = re.compile(r"[A-Za-z0-9._:+/=-]{1,128}", re.ASCII).fullmatch

_READERS: Final = frozenset({Role.VIEWER, Role.OPERATOR, Role.DEPLOYER, Role.ADMIN})
_RUNNERS: Final = frozenset({Role.OPERATOR, Role.DEPLOYER, Role.ADMIN})
# Who decides what runs could start it under another name, so deployers may run things as well.
_DEPLOYERS: Final = frozenset({Role.DEPLOYER, Role.ADMIN})
_WORKERS: Final = frozenset({Role.WORKER, Role.ADMIN})
_ADMINS: Final = frozenset({Role.ADMIN})
_EVERYBODY: Final = frozenset(Role)

PERMISSIONS: Final[Mapping[str, frozenset[Role]]] = MappingProxyType(
    {
        method.path: roles
        for method, roles in (
            (methods.DEPLOY, _DEPLOYERS),
            (methods.FIND_MISSING_CHUNKS, _DEPLOYERS),
            (methods.UPLOAD_CHUNKS, _DEPLOYERS),
            (methods.READ_CHUNKS, _READERS),
            (methods.GET_DEPLOYMENT, _READERS),
            (methods.LIST_DEPLOYMENTS, _READERS),
            (methods.DIFF_DEPLOYMENTS, _READERS),
            (methods.CREATE_RUN, _RUNNERS),
            (methods.GET_RUN, _READERS),
            (methods.LIST_RUNS, _READERS),
            (methods.CANCEL_RUN, _RUNNERS),
            (methods.UPDATE_RUN, _RUNNERS),
            (methods.EXPLAIN, _READERS),
            (methods.WATCH_RUN, _READERS),
            (methods.WATCH_EVENTS, _READERS),
            (methods.LIST_ASSETS, _READERS),
            (methods.GET_ASSET, _READERS),
            (methods.LIST_MATERIALIZATIONS, _READERS),
            (methods.READ_LOGS, _READERS),
            (methods.GET_SERVER_INFO, _EVERYBODY),
            (methods.LIST_POOLS, _READERS),
            (methods.SET_POOL, _RUNNERS),
            (methods.CREATE_KEY, _ADMINS),
            (methods.LIST_KEYS, _ADMINS),
            (methods.REVOKE_KEY, _ADMINS),
            (methods.OPEN_SESSION, _WORKERS),
        )
    }
)
"""Who may call what, for every RPC of the method table."""

_OPENERS: Final = frozenset({Role.DEPLOYER, Role.WORKER, Role.ADMIN})
"""Whose call makes a workspace that does not exist yet; for the others it is not there."""


class TokenVerifier(Protocol):
    """Verifies tokens that somebody else has issued."""

    def verify(self, token: str) -> Awaitable[Principal]:
        """Return whom a token stands for.

        Raises:
            servo.errors.UnauthenticatedError: It is not good.
        """


class Gate:
    """Lets calls in, or says why not.

    Args:
        keys: The keys of this control plane.
        workspace_exists: Tells whether a tenant's workspace is there.
        limiter: Counts the calls of each key; `None` for no limit.
        tokens: Verifies what is no key; `None` when only keys are taken.
    """

    def __init__(
        self,
        keys: KeyRing,
        workspace_exists: Callable[[str, str], bool],
        *,
        limiter: Limiter | None = None,
        tokens: TokenVerifier | None = None,
    ) -> None:
        self.keys = keys
        self._workspace_exists = workspace_exists
        self._limiter = limiter
        self._tokens = tokens

    async def admit(self, method: Method[Any, Any], headers: Mapping[str, str | bytes]) -> Caller:
        """Return the caller of a call.

        Args:
            method: What is called.
            headers: What came with the call, names in lower case.

        Raises:
            servo.errors.UnauthenticatedError: The credential is missing, wrong or has ended.
            servo.errors.PermissionDeniedError: It is not for this RPC.
            servo.errors.NotFoundError: It is not for this workspace, or there is none.
            servo.errors.RateLimitedError: It has been used too often.
        """
        request_id = request_id_of(headers)
        try:
            principal = await self._principal(headers)
            if self._limiter is not None:
                self._limiter.check(principal.key_id)
            if principal.role not in PERMISSIONS[method.path]:
                raise _not_for_role(method, principal)
            return self._caller(principal, headers, request_id)
        except errors.ServoError as exc:
            _LOG.warning(
                "refused %s (request %s): %s",
                *(method.path, request_id, exc.code),
                extra={"request_id": request_id},
            )
            raise

    async def _principal(self, headers: Mapping[str, str | bytes]) -> Principal:
        scheme, _, credential = _text(headers.get("authorization")).partition(" ")
        if scheme.lower() == "bearer" and (credential := credential.strip()):
            found = self.keys.find(credential)
            if found is not None:
                return found
            if self._tokens is not None and credential.count(".") == 2:
                return await self._tokens.verify(credential)
        raise errors.UnauthenticatedError(
            "the API key is missing or wrong; set SERVO_API_KEY, or SERVO_API_KEY_FILE, to a key "
            "of this control plane"
        )

    def _caller(
        self, principal: Principal, headers: Mapping[str, str | bytes], request_id: str
    ) -> Caller:
        tenant_id = _text(headers.get(TENANT_HEADER)) or _own(principal.tenant_id)
        workspace_id = _text(headers.get(WORKSPACE_HEADER)) or _own(principal.workspace_id)
        # In this order: what lies outside must not be looked up at all.
        if not principal.covers(tenant_id, workspace_id) or (
            principal.role not in _OPENERS and not self._workspace_exists(tenant_id, workspace_id)
        ):
            raise errors.NotFoundError(
                f"there is no workspace {workspace_id!r} of tenant {tenant_id!r} that the key "
                f"{principal.key_id!r} is for; check SERVO_TENANT_ID and SERVO_WORKSPACE_ID, and "
                "that something was deployed",
                code="WORKSPACE_NOT_FOUND",
            )
        check_name("tenant", tenant_id)
        check_name("workspace", workspace_id)
        return Caller(
            tenant_id=tenant_id,
            workspace_id=workspace_id,
            source=_text(headers.get(SOURCE_HEADER))[:32],
            role=principal.role,
            key_id=principal.key_id,
            key_workspace=principal.workspace_id,
            expires_at=principal.expires_at,
            request_id=request_id,
            trace_context=trace_context_of(headers),
        )


def trace_context_of(headers: Mapping[str, str | bytes]) -> dict[str, str]:
    """Return the W3C trace context that came with a call; nothing where it is malformed."""
    parent, state = _text(headers.get("traceparent")), _text(headers.get("tracestate"))
    if _is_traceparent(parent) is None:
        return {}
    found = {"traceparent": parent}
    if _is_tracestate(state):
        found["tracestate"] = state
    return found


def request_id_of(headers: Mapping[str, str | bytes]) -> str:
    """Return the id that came with a call, or a new one."""
    given = _text(headers.get(REQUEST_ID_HEADER))
    return given if _is_request_id(given) else str(Ulid.generate())


def _own(scope: str) -> str:
    """Return what is meant when a call names no tenant or workspace."""
    return _DEFAULT if scope == ANY_WORKSPACE else scope


def _not_for_role(method: Method[Any, Any], principal: Principal) -> errors.PermissionDeniedError:
    able = ", ".join(sorted(PERMISSIONS[method.path]))
    return errors.PermissionDeniedError(
        f"the key {principal.key_id!r} has the role {principal.role.value!r}, which may not call "
        f"{method.name}; that takes one of: {able}",
        code="ROLE_NOT_ALLOWED",
    )


def _text(value: str | bytes | None) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""
