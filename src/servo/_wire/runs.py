"""Runs, their tasks and what these produced (``run.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import run_pb2 as pb
from servo._wire.checks import check_result_from_proto, check_result_to_proto
from servo._wire.enums import FAILURE_CATEGORY, RUN_STATE, TASK_STATE
from servo._wire.keys import (
    asset_key_from_proto,
    asset_key_to_proto,
    partition_key_from_proto,
    partition_key_to_proto,
)
from servo._wire.times import timestamp_from_proto, timestamp_to_proto
from servo.types._frozen import EMPTY_MAP
from servo.types.records import (
    Column,
    Failure,
    Materialization,
    Progress,
    Run,
    Task,
    TaskCounts,
)


def failure_to_proto(failure: Failure, message: pb.Failure) -> None:
    """Fill in why an attempt failed."""
    message.category = FAILURE_CATEGORY.number[failure.category]
    message.message = failure.message
    message.reason = failure.reason
    message.error_type = failure.error_type
    message.max_attempts = failure.max_attempts
    if failure.retryable is not None:
        message.retryable = failure.retryable


def failure_from_proto(message: pb.Failure) -> Failure:
    """Read why an attempt failed."""
    return Failure(
        category=FAILURE_CATEGORY.member[message.category],
        message=message.message,
        retryable=message.retryable if message.HasField("retryable") else None,
        reason=message.reason,
        error_type=message.error_type,
        max_attempts=message.max_attempts,
    )


def column_to_proto(column: Column, message: pb.Column) -> None:
    """Fill in a column."""
    message.name = column.name
    message.type = column.type
    message.nullable = column.nullable


def column_from_proto(message: pb.Column) -> Column:
    """Read a column."""
    return Column(name=message.name, type=message.type, nullable=message.nullable)


def materialization_to_proto(found: Materialization, message: pb.Materialization) -> None:
    """Fill in what was produced."""
    message.materialization_id = found.materialization_id
    asset_key_to_proto(found.asset_key, message.asset_key)
    message.asset_id = found.asset_id
    partition_key_to_proto(found.partition_key, message.partition_key)
    message.run_id = found.run_id
    message.task_id = found.task_id
    message.attempt = found.attempt
    if found.created_at is not None:
        timestamp_to_proto(found.created_at, message.created_at)
    message.has_data = found.has_data
    if found.row_count is not None:
        message.row_count = found.row_count
    message.byte_size = found.byte_size
    message.path = found.path
    for column in found.columns:
        column_to_proto(column, message.columns.add())
    if found.metadata:
        message.metadata.update(found.metadata)


def materialization_from_proto(message: pb.Materialization) -> Materialization:
    """Read what was produced.

    Raises:
        ValueError: The asset key or the partition key is malformed or missing.
    """
    has = message.HasField
    return Materialization(
        materialization_id=message.materialization_id,
        asset_key=asset_key_from_proto(message.asset_key),
        asset_id=message.asset_id,
        partition_key=partition_key_from_proto(message.partition_key),
        run_id=message.run_id,
        task_id=message.task_id,
        attempt=message.attempt,
        created_at=timestamp_from_proto(message.created_at) if has("created_at") else None,
        has_data=message.has_data,
        row_count=message.row_count if has("row_count") else None,
        byte_size=message.byte_size,
        path=message.path,
        columns=tuple([column_from_proto(column) for column in message.columns]),
        metadata=dict(message.metadata) if message.metadata else EMPTY_MAP,
    )


def progress_to_proto(progress: Progress, message: pb.Progress) -> None:
    """Fill in the progress of an attempt."""
    message.message = progress.message
    if progress.percentage is not None:
        message.percentage = progress.percentage


def progress_from_proto(message: pb.Progress) -> Progress:
    """Read the progress of an attempt."""
    return Progress(
        message=message.message,
        percentage=message.percentage if message.HasField("percentage") else None,
    )


def task_to_proto(task: Task, message: pb.Task) -> None:
    """Fill in a task."""
    message.task_id = task.task_id
    message.index = task.index
    asset_key_to_proto(task.asset_key, message.asset_key)
    partition_key_to_proto(task.partition_key, message.partition_key)
    message.state = TASK_STATE.number[task.state]
    message.attempt = task.attempt
    message.reason = task.reason
    message.worker_id = task.worker_id
    if task.failure is not None:
        failure_to_proto(task.failure, message.failure)
    if task.started_at is not None:
        timestamp_to_proto(task.started_at, message.started_at)
    if task.finished_at is not None:
        timestamp_to_proto(task.finished_at, message.finished_at)
    if task.retry_at is not None:
        timestamp_to_proto(task.retry_at, message.retry_at)
    if task.progress is not None:
        progress_to_proto(task.progress, message.progress)
    if task.materialization is not None:
        materialization_to_proto(task.materialization, message.materialization)
    for result in task.checks:
        check_result_to_proto(result, message.checks.add())
    if task.spent:
        message.spent.update(task.spent)
    message.waiting = task.waiting
    if task.spent_before:
        message.spent_before.update(task.spent_before)


def task_from_proto(message: pb.Task) -> Task:
    """Read a task.

    Raises:
        InvalidArgumentError: Its state is not known to this version.
        ValueError: A key is malformed.
    """
    has = message.HasField
    return Task(
        task_id=message.task_id,
        index=message.index,
        asset_key=asset_key_from_proto(message.asset_key),
        partition_key=partition_key_from_proto(message.partition_key),
        state=TASK_STATE.member[message.state],
        attempt=message.attempt,
        reason=message.reason,
        failure=failure_from_proto(message.failure) if has("failure") else None,
        started_at=timestamp_from_proto(message.started_at) if has("started_at") else None,
        finished_at=timestamp_from_proto(message.finished_at) if has("finished_at") else None,
        retry_at=timestamp_from_proto(message.retry_at) if has("retry_at") else None,
        worker_id=message.worker_id,
        progress=progress_from_proto(message.progress) if has("progress") else None,
        materialization=(
            materialization_from_proto(message.materialization) if has("materialization") else None
        ),
        checks=tuple([check_result_from_proto(result) for result in message.checks]),
        spent=dict(message.spent) if message.spent else EMPTY_MAP,
        waiting=message.waiting,
        spent_before=dict(message.spent_before) if message.spent_before else {},
    )


def task_counts_to_proto(counts: TaskCounts, message: pb.TaskCounts) -> None:
    """Fill in how many tasks are in which state."""
    message.total = counts.total
    message.blocked = counts.blocked
    message.ready = counts.ready
    message.dispatched = counts.dispatched
    message.running = counts.running
    message.retry_wait = counts.retry_wait
    message.succeeded = counts.succeeded
    message.failed = counts.failed
    message.cancelled = counts.cancelled
    message.skipped = counts.skipped


def task_counts_from_proto(message: pb.TaskCounts) -> TaskCounts:
    """Read how many tasks are in which state."""
    return TaskCounts(
        total=message.total,
        blocked=message.blocked,
        ready=message.ready,
        dispatched=message.dispatched,
        running=message.running,
        retry_wait=message.retry_wait,
        succeeded=message.succeeded,
        failed=message.failed,
        cancelled=message.cancelled,
        skipped=message.skipped,
    )


def run_to_proto(run: Run, message: pb.Run) -> None:
    """Fill in a run with the tasks it holds."""
    message.run_id = run.run_id
    message.deployment_id = run.deployment_id
    message.state = RUN_STATE.number[run.state]
    message.run_key = run.run_key
    message.request_fingerprint = run.request_fingerprint
    message.selection.extend(run.selection)
    if run.created_at is not None:
        timestamp_to_proto(run.created_at, message.created_at)
    if run.started_at is not None:
        timestamp_to_proto(run.started_at, message.started_at)
    if run.finished_at is not None:
        timestamp_to_proto(run.finished_at, message.finished_at)
    message.reason = run.reason
    task_counts_to_proto(run.counts, message.counts)
    for task in run.tasks:
        task_to_proto(task, message.tasks.add())
    message.last_sequence = run.last_sequence
    if run.trace_context:
        message.trace_context.update(run.trace_context)
    message.priority = run.priority
    message.max_parallelism = run.max_parallelism
    message.timeout_seconds = run.timeout_seconds
    if run.budget:
        message.budget.update(run.budget)
    if run.spent:
        message.spent.update(run.spent)
    message.code_version_id = run.code_version_id
    message.parent_run_id = run.parent_run_id
    message.root_run_id = run.root_run_id
    message.paused = run.paused
    if run.ends_as is not None:
        message.ends_as = RUN_STATE.number[run.ends_as]
    if run.max_retries is not None:
        message.max_retries = run.max_retries


def run_from_proto(message: pb.Run) -> Run:
    """Read a run with the tasks it holds.

    Raises:
        InvalidArgumentError: Its state, or a task's, is not known to this version.
        ValueError: A key is malformed.
    """
    has = message.HasField
    return Run(
        run_id=message.run_id,
        deployment_id=message.deployment_id,
        state=RUN_STATE.member[message.state],
        run_key=message.run_key,
        request_fingerprint=message.request_fingerprint,
        selection=tuple(message.selection),
        created_at=timestamp_from_proto(message.created_at) if has("created_at") else None,
        started_at=timestamp_from_proto(message.started_at) if has("started_at") else None,
        finished_at=timestamp_from_proto(message.finished_at) if has("finished_at") else None,
        reason=message.reason,
        counts=task_counts_from_proto(message.counts),
        tasks=tuple([task_from_proto(task) for task in message.tasks]),
        last_sequence=message.last_sequence,
        trace_context=dict(message.trace_context),
        priority=message.priority,
        max_parallelism=message.max_parallelism,
        timeout_seconds=message.timeout_seconds,
        budget=dict(message.budget),
        spent=dict(message.spent),
        code_version_id=message.code_version_id,
        parent_run_id=message.parent_run_id,
        root_run_id=message.root_run_id,
        paused=message.paused,
        ends_as=RUN_STATE.member[message.ends_as] if message.ends_as else None,
        max_retries=message.max_retries if has("max_retries") else None,
    )
