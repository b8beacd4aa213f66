"""Period arithmetic."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta, tzinfo
from zoneinfo import available_timezones

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import strategies
from servo.types import TimeGranularity, calendar

HOUR, DAY, WEEK, MONTH, YEAR = TimeGranularity
granularities = st.sampled_from(TimeGranularity)
instants = st.datetimes(datetime(2, 1, 1), datetime(9990, 1, 1), timezones=st.just(UTC))


@given(granularities, instants)
def test_a_period_s_value_is_its_own_start(granularity: TimeGranularity, now: datetime) -> None:
    index = calendar.period_containing(granularity, now)
    value = calendar.period_value(granularity, index)
    assert calendar.period_index(granularity, value) == index


@given(granularities, instants)
def test_a_period_is_read_back_from_its_text(granularity: TimeGranularity, now: datetime) -> None:
    index = calendar.period_containing(granularity, now)
    assert calendar.parse_period(granularity, calendar.period_text(granularity, index)) == index


@given(granularities, instants)
def test_periods_follow_each_other_without_gap(granularity: TimeGranularity, now: datetime) -> None:
    index = calendar.period_containing(granularity, now)
    start = calendar.period_value(granularity, index)
    following = calendar.period_value(granularity, index + 1)
    unit = timedelta(hours=1) if granularity is HOUR else timedelta(days=1)
    assert calendar.period_containing(granularity, following - unit) == index
    assert start < following


@pytest.mark.parametrize(
    ("granularity", "text", "value"),
    [
        (DAY, "2013-01-05", "2013-01-05"),
        (WEEK, "2013-01-07", "2013-01-07"),
        (MONTH, "2013-02", "2013-02-01"),
        (MONTH, "2013-02-01", "2013-02-01"),
        (YEAR, "2013", "2013-01-01"),
        (YEAR, "2013-01", "2013-01-01"),
        (HOUR, "2013-01-05T07", "2013-01-05T07:00:00Z"),
        (HOUR, "2013-01-05T07:00", "2013-01-05T07:00:00Z"),
        (HOUR, "2013-01-05T07:00:00Z", "2013-01-05T07:00:00Z"),
        (HOUR, "2013-01-05T07:00:00+02:00", "2013-01-05T05:00:00Z"),
    ],
)
def test_text_names_a_period(granularity: TimeGranularity, text: str, value: str) -> None:
    index = calendar.parse_period(granularity, text)
    assert calendar.period_text(granularity, index) == value


@pytest.mark.parametrize(
    ("granularity", "text"),
    [
        (DAY, "2013-02-29"),
        (DAY, "2013-01"),
        (DAY, "20130105"),
        (DAY, "٢٠١٣-01-05"),
        (DAY, "2013-01-05T00:00:00"),
        (DAY, ""),
        (WEEK, "2013-01"),
        (WEEK, "2013-01-08"),
        (MONTH, "2013"),
        (MONTH, "2013-01-02"),
        (YEAR, "2013-02"),
        (HOUR, "2013-01-05"),
        (HOUR, "2013-01-05T07:30"),
        (HOUR, "2013-01-05T25"),
        (HOUR, "T07"),
    ],
)
def test_text_that_names_no_period_is_refused(granularity: TimeGranularity, text: str) -> None:
    with pytest.raises(ValueError, match=r"expected"):
        calendar.parse_period(granularity, text)


def test_a_start_inside_a_period_is_refused_with_the_boundary() -> None:
    with pytest.raises(ValueError, match="a Monday, such as 2013-01-07"):
        calendar.period_index(WEEK, date(2013, 1, 8))


def test_a_day_does_not_start_at_noon() -> None:
    with pytest.raises(ValueError, match="does not start"):
        calendar.period_index(DAY, datetime(2013, 1, 1, 12))


@pytest.mark.parametrize("granularity", list(TimeGranularity))
def test_periods_outside_the_calendar_are_refused(granularity: TimeGranularity) -> None:
    with pytest.raises(ValueError, match="years 1 to 9999"):
        calendar.period_value(granularity, 10**9)


@pytest.mark.parametrize(
    ("granularity", "zone", "last"),
    [
        (HOUR, "UTC", "2013-03-10T04:00:00Z"),
        (HOUR, "Asia/Kolkata", "2013-03-10T04:00:00Z"),
        (DAY, "UTC", "2013-03-09"),
        (DAY, "America/Los_Angeles", "2013-03-08"),
        (WEEK, "UTC", "2013-02-25"),
        (MONTH, "UTC", "2013-02-01"),
        (YEAR, "UTC", "2012-01-01"),
    ],
)
def test_the_last_complete_period_is_over_in_its_zone(
    granularity: TimeGranularity, zone: str, last: str
) -> None:
    now = datetime(2013, 3, 10, 5, 59, tzinfo=UTC)
    index = calendar.last_complete_period(granularity, zone, now)
    assert calendar.period_text(granularity, index) == last


def test_now_must_have_a_zone() -> None:
    with pytest.raises(ValueError, match="time zone"):
        calendar.last_complete_period(DAY, "UTC", datetime(2013, 1, 1))


def texts(granularity: TimeGranularity, periods: range) -> list[str]:
    return [calendar.period_text(granularity, index) for index in periods]


@pytest.mark.parametrize(
    ("granularity", "text", "other", "expected"),
    [
        (DAY, "2013-02-28", MONTH, ["2013-02-01"]),
        (MONTH, "2013-02", WEEK, ["2013-01-28", "2013-02-04", "2013-02-11", "2013-02-18",
                                  "2013-02-25"]),
        (WEEK, "2013-01-28", MONTH, ["2013-01-01", "2013-02-01"]),
        (YEAR, "2013", YEAR, ["2013-01-01"]),
        (HOUR, "2013-02-28T23", YEAR, ["2013-01-01"]),
    ],
)  # fmt: skip
def test_overlapping_periods_share_time(
    granularity: TimeGranularity, text: str, other: TimeGranularity, expected: list[str]
) -> None:
    index = calendar.parse_period(granularity, text)
    assert texts(other, calendar.overlapping_periods(granularity, index, other)) == expected


def test_a_day_in_utc_covers_its_24_hours() -> None:
    day = calendar.parse_period(DAY, "2013-03-10")
    hours = texts(HOUR, calendar.overlapping_periods(DAY, day, HOUR))
    assert (hours[0], hours[-1], len(hours)) == (
        "2013-03-10T00:00:00Z",
        "2013-03-10T23:00:00Z",
        24,
    )


@pytest.mark.parametrize(
    ("day", "zone", "count"),
    [
        ("2013-03-10", "America/New_York", 23),
        ("2013-11-03", "America/New_York", 25),
        ("2013-03-10", "Asia/Kolkata", 25),
        ("2011-12-30", "Pacific/Apia", 0),
    ],
)
def test_a_day_covers_the_hours_of_its_zone(day: str, zone: str, count: int) -> None:
    index = calendar.parse_period(DAY, day)
    assert len(calendar.overlapping_periods(DAY, index, HOUR, zone)) == count


@given(instants, st.sampled_from(strategies.ZONES))
def test_an_hour_and_a_day_cover_each_other(now: datetime, zone: str) -> None:
    hour = calendar.period_containing(HOUR, now)
    for day in calendar.overlapping_periods(HOUR, hour, DAY, zone):
        assert hour in calendar.overlapping_periods(DAY, day, HOUR, zone)


@pytest.mark.parametrize(
    ("day", "zone", "start"),
    [
        ("2013-01-01", "Europe/Berlin", "2012-12-31T23:00:00+00:00"),
        ("2013-10-20", "America/Sao_Paulo", "2013-10-20T03:00:00+00:00"),
        ("1919-03-31", "America/Toronto", "1919-03-31T04:30:00+00:00"),
        ("2011-12-30", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
        ("2011-12-31", "Pacific/Apia", "2011-12-30T10:00:00+00:00"),
    ],
)
def test_a_day_starts_at_the_first_instant_of_its_date(day: str, zone: str, start: str) -> None:
    assert calendar.day_start(date.fromisoformat(day), zone).isoformat() == start


@pytest.mark.slow
def test_days_follow_each_other_over_every_change_of_clocks() -> None:
    """Every zone, every day on which its offset changed between 1970 and 2037."""
    for name in sorted(available_timezones()):
        zone = calendar.zone(name)
        offset, instant = None, datetime(1970, 1, 1, tzinfo=UTC)
        while instant.year < 2038:
            found = instant.astimezone(zone).utcoffset()
            if offset is not None and found != offset:
                day = instant.astimezone(zone).date()
                starts = [
                    calendar.day_start(day + timedelta(days=shift), name) for shift in range(-8, 3)
                ]
                assert starts == sorted(starts), (name, day)
                assert starts[-1] - starts[0] <= timedelta(days=11, hours=3), (name, day)
            offset = found
            instant += timedelta(days=7)


def test_an_unknown_zone_is_refused_with_a_remedy() -> None:
    with pytest.raises(ValueError, match="tzdata"):
        calendar.zone("Mars/Olympus")


@pytest.mark.parametrize("name", ["", "../etc/passwd", "Europe", "\0"])
def test_a_name_that_is_no_zone_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="Unknown time zone"):
        calendar.zone(name)


def changes_of_clocks(name: str, year: int) -> list[int]:
    """The hours, as indices, in which a zone's offset changes within a year."""
    zone = calendar.zone(name)
    first = calendar.period_containing(HOUR, datetime(year, 1, 1, tzinfo=UTC))
    found = []
    for low in range(first, first + 366 * 24, 24):
        offsets = [offset_of(zone, hour) for hour in (low, low + 24)]
        if offsets[0] != offsets[1]:
            found += [
                h for h in range(low, low + 24) if offset_of(zone, h) != offset_of(zone, h + 1)
            ]
    return found


def offset_of(zone: tzinfo, hour: int) -> timedelta | None:
    start = calendar.period_value(HOUR, hour)
    assert isinstance(start, datetime)
    return start.astimezone(zone).utcoffset()


def check_local_hours(name: str, hours: Iterable[int]) -> None:
    """Each hour is read from its local time, or that is refused with both instants it may mean."""
    zone = calendar.zone(name)
    for hour in hours:
        start = calendar.period_value(HOUR, hour)
        assert isinstance(start, datetime)
        naive = start.astimezone(zone).replace(tzinfo=None)
        text = naive.isoformat(timespec="seconds")
        meant = {
            moment.astimezone(UTC)
            for fold in (0, 1)
            if (moment := naive.replace(tzinfo=zone, fold=fold))
            .astimezone(UTC)
            .astimezone(zone)
            .replace(tzinfo=None)
            == naive
        }
        if len(meant) == 1:
            assert calendar.parse_period(HOUR, text, name) == hour
            assert calendar.local_period_index(HOUR, naive, name) == hour
            continue
        with pytest.raises(ValueError, match=f"comes twice in {name}") as refused:
            calendar.parse_period(HOUR, text, name)
        words = str(refused.value).replace(",", " ").split()
        spelled = [word for word in words if word.endswith("Z") and word != name]
        assert len(spelled) == 2
        assert calendar.period_text(HOUR, hour) in spelled


@given(st.sampled_from(sorted(available_timezones())), st.integers(1950, 2037))
@settings(max_examples=25)
def test_local_hours_are_read_or_refused_around_every_change_of_clocks(
    name: str, year: int
) -> None:
    for change in changes_of_clocks(name, year):
        check_local_hours(name, range(change - 3, change + 5))


@given(st.sampled_from(strategies.ZONES), st.datetimes(datetime(1900, 1, 1), datetime(2100, 1, 1)))
def test_a_local_time_is_one_instant_or_is_refused_with_two(name: str, naive: datetime) -> None:
    zone = calendar.zone(name)
    try:
        instant = calendar.local_instant(naive, name)
    except ValueError as refused:
        early, late = re.findall(r"\S+Z", str(refused))
        assert datetime.fromisoformat(early) < datetime.fromisoformat(late)
    else:
        assert instant.astimezone(zone).replace(tzinfo=None) == naive


@pytest.mark.parametrize(
    ("text", "zone", "said"),
    [
        (
            "2025-03-30T02:30",
            "Europe/Berlin",
            "2025-03-30T02:30 does not exist in Europe/Berlin, where the clocks are put forward: "
            "write 2025-03-30T00:30:00Z or 2025-03-30T01:30:00Z",
        ),
        (
            "2025-10-26T02:00",
            "Europe/Berlin",
            "2025-10-26T02:00 comes twice in Europe/Berlin, where the clocks are put back: "
            "write 2025-10-26T00:00:00Z or 2025-10-26T01:00:00Z",
        ),
        (
            "2025-01-05T07:00",
            "Asia/Kolkata",
            "2025-01-05T07:00 in Asia/Kolkata is 2025-01-05T01:30:00Z, which does not start an "
            "hour: hours lie on the grid of UTC, so write 2025-01-05T01:00:00Z "
            "(there 2025-01-05T06:30)",
        ),
    ],
)
def test_a_local_time_that_names_no_hour_is_refused_with_what_to_write(
    text: str, zone: str, said: str
) -> None:
    with pytest.raises(ValueError) as refused:
        calendar.parse_period(HOUR, text, zone)
    assert str(refused.value) == said
