"""Identifiers."""

from __future__ import annotations

import os
import pickle
import threading
import time

import pytest
import ulid
from hypothesis import given
from hypothesis import strategies as st

import strategies
from servo.types import AssetId, RunId, Ulid, ids

EVERY = pytest.mark.parametrize("kind", strategies.ID_TYPES)


@EVERY
def test_generated_ids_have_their_type_and_are_valid(kind: type[Ulid]) -> None:
    made = kind.generate()
    assert type(made) is kind
    assert kind.validate(made) == made
    assert str(ulid.ULID.from_str(made)) == made


def test_ids_minted_in_one_go_sort_in_minting_order() -> None:
    minted = [RunId.generate() for _ in range(20_000)]
    assert minted == sorted(set(minted))


def test_ids_sort_in_minting_order_when_the_clock_goes_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = RunId.generate()
    monkeypatch.setattr(time, "time_ns", lambda: 1_000_000_000)
    assert RunId.generate() > before


def test_threads_never_mint_the_same_id() -> None:
    minted: list[list[RunId]] = [[] for _ in range(4)]

    def mint(mine: list[RunId]) -> None:
        mine.extend(RunId.generate() for _ in range(2_000))

    threads = [threading.Thread(target=mint, args=(mine,)) for mine in minted]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({one for mine in minted for one in mine}) == 8_000


def test_forked_children_do_not_count_on_from_their_parent(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    frozen = time.time_ns() + 10**12
    monkeypatch.setattr(time, "time_ns", lambda: frozen)
    RunId.generate()
    children: list[str] = []
    for _ in range(2):
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.write(writer, RunId.generate().encode())
            os._exit(0)
        os.waitpid(pid, 0)
        os.close(writer)
        children.append(os.read(reader, 26).decode())
        os.close(reader)
    assert len({*children, RunId.generate()}) == 3


def test_an_id_knows_when_it_was_minted() -> None:
    ids._mint.restart()
    before = time.time_ns() // 1_000_000
    assert before <= RunId.generate().milliseconds <= time.time_ns() // 1_000_000


@given(strategies.ulid_texts())
def test_lower_case_is_made_upper_case(text: str) -> None:
    assert AssetId.validate(text.lower()) == text


@given(strategies.ulid_texts())
def test_the_printed_form_is_the_library_s(text: str) -> None:
    assert ids._encode(int(ulid.ULID.from_str(text))) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "8ZZZZZZZZZZZZZZZZZZZZZZZZZ",
        "01ARZ3NDEKTSV4RRFFQ69G5FA",
        "01ARZ3NDEKTSV4RRFFQ69G5FAVX",
        "01ARZ3NDEKTSV4RRFFQ69G5FAI",
        "01ARZ3NDEKTSV4RRFFQ69G5FAL",
        "01ARZ3NDEKTSV4RRFFQ69G5FAO",
        "01ARZ3NDEKTSV4RRFFQ69G5FAU",
        "01ARZ3NDEKTSV4RRFFQ69G5FAV\n",
        "01ARZ3NDEKTSV4RRFFQ69G5FA\u017f",
        "01ARZ3NDEKTSV4RRFFQ69G5FA\u0664",
    ],
)
def test_what_is_no_ulid_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid ULID"):
        AssetId.validate(text)
    with pytest.raises(ValueError, match="Invalid ULID"):
        AssetId(text)


@given(st.text(max_size=30))
def test_only_what_the_library_reads_is_accepted(text: str) -> None:
    try:
        accepted = str(AssetId(text))
    except ValueError:
        return
    assert str(ulid.ULID.from_str(accepted)) == accepted


def test_an_id_is_not_made_from_bytes() -> None:
    with pytest.raises(TypeError, match="AssetId is made from a string"):
        AssetId(b"01ARZ3NDEKTSV4RRFFQ69G5FAV")  # type: ignore[arg-type]  # the point of the test


def test_an_id_survives_pickling_with_its_type() -> None:
    made = RunId.generate()
    copy = pickle.loads(pickle.dumps(made))
    assert (type(copy), copy) == (RunId, made)


def test_an_id_shows_its_kind() -> None:
    assert repr(RunId("01ARZ3NDEKTSV4RRFFQ69G5FAV")) == "RunId('01ARZ3NDEKTSV4RRFFQ69G5FAV')"
