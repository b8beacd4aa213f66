"""Leases (``worker.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import worker_pb2 as pb
from servo._wire.times import duration_from_proto, duration_to_proto
from servo.types.sessions import CancelTask, DispatchReceived, Heartbeat, Lease, LeaseRevoked


def lease_to_proto(lease: Lease, message: pb.Lease) -> None:
    """Fill in a lease."""
    message.task_id = lease.task_id
    message.attempt = lease.attempt
    message.token = lease.token


def lease_from_proto(message: pb.Lease) -> Lease:
    """Read a lease."""
    return Lease(task_id=message.task_id, attempt=message.attempt, token=message.token)


def heartbeat_to_proto(heartbeat: Heartbeat, message: pb.Heartbeat) -> None:
    """Fill in which leases a worker holds; one without leases is present as well."""
    message.SetInParent()
    for lease in heartbeat.leases:
        lease_to_proto(lease, message.leases.add())


def heartbeat_from_proto(message: pb.Heartbeat) -> Heartbeat:
    """Read which leases a worker holds."""
    return Heartbeat(leases=tuple([lease_from_proto(lease) for lease in message.leases]))


def dispatch_received_to_proto(received: DispatchReceived, message: pb.DispatchReceived) -> None:
    """Fill in that a dispatch arrived."""
    lease_to_proto(received.lease, message.lease)


def dispatch_received_from_proto(message: pb.DispatchReceived) -> DispatchReceived:
    """Read that a dispatch arrived."""
    return DispatchReceived(lease=lease_from_proto(message.lease))


def cancel_task_to_proto(cancel: CancelTask, message: pb.CancelTask) -> None:
    """Fill in that an attempt is to end."""
    lease_to_proto(cancel.lease, message.lease)
    message.reason = cancel.reason
    duration_to_proto(cancel.grace_period, message.grace_period)


def cancel_task_from_proto(message: pb.CancelTask) -> CancelTask:
    """Read that an attempt is to end; without a grace period it ends at once."""
    return CancelTask(
        lease=lease_from_proto(message.lease),
        reason=message.reason,
        grace_period=duration_from_proto(message.grace_period),
    )


def lease_revoked_to_proto(revoked: LeaseRevoked, message: pb.LeaseRevoked) -> None:
    """Fill in that a lease was taken back."""
    lease_to_proto(revoked.lease, message.lease)
    message.reason = revoked.reason


def lease_revoked_from_proto(message: pb.LeaseRevoked) -> LeaseRevoked:
    """Read that a lease was taken back."""
    return LeaseRevoked(lease=lease_from_proto(message.lease), reason=message.reason)
