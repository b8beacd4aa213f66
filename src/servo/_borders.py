"""What every kind of error means at every border: gRPC, HTTP, the shell, and a retry.

One table in three views, all keyed by category and code. `CATEGORY_RULES` and `PRECISE_RULES` say
what an error becomes on its way out; `GRPC_CODES` and `http_origin` say what a bare status becomes
on its way in, when it carries no error of ours: it was made by something in between.

Public through ``servo.errors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Final, NamedTuple


class ErrorCategory(StrEnum):
    """What kind of trouble an error is; decides how every border reports it."""

    VALIDATION = "validation"
    NETWORK = "network"
    FILESYSTEM = "filesystem"
    CONFIGURATION = "configuration"
    CACHE = "cache"
    TIMEOUT = "timeout"
    PERMISSION = "permission"
    UNKNOWN = "unknown"


class CategoryRule(NamedTuple):
    """How one kind of error looks at each border.

    Attributes:
        grpc_code: Name of the gRPC status code.
        http_status: HTTP status code.
        exit_code: Process exit code of the command line.
        retried: Whether trying the same call again can help.
    """

    grpc_code: str
    http_status: int
    exit_code: int
    retried: bool


class GrpcCode(NamedTuple):
    """One gRPC status code.

    Attributes:
        number: Its number on the wire.
        connect_name: Its name in the Connect protocol; empty for OK, which is no error there.
        connect_status: HTTP status that the Connect protocol prescribes for it.
        category: What it means when it comes without an error of ours.
    """

    number: int
    connect_name: str
    connect_status: int
    category: ErrorCategory


_V, _N, _C, _P, _U = (
    ErrorCategory.VALIDATION,
    ErrorCategory.NETWORK,
    ErrorCategory.CONFIGURATION,
    ErrorCategory.PERMISSION,
    ErrorCategory.UNKNOWN,
)

CATEGORY_RULES: Final[Mapping[ErrorCategory, CategoryRule]] = MappingProxyType(
    {
        ErrorCategory.VALIDATION: CategoryRule("INVALID_ARGUMENT", 400, 2, retried=False),
        ErrorCategory.NETWORK: CategoryRule("UNAVAILABLE", 503, 69, retried=True),
        ErrorCategory.FILESYSTEM: CategoryRule("INTERNAL", 500, 74, retried=False),
        ErrorCategory.CONFIGURATION: CategoryRule("FAILED_PRECONDITION", 500, 78, retried=False),
        ErrorCategory.CACHE: CategoryRule("ABORTED", 503, 70, retried=True),
        ErrorCategory.TIMEOUT: CategoryRule("DEADLINE_EXCEEDED", 504, 75, retried=True),
        ErrorCategory.PERMISSION: CategoryRule("PERMISSION_DENIED", 403, 77, retried=False),
        ErrorCategory.UNKNOWN: CategoryRule("UNKNOWN", 500, 70, retried=False),
    }
)
"""What a category means at each border."""

PRECISE_RULES: Final[Mapping[str, CategoryRule]] = MappingProxyType(
    {
        code: CATEGORY_RULES[category]._replace(grpc_code=grpc_code, http_status=http_status)
        for code, category, grpc_code, http_status in (
            ("NOT_FOUND", _V, "NOT_FOUND", 404),
            ("ALREADY_EXISTS", _V, "ALREADY_EXISTS", 409),
            ("UNAUTHENTICATED", _P, "UNAUTHENTICATED", 401),
            ("RATE_LIMITED", _N, "RESOURCE_EXHAUSTED", 429),
        )
    }
)
"""By error code: the errors that have a more precise status than their category."""

GRPC_CODES: Final[Mapping[str, GrpcCode]] = MappingProxyType(
    {
        "OK": GrpcCode(0, "", 200, _U),
        "CANCELLED": GrpcCode(1, "canceled", 499, _U),
        "UNKNOWN": GrpcCode(2, "unknown", 500, _U),
        "INVALID_ARGUMENT": GrpcCode(3, "invalid_argument", 400, _V),
        "DEADLINE_EXCEEDED": GrpcCode(4, "deadline_exceeded", 504, ErrorCategory.TIMEOUT),
        "NOT_FOUND": GrpcCode(5, "not_found", 404, _V),
        "ALREADY_EXISTS": GrpcCode(6, "already_exists", 409, _V),
        "PERMISSION_DENIED": GrpcCode(7, "permission_denied", 403, _P),
        # grpc's own reason is a message that is too large, which stays too large.
        "RESOURCE_EXHAUSTED": GrpcCode(8, "resource_exhausted", 429, _V),
        "FAILED_PRECONDITION": GrpcCode(9, "failed_precondition", 400, _C),
        "ABORTED": GrpcCode(10, "aborted", 409, ErrorCategory.CACHE),
        "OUT_OF_RANGE": GrpcCode(11, "out_of_range", 400, _V),
        "UNIMPLEMENTED": GrpcCode(12, "unimplemented", 501, _C),
        "INTERNAL": GrpcCode(13, "internal", 500, _U),
        "UNAVAILABLE": GrpcCode(14, "unavailable", 503, _N),
        "DATA_LOSS": GrpcCode(15, "data_loss", 500, _U),
        "UNAUTHENTICATED": GrpcCode(16, "unauthenticated", 401, _P),
    }
)
"""Every gRPC status code by name."""

_HTTP_ORIGINS: Final[Mapping[int, tuple[ErrorCategory, str]]] = MappingProxyType(
    {
        401: (_P, "UNAUTHENTICATED"),
        403: (_P, "PERMISSION_DENIED"),
        # The address or the method is wrong. Never "not found": only the server can say that a
        # run does not exist, and it says so in an error of ours.
        **dict.fromkeys((404, 405, 406, 407, 410, 415, 421, 426), (_C, "CONFIGURATION")),
        408: (ErrorCategory.TIMEOUT, "DEADLINE_EXCEEDED"),
        409: (_V, "ALREADY_EXISTS"),
        425: (_N, "UNAVAILABLE"),
        429: (_N, "RATE_LIMITED"),
        499: (_U, "CANCELLED"),
        501: (_C, "CONFIGURATION"),
        502: (_N, "UNAVAILABLE"),
        503: (_N, "UNAVAILABLE"),
        504: (ErrorCategory.TIMEOUT, "DEADLINE_EXCEEDED"),
        505: (_C, "CONFIGURATION"),
        511: (_C, "CONFIGURATION"),
    }
)


def http_origin(status: int) -> tuple[ErrorCategory, str]:
    """Find the category and the code of an HTTP answer that carries no error of ours.

    A success or a redirect where a message was expected means that the address is not that of a
    control plane.
    """
    if status in _HTTP_ORIGINS:
        return _HTTP_ORIGINS[status]
    if status < 400:
        return (_C, "CONFIGURATION")
    return (_V, "INVALID_ARGUMENT") if status < 500 else (_U, "UNKNOWN")


def exit_category(code: int) -> ErrorCategory:
    """Find the category behind the exit code of a command; the vaguest one where two share it."""
    found = [category for category, rule in CATEGORY_RULES.items() if rule.exit_code == code]
    return found[0] if len(found) == 1 else ErrorCategory.UNKNOWN
