"""How long ``servo-gen manifest`` takes beside Python merely executing the same files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import projects
from imports import compile_ahead
from measure import (
    HERE,
    PYTHON,
    Finished,
    Judged,
    Measurement,
    Options,
    alternate,
    environment,
    progress,
    run,
)

NAME: Final = "manifest"
SUMMARY: Final = "servo-gen manifest, a chain of 100,000 assets"


def measure(options: Options) -> Iterator[Measurement]:
    """Measure building manifests."""
    compile_ahead()
    yield from _many(options, 500 if options.quick else 10_000)
    yield from _chain(options, 1_000 if options.quick else 100_000)


def _many(options: Options, count: int) -> Iterator[Measurement]:
    large = projects.many_assets(options.folder / "many", count, files=100)
    small = projects.many_assets(options.folder / "fewer", count // 10, files=10)
    output = options.folder / "many.json"
    first: list[tuple[Finished, ...]] = []
    again: list[tuple[Finished, ...]] = []
    tenth: list[Finished] = []
    for number in range(1, options.repeat + 1):
        for root in (large, small):
            shutil.rmtree(root / ".servo", ignore_errors=True)
        floor = _floor(large)
        first.append((_generate(large, output), floor))
        again.append((_generate(large, output), floor))
        _generate(small, output.with_name("fewer.json"))
        tenth.append(_generate(small, output.with_name("fewer.json")))
        progress(
            f"servo-gen manifest, {count:,} assets: {again[-1][0].seconds:.2f} s beside "
            f"{floor.seconds:.2f} s, a tenth of them {tenth[-1].seconds:.2f} s "
            f"({number} of {options.repeat})"
        )
    for what, pairs in (("first build, ids minted", first), ("built again", again)):
        yield Measurement(
            benchmark=NAME,
            what=f"servo-gen manifest, {count:,} assets in 100 files: {what}",
            unit="s",
            samples=tuple(ours.seconds for ours, _ in pairs),
            beside="compile and execute the files",
            beside_samples=tuple(theirs.seconds for _, theirs in pairs),
            limit=4,
            judged=Judged.RATIO,
        )
    yield Measurement(
        benchmark=NAME,
        what=f"ten times the assets: {count:,}",
        unit="s",
        samples=tuple(pair[0].seconds for pair in again),
        beside=f"{count // 10:,} assets",
        beside_samples=tuple(one.seconds for one in tenth),
        limit=11,
        judged=Judged.RATIO,
    )
    yield Measurement(
        benchmark=NAME,
        what=f"JSON of {count:,} assets",
        unit="MB",
        samples=(output.stat().st_size / 1e6,),
        limit=14,
    )
    yield Measurement(
        benchmark=NAME,
        what=f"memory for {count:,} assets",
        unit="MB",
        samples=tuple(
            max(one.peak_bytes for one in pair) / 1e6
            for pair in zip((ours for ours, _ in first), (ours for ours, _ in again), strict=True)
        ),
        limit=200,
    )


def _chain(options: Options, count: int) -> Iterator[Measurement]:
    root = projects.one_chain(options.folder / "chain", count, files=100)
    output = options.folder / "chain.json"
    rounds = 1 if options.quick else min(options.repeat, 3)
    loaded, planned = [], []
    for pair in alternate(
        rounds,
        lambda: _generate(root, output),
        lambda: run([PYTHON, HERE / "plan_chain.py", output]),
        label=f"a chain of {count:,} assets",
    ):
        loaded.append(pair[0])
        planned.append(json.loads(pair[1].output))
    title = f"a chain of {count:,} assets"
    yield Measurement(
        benchmark=NAME,
        what=f"{title}: loaded, validated, printed",
        unit="s",
        samples=tuple(one.seconds for one in loaded),
    )
    yield Measurement(
        benchmark=NAME,
        what=f"{title}: planned by the control plane",
        unit="s",
        samples=tuple(one["plan_seconds"] for one in planned),
        note=f"{planned[-1]['tasks']:,} tasks",
    )
    yield Measurement(
        benchmark=NAME,
        what=f"{title}: everything upstream of its end selected",
        unit="s",
        samples=tuple(one["select_seconds"] for one in planned),
    )
    yield Measurement(
        benchmark=NAME,
        what=f"{title}: {planned[-1]['part']:,} tasks of it selected and planned",
        unit="s",
        samples=tuple(one["part_seconds"] for one in planned),
        limit=1,
    )


def _generate(root: Path, output: Path) -> Finished:
    """Build a manifest; the project's modules have no byte code, those of Servo have."""
    for cache in root.rglob("__pycache__"):
        shutil.rmtree(cache)
    command: list[str | Path] = [
        PYTHON,
        "-m",
        "servo.cli.gen",
        "manifest",
        root,
        "--output",
        output,
    ]
    return run(command, cwd=root)


def _floor(root: Path) -> Finished:
    # -S and -I would make it faster, but no program of ours runs like that.
    return run([PYTHON, HERE / "floor.py", root / "assets"], env=environment(PYTHONPATH=""))
