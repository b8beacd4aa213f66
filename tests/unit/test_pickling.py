"""Assets and their annotations in another process: by reference where it can import them."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import cloudpickle
import polars as pl
import pytest

from servo import AssetContext, AssetIn, asset
from servo.types import AssetKey

SCRIPT = """
import multiprocessing, sys
from typing import Annotated
from servo import AssetIn, DailyPartition, asset, not_null

FACTOR = 3

@asset(
    namespace="raw",
    tags={"team": "a"},
    partitions=DailyPartition("date"),
    checks=[not_null("n")],
    max_retries=3,
)
def orders(ctx, up: Annotated[list, AssetIn["raw.up"]], *, more: int = 7) -> list[dict]:
    "The orders."
    return [{"n": FACTOR * len(up) + more}]

def make(number):
    @asset(namespace="made")
    def one(ctx): return [{"n": number}]
    return one
"""


def run(script: Path | str) -> str:
    arguments = ["-c", script] if isinstance(script, str) else [str(script)]
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_cloudpickle_carries_assets_of_a_script_and_of_a_function(tmp_path: Path) -> None:
    script, sent = tmp_path / "script.py", tmp_path / "sent"
    script.write_text(
        f"{SCRIPT}\n"
        "import cloudpickle, pathlib\n"
        "data = [orders, make(5), lambda: orders.definition.tags['team'], AssetIn['raw.up']]\n"
        f"pathlib.Path({str(sent)!r}).write_bytes(cloudpickle.dumps(data))\n"
    )
    run(script)
    received = run(
        f"""
import datetime, pathlib, pickle
from servo.testing import materialize
orders, made, closure, handle = pickle.loads(pathlib.Path({str(sent)!r}).read_bytes())
day = {{"date": datetime.date(2025, 1, 1)}}
print(materialize(orders, partition=day, inputs={{"up": [{{"a": 1}}]}}).table.to_pylist())
print(materialize(made).table.to_pylist(), closure(), handle.key)
print(orders, orders.__doc__, orders.__qualname__, orders.function.__qualname__)
print(orders.definition.checks[0].name, "max_retries" in orders.given)
"""
    )
    assert received.splitlines() == [
        "[{'n': 10}]",
        "[{'n': 5}] a raw.up",
        "<Asset 'raw.orders' from __main__.orders> The orders. orders orders",
        "not_null_n True",
    ]


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_processes_of_a_script_exchange_its_assets(tmp_path: Path, method: str) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        f"{SCRIPT}\n"
        "def is_own(found): return found is orders\n"
        "if __name__ == '__main__':\n"
        f"    with multiprocessing.get_context({method!r}).Pool(1) as pool:\n"
        "        print(pool.apply(is_own, (orders,)))\n"
    )
    assert run(script) == "True\n"


def test_an_asset_that_has_another_name_in_its_module_is_pickled_by_its_parts() -> None:
    made = asset(name="events", namespace="raw", tags={"a": "b"})(module_function)
    for loads, dumps in ((pickle.loads, pickle.dumps), (pickle.loads, cloudpickle.dumps)):
        again = loads(dumps(made))
        assert again.definition == made.definition
        assert again(AssetContext()) == 1


def test_pickle_says_that_it_cannot_take_a_local_asset() -> None:
    @asset
    def events(ctx: AssetContext) -> None: ...

    with pytest.raises((AttributeError, pickle.PicklingError), match="local"):
        pickle.dumps(events)


@pytest.mark.parametrize(
    "kind",
    [AssetIn["raw.events"], AssetIn["raw.events", pl.DataFrame], AssetIn[AssetKey("a", "b")]],
)
def test_an_annotation_is_pickled_and_copied_as_the_same_class(kind: Any) -> None:
    assert pickle.loads(pickle.dumps(kind)) is kind
    assert copy.copy(kind) is kind
    assert copy.deepcopy(kind) is kind


def test_the_bare_annotation_is_pickled_by_name() -> None:
    assert pickle.loads(pickle.dumps(AssetIn)) is AssetIn


def module_function(ctx: AssetContext) -> int:
    return 1
