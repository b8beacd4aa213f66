"""Enums: lower-case members in Python, prefixed names and numbers on the wire.

A number that this version does not know was written by a newer peer. Where the value only reports
something, it is read as a documented fallback; where it says what to do, reading it as anything
else would do the wrong thing, so it is refused.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final, Generic, TypeVar

from servo._gen.arco.v1 import asset_pb2, deployment_pb2, error_pb2, key_pb2, log_pb2, run_pb2
from servo.errors import ErrorCategory, InvalidArgumentError
from servo.types.access import Role
from servo.types.assets import Backoff, Compression, IoFormat, RetryCause
from servo.types.blockers import BlockerKind
from servo.types.checks import CheckPhase, CheckSeverity, CheckType
from servo.types.dependencies import DependencyMapping
from servo.types.deployments import AssetChangeKind
from servo.types.logs import LogStream
from servo.types.partitions import TimeGranularity
from servo.types.runs import FailureCategory, RerunScope, RunState, TaskState

if TYPE_CHECKING:
    from google.protobuf.internal.enum_type_wrapper import _EnumTypeWrapper

E = TypeVar("E", bound=StrEnum)
V = TypeVar("V", bound=int)

_word_start = re.compile(r"(?<!^)(?=[A-Z])")


class _Members(dict[int, E], Generic[E]):
    """Members by number; answers for unknown numbers with the fallback, or refuses them."""

    def __init__(self, known: dict[int, E], proto_name: str, fallback: E | None) -> None:
        super().__init__(known)
        self._proto_name = proto_name
        self._fallback = fallback

    def __missing__(self, number: int) -> E:
        if self._fallback is not None:
            return self._fallback
        if number == 0:
            raise InvalidArgumentError(
                f"a {self._proto_name} is not set; set it to one of {', '.join(self.values())}"
            )
        raise InvalidArgumentError(
            f"{self._proto_name} has no value {number!r} in this version of Servo; the sender is "
            f"newer, upgrade this side",
            code="UNKNOWN_ENUM_VALUE",
            context={"enum": self._proto_name, "number": number},
        )


class EnumTable(Generic[E, V]):
    """One enum in both forms.

    Args:
        python: The enum of the façade.
        proto: The generated enum; its names are those of ``python``, upper case and prefixed.
        fallback: What a number is read as that this version does not know, unset ones included;
            without it such numbers are refused.

    Attributes:
        number: Numbers by member.
        member: Members by number; never raises ``KeyError``.
    """

    __slots__ = ("member", "number", "proto", "python")

    def __init__(
        self, python: type[E], proto: _EnumTypeWrapper[V], *, fallback: E | None = None
    ) -> None:
        self.python = python
        self.proto = proto.DESCRIPTOR
        prefix = _word_start.sub("_", self.proto.name).upper()
        numbers = dict(proto.items())
        self.number: dict[E, V] = {
            member: numbers[f"{prefix}_{member.upper()}"] for member in python
        }
        known = {int(number): member for member, number in self.number.items()}
        self.member = _Members(known, self.proto.name, fallback)


TIME_GRANULARITY: Final = EnumTable(TimeGranularity, asset_pb2.TimeGranularity)
DEPENDENCY_MAPPING: Final = EnumTable(DependencyMapping, asset_pb2.DependencyMapping)
IO_FORMAT: Final = EnumTable(IoFormat, asset_pb2.IoFormat)
COMPRESSION: Final = EnumTable(Compression, asset_pb2.Compression)
BACKOFF: Final = EnumTable(Backoff, asset_pb2.Backoff)
RETRY_CAUSE: Final = EnumTable(RetryCause, asset_pb2.RetryCause)
CHECK_TYPE: Final = EnumTable(CheckType, asset_pb2.CheckType)
CHECK_PHASE: Final = EnumTable(CheckPhase, asset_pb2.CheckPhase)
CHECK_SEVERITY: Final = EnumTable(CheckSeverity, asset_pb2.CheckSeverity)
ASSET_CHANGE_KIND: Final = EnumTable(AssetChangeKind, deployment_pb2.AssetChangeKind)
RUN_STATE: Final = EnumTable(RunState, run_pb2.RunState)
TASK_STATE: Final = EnumTable(TaskState, run_pb2.TaskState)
FAILURE_CATEGORY: Final = EnumTable(
    FailureCategory, run_pb2.FailureCategory, fallback=FailureCategory.INFRASTRUCTURE
)
"""A new kind of failure is nobody's code at fault; its explicit ``retryable`` still decides."""
RERUN_SCOPE: Final = EnumTable(RerunScope, run_pb2.RerunScope)
BLOCKER_KIND: Final = EnumTable(BlockerKind, run_pb2.BlockerKind)
LOG_STREAM: Final = EnumTable(LogStream, log_pb2.LogStream, fallback=LogStream.LOG)
"""A line of a stream that is not known yet is still shown."""
ERROR_CATEGORY: Final = EnumTable(
    ErrorCategory, error_pb2.ErrorCategory, fallback=ErrorCategory.UNKNOWN
)
"""An error of a new category is still raised, as one that no retry helps."""
ROLE: Final = EnumTable(Role, key_pb2.Role)

ENUMS: Final[tuple[EnumTable[Any, Any], ...]] = (
    TIME_GRANULARITY,
    DEPENDENCY_MAPPING,
    IO_FORMAT,
    COMPRESSION,
    BACKOFF,
    RETRY_CAUSE,
    CHECK_TYPE,
    CHECK_PHASE,
    CHECK_SEVERITY,
    ASSET_CHANGE_KIND,
    RUN_STATE,
    TASK_STATE,
    FAILURE_CATEGORY,
    RERUN_SCOPE,
    BLOCKER_KIND,
    LOG_STREAM,
    ERROR_CATEGORY,
    ROLE,
)
"""Every enum of the contract."""
