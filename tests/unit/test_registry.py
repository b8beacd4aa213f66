"""The registry of decorated assets."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from servo import Asset, AssetContext, asset, get_registry
from servo._registry import AssetRegistry
from servo.types import AssetKey


@pytest.fixture
def registry() -> Iterator[AssetRegistry]:
    found = get_registry()
    found.clear()
    yield found
    found.clear()


def make(name: str) -> Asset[..., Any]:
    @asset(name=name, namespace="raw")
    def function(ctx: AssetContext) -> None: ...

    return function


def test_assets_are_found_by_key(registry: AssetRegistry) -> None:
    made = make("events")
    assert registry.get("raw.events") is made
    assert registry.get(AssetKey("raw", "events")) is made
    assert registry.get("raw.other") is None


def test_assets_are_found_by_function(registry: AssetRegistry) -> None:
    made = make("events")
    assert registry.get_by_function(made.function) is made
    assert registry.get_by_function(made) is made
    assert registry.get_by_function(len) is None


def test_all_assets_come_sorted_by_key(registry: AssetRegistry) -> None:
    for name in ("b", "c", "a"):
        make(name)
    assert [str(found.key) for found in registry.all()] == ["raw.a", "raw.b", "raw.c"]
    assert len(registry) == 3


def test_a_cleared_registry_is_empty(registry: AssetRegistry) -> None:
    made = make("events")
    registry.clear()
    assert registry.all() == []
    assert registry.get_by_function(made.function) is None


def test_a_duplicate_key_is_refused_with_both_places(registry: AssetRegistry) -> None:
    @asset(name="events", namespace="raw")
    def first(ctx: AssetContext) -> None: ...

    with pytest.raises(ValueError, match=r"Duplicate asset key 'raw.events'") as caught:

        @asset(name="events", namespace="raw")
        def second(ctx: AssetContext) -> None: ...

    first_line = first.definition.code.line_number
    for line in (first_line, first_line + 5):
        assert f"test_registry.py:{line} " in str(caught.value).replace(";", " ")
    assert registry.get("raw.events") is first


def test_a_loop_that_makes_one_key_twice_is_refused(registry: AssetRegistry) -> None:
    make("events")
    with pytest.raises(ValueError, match="Duplicate asset key"):
        make("events")


def test_a_module_that_is_loaded_again_replaces_its_assets(
    registry: AssetRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reloaded_assets.py").write_text(
        "from servo import asset\n@asset(namespace='raw')\ndef events(ctx): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module("reloaded_assets")
    before = registry.get("raw.events")
    importlib.reload(module)
    after = registry.get("raw.events")
    del sys.modules["reloaded_assets"]
    assert before is not after
    assert before is not None
    assert registry.get_by_function(before.function) is None
    assert len(registry) == 1


def test_threads_register_without_losing_any(registry: AssetRegistry) -> None:
    def work(thread: int) -> None:
        for number in range(50):
            make(f"a{thread}_{number}")

    threads = [threading.Thread(target=work, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry) == 200
