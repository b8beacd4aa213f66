"""What tells the requests under one run key apart."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from servo.controlplane.runs import request_fingerprint
from servo.types import PartitionKey
from servo.types.requests import AllPartitions, CreateRunRequest, PartitionRange, Rerun
from servo.types.runs import RerunScope

TEXTS = st.sampled_from(["", "a", "b"])
NUMBERS = st.integers(0, 2)
AMOUNTS = st.dictionaries(st.sampled_from(["usd", "eur"]), st.sampled_from(["1", "1.50"]))
PARTITIONS = st.sampled_from(
    [
        None,
        AllPartitions(),
        PartitionKey({"date": date(2025, 1, 1)}),
        PartitionKey({"date": "2025-01-01"}),
        PartitionRange(first="2025-01-01", last="2025-01-02"),
        PartitionRange(dimension="date", first="2025-01-01", last="2025-01-02"),
    ]
)
# One strategy for each field: a new one has to be thought of here.
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "selection": st.lists(st.sampled_from(["raw.a", "+raw.a", "not raw.b"]), max_size=2).map(tuple),
    "partitions": PARTITIONS,
    "upstream": st.booleans(),
    "downstream": st.booleans(),
    "run_key": TEXTS,
    "deployment_id": TEXTS,
    "config": st.dictionaries(st.sampled_from(["a", "b", "c"]), TEXTS),
    "priority": st.integers(-1, 1),
    "max_parallelism": NUMBERS,
    "timeout_seconds": NUMBERS,
    "budget": AMOUNTS,
    "code_version_id": TEXTS,
    "rerun": st.one_of(
        st.none(), st.builds(Rerun, run_id=st.sampled_from("ab"), scope=st.sampled_from(RerunScope))
    ),
    "max_retries": st.none() | NUMBERS,
}
REQUESTS = st.fixed_dictionaries(FIELDS).map(
    lambda found: CreateRunRequest(**found)  # type: ignore[arg-type]  # a strategy for each field
)


def test_every_field_of_a_request_is_thought_of() -> None:
    assert list(CreateRunRequest.__struct_fields__) == list(FIELDS)


@pytest.mark.parametrize("name", [name for name in FIELDS if name != "run_key"])
@given(data=st.data())
def test_another_value_of_a_field_is_another_request(name: str, data: st.DataObject) -> None:
    request = data.draw(REQUESTS)
    other = replace(request, **{name: data.draw(FIELDS[name])})
    assert (request_fingerprint(request) == request_fingerprint(other)) == (request == other)


@given(REQUESTS, TEXTS)
def test_the_key_itself_does_not_count(request: CreateRunRequest, run_key: str) -> None:
    assert request_fingerprint(replace(request, run_key=run_key)) == request_fingerprint(request)


@given(REQUESTS)
def test_the_order_of_configuration_and_budget_does_not_count(request: CreateRunRequest) -> None:
    turned = replace(
        request,
        config=dict(reversed(request.config.items())),
        budget=dict(reversed(request.budget.items())),
    )
    assert request_fingerprint(turned) == request_fingerprint(request)
