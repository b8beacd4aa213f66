"""The session between a worker and the control plane (``worker.proto``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from servo._gen.arco.v1 import worker_pb2 as pb
from servo._wire import attempts, dispatches, leases
from servo._wire.leases import lease_from_proto, lease_to_proto
from servo._wire.logs import log_batch_from_proto, log_batch_to_proto
from servo._wire.times import duration_from_proto, duration_to_proto
from servo.errors import InvalidArgumentError
from servo.types.logs import LogBatch
from servo.types.sessions import (
    AttemptFinished,
    AttemptMetric,
    AttemptProgressed,
    AttemptSpent,
    AttemptStarted,
    CancelTask,
    CreditGrant,
    DispatchReceived,
    Heartbeat,
    LeaseRevoked,
    LogReceipt,
    OpenSessionRequest,
    OpenSessionResponse,
    ResultReceipt,
    ServerMessage,
    ServerWelcome,
    TaskDispatch,
    WorkerDraining,
    WorkerHello,
    WorkerMessage,
)


def worker_hello_to_proto(hello: WorkerHello, message: pb.WorkerHello) -> None:
    """Fill in who opens a session."""
    message.worker_id = hello.worker_id
    message.protocol_version = hello.protocol_version
    message.servo_version = hello.servo_version
    message.code_version_id = hello.code_version_id
    message.slots = hello.slots
    message.capabilities.extend(hello.capabilities)
    for lease in hello.leases:
        lease_to_proto(lease, message.leases.add())
    message.host_name = hello.host_name
    message.process_id = hello.process_id


def worker_hello_from_proto(message: pb.WorkerHello) -> WorkerHello:
    """Read who opens a session."""
    return WorkerHello(
        worker_id=message.worker_id,
        protocol_version=message.protocol_version,
        servo_version=message.servo_version,
        code_version_id=message.code_version_id,
        slots=message.slots,
        capabilities=tuple(message.capabilities),
        leases=tuple([lease_from_proto(lease) for lease in message.leases]),
        host_name=message.host_name,
        process_id=message.process_id,
    )


def server_welcome_to_proto(welcome: ServerWelcome, message: pb.ServerWelcome) -> None:
    """Fill in the answer to a hello."""
    message.protocol_version = welcome.protocol_version
    message.capabilities.extend(welcome.capabilities)
    duration_to_proto(welcome.heartbeat_interval, message.heartbeat_interval)
    duration_to_proto(welcome.lease_length, message.lease_length)
    message.store_id = welcome.store_id
    message.tenant_id = welcome.tenant_id
    message.workspace_id = welcome.workspace_id
    message.servo_version = welcome.servo_version


def server_welcome_from_proto(message: pb.ServerWelcome) -> ServerWelcome:
    """Read the answer to a hello."""
    return ServerWelcome(
        protocol_version=message.protocol_version,
        capabilities=tuple(message.capabilities),
        heartbeat_interval=duration_from_proto(message.heartbeat_interval),
        lease_length=duration_from_proto(message.lease_length),
        store_id=message.store_id,
        tenant_id=message.tenant_id,
        workspace_id=message.workspace_id,
        servo_version=message.servo_version,
    )


def credit_grant_to_proto(credit: CreditGrant, message: pb.CreditGrant) -> None:
    """Fill in how many further attempts may be pushed."""
    message.attempts = credit.attempts


def credit_grant_from_proto(message: pb.CreditGrant) -> CreditGrant:
    """Read how many further attempts may be pushed."""
    return CreditGrant(attempts=message.attempts)


def log_receipt_to_proto(receipt: LogReceipt, message: pb.LogReceipt) -> None:
    """Fill in how many log batches are durable."""
    message.batches = receipt.batches


def log_receipt_from_proto(message: pb.LogReceipt) -> LogReceipt:
    """Read how many log batches are durable."""
    return LogReceipt(batches=message.batches)


def worker_draining_to_proto(_draining: WorkerDraining, message: pb.WorkerDraining) -> None:
    """Fill in that a worker takes no further attempts."""
    message.SetInParent()


def worker_draining_from_proto(_message: pb.WorkerDraining) -> WorkerDraining:
    """Read that a worker takes no further attempts."""
    return WorkerDraining()


# Each variant's field of the message's oneof, and its two converters. They are of as many types as
# there are variants, which one annotation cannot say.
_Variants = dict[type, tuple[str, Callable[[Any, Any], None], Callable[[Any], Any]]]

_WORKER: Final[_Variants] = {
    WorkerHello: ("hello", worker_hello_to_proto, worker_hello_from_proto),
    CreditGrant: ("credit", credit_grant_to_proto, credit_grant_from_proto),
    DispatchReceived: (
        "received",
        leases.dispatch_received_to_proto,
        leases.dispatch_received_from_proto,
    ),
    AttemptStarted: (
        "started",
        attempts.attempt_started_to_proto,
        attempts.attempt_started_from_proto,
    ),
    AttemptProgressed: (
        "progressed",
        attempts.attempt_progressed_to_proto,
        attempts.attempt_progressed_from_proto,
    ),
    AttemptMetric: (
        "metric",
        attempts.attempt_metric_to_proto,
        attempts.attempt_metric_from_proto,
    ),
    LogBatch: ("log", log_batch_to_proto, log_batch_from_proto),
    AttemptFinished: (
        "finished",
        attempts.attempt_finished_to_proto,
        attempts.attempt_finished_from_proto,
    ),
    AttemptSpent: ("spent", attempts.attempt_spent_to_proto, attempts.attempt_spent_from_proto),
    Heartbeat: ("heartbeat", leases.heartbeat_to_proto, leases.heartbeat_from_proto),
    WorkerDraining: ("draining", worker_draining_to_proto, worker_draining_from_proto),
}
_SERVER: Final[_Variants] = {
    ServerWelcome: ("welcome", server_welcome_to_proto, server_welcome_from_proto),
    TaskDispatch: (
        "dispatch",
        dispatches.task_dispatch_to_proto,
        dispatches.task_dispatch_from_proto,
    ),
    CancelTask: ("cancel", leases.cancel_task_to_proto, leases.cancel_task_from_proto),
    ResultReceipt: (
        "receipt",
        attempts.result_receipt_to_proto,
        attempts.result_receipt_from_proto,
    ),
    LeaseRevoked: ("revoked", leases.lease_revoked_to_proto, leases.lease_revoked_from_proto),
    LogReceipt: ("log_receipt", log_receipt_to_proto, log_receipt_from_proto),
}
_WORKER_READERS: Final = {field: read for field, _, read in _WORKER.values()}
_SERVER_READERS: Final = {field: read for field, _, read in _SERVER.values()}


def worker_message_to_proto(value: WorkerMessage, message: pb.WorkerMessage) -> None:
    """Fill in one message of a worker."""
    field, fill, _ = _WORKER[type(value)]
    fill(value, getattr(message, field))


def worker_message_from_proto(message: pb.WorkerMessage) -> WorkerMessage:
    """Read one message of a worker.

    Raises:
        InvalidArgumentError: It is of a kind that this version does not know.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        raise _unknown_kind("worker")
    found: WorkerMessage = _WORKER_READERS[kind](getattr(message, kind))
    return found


def server_message_to_proto(value: ServerMessage, message: pb.ServerMessage) -> None:
    """Fill in one message of a control plane."""
    field, fill, _ = _SERVER[type(value)]
    fill(value, getattr(message, field))


def server_message_from_proto(message: pb.ServerMessage) -> ServerMessage:
    """Read one message of a control plane.

    Raises:
        InvalidArgumentError: It is of a kind that this version does not know.
    """
    kind = message.WhichOneof("kind")
    if kind is None:
        raise _unknown_kind("control plane")
    found: ServerMessage = _SERVER_READERS[kind](getattr(message, kind))
    return found


def open_session_request_to_proto(
    request: OpenSessionRequest, message: pb.OpenSessionRequest
) -> None:
    """Fill in messages of a worker."""
    for item in request.messages:
        worker_message_to_proto(item, message.messages.add())


def open_session_request_from_proto(message: pb.OpenSessionRequest) -> OpenSessionRequest:
    """Read messages of a worker; those of a kind that only a newer version knows are left out."""
    return OpenSessionRequest(
        messages=tuple(
            [
                worker_message_from_proto(item)
                for item in message.messages
                if item.WhichOneof("kind") is not None
            ]
        )
    )


def open_session_response_to_proto(
    response: OpenSessionResponse, message: pb.OpenSessionResponse
) -> None:
    """Fill in messages of a control plane."""
    for item in response.messages:
        server_message_to_proto(item, message.messages.add())


def open_session_response_from_proto(message: pb.OpenSessionResponse) -> OpenSessionResponse:
    """Read messages of a control plane; those that only a newer version knows are left out."""
    return OpenSessionResponse(
        messages=tuple(
            [
                server_message_from_proto(item)
                for item in message.messages
                if item.WhichOneof("kind") is not None
            ]
        )
    )


def _unknown_kind(sender: str) -> InvalidArgumentError:
    return InvalidArgumentError(
        f"a message of the {sender} is of a kind that this version of Servo does not know; the "
        f"sender is newer, upgrade this side",
        code="UNKNOWN_MESSAGE",
    )
