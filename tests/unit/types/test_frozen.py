"""What the value types share: the read-only mapping inside them, and copies with changes."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo.types import AssetKey, PartitionKey
from servo.types._frozen import FrozenMap, replace
from servo.types.records import Run, Task
from servo.types.runs import RunState, TaskState
from servo.types.sessions import AttemptSpent, Lease

mappings = st.dictionaries(st.text(max_size=5), st.integers(), max_size=5)


@given(mappings)
def test_it_reads_like_the_mapping_it_was_made_from(given: dict[str, int]) -> None:
    frozen = FrozenMap(given)
    assert dict(frozen) == given
    assert (list(frozen), len(frozen)) == (list(given), len(given))
    assert list(frozen.keys()) == list(given.keys())
    assert list(frozen.values()) == list(given.values())
    assert repr(frozen) == repr(given)
    assert all(key in frozen for key in given)


@given(mappings, mappings)
def test_it_equals_any_mapping_with_the_same_items(
    one: dict[str, int], two: dict[str, int]
) -> None:
    assert (FrozenMap(one) == FrozenMap(two)) == (one == two)
    assert (FrozenMap(one) == two) == (one == two)
    assert (FrozenMap(one) == MappingProxyType(two)) == (one == two)
    if one == two:
        assert hash(FrozenMap(one)) == hash(FrozenMap(two))


@given(mappings)
def test_its_copies_are_equal(given: dict[str, int]) -> None:
    frozen = FrozenMap(given)
    assert copy.copy(frozen) is frozen
    assert copy.deepcopy(frozen) is frozen
    assert pickle.loads(pickle.dumps(frozen)) == frozen


def test_it_equals_nothing_but_mappings() -> None:
    assert FrozenMap({}) != []


def test_it_does_not_follow_the_mapping_it_was_made_from() -> None:
    given = {"a": 1}
    frozen = FrozenMap(given)
    given["a"] = 2
    assert frozen["a"] == 1


TASK = Task(
    task_id="t", index=3, asset_key=AssetKey("a", "b"), partition_key=PartitionKey(),
    state=TaskState.READY, attempt=1, reason="why",
)  # fmt: skip
RUN = Run(run_id="r", state=RunState.PENDING, tasks=(TASK,), priority=4)


def some_fields(record: Task | Run) -> st.SearchStrategy[Mapping[str, object]]:
    names = [field.name for field in dataclasses.fields(record)]
    return st.dictionaries(st.sampled_from(names), st.integers() | st.text(max_size=3))


@given(st.data(), st.sampled_from([TASK, RUN]))
def test_a_copy_with_changes_is_the_one_of_dataclasses(
    data: st.DataObject, record: Task | Run
) -> None:
    changes: Mapping[str, object] = data.draw(some_fields(record))
    before = copy.copy(record)
    found = replace(record, **changes)
    assert found == dataclasses.replace(record, **changes)
    assert (type(found), record) == (type(record), before)
    assert found is not record


@dataclass(frozen=True)
class WithoutSlots:
    name: str


def test_a_field_that_does_not_exist_cannot_change() -> None:
    with pytest.raises(TypeError, match="Task has no field 'stat'"):
        replace(TASK, stat=TaskState.FAILED)


@pytest.mark.parametrize(
    "record",
    [WithoutSlots("a"), AttemptSpent(lease=Lease(task_id="t", attempt=1, token=1))],
    ids=["no slots", "it checks its values"],
)
def test_a_class_that_does_more_than_store_its_fields_is_refused(record: WithoutSlots) -> None:
    with pytest.raises(TypeError, match=r"use dataclasses\.replace"):
        replace(record)
