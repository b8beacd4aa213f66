"""What a worker and a control plane tell each other."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from servo.types.amounts import Amounts
from servo.types.sessions import AttemptCancelled, AttemptFinished, AttemptSpent, Lease

LEASE = Lease(task_id="01ARZ3NDEKTSV4RRFFQ69G5FAV", attempt=1, token=1)


def finished(spent: Amounts) -> Amounts:
    return AttemptFinished(lease=LEASE, outcome=AttemptCancelled(), spent=spent).spent


def spending(spent: Amounts) -> Amounts:
    return AttemptSpent(lease=LEASE, spent=spent).spent


@pytest.mark.parametrize("make", [finished, spending])
@pytest.mark.parametrize(
    ("spent", "error", "message"),
    [
        ({"usd": "-1"}, ValueError, "Invalid amount '-1' of 'usd'"),
        ({"usd": "1e3"}, ValueError, "Invalid amount '1e3' of 'usd'"),
        ({"usd": ""}, ValueError, "Invalid amount '' of 'usd'"),
        ({"US dollar": "1"}, ValueError, "US dollar"),
        ({"usd": 0.1}, TypeError, "must not be a float"),
    ],
)
def test_a_malformed_amount_is_refused(
    make: Any, spent: Mapping[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        make(spent)


@pytest.mark.parametrize("make", [finished, spending])
def test_amounts_are_kept_as_text_that_cannot_be_changed(make: Any) -> None:
    given = {"usd": "1.50"}
    kept = make(given)
    given["usd"] = "9"
    assert kept == {"usd": "1.50"}
    assert make({}) == {}
