"""What tasks spend, and what they may: decimal numbers by unit, never floats.

An amount is written ``12`` or ``12.50``: digits, then at most nine decimals. Units are names such
as ``usd`` or ``tokens``. Sums are exact.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Final

from servo.types._frozen import EMPTY_MAP, FrozenMap, check_name

__all__ = [
    "Amounts",
    "add",
    "amounts",
    "check_amount",
    "greatest",
    "least_left",
    "overdrawn",
    "subtract",
]

Amounts = Mapping[str, str]
"""Amounts by unit."""

_PATTERN: Final = r"(0|[1-9][0-9]{0,17})(\.[0-9]{1,9})?"
_is_amount = re.compile(_PATTERN, re.ASCII).fullmatch


def check_amount(value: object, unit: str) -> str:
    """Return an amount as it travels: a decimal number without an exponent.

    Args:
        value: Text, an integer or a ``Decimal``.
        unit: What it is counted in, for the message.

    Raises:
        TypeError: It is a float, which cannot say 0.1, or no number at all.
        ValueError: It is negative, or has too many digits.
    """
    if isinstance(value, float):
        raise TypeError(
            f"an amount of {unit!r} must not be a float, got {value!r}: write it as text, such as "
            f"'{value:.2f}'"
        )
    if isinstance(value, bool) or not isinstance(value, str | int | Decimal):
        raise TypeError(
            f"an amount of {unit!r} must be text, an integer or a Decimal, got {value!r} of type "
            f"{type(value).__name__}"
        )
    text = f"{value:f}" if isinstance(value, Decimal) else str(value)
    if _is_amount(text) is None:
        raise ValueError(
            f"Invalid amount {text!r} of {unit!r}: it must be a decimal number that is not "
            f"negative, such as '1.50', with at most 18 digits and 9 decimals"
        )
    return text


def amounts(value: object, what: str) -> Amounts:
    """Return a read-only copy of amounts by unit.

    Args:
        value: Text, integers or decimals by unit.
        what: What they are, for the message.

    Raises:
        TypeError: It is no mapping, or an amount has the wrong type.
        ValueError: A unit is no name, or an amount is malformed.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f"{what} must map units to amounts, got {value!r}")
    if not value:
        return EMPTY_MAP
    unit = f"unit in {what}"
    return FrozenMap(
        {check_name(name, unit): check_amount(found, name) for name, found in value.items()}
    )


def add(one: Amounts, other: Amounts) -> dict[str, str]:
    """Return the sums by unit."""
    total = dict(one)
    for unit, amount in other.items():
        total[unit] = _text(Decimal(total.get(unit, "0")) + Decimal(amount))
    return total


def subtract(one: Amounts, other: Amounts) -> dict[str, str]:
    """Return the differences by unit; every unit of ``other`` is one of ``one``, and no greater."""
    left = dict(one)
    for unit, amount in other.items():
        left[unit] = _text(Decimal(left[unit]) - Decimal(amount))
    return left


def greatest(one: Amounts, other: Amounts) -> dict[str, str]:
    """Return the greater amount of each unit."""
    found = dict(one)
    for unit, amount in other.items():
        if Decimal(amount) > Decimal(found.get(unit, "-1")):
            found[unit] = amount
    return found


def overdrawn(spent: Amounts, budget: Amounts) -> str:
    """Return the first unit of which more is spent than the budget has; empty for none."""
    for unit in sorted(budget):
        if Decimal(spent.get(unit, "0")) > Decimal(budget[unit]):
            return unit
    return ""


def least_left(*accounts: tuple[Amounts, Amounts]) -> dict[str, str]:
    """Return what may still be spent by unit.

    Args:
        accounts: Budgets, each with what is spent of it; a unit counts where a budget names it.
    """
    left: dict[str, Decimal] = {}
    for budget, spent in accounts:
        for unit, amount in budget.items():
            rest = max(Decimal(amount) - Decimal(spent.get(unit, "0")), Decimal(0))
            left[unit] = min(left.get(unit, rest), rest)
    return {unit: _text(rest) for unit, rest in left.items()}


def _text(number: Decimal) -> str:
    return f"{number:f}"
