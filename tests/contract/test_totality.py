"""Every message, field, enum value and RPC of the contract is mapped, or listed with a reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from messages import CHECK_TYPES, FILES, MESSAGES, filled, message_class, real_oneof, variants_of
from servo._wire import METHODS, MethodKind
from servo._wire.enums import ENUMS
from servo._wire.manifests import manifest_chunk_from_proto, manifest_chunk_to_proto
from servo._wire.table import TYPES, Row
from servo.errors import InvalidArgumentError

# Fields that no converter reads or writes: full name -> why.
UNMAPPED: dict[str, str] = {}

# Messages that are no type of their own in the façade: name -> the message that shows they are
# mapped, because its converters do it.
PART_OF: dict[str, str] = {
    "TimeDimension": "PartitionDimension",
    "StaticDimension": "PartitionDimension",
    "TenantDimension": "PartitionDimension",
    "RowCountParameters": "Check",
    "NotNullParameters": "Check",
    "UniqueParameters": "Check",
    "FreshnessParameters": "Check",
    "CustomSqlParameters": "Check",
    "ErrorCause": "ErrorDetail",
    "Scheduling": "ExecutionPolicy",
}

# Fields that are written out although they were not set: parts that are always there, and values
# for which "not set" is defined to mean something.
MADE_EXPLICIT = {
    "AssetDependency.window_end",
    "AssetDependency.window_start",
    "Check.name",
    "ErrorDetail.category",
    "ErrorDetail.code",
    "Failure.category",
    "LogLine.stream",
    "AssetDefinition.code",
    "AssetDefinition.execution",
    "AssetDefinition.io",
    "AssetDefinition.partitioning",
    "AssetDefinition.resources",
    "AttemptFinished.succeeded",
    "CancelTask.grace_period",
    "DeployRequest.header",
    "ExecutionPolicy.retry",
    "DeploymentActivated.deployment",
    "Event.occurred_at",
    "GetDeploymentResponse.deployment",
    "InputPartition.partition_key",
    "Materialization.partition_key",
    "PlannedTask.partition_key",
    "Run.counts",
    "ServerWelcome.heartbeat_interval",
    "ServerWelcome.lease_length",
    "SetPoolResponse.pool",
    "Task.partition_key",
    "TaskDispatch.partition_key",
    "TaskInput.partitioning",
    "AttemptProgressed.progress",
    "TaskProgressed.progress",
    *(
        f"{message}.lease"
        for message in (
            "AttemptFinished",
            "AttemptMetric",
            "AttemptProgressed",
            "AttemptSpent",
            "AttemptStarted",
            "CancelTask",
            "DispatchReceived",
            "LeaseRevoked",
            "ResultReceipt",
            "TaskDispatch",
        )
    ),
}

ROWS: dict[str, Row] = {row.message.DESCRIPTOR.name: row for row in TYPES.values()} | {
    "ManifestChunk": Row(
        message_class(next(found for found in MESSAGES if found.name == "ManifestChunk")),
        manifest_chunk_to_proto,
        manifest_chunk_from_proto,
    )
}
MAPPED = [descriptor for descriptor in MESSAGES if descriptor.name in ROWS]


def there_and_back(message: Message) -> Message:
    row = ROWS[message.DESCRIPTOR.name]
    again = row.message()
    row.to_proto(row.from_proto(message), again)
    return again


def lost_fields(before: Message, after: Message, path: str = "") -> Iterator[str]:
    """Name the fields in which two messages differ, down to the field that was lost."""
    for field in before.DESCRIPTOR.fields:
        old, new = getattr(before, field.name), getattr(after, field.name)
        here = f"{path or before.DESCRIPTOR.name}.{field.name}"
        single = field.message_type is not None and not field.is_repeated
        if field.has_presence and before.HasField(field.name) != after.HasField(field.name):
            yield here
        elif single:
            yield from lost_fields(old, new, here)
        elif field.is_repeated and field.message_type is not None and len(old) == len(new):
            if field.message_type.GetOptions().map_entry:
                if dict(old) != dict(new):
                    yield here
                continue
            for index, (one, other) in enumerate(zip(old, new, strict=True)):
                yield from lost_fields(one, other, f"{here}[{index}]")
        elif old != new:
            yield here


FIELDS: list[tuple[Descriptor, FieldDescriptor]] = [
    (descriptor, field) for descriptor in MAPPED for field in descriptor.fields
]


def test_every_message_has_converters_or_is_part_of_one_that_has() -> None:
    homeless = {found.name for found in MESSAGES} - set(ROWS) - set(PART_OF)
    assert homeless == set(), "add converters and a row to servo._wire.table"


def test_what_is_said_to_be_part_of_a_message_is_there() -> None:
    for name, whole in PART_OF.items():
        parent = ROWS[whole].message.DESCRIPTOR
        assert name not in ROWS
        assert name in {field.message_type.name for field in parent.fields if field.message_type}


@pytest.mark.parametrize("descriptor", MAPPED, ids=lambda found: found.name)
def test_every_field_survives_the_way_to_the_facade_and_back(descriptor: Descriptor) -> None:
    for message in variants_of(descriptor):
        lost = set(lost_fields(message, there_and_back(message)))
        assert lost - set(UNMAPPED) == set(), "map these fields in servo._wire"


@pytest.mark.parametrize(
    ("descriptor", "field"),
    FIELDS,
    ids=[f"{descriptor.name}.{field.name}" for descriptor, field in FIELDS],
)
def test_a_field_that_is_not_set_stays_unset_or_is_refused(
    descriptor: Descriptor, field: FieldDescriptor
) -> None:
    oneof = real_oneof(field)
    message = filled(descriptor, **({oneof: field.name} if oneof else {}))
    message.ClearField(field.name)
    try:
        again = there_and_back(message)
    except (InvalidArgumentError, ValueError):
        return
    lost = set(lost_fields(message, again))
    assert lost - MADE_EXPLICIT == set(), "the façade's default shows through"


@pytest.mark.parametrize("table", ENUMS, ids=lambda table: table.proto.name)
def test_every_value_of_an_enum_maps_both_ways(table: object) -> None:
    numbers = {value.number for value in table.proto.values if value.number != 0}
    assert set(table.number) == set(table.python)
    assert {table.member[number] for number in numbers} == set(table.python)
    assert {table.number[table.member[number]] for number in numbers} == numbers


def test_every_enum_has_a_table() -> None:
    declared = {name for file in FILES for name in file.enum_types_by_name}
    nested = {name for found in MESSAGES for name in found.enum_types_by_name}
    assert {table.proto.name for table in ENUMS} == declared | nested


def test_the_types_of_checks_used_here_are_those_of_the_contract() -> None:
    table = next(table for table in ENUMS if table.proto.name == "CheckType")
    assert {member.value: number for member, number in table.number.items()} == CHECK_TYPES


def test_every_rpc_has_a_row_that_says_what_its_proto_says() -> None:
    declared = {}
    for file in FILES:
        for service in file.services_by_name.values():
            for method in service.methods:
                kind = {
                    (False, False): MethodKind.UNARY,
                    (False, True): MethodKind.SERVER_STREAM,
                    (True, True): MethodKind.BIDI_STREAM,
                }[method.client_streaming, method.server_streaming]
                declared[f"/{service.full_name}/{method.name}"] = (
                    method.input_type.name,
                    method.output_type.name,
                    kind,
                    method.GetOptions().idempotency_level != 0,
                )
    rows = {
        path: (
            TYPES[method.request_type].message.DESCRIPTOR.name,
            TYPES[method.response_type].message.DESCRIPTOR.name,
            method.kind,
            method.idempotent,
        )
        for path, method in METHODS.items()
    }
    assert rows == declared


def test_fields_listed_as_unmapped_exist_and_say_why() -> None:
    names = {f"{descriptor.name}.{field.name}" for descriptor, field in FIELDS}
    assert set(UNMAPPED) <= names
    assert all(UNMAPPED.values())
