"""Periods of time as plain integers: the only place that knows where a period begins.

A period is an *index* that grows by one from each period to the next. Its *value* is what a
partition key holds: the UTC instant at which an hour starts, or the first date of a day, week
(Monday), month or year. Hours lie on the UTC grid in every zone; the dates of longer periods
are those of the zone's own calendar.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

__all__ = [
    "PeriodValue",
    "TimeGranularity",
    "day_start",
    "last_complete_period",
    "local_instant",
    "local_period_index",
    "overlapping_periods",
    "parse_period",
    "period_containing",
    "period_index",
    "period_text",
    "period_value",
    "zone",
]

PeriodValue: TypeAlias = date | datetime
"""First day of a period, or the UTC instant at which an hour starts."""

_HOUR: Final = timedelta(hours=1)
_SECOND: Final = timedelta(seconds=1)
_HOURS_PER_DAY: Final = 24
_DAYS_PER_WEEK: Final = 7
_MONTHS_PER_YEAR: Final = 12

_PERIOD_TEXT: Final = re.compile(
    r"(?P<year>[0-9]{4})(?:-(?P<month>[0-9]{2})(?:-(?P<day>[0-9]{2}))?)?", re.ASCII
)


class TimeGranularity(StrEnum):
    """How long the periods of a time dimension are."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    YEAR = "year"


class _Calendar(NamedTuple):
    """Arithmetic of a granularity whose periods consist of whole days."""

    index_of: Callable[[date], int]
    first_day: Callable[[int], date]
    boundary: str


# 0001-01-01 was a Monday, so ordinal 1 starts week 0.
_CALENDARS: Final[dict[TimeGranularity, _Calendar]] = {
    TimeGranularity.DAY: _Calendar(date.toordinal, date.fromordinal, "a day"),
    TimeGranularity.WEEK: _Calendar(
        lambda day: (day.toordinal() - 1) // _DAYS_PER_WEEK,
        lambda index: date.fromordinal(index * _DAYS_PER_WEEK + 1),
        "a Monday",
    ),
    TimeGranularity.MONTH: _Calendar(
        lambda day: day.year * _MONTHS_PER_YEAR + day.month - 1,
        lambda index: date(index // _MONTHS_PER_YEAR, index % _MONTHS_PER_YEAR + 1, 1),
        "the first of a month",
    ),
    TimeGranularity.YEAR: _Calendar(
        lambda day: day.year, lambda index: date(index, 1, 1), "the first of January"
    ),
}


@lru_cache(maxsize=256)
def zone(name: str) -> tzinfo:
    """Load an IANA time zone.

    Raises:
        ValueError: There is no such zone; the message says what to install if none can be
            found at all.
    """
    if name == "UTC":
        return UTC
    from zoneinfo import ZoneInfo

    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError) as exc:
        raise ValueError(
            f"Unknown time zone {name!r}: expected an IANA name such as 'UTC' or "
            f"'Europe/Berlin'; if that is one, install the package 'tzdata'"
        ) from exc


def period_containing(granularity: TimeGranularity, value: PeriodValue) -> int:
    """Find the period that a date or an instant falls into.

    Args:
        granularity: Length of the periods.
        value: For hours an aware instant (naive ones are UTC; a date is its midnight in UTC);
            for longer periods a date (of a datetime, its own wall-clock date).

    Returns:
        Index of the period.
    """
    if granularity is TimeGranularity.HOUR:
        instant = _instant(value)
        return instant.toordinal() * _HOURS_PER_DAY + instant.hour
    return _CALENDARS[granularity].index_of(_date(value))


def period_value(granularity: TimeGranularity, index: int) -> PeriodValue:
    """Return the partition value of a period; the inverse of ``period_index``.

    Raises:
        ValueError: The period lies outside the years 1 to 9999.
    """
    try:
        if granularity is TimeGranularity.HOUR:
            day, hour = divmod(index, _HOURS_PER_DAY)
            start = date.fromordinal(day)
            return datetime(start.year, start.month, start.day, hour, tzinfo=UTC)
        return _CALENDARS[granularity].first_day(index)
    except (ValueError, OverflowError) as exc:
        raise ValueError(
            f"{granularity} period {index!r} lies outside the years 1 to 9999"
        ) from exc


def period_index(granularity: TimeGranularity, value: PeriodValue) -> int:
    """Return the period that starts exactly at ``value``.

    Raises:
        ValueError: ``value`` lies inside a period; the message names the period's start.
    """
    index = period_containing(granularity, value)
    start = period_value(granularity, index)
    if granularity is TimeGranularity.HOUR:
        exact = _instant(value) == start
        boundary = "a full hour in UTC"
    else:
        midnight = not isinstance(value, datetime) or value.time() == datetime.min.time()
        exact = midnight and _date(value) == start
        boundary = _CALENDARS[granularity].boundary
    if not exact:
        raise ValueError(
            f"{value.isoformat()} does not start a period of granularity {str(granularity)!r}: "
            f"expected {boundary}, such as {period_text(granularity, index)}"
        )
    return index


def period_text(granularity: TimeGranularity, index: int) -> str:
    """Print a period's value in ISO form: ``2013-01-05``, or ``2013-01-05T07:00:00Z``."""
    value = period_value(granularity, index)
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"
    return value.isoformat()


def local_instant(naive: datetime, timezone: str) -> datetime:
    """Return the instant at which a zone's clocks show a time.

    Args:
        naive: The time, without a zone.
        timezone: IANA name of the zone.

    Returns:
        The instant, in UTC.

    Raises:
        ValueError: The zone's clocks never show it because they are put forward over it, or show it
            twice because they are put back; the message spells both instants that may be meant.
    """
    local = zone(timezone)
    try:
        first, second = (naive.replace(tzinfo=local, fold=fold).astimezone(UTC) for fold in (0, 1))
    except OverflowError as exc:
        raise ValueError(f"{naive.isoformat()} lies outside the years 1 to 9999") from exc
    if first == second:
        return first
    exists = first.astimezone(local).replace(tzinfo=None) == naive
    what = "comes twice" if exists else "does not exist"
    moved = "back" if exists else "forward"
    early, late = (f"{_instant_text(moment)}" for moment in sorted((first, second)))
    raise ValueError(
        f"{naive.isoformat(timespec='minutes')} {what} in {timezone}, where the clocks are put "
        f"{moved}: write {early} or {late}"
    )


def local_period_index(granularity: TimeGranularity, value: PeriodValue, timezone: str) -> int:
    """Return the period that starts exactly at ``value``, which is local where it has no zone.

    Args:
        granularity: Length of the periods.
        value: The start; for hours, a date is its midnight.
        timezone: IANA zone of naive times.

    Raises:
        ValueError: ``value`` lies inside a period, or does not say one instant in the zone.
    """
    if granularity is not TimeGranularity.HOUR:
        return period_index(granularity, value)
    naive = value if isinstance(value, datetime) else datetime(value.year, value.month, value.day)
    if naive.tzinfo is not None or timezone == "UTC":
        return period_index(granularity, naive)
    instant = local_instant(naive, timezone)
    try:
        return period_index(granularity, instant)
    except ValueError:
        start = period_value(granularity, period_containing(granularity, instant))
        shown = _as_datetime(start).astimezone(zone(timezone)).replace(tzinfo=None)
        raise ValueError(
            f"{naive.isoformat(timespec='minutes')} in {timezone} is {_instant_text(instant)}, "
            f"which does not start an hour: hours lie on the grid of UTC, so write "
            f"{_instant_text(_as_datetime(start))} (there {shown.isoformat(timespec='minutes')})"
        ) from None


def _instant_text(instant: datetime) -> str:
    return instant.replace(tzinfo=None).isoformat(timespec="seconds") + "Z"


def parse_period(granularity: TimeGranularity, text: str, timezone: str = "UTC") -> int:
    """Read a period from text.

    Args:
        granularity: Length of the periods.
        text: An ISO date; ``2013-01`` and ``2013`` for months and years; an ISO date and time
            for hours, of which minutes and seconds may be left out.
        timezone: IANA zone of an hour that carries no offset.

    Returns:
        Index of the period that starts there.

    Raises:
        ValueError: The text is no date, is too coarse for the granularity, lies inside a period, or
            is an hour that comes twice in its zone or not at all.
    """
    problem: Exception | None = None
    found: PeriodValue | None = None
    try:
        is_hour = granularity is TimeGranularity.HOUR
        found = _parse_instant(text) if is_hour else _parse_day(granularity, text)
    except ValueError as exc:
        problem = exc
    if found is None:
        raise ValueError(
            f"Invalid {granularity} {text!r}: expected a period such as "
            f"{_EXAMPLES[granularity]}{f' ({problem})' if problem else ''}"
        ) from problem
    return local_period_index(granularity, found, timezone)


_EXAMPLES: Final = {
    TimeGranularity.HOUR: "2013-01-05T07",
    TimeGranularity.DAY: "2013-01-05",
    TimeGranularity.WEEK: "2013-01-07 (a Monday)",
    TimeGranularity.MONTH: "2013-01",
    TimeGranularity.YEAR: "2013",
}


def last_complete_period(granularity: TimeGranularity, timezone: str, now: datetime) -> int:
    """Return the youngest period that is over.

    Args:
        granularity: Length of the periods.
        timezone: IANA zone whose calendar decides where longer periods end.
        now: Aware instant.

    Raises:
        ValueError: ``now`` has no zone.
    """
    if now.tzinfo is None:
        raise ValueError(f"now must carry a time zone, got the naive {now.isoformat()}")
    local = now if granularity is TimeGranularity.HOUR else now.astimezone(zone(timezone))
    return period_containing(granularity, local) - 1


def day_start(day: date, timezone: str) -> datetime:
    """Return the first instant whose local date is ``day`` or later.

    That is midnight, except where the clocks were moved over it: then it is the instant of the
    change. A day that a zone left out altogether starts when the next one does.
    """
    local = zone(timezone)
    midnight = datetime(day.year, day.month, day.day, tzinfo=local)
    later = midnight.astimezone(UTC)
    if later.astimezone(local).replace(tzinfo=None) == midnight.replace(tzinfo=None):
        return later
    earlier = midnight.replace(fold=1).astimezone(UTC)
    while later - earlier > _SECOND:
        middle = earlier + timedelta(seconds=(later - earlier) // _SECOND // 2)
        if middle.astimezone(local).date() >= day:
            later = middle
        else:
            earlier = middle
    return later


def overlapping_periods(
    granularity: TimeGranularity, index: int, other: TimeGranularity, timezone: str = "UTC"
) -> range:
    """List the periods of another granularity that share time with a period.

    Towards a coarser granularity this is the covering period (two where a week straddles a
    month, or an hour a local midnight); towards a finer one the covered periods.

    Args:
        granularity: Granularity of the period.
        index: The period.
        other: Granularity of the answer.
        timezone: Zone whose days are meant; matters only between hours and longer periods.

    Returns:
        Indices, ascending. Empty for a day that the zone left out.
    """
    if granularity is other:
        return range(index, index + 1)
    if granularity is TimeGranularity.HOUR:
        start = _as_datetime(period_value(granularity, index))
        first_day = _local_day(start, timezone)
        last_day = _local_day(start + _HOUR - _SECOND, timezone)
        calendar = _CALENDARS[other]
        return range(calendar.index_of(first_day), calendar.index_of(last_day) + 1)
    first_day = _CALENDARS[granularity].first_day(index)
    next_day = _CALENDARS[granularity].first_day(index + 1)
    if other is TimeGranularity.HOUR:
        first = period_containing(other, day_start(first_day, timezone))
        end = day_start(next_day, timezone)
        if end <= day_start(first_day, timezone):
            return range(first, first)
        return range(first, period_containing(other, end - _SECOND) + 1)
    calendar = _CALENDARS[other]
    last_day = next_day - timedelta(days=1)
    return range(calendar.index_of(first_day), calendar.index_of(last_day) + 1)


def _local_day(instant: datetime, timezone: str) -> date:
    # The wall clock can fall back over midnight; the day is then still the one that began.
    day = instant.astimezone(zone(timezone)).date()
    following = day + timedelta(days=1)
    return following if day_start(following, timezone) <= instant else day


def _parse_instant(text: str) -> datetime:
    day, separator, clock = text.partition("T")
    if not separator or not _PERIOD_TEXT.fullmatch(day) or not clock.isascii():
        raise ValueError("the hour is missing")
    return datetime.fromisoformat(text)


def _parse_day(granularity: TimeGranularity, text: str) -> date | None:
    match = _PERIOD_TEXT.fullmatch(text)
    if match is None:
        return None
    year, month, day = match.group("year", "month", "day")
    if month is None and granularity is not TimeGranularity.YEAR:
        return None
    if day is None and granularity not in (TimeGranularity.MONTH, TimeGranularity.YEAR):
        return None
    return date(int(year), int(month or 1), int(day or 1))


def _date(value: PeriodValue) -> date:
    return value.date() if isinstance(value, datetime) else value


def _as_datetime(value: PeriodValue) -> datetime:
    if isinstance(value, datetime):
        return value
    return datetime(value.year, value.month, value.day, tzinfo=UTC)


def _instant(value: PeriodValue) -> datetime:
    moment = _as_datetime(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
