"""Bytes and JSON of the façade's values, and what is refused."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

import strategies
from messages import any_message
from servo._gen.arco.v1 import asset_pb2, common_pb2, run_pb2, run_service_pb2, worker_pb2
from servo._wire import decode, encode, from_json, to_canonical_json, to_json_dict
from servo.errors import InvalidArgumentError, ServoError
from servo.types.assets import (
    AssetDefinition,
    CodeLocation,
    ExecutionPolicy,
    IoConfig,
    ResourceRequirements,
)
from servo.types.checks import Check
from servo.types.dependencies import AssetDependency
from servo.types.events import Event, RunStateChanged
from servo.types.keys import AssetKey
from servo.types.logs import LogBatch, LogLine, LogStream
from servo.types.partitions import PartitionDimension, PartitionKey, TimeDimension
from servo.types.records import Failure, Progress, Run
from servo.types.requests import (
    AllPartitions,
    CreateRunRequest,
    PartitionSelection,
    WatchRunResponse,
)
from servo.types.runs import FailureCategory, RunState
from servo.types.sessions import (
    AttemptFinished,
    AttemptStarted,
    CancelTask,
    CreditGrant,
    Heartbeat,
    Lease,
    OpenSessionRequest,
    TaskDispatch,
    WorkerDraining,
    WorkerMessage,
)

LEASE = Lease(task_id="t", attempt=1, token=7)


@given(
    st.one_of(
        strategies.asset_definitions(),
        strategies.asset_dependencies(),
        strategies.asset_keys(),
        strategies.partition_keys(),
        strategies.partition_strategies(),
        strategies.dimensions(),
        strategies.checks(),
        strategies.check_results(),
        strategies.io_configs(),
        strategies.execution_policies(),
        strategies.resource_requirements(),
        strategies.code_locations(),
    )
)
def test_every_value_survives_bytes_and_json(value: object) -> None:
    assert decode(type(value), encode(value)) == value
    text = to_canonical_json(value)
    assert from_json(type(value), text) == value
    assert to_canonical_json(from_json(type(value), text)) == text


@given(strategies.asset_dependencies())
def test_the_unit_of_a_window_does_not_travel(value: AssetDependency) -> None:
    # It is checked where the window is written; start and end say the same afterwards.
    assert decode(AssetDependency, encode(value)).window_unit is None


def test_equal_values_have_equal_bytes_whatever_the_order_of_their_maps() -> None:
    names = [f"n{number}" for number in range(50)]
    one = CreateRunRequest(selection=("a.b",), config={name: name for name in names})
    two = CreateRunRequest(selection=("a.b",), config={name: name for name in reversed(names)})
    assert encode(one) == encode(two)


def test_a_union_is_decoded_as_the_variant_that_was_encoded() -> None:
    dimension = TimeDimension("date", "day", start="2013-01-01")
    assert decode(PartitionDimension, encode(dimension)) == dimension
    assert decode(PartitionSelection, encode(AllPartitions())) == AllPartitions()


def test_an_empty_partition_key_is_a_selection_of_its_own() -> None:
    request = CreateRunRequest(selection=("a.b",), partitions=PartitionKey())
    assert decode(CreateRunRequest, encode(request)).partitions == PartitionKey()


@pytest.mark.parametrize("message", [Heartbeat(), WorkerDraining(), CreditGrant(attempts=0)])
def test_a_session_message_that_says_nothing_still_arrives(message: WorkerMessage) -> None:
    request = OpenSessionRequest(messages=(message,))
    assert decode(OpenSessionRequest, encode(request)) == request


def test_a_value_that_is_not_part_of_the_contract_cannot_be_encoded() -> None:
    with pytest.raises(TypeError, match=r"no message in arco\.v1"):
        encode(object())


@pytest.mark.parametrize(
    "value",
    [
        Progress(message="a\ud800"),
        Progress(message="m", percentage=2**31),
        Lease(task_id="t", attempt=1, token=2**63),
    ],
)
def test_what_no_field_can_hold_is_refused_naming_the_type(value: object) -> None:
    with pytest.raises(InvalidArgumentError, match=type(value).__name__):
        encode(value)


def test_a_log_line_is_sent_whatever_a_program_printed() -> None:
    line = LogLine(number=1, stream=LogStream.STDOUT, text="a\ud800b")
    batch = decode(LogBatch, encode(LogBatch(task_id="t", attempt=1, lines=(line,))))
    assert batch.lines[0].text == "a?b"


@pytest.mark.parametrize("data", [b"\xff", b"\x0a\x05ab", encode(AssetKey("a", "b"))[:-1]])
def test_bytes_that_are_no_message_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgumentError, match="no AssetKey"):
        decode(AssetKey, data)


@given(st.binary(max_size=40))
def test_no_bytes_make_decoding_fail_in_another_way(data: bytes) -> None:
    for cls in (AssetDefinition, Run, OpenSessionRequest, Event):
        with contextlib.suppress(InvalidArgumentError):
            decode(cls, data)


@given(any_message(asset_pb2.AssetDefinition.DESCRIPTOR))
def test_no_asset_definition_makes_reading_fail_in_another_way(
    message: asset_pb2.AssetDefinition,
) -> None:
    try:
        decode(AssetDefinition, message.SerializeToString())
    except ServoError as error:
        assert isinstance(error, InvalidArgumentError)


def test_a_malformed_part_is_named() -> None:
    data = common_pb2.AssetKey(namespace="Raw", name="events").SerializeToString()
    with pytest.raises(InvalidArgumentError, match="Invalid asset key namespace 'Raw'"):
        decode(AssetKey, data)


def test_fields_of_a_newer_sender_are_ignored() -> None:
    unknown = b"\xf2\x7f\x03new"
    assert decode(AssetKey, encode(AssetKey("raw", "events")) + unknown) == AssetKey(
        "raw", "events"
    )


def test_session_messages_of_a_kind_that_only_a_newer_peer_knows_are_left_out() -> None:
    message = worker_pb2.OpenSessionRequest()
    message.messages.add().heartbeat.SetInParent()
    message.messages.add().MergeFromString(b"\xf2\x7f\x03new")
    request = decode(OpenSessionRequest, message.SerializeToString())
    assert request.messages == (Heartbeat(),)


def test_events_of_a_kind_that_only_a_newer_server_knows_are_left_out() -> None:
    event = Event(
        sequence=1,
        occurred_at=datetime(2025, 1, 15, tzinfo=UTC),
        payload=RunStateChanged(state=RunState.RUNNING),
    )
    message = run_service_pb2.WatchRunResponse()
    message.events.add().MergeFromString(encode(event))
    message.events.add(sequence=2).occurred_at.SetInParent()
    assert decode(WatchRunResponse, message.SerializeToString()).events == (event,)


def test_a_selection_of_partitions_that_is_not_known_is_refused() -> None:
    message = run_pb2.CreateRunRequest(selection=["raw.events"])
    message.partitions.SetInParent()
    with pytest.raises(InvalidArgumentError, match="selected in a way"):
        decode(CreateRunRequest, message.SerializeToString())


def test_a_result_that_does_not_say_how_it_ended_is_refused() -> None:
    message = worker_pb2.AttemptFinished()
    message.lease.task_id = "t"
    with pytest.raises(InvalidArgumentError, match="does not say how it ended"):
        decode(AttemptFinished, message.SerializeToString())


def test_a_check_whose_type_and_parameters_disagree_is_refused() -> None:
    message = asset_pb2.Check(name="c", type=asset_pb2.CHECK_TYPE_UNIQUE, severity=1, phase=1)
    message.row_count.min_rows = 1
    with pytest.raises(InvalidArgumentError, match="both must say the same"):
        decode(Check, message.SerializeToString())


def test_a_definition_that_uses_an_enum_value_of_a_newer_version_is_refused_by_name() -> None:
    message = asset_pb2.Check(name="c", type=asset_pb2.CHECK_TYPE_ROW_COUNT, severity=99, phase=1)
    message.row_count.min_rows = 1
    with pytest.raises(InvalidArgumentError, match="CheckSeverity has no value 99") as caught:
        decode(Check, message.SerializeToString())
    assert caught.value.code == "UNKNOWN_ENUM_VALUE"


def test_an_enum_that_is_not_set_is_refused_with_its_values() -> None:
    message = run_pb2.Run(run_id="r")
    with pytest.raises(InvalidArgumentError, match="RunState is not set; set it to one of pending"):
        decode(Run, message.SerializeToString())


def test_a_failure_of_a_new_category_is_read_as_one_of_infrastructure() -> None:
    message = run_pb2.Failure(category=99, message="m", retryable=False)
    failure = decode(Failure, message.SerializeToString())
    assert failure.category is FailureCategory.INFRASTRUCTURE
    assert not failure.is_retryable


def test_absent_parts_of_an_asset_are_the_defaults() -> None:
    message = asset_pb2.AssetDefinition()
    message.key.namespace, message.key.name = "raw", "events"
    asset = decode(AssetDefinition, message.SerializeToString())
    assert (asset.io, asset.execution, asset.resources) == (
        IoConfig(),
        ExecutionPolicy(),
        ResourceRequirements(),
    )
    assert asset.id is None


def test_io_execution_and_resources_of_an_asset_are_written_with_their_defaults() -> None:
    plain = AssetDefinition(AssetKey("raw", "events"), code=CodeLocation("assets", "events"))
    written = to_json_dict(plain)
    assert written["io"] == {
        "compression": "COMPRESSION_ZSTD",
        "format": "IO_FORMAT_PARQUET",
        "partitionBy": [],
    }
    assert written["resources"] == {
        "cpuMillicores": 1000,
        "ephemeralStorageMib": 0,
        "memoryMib": 1024,
    }
    execution = {
        "maxParallelism": 0,
        "maxRetries": 3,
        "retry": {
            "backoff": "BACKOFF_EXPONENTIAL",
            "jitterPercent": 20,
            "maxDelaySeconds": 900,
            "retryOn": [
                "RETRY_CAUSE_USER_CODE",
                "RETRY_CAUSE_INFRASTRUCTURE",
                "RETRY_CAUSE_TIMEOUT",
            ],
        },
        "retryDelaySeconds": 60,
        "timeoutSeconds": 3600,
    }
    assert written["execution"] == execution
    assert "codeVersion" not in written
    patient = dataclasses.replace(plain, execution=ExecutionPolicy(max_retries=9))
    assert to_json_dict(patient)["execution"] == execution | {"maxRetries": 9}


def test_an_asset_of_an_older_client_without_these_parts_has_the_defaults() -> None:
    plain = AssetDefinition(AssetKey("raw", "events"), code=CodeLocation("assets", "events"))
    written = to_json_dict(plain)
    for part in ("io", "execution", "resources"):
        del written[part]
    assert from_json(AssetDefinition, json.dumps(written)) == plain


def test_dispatching_the_same_asset_twice_gives_the_same_object() -> None:
    asset = AssetDefinition(AssetKey("raw", "events"), code=CodeLocation("assets", "events"))
    dispatches = [
        TaskDispatch(
            lease=replace(LEASE, token=token), run_id="r", asset=asset, partition_key=PartitionKey()
        )
        for token in (1, 2)
    ]
    first, second = (decode(TaskDispatch, encode(dispatch)) for dispatch in dispatches)
    assert first.asset is second.asset
    assert (first, second) == tuple(dispatches)


def test_a_dispatch_is_passed_on_as_it_came_however_many_assets_there_are() -> None:
    def dispatch(number: int) -> TaskDispatch:
        code = CodeLocation("assets", f"f{number}")
        asset = AssetDefinition(AssetKey("raw", f"a{number}"), code=code)
        return TaskDispatch(lease=LEASE, run_id="r", asset=asset, partition_key=PartitionKey())

    # More than are remembered, and the first ones again after they were forgotten.
    for number in [*range(11_000), *range(3)]:
        given = dispatch(number)
        data = encode(given)
        passed_on = decode(TaskDispatch, data)
        assert passed_on == given
        assert encode(passed_on) == data


@pytest.mark.parametrize(
    "moment",
    [
        datetime(2025, 1, 15, 10, 30, 0, 123_456, tzinfo=UTC),
        datetime(1, 1, 1, tzinfo=UTC),
        datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        datetime(1969, 12, 31, 23, 59, 59, 1, tzinfo=UTC),
    ],
)
def test_a_moment_survives_to_the_microsecond(moment: datetime) -> None:
    started = AttemptStarted(lease=LEASE, started_at=moment)
    assert decode(AttemptStarted, encode(started)).started_at == moment
    assert from_json(AttemptStarted, to_canonical_json(started)) == started


def test_moments_are_sent_in_utc() -> None:
    zone = timezone(timedelta(hours=2))
    moment = datetime(2025, 1, 15, 12, tzinfo=zone)
    text = to_canonical_json(AttemptStarted(lease=LEASE, started_at=moment))
    assert '"startedAt":"2025-01-15T10:00:00Z"' in text
    naive = AttemptStarted(lease=LEASE, started_at=datetime(2025, 1, 15, 10))
    assert to_canonical_json(naive) == text


@pytest.mark.parametrize("seconds", [0.0, 10.0, -1.5, 0.000_001, -0.000_001, 86_400 * 365])
def test_a_length_of_time_survives_to_the_microsecond(seconds: float) -> None:
    cancel = CancelTask(lease=LEASE, grace_period=timedelta(seconds=seconds))
    assert decode(CancelTask, encode(cancel)) == cancel
    assert from_json(CancelTask, to_canonical_json(cancel)) == cancel


@pytest.mark.parametrize("seconds", [10**15, -(10**15), 2**62])
def test_a_time_that_python_cannot_hold_is_refused(seconds: int) -> None:
    started = worker_pb2.AttemptStarted()
    started.started_at.seconds = seconds
    with pytest.raises(InvalidArgumentError, match="years 1 to 9999"):
        decode(AttemptStarted, started.SerializeToString())
    cancel = worker_pb2.CancelTask()
    cancel.grace_period.seconds = seconds
    with pytest.raises(InvalidArgumentError, match="longer than any"):
        decode(CancelTask, cancel.SerializeToString())


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "Expecting value"),
        ("{", "Expecting property name"),
        ("[]", "AssetKey"),
        ('{"namespace":"raw","name":"events","extra":1}', "extra"),
        ('{"namespace":"raw","namespace":"raw"}', "namespace"),
        ('{"namespace":5,"name":"events"}', "namespace"),
        ('{"namespace":"Raw","name":"events"}', "Invalid asset key namespace"),
        ('{"namespace":"\\ud800","name":"events"}', "surrogate"),
        ("[" * 100_000, "AssetKey"),
    ],
)
def test_json_that_is_no_such_value_is_refused_saying_why(text: str, said: str) -> None:
    with pytest.raises(InvalidArgumentError) as caught:
        from_json(AssetKey, text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 1_000


def test_json_of_other_printers_is_read_as_well() -> None:
    text = '{"task_id": "t", "attempt": "1", "token": 7}'
    assert from_json(Lease, text) == LEASE
