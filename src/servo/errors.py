"""Every error that Servo raises, and what each of them means at a border.

The tree::

    ServoError                          UNKNOWN
    ├── InvalidArgumentError            VALIDATION
    │   ├── NotFoundError
    │   ├── ConflictError
    │   ├── DefinitionError             (also a ValueError)
    │   ├── DiscoveryError
    │   ├── DataQualityError
    │   ├── LeaseExpiredError
    │   └── BudgetExhaustedError
    ├── UnavailableError                NETWORK
    │   └── RateLimitedError
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
``CATEGORY_RULES`` says how. A few classes answer with a more precise status than their category
(``NotFoundError`` is NOT_FOUND and 404). ``docs/reference/errors.md`` shows all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, Final, Self

from servo._borders import (
    CATEGORY_RULES,
    GRPC_CODES,
    PRECISE_RULES,
    CategoryRule,
    ErrorCategory,
    GrpcCode,
    exit_category,
    http_origin,
)
from servo._causes import MAX_CAUSES, cause_chain, link_causes

__all__ = [
    "CATEGORY_RULES",
    "GRPC_CODES",
    "MAX_CAUSES",
    "BudgetExhaustedError",
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
    "GrpcCode",
    "InvalidArgumentError",
    "LeaseExpiredError",
    "LockfileError",
    "NotFoundError",
    "PermissionDeniedError",
    "RateLimitedError",
    "ServoError",
    "TaskCancelledError",
    "UnauthenticatedError",
    "UnavailableError",
    "cause_chain",
    "error_class_for_exit",
    "error_class_for_grpc",
    "error_class_for_http",
    "error_type",
]

FOREIGN_CODE: Final = "EXCEPTION"
"""Code of a cause that is no error of Servo's; such a cause is named by its class only."""


class ServoError(Exception):
    """Root of every error that Servo raises on purpose.

    Errors pickle with their facts and their causes. A subclass that sets ``category`` gets the
    category's rule.

    Args:
        message: What happened, to what, and what to do next.
        code: Stable upper-case identifier that programs may match, such as
            ``"RUN_KEY_CONFLICT"``; the class has a default.
        context: Facts about the error, as text.
        hint: What to do next, when it is not part of the message.
        retry_after: Seconds that the server asks to wait before another attempt; ``None`` where
            it asks for nothing.

    Attributes:
        request_id: The request that failed, as both sides log it; set by the client.
        attempts: How often the client tried; 0 where no call was made.
    """

    category: ClassVar[ErrorCategory] = ErrorCategory.UNKNOWN
    default_code: ClassVar[str] = "UNKNOWN"
    rule: ClassVar[CategoryRule] = CATEGORY_RULES[ErrorCategory.UNKNOWN]
    """What this kind of error means at each border."""

    code: str
    context: Mapping[str, str]
    hint: str
    retry_after: float | None
    request_id: str
    attempts: int

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        context: Mapping[str, object] | None = None,
        hint: str = "",
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code or self.default_code
        # A plain dict, copied: a read-only proxy could not be pickled with the exception.
        self.context = {name: str(value) for name, value in (context or {}).items()}
        self.hint = hint
        self.retry_after = retry_after
        self.request_id = ""
        self.attempts = 0

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "category" in cls.__dict__ and "rule" not in cls.__dict__:
            cls.rule = CATEGORY_RULES[cls.category]

    @property
    def message(self) -> str:
        """The message without the hint."""
        return str(self.args[0])

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

    def with_context(self, **facts: object) -> Self:
        """Add facts to the context and return this error, as ``with_traceback`` does.

        A fact that is there already is replaced: whoever adds one later knows more.
        """
        self.context = {**self.context, **{name: str(value) for name, value in facts.items()}}
        return self

    def with_cause(self, error: BaseException) -> Self:
        """Set what led to this error and return it, as ``raise ... from`` does.

        Never fails, because it is used where something failed already: a cause that has this error
        among its own causes is left out, and a chain of more than `MAX_CAUSES` is cut at its end.
        """
        causes = (error, *cause_chain(error, limit=None))
        if any(cause is self for cause in causes):
            return self
        self.__cause__ = error
        if len(causes) > MAX_CAUSES:
            last = causes[MAX_CAUSES - 1]
            last.__cause__, last.__suppress_context__ = None, True
        return self

    def to_dict(self) -> dict[str, Any]:
        """Describe the error in values that JSON has; `from_dict` reads it again.

        A cause that is no `ServoError` is named by its class only: its text may hold secrets.
        """
        return {
            "attempts": self.attempts,
            "category": self.category.value,
            "causes": [_describe_cause(cause) for cause in cause_chain(self)],
            "code": self.code,
            "context": dict(self.context),
            "hint": self.hint,
            "message": self.message,
            "request_id": self.request_id,
            "retry_after": self.retry_after,
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> ServoError:
        """Read what `to_dict` wrote, here or in another version.

        Returns:
            An error of the most precise class that this version knows. Keys that are missing have
            their default, unknown ones are ignored, an unknown category counts as UNKNOWN.
        """
        name = document.get("category")
        known = name in ErrorCategory.__members__.values()
        category = ErrorCategory(str(name)) if known else ErrorCategory.UNKNOWN
        code = str(document.get("code") or "")
        error = error_type(category, code=code)(
            str(document.get("message", "")),
            code=code or None,
            context=document.get("context"),
            hint=str(document.get("hint", "")),
            retry_after=document.get("retry_after"),
        )
        error.request_id = str(document.get("request_id", ""))
        error.attempts = int(document.get("attempts", 0))
        link_causes(
            error,
            [
                ServoError(str(cause.get("message", "")), code=str(cause.get("code", "")))
                for cause in document.get("causes", ())
            ],
        )
        return error

    def __reduce__(self) -> tuple[Any, ...]:
        causes = [_portable(cause) for cause in cause_chain(self)]
        return _restore, (type(self), self.args, self.__dict__, causes)

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
    rule = PRECISE_RULES[default_code]


class ConflictError(InvalidArgumentError):
    """What the call would create exists already, or exists differently."""

    default_code = "ALREADY_EXISTS"
    rule = PRECISE_RULES[default_code]


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


class BudgetExhaustedError(InvalidArgumentError):
    """An attempt has spent more than its task's budget allows."""

    default_code = "BUDGET_EXHAUSTED"


class UnavailableError(ServoError):
    """A server cannot be reached or cannot answer now."""

    category = ErrorCategory.NETWORK
    default_code = "UNAVAILABLE"


class RateLimitedError(UnavailableError):
    """The server answers fewer calls than were made; ``retry_after`` says when it goes on."""

    default_code = "RATE_LIMITED"
    rule = PRECISE_RULES[default_code]


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
    rule = PRECISE_RULES[default_code]


class TaskCancelledError(ServoError):
    """The task was asked to stop; raised by the context at its next call."""

    default_code = "TASK_CANCELLED"


_BY_CATEGORY: Final[Mapping[ErrorCategory, type[ServoError]]] = MappingProxyType(
    {
        ErrorCategory.VALIDATION: InvalidArgumentError,
        ErrorCategory.NETWORK: UnavailableError,
        ErrorCategory.FILESYSTEM: FilesystemError,
        ErrorCategory.CONFIGURATION: ConfigurationError,
        ErrorCategory.CACHE: CacheError,
        ErrorCategory.TIMEOUT: DeadlineError,
        ErrorCategory.PERMISSION: PermissionDeniedError,
        ErrorCategory.UNKNOWN: ServoError,
    }
)
_BY_CODE: Final[Mapping[str, type[ServoError]]] = MappingProxyType(
    {
        cls.default_code: cls
        for cls in (
            NotFoundError,
            ConflictError,
            DefinitionError,
            DiscoveryError,
            DataQualityError,
            LeaseExpiredError,
            BudgetExhaustedError,
            RateLimitedError,
            LockfileError,
            CodeVersionNotAvailableError,
            UnauthenticatedError,
            TaskCancelledError,
        )
    }
)
_BY_GRPC_CODE: Final[Mapping[str, type[ServoError]]] = MappingProxyType(
    {_BY_CODE[code].rule.grpc_code: _BY_CODE[code] for code in PRECISE_RULES}
)


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


def error_class_for_grpc(name: str) -> type[ServoError]:
    """Find the class for a gRPC status that carries no error of ours.

    Args:
        name: Name of the status code, such as ``"UNAVAILABLE"``; an unknown one is `ServoError`.
    """
    found = GRPC_CODES.get(name)
    return ServoError if found is None else error_type(found.category, grpc_code=name)


def error_class_for_http(status: int) -> type[ServoError]:
    """Find the class for an HTTP answer that carries no error of ours, such as a proxy's page.

    Args:
        status: Any HTTP status, 100 to 599. A bare 404 is a `ConfigurationError`, because the
            address is wrong; that a run does not exist is said by the server's own error only.
    """
    category, code = http_origin(status)
    return error_type(category, code=code)


def error_class_for_exit(code: int) -> type[ServoError]:
    """Find the class for the exit code of one of our commands, such as 69 (unavailable)."""
    return _BY_CATEGORY[exit_category(code)]


def _describe_cause(cause: BaseException) -> dict[str, str]:
    """Return the code and the message of a cause as they may leave the process."""
    if isinstance(cause, ServoError):
        return {"code": cause.code, "message": str(cause)}
    return {"code": FOREIGN_CODE, "message": type(cause).__name__}


def _restore(
    cls: type[ServoError],
    args: tuple[Any, ...],
    state: Mapping[str, Any],
    causes: Sequence[BaseException],
) -> ServoError:
    # Not through __init__: a subclass may have made its arguments into something else.
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    link_causes(error, causes)
    return error


def _portable(cause: BaseException) -> BaseException:
    """Return a cause that can be pickled without its own causes, the cause itself if possible."""
    if isinstance(cause, ServoError):
        return _restore(type(cause), cause.args, cause.__dict__, ())
    import pickle

    try:
        # The classes of other libraries often pickle and then cannot be read again.
        copy = pickle.loads(pickle.dumps(cause))
    except Exception:
        return ServoError(f"{type(cause).__name__}: {cause}", code=FOREIGN_CODE)
    assert isinstance(copy, BaseException)
    return copy
