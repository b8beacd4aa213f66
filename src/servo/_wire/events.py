"""Events (``event.proto``)."""

from __future__ import annotations

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
    EventPayload,
    RunCreated,
    RunStateChanged,
    TaskProgressed,
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


def run_state_changed_from_proto(message: pb.RunStateChanged) -> RunStateChanged:
    """Read a run's new state.

    Raises:
        InvalidArgumentError: The state is not known to this version.
    """
    return RunStateChanged(state=RUN_STATE.member[message.state], reason=message.reason)


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


def event_to_proto(event: Event, message: pb.Event) -> None:
    """Fill in one entry of the history."""
    message.sequence = event.sequence
    timestamp_to_proto(event.occurred_at, message.occurred_at)
    message.run_id = event.run_id
    payload = event.payload
    if isinstance(payload, TaskStateChanged):
        task_state_changed_to_proto(payload, message.task_state_changed)
    elif isinstance(payload, RunStateChanged):
        run_state_changed_to_proto(payload, message.run_state_changed)
    elif isinstance(payload, TaskProgressed):
        task_progressed_to_proto(payload, message.task_progressed)
    elif isinstance(payload, RunCreated):
        run_created_to_proto(payload, message.run_created)
    else:
        deployment_activated_to_proto(payload, message.deployment_activated)


def event_from_proto(message: pb.Event) -> Event:
    """Read one entry of the history.

    Raises:
        InvalidArgumentError: What happened is not known to this version.
        ValueError: A key is malformed.
    """
    return Event(
        sequence=message.sequence,
        occurred_at=timestamp_from_proto(message.occurred_at),
        run_id=message.run_id,
        payload=_payload(message),
    )


def _payload(message: pb.Event) -> EventPayload:
    kind = message.WhichOneof("payload")
    if kind == "task_state_changed":
        return task_state_changed_from_proto(message.task_state_changed)
    if kind == "run_state_changed":
        return run_state_changed_from_proto(message.run_state_changed)
    if kind == "task_progressed":
        return task_progressed_from_proto(message.task_progressed)
    if kind == "run_created":
        return run_created_from_proto(message.run_created)
    if kind == "deployment_activated":
        return deployment_activated_from_proto(message.deployment_activated)
    raise InvalidArgumentError(
        f"event {message.sequence!r} says something that this version of Servo does not know; "
        f"the sender is newer, upgrade this side",
        code="UNKNOWN_EVENT",
    )
