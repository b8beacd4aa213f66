"""Points in time and lengths of time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Final

from servo.errors import InvalidArgumentError

if TYPE_CHECKING:
    from google.protobuf.duration_pb2 import Duration
    from google.protobuf.timestamp_pb2 import Timestamp

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_DAY_SECONDS: Final = 86_400


def timestamp_to_proto(value: datetime, message: Timestamp) -> None:
    """Fill in a point in time; a naive one is taken as UTC."""
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    since = value - EPOCH
    message.seconds = since.days * _DAY_SECONDS + since.seconds
    message.nanos = since.microseconds * 1_000


def timestamp_from_proto(message: Timestamp) -> datetime:
    """Read a point in time, in UTC; what is finer than a microsecond is cut off.

    Raises:
        InvalidArgumentError: It lies outside the years 1 to 9999.
    """
    return _moment(message.seconds, message.nanos)


# What arrives together often has the same time: the lines of a batch, a task and its event.
@lru_cache(maxsize=1_024)
def _moment(seconds: int, nanos: int) -> datetime:
    try:
        return EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1_000)
    except OverflowError as exc:
        raise InvalidArgumentError(
            f"a timestamp of {seconds!r} seconds since 1970 lies outside the years 1 to 9999; "
            f"send seconds, not milliseconds"
        ) from exc


def duration_to_proto(value: timedelta, message: Duration) -> None:
    """Fill in a length of time."""
    # Both parts of a Duration have the same sign, those of a timedelta do not.
    microseconds = value // timedelta(microseconds=1)
    sign = -1 if microseconds < 0 else 1
    seconds, rest = divmod(abs(microseconds), 1_000_000)
    message.seconds = sign * seconds
    message.nanos = sign * rest * 1_000


def duration_from_proto(message: Duration) -> timedelta:
    """Read a length of time; what is finer than a microsecond is cut off.

    Raises:
        InvalidArgumentError: It is longer than Python can hold.
    """
    try:
        return timedelta(seconds=message.seconds, microseconds=int(message.nanos / 1_000))
    except OverflowError as exc:
        raise InvalidArgumentError(
            f"a duration of {message.seconds!r} seconds is longer than any that can be used; "
            f"send seconds, not nanoseconds"
        ) from exc
