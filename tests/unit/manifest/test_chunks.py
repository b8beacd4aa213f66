from __future__ import annotations

import dataclasses
from hashlib import sha256

import pytest

from servo import _wire, errors
from servo.manifest.chunks import split
from servo.types import AssetDefinition, AssetKey, CodeLocation, CustomSqlCheck


def _asset(name: str, description: str = "What it is.") -> AssetDefinition:
    return AssetDefinition(
        AssetKey("a", name),
        code=CodeLocation("assets.m", name, file_path="assets/m.py"),
        description=description * 10,
        owners=("data@example.com",),
    )


MANY = [_asset(f"x{i:05}") for i in range(5_000)]


def test_the_chunks_hold_all_assets_sorted_by_key() -> None:
    read = [one for chunk in split(reversed(MANY)) for one in _wire.decode_chunk(chunk.data)]
    assert read == MANY


def test_a_chunk_is_addressed_by_its_bytes() -> None:
    chunks = split(MANY)
    assert all(chunk.digest == sha256(chunk.data).digest() for chunk in chunks)
    assert len({chunk.digest for chunk in chunks}) == len(chunks)


def test_chunks_are_neither_tiny_nor_large() -> None:
    chunks = split(MANY)
    assert max(len(chunk.data) for chunk in chunks) < 512 * 1024
    assert 20 < len(chunks) < 120


def test_large_definitions_make_chunks_that_still_fit() -> None:
    large = [_asset(f"x{i:03}", "long text " * 3_000) for i in range(20)]
    assert max(len(chunk.data) for chunk in split(large)) < 512 * 1024


def test_a_definition_that_cannot_be_sent_is_refused_by_name() -> None:
    check = CustomSqlCheck(sql="select 1 -- " + "x" * 3_000_000)
    huge = dataclasses.replace(_asset("huge"), checks=(check,))
    with pytest.raises(errors.DefinitionError, match=r"a\.huge"):
        split([huge])


@pytest.mark.parametrize("change", ["edit", "insert", "remove"])
def test_a_change_of_one_asset_changes_at_most_two_chunks(change: str) -> None:
    before = {chunk.digest for chunk in split(MANY)}
    for place in range(100, 5_000, 700):
        changed = list(MANY)
        if change == "edit":
            changed[place] = _asset(MANY[place].key.name, "Something else.")
        elif change == "insert":
            changed.insert(place, _asset(f"{MANY[place].key.name}_new"))
        else:
            del changed[place]
        assert len({chunk.digest for chunk in split(changed)} - before) <= 2


def test_no_assets_make_no_chunks() -> None:
    assert split([]) == []
