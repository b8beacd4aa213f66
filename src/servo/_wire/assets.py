"""Asset definitions (``asset.proto``)."""

from __future__ import annotations

from typing import Final

from servo._gen.arco.v1 import asset_pb2 as pb
from servo._wire.checks import check_from_proto, check_to_proto
from servo._wire.enums import BACKOFF, COMPRESSION, DEPENDENCY_MAPPING, IO_FORMAT, RETRY_CAUSE
from servo._wire.keys import asset_key_from_proto, asset_key_to_proto
from servo._wire.partitions import partition_strategy_from_proto, partition_strategy_to_proto
from servo.types.assets import (
    AssetDefinition,
    CodeLocation,
    ExecutionPolicy,
    IoConfig,
    ResourceRequirements,
    RetryPolicy,
)
from servo.types.dependencies import AssetDependency, DependencyMapping
from servo.types.ids import AssetId

# Older clients left these out; a reader takes the defaults that `asset.proto` states.
DEFAULT_IO: Final = IoConfig()
DEFAULT_EXECUTION: Final = ExecutionPolicy()
DEFAULT_RETRY: Final = RetryPolicy()
DEFAULT_RESOURCES: Final = ResourceRequirements()


def asset_dependency_to_proto(dependency: AssetDependency, message: pb.AssetDependency) -> None:
    """Fill in an input; the window is present for window mappings only."""
    asset_key_to_proto(dependency.upstream_key, message.upstream_key)
    message.parameter_name = dependency.parameter_name
    message.mapping = DEPENDENCY_MAPPING.number[dependency.mapping]
    if not dependency.require_quality:
        message.require_quality = False
    if dependency.mapping is DependencyMapping.WINDOW:
        message.window_start = dependency.window_start
        message.window_end = dependency.window_end


def asset_dependency_from_proto(message: pb.AssetDependency) -> AssetDependency:
    """Read an input.

    Raises:
        InvalidArgumentError: The mapping is not set, or not known to this version.
        ValueError: The upstream key or the window is malformed.
    """
    return AssetDependency(
        asset_key_from_proto(message.upstream_key),
        parameter_name=message.parameter_name,
        mapping=DEPENDENCY_MAPPING.member[message.mapping],
        window_start=message.window_start,
        window_end=message.window_end,
        require_quality=message.require_quality if message.HasField("require_quality") else True,
    )


def code_location_to_proto(code: CodeLocation, message: pb.CodeLocation) -> None:
    """Fill in where a function is."""
    message.module = code.module
    message.function = code.function
    message.file_path = code.file_path
    message.line_number = code.line_number
    if code.fingerprint:
        message.fingerprint = code.fingerprint


def code_location_from_proto(message: pb.CodeLocation) -> CodeLocation:
    """Read where a function is."""
    return CodeLocation(
        message.module,
        message.function,
        file_path=message.file_path,
        line_number=message.line_number,
        fingerprint=message.fingerprint,
    )


def io_config_to_proto(io: IoConfig, message: pb.IoConfig) -> None:
    """Fill in how data is stored."""
    message.format = IO_FORMAT.number[io.format]
    message.compression = COMPRESSION.number[io.compression]
    message.partition_by.extend(io.partition_by)
    if io.row_group_rows is not None:
        message.row_group_rows = io.row_group_rows
    if io.target_file_bytes is not None:
        message.target_file_bytes = io.target_file_bytes


def io_config_from_proto(message: pb.IoConfig) -> IoConfig:
    """Read how data is stored.

    Raises:
        InvalidArgumentError: The format or compression is not known to this version.
        ValueError: A size is not positive.
    """
    return IoConfig(
        format=IO_FORMAT.member[message.format],
        compression=COMPRESSION.member[message.compression],
        partition_by=tuple(message.partition_by),
        row_group_rows=message.row_group_rows if message.HasField("row_group_rows") else None,
        target_file_bytes=(
            message.target_file_bytes if message.HasField("target_file_bytes") else None
        ),
    )


def retry_policy_to_proto(policy: RetryPolicy, message: pb.RetryPolicy) -> None:
    """Fill in when another attempt is made."""
    message.backoff = BACKOFF.number[policy.backoff]
    message.max_delay_seconds = policy.max_delay_seconds
    message.jitter_percent = policy.jitter_percent
    message.retry_on.extend([RETRY_CAUSE.number[cause] for cause in policy.retry_on])


def retry_policy_from_proto(message: pb.RetryPolicy) -> RetryPolicy:
    """Read when another attempt is made.

    Raises:
        InvalidArgumentError: The backoff or a cause is not known to this version.
        ValueError: A number is out of its range.
    """
    return RetryPolicy(
        backoff=BACKOFF.member[message.backoff],
        max_delay_seconds=message.max_delay_seconds,
        jitter_percent=message.jitter_percent,
        retry_on=tuple([RETRY_CAUSE.member[cause] for cause in message.retry_on]),
    )


def execution_policy_to_proto(policy: ExecutionPolicy, message: pb.ExecutionPolicy) -> None:
    """Fill in how attempts are executed."""
    message.max_retries = policy.max_retries
    message.retry_delay_seconds = policy.retry_delay_seconds
    message.timeout_seconds = policy.timeout_seconds
    message.max_parallelism = policy.max_parallelism
    retry_policy_to_proto(policy.retry, message.retry)
    if policy.priority or policy.pools or policy.budget:
        message.scheduling.priority = policy.priority
        message.scheduling.pools.update(policy.pools)
        message.scheduling.budget.update(policy.budget)


def execution_policy_from_proto(message: pb.ExecutionPolicy) -> ExecutionPolicy:
    """Read how attempts are executed.

    Raises:
        ValueError: A number is out of its range.
    """
    return ExecutionPolicy(
        max_retries=message.max_retries,
        retry_delay_seconds=message.retry_delay_seconds,
        timeout_seconds=message.timeout_seconds,
        max_parallelism=message.max_parallelism,
        retry=retry_policy_from_proto(message.retry)
        if message.HasField("retry")
        else DEFAULT_RETRY,
        priority=message.scheduling.priority,
        pools=message.scheduling.pools,
        budget=message.scheduling.budget,
    )


def resource_requirements_to_proto(
    resources: ResourceRequirements, message: pb.ResourceRequirements
) -> None:
    """Fill in what an attempt needs."""
    message.cpu_millicores = resources.cpu_millicores
    message.memory_mib = resources.memory_mib
    message.ephemeral_storage_mib = resources.ephemeral_storage_mib


def resource_requirements_from_proto(message: pb.ResourceRequirements) -> ResourceRequirements:
    """Read what an attempt needs.

    Raises:
        ValueError: A number is out of its range.
    """
    return ResourceRequirements(
        cpu_millicores=message.cpu_millicores,
        memory_mib=message.memory_mib,
        ephemeral_storage_mib=message.ephemeral_storage_mib,
    )


def asset_definition_to_proto(asset: AssetDefinition, message: pb.AssetDefinition) -> None:
    """Fill in an asset; io, execution and resources are always there, defaults included."""
    asset_key_to_proto(asset.key, message.key)
    if asset.id is not None:
        message.id = asset.id
    message.description = asset.description
    message.owners.extend(asset.owners)
    if asset.tags:
        message.tags.update(asset.tags)
    partition_strategy_to_proto(asset.partitioning, message.partitioning)
    for dependency in asset.dependencies:
        asset_dependency_to_proto(dependency, message.dependencies.add())
    code_location_to_proto(asset.code, message.code)
    for check in asset.checks:
        check_to_proto(check, message.checks.add())
    _settings_to_proto(asset, message)
    message.transform_fingerprint = asset.transform_fingerprint
    if asset.code_version:
        message.code_version = asset.code_version
    if asset.renamed_from is not None:
        asset_key_to_proto(asset.renamed_from, message.renamed_from)
    if asset.metadata:
        message.metadata.update(asset.metadata)


def _settings_to_proto(asset: AssetDefinition, message: pb.AssetDefinition) -> None:
    if asset.execution == DEFAULT_EXECUTION:
        message.execution.CopyFrom(_DEFAULTS.execution)
    else:
        execution_policy_to_proto(asset.execution, message.execution)
    if asset.resources == DEFAULT_RESOURCES:
        message.resources.CopyFrom(_DEFAULTS.resources)
    else:
        resource_requirements_to_proto(asset.resources, message.resources)
    if asset.io == DEFAULT_IO:
        message.io.CopyFrom(_DEFAULTS.io)
    else:
        io_config_to_proto(asset.io, message.io)


def _defaults() -> pb.AssetDefinition:
    message = pb.AssetDefinition()
    io_config_to_proto(DEFAULT_IO, message.io)
    execution_policy_to_proto(DEFAULT_EXECUTION, message.execution)
    resource_requirements_to_proto(DEFAULT_RESOURCES, message.resources)
    return message


# Most assets have these; copying a message is several times as fast as filling one in.
_DEFAULTS: Final = _defaults()


def asset_definition_from_proto(message: pb.AssetDefinition) -> AssetDefinition:
    """Read an asset.

    Raises:
        InvalidArgumentError: It uses something that this version does not know.
        ValueError: A part of it is malformed.
    """
    has = message.HasField
    return AssetDefinition(
        asset_key_from_proto(message.key),
        id=AssetId(message.id) if message.id else None,
        description=message.description,
        owners=tuple(message.owners),
        tags=dict(message.tags),
        partitioning=partition_strategy_from_proto(message.partitioning),
        dependencies=tuple([asset_dependency_from_proto(m) for m in message.dependencies]),
        code=code_location_from_proto(message.code),
        checks=tuple([check_from_proto(m) for m in message.checks]),
        execution=(
            execution_policy_from_proto(message.execution)
            if has("execution")
            else DEFAULT_EXECUTION
        ),
        resources=(
            resource_requirements_from_proto(message.resources)
            if has("resources")
            else DEFAULT_RESOURCES
        ),
        transform_fingerprint=message.transform_fingerprint,
        code_version=message.code_version,
        renamed_from=asset_key_from_proto(message.renamed_from) if has("renamed_from") else None,
        metadata=dict(message.metadata),
        io=io_config_from_proto(message.io) if has("io") else DEFAULT_IO,
    )
