"""Requests and responses of the service for logs (``log.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import log_pb2 as pb
from servo._wire.logs import log_batch_from_proto, log_batch_to_proto
from servo._wire.times import timestamp_from_proto, timestamp_to_proto
from servo.types.requests import ReadLogsRequest, ReadLogsResponse


def read_logs_request_to_proto(request: ReadLogsRequest, message: pb.ReadLogsRequest) -> None:
    """Fill in which log is read."""
    message.run_id = request.run_id
    message.task = request.task
    message.follow = request.follow
    message.after_cursor = request.after_cursor
    if request.tail is not None:
        message.tail = request.tail
    if request.since is not None:
        timestamp_to_proto(request.since, message.since)
    if request.attempt is not None:
        message.attempt = request.attempt


def read_logs_request_from_proto(message: pb.ReadLogsRequest) -> ReadLogsRequest:
    """Read which log is read.

    Raises:
        ValueError: A number is out of range.
    """
    has = message.HasField
    return ReadLogsRequest(
        run_id=message.run_id,
        task=message.task,
        follow=message.follow,
        after_cursor=message.after_cursor,
        tail=message.tail if has("tail") else None,
        since=timestamp_from_proto(message.since) if has("since") else None,
        attempt=message.attempt if has("attempt") else None,
    )


def read_logs_response_to_proto(response: ReadLogsResponse, message: pb.ReadLogsResponse) -> None:
    """Fill in batches of lines."""
    for batch in response.batches:
        log_batch_to_proto(batch, message.batches.add())
    message.cursor = response.cursor


def read_logs_response_from_proto(message: pb.ReadLogsResponse) -> ReadLogsResponse:
    """Read batches of lines."""
    return ReadLogsResponse(
        batches=tuple([log_batch_from_proto(batch) for batch in message.batches]),
        cursor=message.cursor,
    )
