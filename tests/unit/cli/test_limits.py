from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click
import pytest
from click.testing import CliRunner
from hypothesis import given

import strategies
from servo import errors
from servo.cli import _limits


@click.command()
@_limits.options
def limited(**given: object) -> None:
    click.echo(repr(sorted(given.items())))


def given_timeout(text: str) -> str:
    return CliRunner().invoke(limited, ["--timeout", text]).output


@pytest.mark.parametrize(
    ("text", "seconds"), [("45", 45), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400)]
)
def test_a_length_of_time_is_read_in_the_units_of_people(text: str, seconds: int) -> None:
    assert f"('timeout', {seconds})" in given_timeout(text)


@pytest.mark.parametrize("text", ["0", "1.5h", "2 h", "-3s", "soon", "", "٣s"])
def test_what_is_no_length_of_time_is_refused_with_examples(text: str) -> None:
    said = given_timeout(text)
    assert "is no length of time; write 90s, 15m, 2h or 1d" in said


@given(budget=strategies.budgets())
def test_a_budget_is_read_as_it_was_written(budget: dict[str, str]) -> None:
    assert _limits.parse_budget([f"{unit}={amount}" for unit, amount in budget.items()]) == budget


@pytest.mark.parametrize(
    ("pairs", "says"),
    [
        (["usd"], "write UNIT=AMOUNT"),
        (["=1"], "write UNIT=AMOUNT"),
        (["usd=1", "usd=2"], "given more than once"),
        (["usd=1e3"], "Invalid amount '1e3' of 'usd'"),
        (["usd=-1"], "Invalid amount '-1' of 'usd'"),
        (["US Dollars=1"], "US Dollars"),
    ],
)
def test_a_budget_that_cannot_be_read_says_what_is_wrong(pairs: list[str], says: str) -> None:
    with pytest.raises(errors.InvalidArgumentError, match=says):
        _limits.parse_budget(pairs)


NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("90s", NOON - timedelta(seconds=90)),
        ("15m", NOON - timedelta(minutes=15)),
        ("2h", NOON - timedelta(hours=2)),
        ("1d", NOON - timedelta(days=1)),
        ("2025-03-01T10:00Z", NOON - timedelta(hours=2)),
        ("2025-03-01T11:00:00+01:00", NOON - timedelta(hours=2)),
        ("2025-03-01 10:00:00+00:00", NOON - timedelta(hours=2)),
    ],
)
def test_a_moment_is_so_long_ago_or_a_time(text: str, moment: datetime) -> None:
    assert _limits.Moment(lambda: NOON).convert(text, None, None) == moment


def test_a_moment_without_an_offset_is_local() -> None:
    found = _limits.Moment().convert("2025-03-01T10:00", None, None)
    assert found == datetime(2025, 3, 1, 10).astimezone()
    assert _limits.Moment().convert("2025-03-01", None, None) == datetime(2025, 3, 1).astimezone()


@pytest.mark.parametrize("text", ["", "soon", "90", "-5m", "2025-02-30", "10:00", "9999999d"])
def test_what_is_no_moment_is_refused_with_examples(text: str) -> None:
    with pytest.raises(click.UsageError, match=r"90s, 15m, 2h or 1d, or a date"):
        _limits.Moment().convert(text, None, None)
