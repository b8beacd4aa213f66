"""What attempts wrote; mirrors ``proto/arco/v1/log.proto``."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from msgspec import Struct


class LogStream(StrEnum):
    """Where a line was written."""

    STDOUT = "stdout"
    STDERR = "stderr"
    LOG = "log"


class LogLine(Struct, frozen=True, kw_only=True, gc=False):
    """One line; ``number`` counts from 1 in its attempt and stream."""

    number: int
    stream: LogStream
    written_at: datetime | None = None
    level: str = ""
    text: str
    truncated: bool = False
    dropped_after: int = 0


class LogBatch(Struct, frozen=True, kw_only=True, gc=False):
    """Lines of one attempt, in the order in which the worker read them."""

    task_id: str
    attempt: int
    lines: tuple[LogLine, ...] = ()
