"""``AssetIn`` and ``AssetOut``."""

from __future__ import annotations

import threading
import typing
from typing import Any, Literal

import pytest

from servo.types import (
    AssetIn,
    AssetKey,
    AssetOut,
    PartitionKey,
    get_asset_in_key,
    is_asset_in_type,
)

# Subscripting with a plain string is for annotations; here it is an ordinary value.
Subscribed: Any = AssetIn


class Echo:
    def read(self, as_type: type | None) -> Any:
        return as_type


def test_a_subscribed_asset_in_is_a_class_of_its_own() -> None:
    assert isinstance(Subscribed["raw.events"], type)
    assert Subscribed["raw.events"] is Subscribed["raw.events"]
    assert Subscribed["raw.events"] is not Subscribed["raw.users"]
    assert issubclass(Subscribed["raw.events"], Subscribed)


def test_every_spelling_of_a_key_is_the_same_class() -> None:
    spellings = ["raw.events", Literal["raw.events"], AssetKey("raw", "events")]
    assert {Subscribed[spelling] for spelling in spellings} == {Subscribed["raw.events"]}


def test_the_class_of_the_data_makes_another_class() -> None:
    typed = Subscribed["raw.events", dict]
    assert typed is Subscribed["raw.events", dict]
    assert typed is not Subscribed["raw.events"]
    assert (typed.key, typed.as_type) == (AssetKey("raw", "events"), dict)


@pytest.mark.parametrize("text", ["", "a.b.c", " a.b", "Raw.events"])
def test_the_key_is_checked_when_subscribed(text: str) -> None:
    with pytest.raises(ValueError, match="Invalid asset key"):
        Subscribed[text]


@pytest.mark.parametrize("item", [5, None, Literal["a", "b"], ("a", "b"), ("a", dict, 1)])
def test_what_is_no_key_is_refused(item: object) -> None:
    with pytest.raises(TypeError, match="AssetIn"):
        Subscribed[item]


def test_a_class_with_a_key_is_not_subscribed_again() -> None:
    with pytest.raises(TypeError, match="names an asset already"):
        Subscribed["raw.events"]["raw.users"]


def test_type_hints_of_a_function_that_uses_it_are_resolved() -> None:
    def function(events: object) -> None: ...

    source = 'AssetIn["raw.events"]'
    function.__annotations__ = {"events": source}
    assert typing.get_type_hints(function, globals())["events"] is Subscribed["raw.events"]


def test_it_can_be_optional() -> None:
    events = Subscribed["raw.events"]
    assert typing.get_args(events | None)[0] is events
    assert typing.get_args(typing.Optional.__getitem__(events))[0] is events


def test_threads_get_the_same_class() -> None:
    found: list[type] = []
    threads = [
        threading.Thread(target=lambda: found.append(Subscribed["raw.raced"])) for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(found)) == 1


def test_a_handle_knows_its_key_and_reads_through_its_reader() -> None:
    partition = PartitionKey({"date": "x"})
    handle: Any = Subscribed["raw.events"](Echo(), partitions=[partition])
    assert type(handle) is Subscribed["raw.events"]
    assert handle.key == AssetKey("raw", "events")
    assert handle.partitions == (partition,)
    assert handle.read() is None
    assert handle.read(frozenset) is frozenset
    assert repr(handle) == '<AssetIn["raw.events"] with 1 partition>'


def test_a_handle_reads_as_the_class_of_its_annotation_unless_told_otherwise() -> None:
    handle = Subscribed["raw.events", dict](Echo())
    assert handle.read() is dict
    assert handle.read(frozenset) is frozenset


def test_the_bare_class_cannot_be_instantiated() -> None:
    with pytest.raises(TypeError, match="name the asset"):
        AssetIn(Echo())


def test_its_key_is_found_again() -> None:
    assert get_asset_in_key(Subscribed["raw.events"]) == AssetKey("raw", "events")
    assert is_asset_in_type(Subscribed["raw.events"])


@pytest.mark.parametrize("annotation", [AssetIn, int, None, "AssetIn", dict[str, int]])
def test_nothing_else_has_a_key(annotation: object) -> None:
    assert get_asset_in_key(annotation) is None
    assert not is_asset_in_type(annotation)


def test_an_output_keeps_what_it_was_given() -> None:
    out = AssetOut([1], row_count=1, metadata={"a": "b"})
    assert (out.data, out.schema, out.row_count, out.metadata) == ([1], None, 1, {"a": "b"})


def test_an_output_with_fewer_than_no_rows_is_refused() -> None:
    with pytest.raises(ValueError, match="row_count"):
        AssetOut([], row_count=-1)
