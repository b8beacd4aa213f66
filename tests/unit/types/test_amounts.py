"""Amounts: decimal numbers by unit that add up exactly and are never floats."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given

from servo.types.amounts import (
    add,
    amounts,
    check_amount,
    greatest,
    least_left,
    overdrawn,
    subtract,
)
from strategies import budgets


def as_decimals(given: dict[str, str]) -> dict[str, Decimal]:
    return {unit: Decimal(amount) for unit, amount in given.items()}


@given(budgets(), budgets())
def test_sums_are_exact_and_differences_undo_them(
    one: dict[str, str], other: dict[str, str]
) -> None:
    total = add(one, other)
    expected = as_decimals(one)
    for unit, amount in as_decimals(other).items():
        expected[unit] = expected.get(unit, Decimal(0)) + amount
    assert as_decimals(total) == expected
    left = as_decimals(subtract(total, other))
    assert {unit: amount for unit, amount in left.items() if amount} == {
        unit: amount for unit, amount in as_decimals(one).items() if amount
    }


@given(budgets())
def test_what_was_checked_once_is_left_as_it_is_written(given: dict[str, str]) -> None:
    assert amounts(given, "budget") == given
    assert amounts(amounts(given, "budget"), "budget") == given


@given(budgets(), budgets())
def test_the_greatest_is_at_least_as_much_as_either(
    one: dict[str, str], other: dict[str, str]
) -> None:
    found = as_decimals(greatest(one, other))
    assert found.keys() == one.keys() | other.keys()
    for part in (as_decimals(one), as_decimals(other)):
        assert all(found[unit] >= amount for unit, amount in part.items())


@given(budgets(), budgets())
def test_nothing_is_left_exactly_where_a_budget_is_used_up(
    budget: dict[str, str], spent: dict[str, str]
) -> None:
    left = as_decimals(least_left((budget, spent)))
    assert left.keys() == budget.keys()
    unit = overdrawn(spent, budget)
    for name, amount in as_decimals(budget).items():
        used = Decimal(spent.get(name, "0"))
        assert left[name] == max(amount - used, Decimal(0))
        assert (used > amount) <= bool(unit)


def test_of_two_budgets_the_one_with_less_left_counts() -> None:
    left = least_left(({"usd": "5", "gb": "1"}, {"usd": "4.5"}), ({"usd": "1"}, {"usd": "0.25"}))
    assert left == {"usd": "0.5", "gb": "1"}


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", "01", "1.", ".5", "1e3", "1,5", "٤٢", "1\n", "NaN", "0." + "0" * 10]
)
def test_what_is_no_plain_decimal_number_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"such as '1\.50'"):
        check_amount(text, "usd")


def test_a_float_is_refused_because_it_cannot_say_a_tenth() -> None:
    with pytest.raises(TypeError, match=r"must not be a float, got 0\.25"):
        check_amount(0.25, "usd")
    with pytest.raises(TypeError, match="must be text, an integer or a Decimal"):
        check_amount(True, "usd")


def test_integers_and_decimals_are_written_without_an_exponent() -> None:
    assert check_amount(12, "usd") == "12"
    assert check_amount(Decimal("1E+2"), "usd") == "100"
    assert check_amount(Decimal("0.50"), "usd") == "0.50"


def test_units_are_names() -> None:
    with pytest.raises(ValueError, match="unit in budget"):
        amounts({"US Dollar": "1"}, "budget")
    with pytest.raises(TypeError, match="must map units to amounts"):
        amounts(["usd"], "budget")
