"""What every call carries besides its request: names and values that any transport can carry."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from servo import errors

AUTHORIZATION: Final = "authorization"
REQUEST_ID: Final = "x-servo-request-id"
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

_is_name = re.compile(r"[0-9a-z_.-]+").fullmatch
_is_text = re.compile(r"[\x20-\x7e]*").fullmatch
# The transports' own: a caller who sets them would break the connection, or take it over.
_RESERVED: Final = frozenset(
    {
        "accept-encoding",
        "connection",
        "content-encoding",
        "content-length",
        "content-type",
        "host",
        "keep-alive",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "user-agent",
    }
)
_RESERVED_PREFIXES: Final = ("grpc-", "connect-", "proxy-", ":")


class Metadata(dict[str, str]):
    """Names and values that travel with a call; names are lower-cased, both are checked.

    Values under ``authorization`` never show in its representation.
    """

    def __setitem__(self, name: str, value: str) -> None:
        """Set a value.

        Raises:
            ConfigurationError: The name or the value cannot be sent; a line break is never sent.
        """
        super().__setitem__(*checked(name, value))

    def setdefault(self, name: str, default: str = "") -> str:
        """Set a value unless there is one, and return the one that is there."""
        name, default = checked(name, default)
        return super().setdefault(name, default)

    def update(self, *others: Any, **more: str) -> None:
        """Set several values, as ``dict.update`` does."""
        for name, value in dict(*others, **more).items():
            self[name] = value

    def __ior__(self, other: Any) -> Metadata:  # type: ignore[override,misc]  # dict's overloads
        self.update(other)
        return self

    def __repr__(self) -> str:
        shown = {name: "..." if name == AUTHORIZATION else self[name] for name in self}
        return f"Metadata({shown!r})"


def checked(name: object, value: object) -> tuple[str, str]:
    """Return a name in lower case and its value, if both can be sent.

    Raises:
        ConfigurationError: One of them cannot; a value of ``authorization`` is not shown.
    """
    lowered = name.lower() if isinstance(name, str) else ""
    if _is_name(lowered) is None:
        raise errors.ConfigurationError(
            f"metadata {name!r} cannot be sent: a name has letters, digits and -_. only"
        )
    if lowered in _RESERVED or lowered.startswith(_RESERVED_PREFIXES) or lowered.endswith("-bin"):
        raise errors.ConfigurationError(
            f"metadata {name!r} cannot be sent: the transport uses that name; choose another, "
            f"such as 'x-{lowered.removesuffix('-bin')}'"
        )
    if not isinstance(value, str) or _is_text(value) is None:
        shown = "its value" if lowered == AUTHORIZATION else repr(value)
        raise errors.ConfigurationError(
            f"metadata {name!r} cannot be sent: {shown} must be printable ASCII; remove line "
            f"breaks, and encode anything else"
        )
    return lowered, value


def metadata_of(given: Mapping[str, str] | Iterable[tuple[str, str]] | None) -> Metadata:
    """Return what a caller gave, checked.

    Raises:
        ConfigurationError: A name or value cannot be sent.
    """
    found = Metadata()
    for name, value in dict(given or {}).items():
        found[name] = value
    return found


def identity(tenant_id: str, workspace_id: str, source: str) -> tuple[tuple[str, str], ...]:
    """Return what says on whose behalf a call is made, and by which kind of program.

    Raises:
        ConfigurationError: A value is empty, or has characters that headers cannot carry.
    """
    found = (
        ("x-servo-tenant-id", tenant_id),
        ("x-servo-workspace-id", workspace_id),
        ("x-servo-source", source),
    )
    for name, value in found:
        if not value or _is_text(value) is None:
            raise errors.ConfigurationError(
                f"{name.removeprefix('x-servo-')} {value!r} cannot be sent: it must be printable "
                f"ASCII and not empty"
            )
    return found


def bearer(api_key: str) -> str:
    """Return the value of ``authorization`` for a key.

    Raises:
        ConfigurationError: It has characters that headers cannot carry; it is not shown.
    """
    if _is_text(api_key) is None or not api_key.strip():
        raise errors.ConfigurationError(
            "the API key cannot be sent: it must be printable ASCII and not empty; check "
            "SERVO_API_KEY, or where the key comes from, for a line break"
        )
    return f"Bearer {api_key}"
