"""Asset definitions: what the control plane knows about an asset."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import KW_ONLY, dataclass
from enum import StrEnum
from typing import cast

from servo.types._frozen import (
    EMPTY_MAP,
    FrozenMap,
    check_int,
    check_name,
    check_type,
    check_unicode,
    set_field,
    text_map,
    text_tuple,
    typed_tuple,
)
from servo.types.amounts import Amounts, amounts
from servo.types.checks import BaseCheck, Check
from servo.types.dependencies import AssetDependency
from servo.types.ids import AssetId
from servo.types.keys import AssetKey
from servo.types.partitions import PartitionStrategy

__all__ = [
    "AssetDefinition",
    "Backoff",
    "CodeLocation",
    "Compression",
    "ExecutionPolicy",
    "IoConfig",
    "IoFormat",
    "ResourceRequirements",
    "RetryCause",
    "RetryPolicy",
    "check_check_names",
]


class IoFormat(StrEnum):
    """File format of an asset's data."""

    PARQUET = "parquet"


class Compression(StrEnum):
    """Codec of an asset's data files."""

    ZSTD = "zstd"
    SNAPPY = "snappy"
    GZIP = "gzip"
    LZ4 = "lz4"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class CodeLocation:
    """Where an asset's function is defined.

    Attributes:
        module: Dotted module name.
        function: Qualified name within the module.
        file_path: Absolute while the code is loaded, relative to the project in a manifest.
        line_number: First line of the definition, decorators included; zero if unknown.
        fingerprint: Digest of the code that the function runs with, 16 hex digits: the function,
            the rest of its module, and the project's modules that these import. Empty until a
            manifest is built, and where the module is not the project's own.
    """

    module: str
    function: str
    _: KW_ONLY
    file_path: str = ""
    line_number: int = 0
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class IoConfig:
    """How an asset's data is written.

    Attributes:
        format: File format; text is accepted.
        compression: Codec; text is accepted.
        partition_by: Columns that divide the files of one partition into directories.
        row_group_rows: Rows in a row group, or ``None`` for the writer's choice.
        target_file_bytes: Size at which a new file is begun, or ``None`` for one file.

    Raises:
        ValueError: The format or the codec is unknown, or a size is not positive.
    """

    format: IoFormat = IoFormat.PARQUET
    compression: Compression = Compression.ZSTD
    partition_by: tuple[str, ...] = ()
    row_group_rows: int | None = None
    target_file_bytes: int | None = None

    def __post_init__(self) -> None:
        set_field(self, "format", IoFormat(self.format))
        set_field(self, "compression", Compression(self.compression))
        set_field(self, "partition_by", text_tuple(self.partition_by, "partition_by"))
        if self.row_group_rows is not None:
            check_int(self.row_group_rows, "row_group_rows", minimum=1)
        if self.target_file_bytes is not None:
            check_int(self.target_file_bytes, "target_file_bytes", minimum=1)


class Backoff(StrEnum):
    """How the pause before a retry grows."""

    CONSTANT = "constant"
    EXPONENTIAL = "exponential"


class RetryCause(StrEnum):
    """What a failure must be for another attempt; equal to the `FailureCategory` of that name."""

    USER_CODE = "user_code"
    INFRASTRUCTURE = "infrastructure"
    TIMEOUT = "timeout"
    DATA_QUALITY = "data_quality"
    CONFIGURATION = "configuration"


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """When another attempt is made, beyond how many and after which first pause.

    Attributes:
        backoff: Whether the pause doubles with each retry or stays; text is accepted.
        max_delay_seconds: Longest pause.
        jitter_percent: By how much at most a pause is shortened at random, so that tasks that
            failed together do not return together.
        retry_on: What is retried; text is accepted. A failure that says itself whether it can be
            retried wins.

    Raises:
        ValueError: A name is unknown, or a number is out of its range.
    """

    backoff: Backoff = Backoff.EXPONENTIAL
    max_delay_seconds: int = 900
    jitter_percent: int = 20
    retry_on: tuple[RetryCause, ...] = (
        RetryCause.USER_CODE,
        RetryCause.INFRASTRUCTURE,
        RetryCause.TIMEOUT,
    )

    def __post_init__(self) -> None:
        set_field(self, "backoff", Backoff(self.backoff))
        check_int(self.max_delay_seconds, "max_delay_seconds", minimum=0)
        check_int(self.jitter_percent, "jitter_percent", minimum=0)
        if self.jitter_percent > 100:
            raise ValueError(f"jitter_percent must be at most 100, got {self.jitter_percent!r}")
        causes = text_tuple(self.retry_on, "retry_on")
        set_field(self, "retry_on", tuple(dict.fromkeys(map(RetryCause, causes))))


_DEFAULT_RETRY = RetryPolicy()
_MAX_PRIORITY = 1_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionPolicy:
    """How attempts at a task are made.

    Attributes:
        max_retries: Attempts after the first.
        retry_delay_seconds: Pause before the second attempt.
        timeout_seconds: Longest duration of one attempt; it is killed then.
        max_parallelism: Most partitions worked on at a time; zero for no limit.
        retry: When another attempt is made, and how the pause grows.
        priority: Tasks with a greater number go first; it is added to that of the run.
        pools: Slots that an attempt takes of each pool for as long as it is under way; names
            alone take one slot each.
        budget: What all attempts of a task may spend together, by unit: ``{"usd": "1.50"}``.

    Raises:
        TypeError: A field has the wrong type.
        ValueError: A number is out of its range, or a name or an amount is malformed.
    """

    max_retries: int = 3
    retry_delay_seconds: int = 60
    timeout_seconds: int = 3600
    max_parallelism: int = 0
    retry: RetryPolicy = _DEFAULT_RETRY
    priority: int = 0
    pools: Mapping[str, int] = EMPTY_MAP
    budget: Amounts = EMPTY_MAP

    def __post_init__(self) -> None:
        check_type(self.retry, RetryPolicy, "retry")
        check_int(self.priority, "priority", minimum=-_MAX_PRIORITY)
        if self.priority > _MAX_PRIORITY:
            raise ValueError(f"priority must be at most {_MAX_PRIORITY}, got {self.priority!r}")
        set_field(self, "pools", _slots(self.pools))
        set_field(self, "budget", amounts(self.budget, "budget"))
        check_int(self.max_retries, "max_retries", minimum=0)
        check_int(self.retry_delay_seconds, "retry_delay_seconds", minimum=0)
        check_int(self.timeout_seconds, "timeout_seconds", minimum=1)
        check_int(self.max_parallelism, "max_parallelism", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRequirements:
    """What one attempt needs.

    Attributes:
        cpu_millicores: Thousandths of a processor core.
        memory_mib: Memory in MiB.
        ephemeral_storage_mib: Scratch disk in MiB.
    """

    cpu_millicores: int = 1000
    memory_mib: int = 1024
    ephemeral_storage_mib: int = 0

    def __post_init__(self) -> None:
        check_int(self.cpu_millicores, "cpu_millicores", minimum=0)
        check_int(self.memory_mib, "memory_mib", minimum=0)
        check_int(self.ephemeral_storage_mib, "ephemeral_storage_mib", minimum=0)


def _slots(pools: object) -> Mapping[str, int]:
    if isinstance(pools, str) or not isinstance(pools, Iterable):
        raise TypeError(f"pools must be names, or slots by name, got {pools!r}")
    given = pools if isinstance(pools, Mapping) else dict.fromkeys(pools, 1)
    if not given:
        return EMPTY_MAP
    return FrozenMap(
        {
            check_name(name, "name of a pool"): check_int(slots, f"slots of {name}", minimum=1)
            for name, slots in sorted(given.items())
        }
    )


_NOT_PARTITIONED = PartitionStrategy()
_DEFAULT_IO = IoConfig()
_DEFAULT_EXECUTION = ExecutionPolicy()
_DEFAULT_RESOURCES = ResourceRequirements()


@dataclass(frozen=True, slots=True)
class AssetDefinition:
    """Everything about an asset except the code itself.

    Attributes:
        key: Name of the asset.
        code: Where its function is.
        id: Stable identity; ``None`` until the lockfile or the server gives one.
        description: One line for people.
        owners: Who answers for it.
        tags: Free text by name.
        partitioning: Its dimensions.
        dependencies: Upstreams, in parameter order.
        io: How its data is written.
        checks: Checks, in declaration order, each name once.
        execution: How attempts are made.
        resources: What one attempt needs.
        transform_fingerprint: Digest of the function's syntax tree, 16 hex digits.
        code_version: Version that the author gave.
        renamed_from: Key under which the asset was known before.
        metadata: Free text by name that no part of Servo reads.

    Raises:
        TypeError: A field has the wrong type.
        ValueError: Two checks share a name, or a text is no Unicode.
    """

    key: AssetKey
    _: KW_ONLY
    code: CodeLocation
    id: AssetId | None = None
    description: str = ""
    owners: tuple[str, ...] = ()
    tags: Mapping[str, str] = EMPTY_MAP
    partitioning: PartitionStrategy = _NOT_PARTITIONED
    dependencies: tuple[AssetDependency, ...] = ()
    io: IoConfig = _DEFAULT_IO
    checks: tuple[Check, ...] = ()
    execution: ExecutionPolicy = _DEFAULT_EXECUTION
    resources: ResourceRequirements = _DEFAULT_RESOURCES
    transform_fingerprint: str = ""
    code_version: str = ""
    renamed_from: AssetKey | None = None
    metadata: Mapping[str, str] = EMPTY_MAP

    def __post_init__(self) -> None:
        check_type(self.key, AssetKey, "key")
        check_type(self.code, CodeLocation, "code")
        check_type(self.partitioning, PartitionStrategy, "partitioning")
        check_type(self.io, IoConfig, "io")
        check_type(self.execution, ExecutionPolicy, "execution")
        check_type(self.resources, ResourceRequirements, "resources")
        given: object = self.id
        if given is not None and not isinstance(given, AssetId):
            set_field(self, "id", AssetId(check_type(given, str, "id")))
        check_unicode(self.description, "description")
        check_unicode(self.code_version, "code_version")
        set_field(self, "owners", text_tuple(self.owners, "owners"))
        set_field(self, "tags", text_map(self.tags, "tags"))
        set_field(self, "metadata", text_map(self.metadata, "metadata"))
        set_field(
            self,
            "dependencies",
            typed_tuple(self.dependencies, AssetDependency, "dependencies"),
        )
        set_field(self, "checks", check_check_names(self.checks))


def check_check_names(checks: object) -> tuple[Check, ...]:
    """Return checks as a tuple if each name is used once.

    Raises:
        TypeError: An item is no check.
        ValueError: Two checks share a name.
    """
    items = cast("tuple[Check, ...]", typed_tuple(checks, BaseCheck, "checks"))
    names: set[str] = set()
    for item in items:
        if item.name in names:
            raise ValueError(
                f"two checks are called {item.name!r}; give one of them another name with name="
            )
        names.add(item.name)
    return items
