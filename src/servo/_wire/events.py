"""Events (``event.proto``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from servo._gen.arco.v1 import event_pb2 as pb
from servo._wire.checks import check_result_from_proto, check_result_to_proto
from servo._wire.deployments import deployment_from_proto, deployment_to_proto
from servo._wire.enums import RUN_STATE, TASK_STATE
from servo._wire.runs import (
    failure_from_proto,
    failure_to_proto,
    materialization_from_proto,
    materialization_to_proto,
    progress_from_proto,
    progress_to_proto,
    run_from_proto,
    run_to_proto,
)
from servo._wire.times import timestamp_from_proto, timestamp_to_proto
from servo.errors import InvalidArgumentError
from servo.types.events import (
    DeploymentActivated,
    Event,
    PoolChanged,
    RunCreated,
    RunStateChanged,
    RunUpdated,
    TaskProgressed,
    TaskSpent,
    TaskStateChanged,
)


def deployment_activated_to_proto(
    event: DeploymentActivated, message: pb.DeploymentActivated
) -> None:
    """Fill in that a manifest became current."""
    deployment_to_proto(event.deployment, message.deployment)


def deployment_activated_from_proto(message: pb.DeploymentActivated) -> DeploymentActivated:
    """Read that a manifest became current."""
    return DeploymentActivated(deployment=deployment_from_proto(message.deployment))


def run_created_to_proto(event: RunCreated, message: pb.RunCreated) -> None:
    """Fill in that a run was accepted."""
    run_to_proto(event.run, message.run)


def run_created_from_proto(message: pb.RunCreated) -> RunCreated:
    """Read that a run was accepted."""
    return RunCreated(run=run_from_proto(message.run))


def run_state_changed_to_proto(event: RunStateChanged, message: pb.RunStateChanged) -> None:
    """Fill in a run's new state."""
    message.state = RUN_STATE.number[event.state]
    message.reason = event.reason
    if event.ends_as is not None:
        message.ends_as = RUN_STATE.number[event.ends_as]


def run_state_changed_from_proto(message: pb.RunStateChanged) -> RunStateChanged:
    """Read a run's new state.

    Raises:
        InvalidArgumentError: The state is not known to this version.
    """
    return RunStateChanged(
        state=RUN_STATE.member[message.state],
        reason=message.reason,
        ends_as=RUN_STATE.member[message.ends_as] if message.ends_as else None,
    )


def run_updated_to_proto(event: RunUpdated, message: pb.RunUpdated) -> None:
    """Fill in how a run is treated now."""
    message.SetInParent()  # both may have their defaults
    message.paused = event.paused
    message.priority = event.priority


def run_updated_from_proto(message: pb.RunUpdated) -> RunUpdated:
    """Read how a run is treated now."""
    return RunUpdated(paused=message.paused, priority=message.priority)


def task_spent_to_proto(event: TaskSpent, message: pb.TaskSpent) -> None:
    """Fill in what a task has spent."""
    message.index = event.index
    message.attempt = event.attempt
    message.spent.update(event.spent)


def task_spent_from_proto(message: pb.TaskSpent) -> TaskSpent:
    """Read what a task has spent."""
    return TaskSpent(index=message.index, attempt=message.attempt, spent=dict(message.spent))


def pool_changed_to_proto(event: PoolChanged, message: pb.PoolChanged) -> None:
    """Fill in the size of a pool."""
    message.name = event.name
    if event.slots is not None:
        message.slots = event.slots


def pool_changed_from_proto(message: pb.PoolChanged) -> PoolChanged:
    """Read the size of a pool."""
    return PoolChanged(
        name=message.name, slots=message.slots if message.HasField("slots") else None
    )


def task_state_changed_to_proto(event: TaskStateChanged, message: pb.TaskStateChanged) -> None:
    """Fill in a task's new state."""
    message.index = event.index
    message.state = TASK_STATE.number[event.state]
    message.attempt = event.attempt
    message.reason = event.reason
    message.worker_id = event.worker_id
    if event.failure is not None:
        failure_to_proto(event.failure, message.failure)
    if event.retry_at is not None:
        timestamp_to_proto(event.retry_at, message.retry_at)
    if event.materialization is not None:
        materialization_to_proto(event.materialization, message.materialization)
    for result in event.checks:
        check_result_to_proto(result, message.checks.add())


def task_state_changed_from_proto(message: pb.TaskStateChanged) -> TaskStateChanged:
    """Read a task's new state.

    Raises:
        InvalidArgumentError: The state is not known to this version.
        ValueError: A key is malformed.
    """
    has = message.HasField
    return TaskStateChanged(
        index=message.index,
        state=TASK_STATE.member[message.state],
        attempt=message.attempt,
        reason=message.reason,
        failure=failure_from_proto(message.failure) if has("failure") else None,
        worker_id=message.worker_id,
        retry_at=timestamp_from_proto(message.retry_at) if has("retry_at") else None,
        materialization=(
            materialization_from_proto(message.materialization) if has("materialization") else None
        ),
        checks=tuple([check_result_from_proto(result) for result in message.checks]),
    )


def task_progressed_to_proto(event: TaskProgressed, message: pb.TaskProgressed) -> None:
    """Fill in a task's progress."""
    message.index = event.index
    message.attempt = event.attempt
    progress_to_proto(event.progress, message.progress)


def task_progressed_from_proto(message: pb.TaskProgressed) -> TaskProgressed:
    """Read a task's progress."""
    return TaskProgressed(
        index=message.index,
        attempt=message.attempt,
        progress=progress_from_proto(message.progress),
    )


# Each payload's field of the message's oneof, and its two converters. They are of as many types as
# there are payloads, which one annotation cannot say.
_PAYLOADS: Final[dict[type, tuple[str, Callable[[Any, Any], None], Callable[[Any], Any]]]] = {
    TaskStateChanged: (
        "task_state_changed",
        task_state_changed_to_proto,
        task_state_changed_from_proto,
    ),
    RunStateChanged: (
        "run_state_changed",
        run_state_changed_to_proto,
        run_state_changed_from_proto,
    ),
    TaskProgressed: ("task_progressed", task_progressed_to_proto, task_progressed_from_proto),
    TaskSpent: ("task_spent", task_spent_to_proto, task_spent_from_proto),
    RunUpdated: ("run_updated", run_updated_to_proto, run_updated_from_proto),
    PoolChanged: ("pool_changed", pool_changed_to_proto, pool_changed_from_proto),
    RunCreated: ("run_created", run_created_to_proto, run_created_from_proto),
    DeploymentActivated: (
        "deployment_activated",
        deployment_activated_to_proto,
        deployment_activated_from_proto,
    ),
}
_READERS: Final = {field: read for field, _, read in _PAYLOADS.values()}


def event_to_proto(event: Event, message: pb.Event) -> None:
    """Fill in one entry of the history."""
    message.sequence = event.sequence
    timestamp_to_proto(event.occurred_at, message.occurred_at)
    message.run_id = event.run_id
    field, fill, _ = _PAYLOADS[type(event.payload)]
    fill(event.payload, getattr(message, field))


def event_from_proto(message: pb.Event) -> Event:
    """Read one entry of the history.

    Raises:
        InvalidArgumentError: What happened is not known to this version.
        ValueError: A key is malformed.
    """
    kind = message.WhichOneof("payload")
    if kind is None:
        raise InvalidArgumentError(
            f"event {message.sequence!r} says something that this version of Servo does not know; "
            f"the sender is newer, upgrade this side",
            code="UNKNOWN_EVENT",
        )
    return Event(
        sequence=message.sequence,
        occurred_at=timestamp_from_proto(message.occurred_at),
        run_id=message.run_id,
        payload=_READERS[kind](getattr(message, kind)),
    )
