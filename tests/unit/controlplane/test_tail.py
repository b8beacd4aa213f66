"""What is kept of a history in memory is a piece of it without a gap, or nothing."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from servo.controlplane.tail import Tail
from servo.types.events import Event, PoolChanged

NOW = datetime(2025, 1, 1, tzinfo=UTC)


def events(first: int, count: int) -> list[Event]:
    return [
        Event(sequence=number, occurred_at=NOW, payload=PoolChanged(name="warehouse"))
        for number in range(first, first + count)
    ]


@given(
    kept=st.integers(1, 6),
    began=st.integers(0, 5),
    steps=st.lists(st.tuples(st.booleans(), st.integers(1, 9)), max_size=12),
    back=st.integers(-3, 12),
    limit=st.integers(1, 20),
)
def test_a_tail_answers_with_what_comes_next_or_not_at_all(
    kept: int, began: int, steps: list[tuple[bool, int]], back: int, limit: int
) -> None:
    tail = Tail(kept)
    tail.pass_over(began)
    newest, in_a_row = began, 0
    for is_kept, count in steps:
        if is_kept:
            tail.extend(events(newest + 1, count))
        else:
            tail.pass_over(newest + count)
        newest += count
        in_a_row = in_a_row + count if is_kept else 0
    assert tail.newest == newest
    asked = newest - back
    found = tail.after(asked, limit)
    if newest - min(kept, in_a_row) <= asked <= newest:
        assert found is not None
    if found is None:
        assert not newest - min(kept, in_a_row) <= asked <= newest
    else:
        assert list(found) == events(asked + 1, min(limit, newest - asked))
    assert tail.after(newest - 2 * kept, limit) is None or 2 * kept > newest
