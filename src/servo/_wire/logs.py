"""Log lines (``log.proto``)."""

from __future__ import annotations

from servo._gen.arco.v1 import log_pb2 as pb
from servo._wire.enums import LOG_STREAM
from servo._wire.times import timestamp_from_proto, timestamp_to_proto
from servo.types.logs import LogBatch, LogLine


def log_line_to_proto(line: LogLine, message: pb.LogLine) -> None:
    """Fill in one line; what is not Unicode text in it is replaced."""
    message.number = line.number
    message.stream = LOG_STREAM.number[line.stream]
    if line.written_at is not None:
        timestamp_to_proto(line.written_at, message.written_at)
    message.text = line.text if line.text.isascii() else _unicode(line.text)
    # Most lines need none of these, and there may be a million lines.
    if line.level:
        message.level = line.level
    if line.truncated:
        message.truncated = True
    if line.dropped_after:
        message.dropped_after = line.dropped_after


def log_line_from_proto(message: pb.LogLine) -> LogLine:
    """Read one line."""
    return LogLine(
        number=message.number,
        stream=LOG_STREAM.member[message.stream],
        written_at=(
            timestamp_from_proto(message.written_at) if message.HasField("written_at") else None
        ),
        level=message.level,
        text=message.text,
        truncated=message.truncated,
        dropped_after=message.dropped_after,
    )


def log_batch_to_proto(batch: LogBatch, message: pb.LogBatch) -> None:
    """Fill in lines of one attempt."""
    message.task_id = batch.task_id
    message.attempt = batch.attempt
    add = message.lines.add
    for line in batch.lines:
        log_line_to_proto(line, add())


def log_batch_from_proto(message: pb.LogBatch) -> LogBatch:
    """Read lines of one attempt."""
    return LogBatch(
        task_id=message.task_id,
        attempt=message.attempt,
        lines=tuple([log_line_from_proto(line) for line in message.lines]),
    )


def _unicode(text: str) -> str:
    # A program may print anything, and a lone surrogate must not lose the whole batch.
    return text.encode("utf-8", "replace").decode("utf-8")
