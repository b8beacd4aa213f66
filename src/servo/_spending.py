"""What an attempt has spent, and what it may."""

from __future__ import annotations

import threading
from collections.abc import Callable
from decimal import Decimal

from servo.errors import BudgetExhaustedError
from servo.types._frozen import EMPTY_MAP, FrozenMap, check_name
from servo.types.amounts import Amounts, add, amounts, check_amount, overdrawn

__all__ = ["Account"]


class Account:
    """The spending of one attempt; may be used by several threads.

    Args:
        budget: What may be spent, by unit; a unit that is not there has no limit.
        report: Called with what has been spent in all whenever something is.

    Attributes:
        budget: What may be spent, by unit.
        spent: What has been spent, by unit.
    """

    def __init__(
        self, budget: Amounts = EMPTY_MAP, report: Callable[[Amounts], None] | None = None
    ) -> None:
        self.budget = amounts(budget, "budget")
        self.spent: Amounts = EMPTY_MAP
        self._report = report
        self._lock = threading.Lock()

    def add(self, unit: str, amount: str | int | Decimal) -> None:
        """Record that something was spent, whatever the budget says about it.

        Raises:
            TypeError: The amount is a float, or no number.
            ValueError: The unit is no name, the amount is negative, or a number gets too long.
        """
        more = {check_name(unit, "unit"): check_amount(amount, unit)}
        with self._lock:
            total = FrozenMap(add(self.spent, more))
            check_amount(total[unit], unit)
            self.spent = total
            if self._report is not None:
                self._report(total)

    def refuse_overdrawn(self) -> None:
        """Refuse to go on once more was spent than may be.

        Raises:
            BudgetExhaustedError: More was spent.
        """
        if unit := overdrawn(self.spent, self.budget):
            spent, budget = self.spent[unit], self.budget[unit]
            raise BudgetExhaustedError(
                f"{spent} {unit} are spent of a budget of {budget} {unit}",
                context={"unit": unit, "spent": spent, "budget": budget},
                hint="Spend less, or give the asset or the run a larger budget.",
            )
