"""Sizes and tokens of pages: what a listing gives it takes back, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from servo import errors
from servo.controlplane import paging
from servo.controlplane.paging import Listing
from servo.types.ids import RunId

LISTINGS = [one for one in vars(paging).values() if isinstance(one, Listing)]
listings = st.sampled_from(LISTINGS)
numbers = st.integers(1, 2**63 - 1)
ids = st.builds(lambda: str(RunId.generate()))
garbage = st.one_of(
    st.text(min_size=1),
    st.integers().map(str),
    st.builds("{}.{}".format, st.sampled_from(["runs", "keys", "assets"]), st.text()),
    st.builds("9{}".format, st.integers(19, 6_000).map(lambda count: "0" * count)),
)


@given(listings, numbers)
def test_a_number_comes_back_from_its_token(listing: Listing, number: int) -> None:
    assert listing.number(listing.token(number)) == number


@given(listings, ids)
def test_an_id_comes_back_from_its_token(listing: Listing, identifier: str) -> None:
    assert listing.identifier(listing.token(identifier)) == identifier


@given(listings, listings, st.one_of(numbers, ids))
def test_a_token_of_one_listing_is_refused_by_every_other(
    made: Listing, taking: Listing, place: object
) -> None:
    if made is taking:
        return
    for read in (taking.number, taking.identifier):
        with pytest.raises(errors.InvalidArgumentError, match="not a page token"):
            read(made.token(place))


@given(listings, garbage)
def test_whatever_is_invented_is_refused_or_is_what_the_listing_would_have_made(
    listing: Listing, token: str
) -> None:
    for read in (listing.number, listing.identifier):
        try:
            place = read(token)
        except errors.InvalidArgumentError as exc:
            assert exc.code == "INVALID_PAGE_TOKEN"
            assert len(str(exc)) < 1_000
        else:
            assert listing.token(place) == token


@pytest.mark.parametrize(
    "text", ["0", "-1", "01", "9" * 19, "9" * 20, "9" * 5_000, "٣", "1\n", "1.0", "1_0", " 1", ""]
)
def test_a_place_that_no_page_ends_at_is_refused(text: str) -> None:
    with pytest.raises(errors.InvalidArgumentError):
        paging.ASSETS.number(f"assets.{text}")


def test_an_id_in_another_spelling_is_refused() -> None:
    with pytest.raises(errors.InvalidArgumentError):
        paging.RUNS.identifier(f"runs.{RunId.generate()}".lower())


@given(listings, st.integers(-(2**31), 2**31 - 1))
def test_a_size_is_used_bounded_or_refused(listing: Listing, size: int) -> None:
    if size < 0:
        with pytest.raises(errors.InvalidArgumentError, match="is negative"):
            listing.size(size)
    else:
        assert listing.size(size) == (min(size, 1_000) if size else listing.size(0))
        assert 0 < listing.size(size) <= 1_000


def test_no_page_token_and_no_size_mean_the_first_page_of_the_usual_size() -> None:
    assert paging.RUNS.identifier("") > str(RunId.generate())
    assert paging.MATERIALIZATIONS.number("", first=7) == 7
    assert paging.KEYS.number("") == 0
    assert (paging.RUNS.size(0), paging.KEYS.size(0)) == (50, 500)


@given(listings, st.lists(st.integers(0, 30_000), max_size=20), st.integers(1, 20))
def test_a_page_ends_before_it_is_too_large_and_has_one_item_at_least(
    listing: Listing, sizes: list[int], size: int
) -> None:
    items = [(("x",) * count, number) for number, count in enumerate(sizes)]
    page = listing.fitting(items, size)
    assert list(page) == items[: len(page)]
    assert len(page) <= size
    assert bool(page) == bool(items)
    assert len(page) <= 1 or sum(len(texts) for texts, _ in page) <= 50_000
    if len(page) < min(len(items), size):
        assert sum(len(texts) + 10 for texts, _ in items[: len(page) + 1]) > 50_000


def test_the_usual_sizes_are_those_that_the_contract_names() -> None:
    contract = Path(__file__).resolve().parents[3] / "proto/arco/v1"
    named = [
        int(size)
        for proto in contract.glob("*.proto")
        for size in re.findall(
            r"The most (?:tasks )?to return; 0 means (\d+)", proto.read_text(encoding="utf-8")
        )
    ]
    assert sorted(named) == sorted(one.size(0) for one in LISTINGS)
