"""What a worker says of an attempt, and what it is answered (``worker.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import worker_pb2 as pb
from servo._wire.checks import check_result_from_proto, check_result_to_proto
from servo._wire.error_details import error_detail_from_proto, error_detail_to_proto
from servo._wire.leases import lease_from_proto, lease_to_proto
from servo._wire.runs import (
    failure_from_proto,
    failure_to_proto,
    materialization_from_proto,
    materialization_to_proto,
    progress_from_proto,
    progress_to_proto,
)
from servo._wire.times import timestamp_from_proto, timestamp_to_proto
from servo.errors import InvalidArgumentError
from servo.types.records import Failure
from servo.types.sessions import (
    AttemptCancelled,
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    AttemptStarted,
    AttemptSucceeded,
    ResultReceipt,
)


def attempt_started_to_proto(started: AttemptStarted, message: pb.AttemptStarted) -> None:
    """Fill in that an attempt has begun."""
    lease_to_proto(started.lease, message.lease)
    if started.started_at is not None:
        timestamp_to_proto(started.started_at, message.started_at)


def attempt_started_from_proto(message: pb.AttemptStarted) -> AttemptStarted:
    """Read that an attempt has begun."""
    return AttemptStarted(
        lease=lease_from_proto(message.lease),
        started_at=(
            timestamp_from_proto(message.started_at) if message.HasField("started_at") else None
        ),
    )


def attempt_progressed_to_proto(
    progressed: AttemptProgressed, message: pb.AttemptProgressed
) -> None:
    """Fill in an attempt's progress."""
    lease_to_proto(progressed.lease, message.lease)
    progress_to_proto(progressed.progress, message.progress)


def attempt_progressed_from_proto(message: pb.AttemptProgressed) -> AttemptProgressed:
    """Read an attempt's progress."""
    return AttemptProgressed(
        lease=lease_from_proto(message.lease), progress=progress_from_proto(message.progress)
    )


def attempt_metric_to_proto(metric: AttemptMetric, message: pb.AttemptMetric) -> None:
    """Fill in a number that an attempt reported."""
    lease_to_proto(metric.lease, message.lease)
    message.name = metric.name
    message.value = metric.value
    if metric.reported_at is not None:
        timestamp_to_proto(metric.reported_at, message.reported_at)


def attempt_metric_from_proto(message: pb.AttemptMetric) -> AttemptMetric:
    """Read a number that an attempt reported."""
    return AttemptMetric(
        lease=lease_from_proto(message.lease),
        name=message.name,
        value=message.value,
        reported_at=(
            timestamp_from_proto(message.reported_at) if message.HasField("reported_at") else None
        ),
    )


def attempt_spent_to_proto(spent: AttemptSpent, message: pb.AttemptSpent) -> None:
    """Fill in what an attempt has spent."""
    lease_to_proto(spent.lease, message.lease)
    message.spent.update(spent.spent)


def attempt_spent_from_proto(message: pb.AttemptSpent) -> AttemptSpent:
    """Read what an attempt has spent.

    Raises:
        ValueError: An amount is malformed.
    """
    return AttemptSpent(lease=lease_from_proto(message.lease), spent=dict(message.spent))


def attempt_succeeded_to_proto(succeeded: AttemptSucceeded, message: pb.AttemptSucceeded) -> None:
    """Fill in what an attempt produced."""
    materialization_to_proto(succeeded.materialization, message.materialization)


def attempt_succeeded_from_proto(message: pb.AttemptSucceeded) -> AttemptSucceeded:
    """Read what an attempt produced."""
    return AttemptSucceeded(materialization=materialization_from_proto(message.materialization))


def attempt_cancelled_to_proto(cancelled: AttemptCancelled, message: pb.AttemptCancelled) -> None:
    """Fill in that an attempt was cancelled."""
    message.reason = cancelled.reason


def attempt_cancelled_from_proto(message: pb.AttemptCancelled) -> AttemptCancelled:
    """Read that an attempt was cancelled."""
    return AttemptCancelled(reason=message.reason)


def attempt_finished_to_proto(finished: AttemptFinished, message: pb.AttemptFinished) -> None:
    """Fill in how an attempt ended."""
    lease_to_proto(finished.lease, message.lease)
    outcome = finished.outcome
    if isinstance(outcome, AttemptSucceeded):
        attempt_succeeded_to_proto(outcome, message.succeeded)
    elif isinstance(outcome, Failure):
        failure_to_proto(outcome, message.failed)
    else:
        attempt_cancelled_to_proto(outcome, message.cancelled)
    for result in finished.checks:
        check_result_to_proto(result, message.checks.add())
    if finished.finished_at is not None:
        timestamp_to_proto(finished.finished_at, message.finished_at)
    if finished.spent:
        message.spent.update(finished.spent)


def attempt_finished_from_proto(message: pb.AttemptFinished) -> AttemptFinished:
    """Read how an attempt ended.

    Raises:
        InvalidArgumentError: How it ended is not said, or not known to this version.
        ValueError: A key is malformed.
    """
    return AttemptFinished(
        lease=lease_from_proto(message.lease),
        outcome=_outcome(message),
        checks=tuple([check_result_from_proto(result) for result in message.checks]),
        finished_at=(
            timestamp_from_proto(message.finished_at) if message.HasField("finished_at") else None
        ),
        spent=dict(message.spent) if message.spent else {},
    )


def _outcome(message: pb.AttemptFinished) -> AttemptSucceeded | Failure | AttemptCancelled:
    kind = message.WhichOneof("outcome")
    if kind == "succeeded":
        return attempt_succeeded_from_proto(message.succeeded)
    if kind == "failed":
        return failure_from_proto(message.failed)
    if kind == "cancelled":
        return attempt_cancelled_from_proto(message.cancelled)
    raise InvalidArgumentError(
        f"the result of attempt {message.lease.attempt!r} of task {message.lease.task_id!r} does "
        f"not say how it ended in a way that this version of Servo knows; upgrade this side"
    )


def result_receipt_to_proto(receipt: ResultReceipt, message: pb.ResultReceipt) -> None:
    """Fill in the answer to a result."""
    lease_to_proto(receipt.lease, message.lease)
    message.accepted = receipt.accepted
    if receipt.error is not None:
        error_detail_to_proto(receipt.error, message.error)


def result_receipt_from_proto(message: pb.ResultReceipt) -> ResultReceipt:
    """Read the answer to a result."""
    return ResultReceipt(
        lease=lease_from_proto(message.lease),
        accepted=message.accepted,
        error=error_detail_from_proto(message.error) if message.HasField("error") else None,
    )
