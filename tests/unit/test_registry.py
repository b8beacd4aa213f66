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


def run_cell(text: str, variables: dict[str, Any], file: str = "<ipython-input-1>") -> None:
    """Execute text as a notebook does: one compilation of its own, in one set of variables."""
    exec(compile(text, file, "exec"), variables)


def notebook() -> dict[str, Any]:
    return {"__name__": "__main__", "asset": asset}


TWO_NAMES = """
@asset(name="events", namespace="raw")
def first(ctx): ...

@asset(name="events", namespace="raw")
def second(ctx): ...
"""
TWICE = """
@asset(namespace="raw")
def events(ctx): return 1

@asset(namespace="raw")
def events(ctx): return 2
"""


def test_a_duplicate_key_is_refused_with_both_places(registry: AssetRegistry) -> None:
    with pytest.raises(ValueError, match=r"Duplicate asset key 'raw.events'") as caught:
        run_cell(TWO_NAMES, {"__name__": "assets.raw", "asset": asset}, "/project/raw.py")
    assert "/project/raw.py:2 and at /project/raw.py:5;" in str(caught.value)
    assert "clear()" not in str(caught.value)
    assert (known := registry.get("raw.events")) is not None
    assert known.__name__ == "first"


@pytest.mark.parametrize("file", ["/project/raw.py", "<string>", "/tmp/ipykernel_7/123.py"])
@pytest.mark.parametrize("module", ["assets.raw", "__main__"])
def test_one_text_that_defines_a_key_twice_is_refused(
    registry: AssetRegistry, file: str, module: str
) -> None:
    with pytest.raises(ValueError, match="Duplicate asset key"):
        run_cell(TWICE, {"__name__": module, "asset": asset}, file)


@pytest.mark.parametrize(
    "files",
    [
        ("/tmp/ipykernel_7/123.py", "/tmp/ipykernel_7/456.py"),
        ("<ipython-input-1-ab>", "<ipython-input-2-cd>"),
        ("<stdin>", "<stdin>"),
        ("<command-1>", "<command-1>"),
    ],
)
def test_a_cell_that_is_edited_and_run_again_replaces_its_asset(
    registry: AssetRegistry, files: tuple[str, str]
) -> None:
    variables = notebook()
    text = "@asset(namespace='raw')\ndef orders(ctx): return {}"
    run_cell(text.format(1), variables, files[0])
    before = variables["orders"]
    run_cell(f"# a comment moves the line\n{text.format(2)}", variables, files[1])
    after = registry.get("raw.orders")
    assert after is variables["orders"]
    assert after is not before
    assert after(AssetContext()) == 2
    assert registry.get_by_function(before.function) is None


def test_an_edited_cell_replaces_all_of_its_assets(registry: AssetRegistry) -> None:
    variables = notebook()
    text = "\n".join(f"@asset\ndef a{n}(ctx): return EDIT" for n in range(3))
    run_cell(text.replace("EDIT", "1"), variables, "/tmp/ipykernel_7/1.py")
    run_cell(text.replace("EDIT", "2"), variables, "/tmp/ipykernel_7/2.py")
    assert [one(AssetContext()) for one in registry.all()] == [2, 2, 2]


def test_two_functions_of_different_names_in_two_cells_are_refused(registry: AssetRegistry) -> None:
    variables = notebook()
    run_cell("@asset(name='orders')\ndef one(ctx): ...", variables, "<ipython-input-1>")
    with pytest.raises(ValueError, match=r"<ipython-input-1>:1 and at <ipython-input-2>:1.*clear"):
        run_cell("@asset(name='orders')\ndef two(ctx): ...", variables, "<ipython-input-2>")


def test_a_class_of_a_notebook_is_defined_again_like_a_function(registry: AssetRegistry) -> None:
    variables = notebook()
    text = "class Shop:\n    @asset\n    def orders(ctx): return {}"
    run_cell(text.format(1), variables)
    run_cell(text.format(2), variables)
    (made,) = registry.all()
    assert made(AssetContext()) == 2
    registry.clear()
    with pytest.raises(ValueError, match="Duplicate asset key"):
        run_cell(f"{text.format(1)}\n    @asset\n    def orders(ctx): ...", variables)


def test_a_factory_that_is_called_twice_replaces_its_asset(registry: AssetRegistry) -> None:
    make("events")
    again = make("events")
    assert registry.all() == [again]


def test_two_tests_may_use_one_name(registry: AssetRegistry) -> None:
    def one_test() -> None:
        @asset(namespace="mart")
        def totals(ctx: AssetContext) -> None: ...

    def another_test() -> Asset[..., Any]:
        @asset(namespace="mart")
        def totals(ctx: AssetContext) -> None: ...

        return totals

    one_test()
    assert registry.get("mart.totals") is not None
    made = another_test()
    assert registry.all() == [made]


@pytest.mark.parametrize("local_first", [True, False])
def test_an_asset_of_a_module_wins_over_one_of_a_test(
    registry: AssetRegistry, local_first: bool
) -> None:
    variables = {"__name__": "assets.raw", "asset": asset}
    if local_first:
        make("events")
    run_cell("@asset(namespace='raw')\ndef events(ctx): ...", variables, "/project/raw.py")
    if not local_first:
        assert make("events").key == AssetKey("raw", "events")
    assert registry.all() == [variables["events"]]


def test_a_project_that_makes_one_key_twice_is_refused(registry: AssetRegistry) -> None:
    with registry.collecting():
        make("events")
        with pytest.raises(ValueError, match="Duplicate asset key"):
            make("events")
    make("events")
    make("events")


def test_decorating_one_function_twice_is_refused(registry: AssetRegistry) -> None:
    variables = notebook()
    with pytest.raises(ValueError, match="Duplicate asset key"):
        run_cell("def f(ctx): ...\na, b = asset(name='x')(f), asset(name='x')(f)", variables)


@pytest.mark.parametrize("above", ["", "LINE = 'above'\n"])
def test_a_module_that_is_loaded_again_replaces_its_assets(
    registry: AssetRegistry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, above: str
) -> None:
    file = tmp_path / "reloaded_assets.py"
    text = "from servo import asset\n@asset(namespace='raw')\ndef events(ctx): ...\n"
    file.write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    module = importlib.import_module("reloaded_assets")
    before = registry.get("raw.events")
    file.write_text(above + text)
    importlib.reload(module)
    after = registry.get("raw.events")
    del sys.modules["reloaded_assets"]
    assert after is module.events
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


def test_two_modules_whose_names_end_alike_are_told_how_a_namespace_is_given(
    registry: AssetRegistry,
) -> None:
    text = "@asset\ndef rate(ctx): ..."
    run_cell(text, {"__name__": "assets.fin.eu.vat", "asset": asset}, "/p/assets/fin/eu/vat.py")
    with pytest.raises(ValueError, match=r"Duplicate asset key 'vat\.rate'") as caught:
        run_cell(text, {"__name__": "assets.us.vat", "asset": asset}, "/p/assets/us/vat.py")
    assert "'assets.fin.eu.vat' and 'assets.us.vat' end alike" in str(caught.value)
    assert "@asset(namespace='us_vat')" in str(caught.value)
    given = "@asset(namespace='vat')\ndef rate(ctx): ..."
    registry.clear()
    run_cell(given, {"__name__": "assets.one", "asset": asset}, "/p/assets/one.py")
    with pytest.raises(ValueError, match="rename one of the functions"):
        run_cell(given, {"__name__": "assets.two", "asset": asset}, "/p/assets/two.py")


def test_a_cell_that_decorates_a_function_of_another_cell_is_run_again(
    registry: AssetRegistry,
) -> None:
    variables = notebook()
    run_cell("def plain(ctx): return 1", variables)
    for retries in (1, 2):
        run_cell(f"made = asset(name='x', max_retries={retries})(plain)", variables)
    assert registry.all() == [variables["made"]]
    assert variables["made"].definition.execution.max_retries == 2


def test_a_project_has_one_asset_of_a_key_wherever_each_is_made(registry: AssetRegistry) -> None:
    text = "@asset(namespace='raw')\ndef events(ctx): ..."
    with registry.collecting():
        run_cell(text, {"__name__": "assets.raw", "asset": asset}, "/p/assets/raw.py")
        with pytest.raises(ValueError, match="Duplicate asset key"):
            make("events")
    registry.clear()
    with registry.collecting():
        make("events")
        with pytest.raises(ValueError, match="Duplicate asset key"):
            run_cell(text, {"__name__": "assets.raw", "asset": asset}, "/p/assets/raw.py")
