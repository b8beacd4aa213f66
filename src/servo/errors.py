"""Every error that Servo raises, and what each of them means at a border.

The tree::

    ServoError                          UNKNOWN
    ├── InvalidArgumentError            VALIDATION
    │   ├── NotFoundError
    │   ├── ConflictError
    │   ├── DefinitionError             (also a ValueError)
    │   ├── DiscoveryError
    │   ├── DataQualityError
    │   └── LeaseExpiredError
    ├── UnavailableError                NETWORK
    ├── FilesystemError                 FILESYSTEM
    ├── ConfigurationError              CONFIGURATION
    │   ├── LockfileError
    │   └── CodeVersionNotAvailableError
    ├── CacheError                      CACHE
    ├── DeadlineError                   TIMEOUT
    ├── PermissionDeniedError           PERMISSION
    │   └── UnauthenticatedError
    └── TaskCancelledError              UNKNOWN

A category decides the gRPC status, the HTTP status, the exit code and whether a retry can help;
``CATEGORY_RULES`` is the only place that says so. A few classes answer with a more precise
status than their category (``NotFoundError`` is NOT_FOUND and 404).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum
from types import MappingProxyType
from typing import ClassVar, Final, NamedTuple

__all__ = [
    "CATEGORY_RULES",
    "MAX_CAUSES",
    "CacheError",
    "CategoryRule",
    "CodeVersionNotAvailableError",
    "ConfigurationError",
    "ConflictError",
    "DataQualityError",
    "DeadlineError",
    "DefinitionError",
    "DiscoveryError",
    "ErrorCategory",
    "FilesystemError",
    "InvalidArgumentError",
    "LeaseExpiredError",
    "LockfileError",
    "NotFoundError",
    "PermissionDeniedError",
    "ServoError",
    "TaskCancelledError",
    "UnauthenticatedError",
    "UnavailableError",
    "cause_chain",
    "error_type",
]

MAX_CAUSES: Final = 10
"""How many causes of an error are carried over a border."""


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
    """How one category looks at each border.

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
"""The one table of what a category means at each border."""


class ServoError(Exception):
    """Root of every error that Servo raises on purpose.

    Args:
        message: What happened, to what, and what to do next.
        code: Stable upper-case identifier that programs may match, such as
            ``"RUN_KEY_CONFLICT"``; the class has a default.
        context: Facts about the error, as text.
        hint: What to do next, when it is not part of the message.
    """

    category: ClassVar[ErrorCategory] = ErrorCategory.UNKNOWN
    default_code: ClassVar[str] = "UNKNOWN"

    code: str
    context: Mapping[str, str]
    hint: str

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        context: Mapping[str, object] | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        # A plain dict, copied: a read-only proxy could not be pickled with the exception.
        self.context = {name: str(value) for name, value in (context or {}).items()}
        self.hint = hint

    @property
    def message(self) -> str:
        """The message without the hint."""
        return str(self.args[0])

    @property
    def rule(self) -> CategoryRule:
        """What this error means at each border."""
        return CATEGORY_RULES[self.category]

    @property
    def grpc_code(self) -> str:
        """Name of the gRPC status code that carries this error."""
        return self.rule.grpc_code

    @property
    def http_status(self) -> int:
        """HTTP status code that carries this error."""
        return self.rule.http_status

    @property
    def exit_code(self) -> int:
        """Exit code of a command that ends with this error."""
        return self.rule.exit_code

    @property
    def retryable(self) -> bool:
        """Whether trying the same call again can help."""
        return self.rule.retried

    def __str__(self) -> str:
        if not self.hint:
            return self.message
        stop = "" if self.message.endswith((".", "!", "?", ":", "\n")) else "."
        return f"{self.message}{stop} {self.hint}"


class InvalidArgumentError(ServoError):
    """A request or a definition is wrong; the same call will fail again."""

    category = ErrorCategory.VALIDATION
    default_code = "INVALID_ARGUMENT"


class NotFoundError(InvalidArgumentError):
    """What the call names does not exist."""

    default_code = "NOT_FOUND"

    @property
    def grpc_code(self) -> str:
        """NOT_FOUND instead of the category's status."""
        return "NOT_FOUND"

    @property
    def http_status(self) -> int:
        """404 instead of the category's status."""
        return 404


class ConflictError(InvalidArgumentError):
    """What the call would create exists already, or exists differently."""

    default_code = "ALREADY_EXISTS"

    @property
    def grpc_code(self) -> str:
        """ALREADY_EXISTS instead of the category's status."""
        return "ALREADY_EXISTS"

    @property
    def http_status(self) -> int:
        """409 instead of the category's status."""
        return 409


class DefinitionError(InvalidArgumentError, ValueError):
    """Asset definitions contradict each other or themselves."""

    default_code = "INVALID_DEFINITION"


class DiscoveryError(InvalidArgumentError):
    """Some asset modules could not be imported; the message lists all of them."""

    default_code = "DISCOVERY_FAILED"

    failures: Sequence[object] = ()
    """One `servo.manifest.discovery.ImportFailure` (file, line, error) for each place."""


class DataQualityError(InvalidArgumentError):
    """A check with severity ``error`` or ``critical`` did not pass."""

    default_code = "DATA_QUALITY"


class LeaseExpiredError(InvalidArgumentError):
    """A result came with a fencing token that is no longer valid; nothing was changed."""

    default_code = "LEASE_EXPIRED"


class UnavailableError(ServoError):
    """A server cannot be reached or cannot answer now."""

    category = ErrorCategory.NETWORK
    default_code = "UNAVAILABLE"


class FilesystemError(ServoError):
    """A file or an object could not be read or written."""

    category = ErrorCategory.FILESYSTEM
    default_code = "FILESYSTEM"


class ConfigurationError(ServoError):
    """The project, the server or the environment is not set up for what was asked."""

    category = ErrorCategory.CONFIGURATION
    default_code = "CONFIGURATION"


class LockfileError(ConfigurationError):
    """The lockfile cannot be used as it is; it is never replaced silently."""

    default_code = "LOCKFILE"


class CodeVersionNotAvailableError(ConfigurationError):
    """No worker announces the code version that a run is pinned to."""

    default_code = "CODE_VERSION_NOT_AVAILABLE"


class CacheError(ServoError):
    """A cache did not answer; callers treat it as a miss."""

    category = ErrorCategory.CACHE
    default_code = "CACHE"


class DeadlineError(ServoError):
    """Something took longer than it was given."""

    category = ErrorCategory.TIMEOUT
    default_code = "DEADLINE_EXCEEDED"


class PermissionDeniedError(ServoError):
    """The caller is known and may not do this."""

    category = ErrorCategory.PERMISSION
    default_code = "PERMISSION_DENIED"


class UnauthenticatedError(PermissionDeniedError):
    """The caller is not known: no credentials, or wrong ones."""

    default_code = "UNAUTHENTICATED"

    @property
    def grpc_code(self) -> str:
        """UNAUTHENTICATED instead of the category's status."""
        return "UNAUTHENTICATED"

    @property
    def http_status(self) -> int:
        """401 instead of the category's status."""
        return 401


class TaskCancelledError(ServoError):
    """The task was asked to stop; raised by the context at its next call."""

    default_code = "TASK_CANCELLED"


_BY_CATEGORY: Final[Mapping[ErrorCategory, type[ServoError]]] = {
    ErrorCategory.VALIDATION: InvalidArgumentError,
    ErrorCategory.NETWORK: UnavailableError,
    ErrorCategory.FILESYSTEM: FilesystemError,
    ErrorCategory.CONFIGURATION: ConfigurationError,
    ErrorCategory.CACHE: CacheError,
    ErrorCategory.TIMEOUT: DeadlineError,
    ErrorCategory.PERMISSION: PermissionDeniedError,
    ErrorCategory.UNKNOWN: ServoError,
}
_BY_CODE: Final[Mapping[str, type[ServoError]]] = {
    cls.default_code: cls
    for cls in (
        NotFoundError,
        ConflictError,
        DefinitionError,
        DiscoveryError,
        DataQualityError,
        LeaseExpiredError,
        LockfileError,
        CodeVersionNotAvailableError,
        UnauthenticatedError,
        TaskCancelledError,
    )
}
_BY_GRPC_CODE: Final[Mapping[str, type[ServoError]]] = {
    "NOT_FOUND": NotFoundError,
    "ALREADY_EXISTS": ConflictError,
    "UNAUTHENTICATED": UnauthenticatedError,
}


def error_type(category: ErrorCategory, *, code: str = "", grpc_code: str = "") -> type[ServoError]:
    """Find the class to raise for an error that arrived over a border.

    Args:
        category: Category that the sender named.
        code: Stable error code; the most precise answer comes from here.
        grpc_code: Name of the gRPC status that carried it, for codes that this version does
            not know.

    Returns:
        The class whose default code is ``code``, else the one for ``grpc_code``, else the one
        for the category. A class of another category is never returned.
    """
    for found in (_BY_CODE.get(code), _BY_GRPC_CODE.get(grpc_code)):
        if found is not None and found.category is category:
            return found
    return _BY_CATEGORY[category]


def cause_chain(error: BaseException, *, limit: int = MAX_CAUSES) -> tuple[BaseException, ...]:
    """List what led to an error, nearest cause first.

    Args:
        error: The error that is reported; it is not part of the answer.
        limit: Longest chain returned.

    Returns:
        Causes in the order in which a traceback would name them, without repetition.
    """
    chain: list[BaseException] = []
    seen = {id(error)}
    current: BaseException | None = error
    while current is not None and len(chain) < limit:
        suppressed = current.__suppress_context__
        following = current.__cause__ or (None if suppressed else current.__context__)
        if following is None or id(following) in seen:
            break
        seen.add(id(following))
        chain.append(following)
        current = following
    return tuple(chain)
