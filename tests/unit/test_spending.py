"""The account of an attempt: exact sums, budgets, and the money that is gone all the same."""

from __future__ import annotations

import threading
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo._spending import Account
from servo.testing import RecordingReporter, make_context
from servo.types.amounts import Amounts

UNITS = st.sampled_from(["usd", "tokens", "eur_cents"])
AMOUNTS = st.decimals(min_value=0, max_value=10**9, places=6)


@given(st.lists(st.tuples(UNITS, AMOUNTS)), st.dictionaries(UNITS, AMOUNTS))
def test_sums_are_exact_and_the_budget_is_what_may_be_reached(
    spending: list[tuple[str, Decimal]], budget: dict[str, Decimal]
) -> None:
    reports: list[Amounts] = []
    account = Account({unit: f"{limit:f}" for unit, limit in budget.items()}, reports.append)
    expected: dict[str, Decimal] = {}
    for unit, amount in spending:
        account.add(unit, amount)
        expected[unit] = expected.get(unit, Decimal(0)) + amount
        assert {name: Decimal(text) for name, text in account.spent.items()} == expected
        assert reports[-1] == account.spent
        over = any(expected.get(name, Decimal(0)) > limit for name, limit in budget.items())
        if over:
            with pytest.raises(errors.BudgetExhaustedError):
                account.refuse_overdrawn()
        else:
            account.refuse_overdrawn()
    assert len(reports) == len(spending)


def test_what_exceeds_the_budget_says_what_was_spent_of_what_and_is_recorded() -> None:
    ctx = make_context(budget={"usd": "1.50"})
    ctx.spend("usd", "1.5")
    with pytest.raises(errors.BudgetExhaustedError, match=r"1\.75 usd .* budget of 1\.50 usd") as e:
        ctx.spend("usd", "0.25")
    assert e.value.code == "BUDGET_EXHAUSTED"
    assert e.value.context == {"unit": "usd", "spent": "1.75", "budget": "1.50"}
    assert (ctx.spent, ctx.budget) == ({"usd": "1.75"}, {"usd": "1.50"})


def test_a_unit_without_a_budget_is_counted_without_a_limit() -> None:
    ctx = make_context(budget={"usd": "1"})
    ctx.spend("tokens", 10**12)
    assert ctx.spent == {"tokens": "1000000000000"}


@pytest.mark.parametrize(
    ("amount", "text"), [("0.25", "0.25"), (3, "3"), (Decimal("1E+2"), "100"), ("0", "0")]
)
def test_amounts_are_text_whole_numbers_or_decimals(amount: Any, text: str) -> None:
    ctx = make_context()
    ctx.spend("usd", amount)
    assert ctx.spent == {"usd": text}


@pytest.mark.parametrize(
    ("unit", "amount", "error", "message"),
    [
        ("usd", 0.25, TypeError, "must not be a float, got 0.25: write it as text, such as '0.25'"),
        ("usd", True, TypeError, "got True of type bool"),
        ("usd", None, TypeError, "got None of type NoneType"),
        ("usd", "-1", ValueError, "not negative"),
        ("usd", "1e3", ValueError, "Invalid amount '1e3'"),
        ("usd", "NaN", ValueError, "Invalid amount"),
        ("USD", "1", ValueError, "Invalid unit 'USD'"),
        ("usd", "9" * 18, ValueError, "at most 18 digits"),
    ],
)
def test_what_cannot_be_counted_is_refused_and_changes_nothing(
    unit: str, amount: Any, error: type[Exception], message: str
) -> None:
    reporter = RecordingReporter()
    ctx = make_context(reporter=reporter)
    ctx.spend("usd", "1")
    with pytest.raises(error, match=message):
        ctx.spend(unit, amount)
    assert ctx.spent == {"usd": "1"}
    assert reporter.spending == [{"usd": "1"}]


def test_what_is_spent_after_a_cancellation_is_recorded_before_it_is_raised() -> None:
    reporter = RecordingReporter()
    ctx = make_context(budget={"usd": "1"}, reporter=reporter)
    reporter.cancelled = True
    with pytest.raises(errors.TaskCancelledError):
        ctx.spend("usd", "2")
    assert reporter.spending == [{"usd": "2"}]


def test_threads_that_spend_at_once_lose_nothing() -> None:
    ctx = make_context()

    def work() -> None:
        for _ in range(2_000):
            ctx.spend("usd", "0.01")

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert ctx.spent == {"usd": "80.00"}
