"""Projects to measure with: written as a person would, only longer."""

from __future__ import annotations

from pathlib import Path

_MANY = """\
from servo import AssetContext, AssetIn, AssetOut, DailyPartition, asset, not_null, row_count
"""

_ONE_OF_MANY = '''

@asset(
    namespace="{namespace}",
    description="Rows of asset {number} joined with its upstream.",
    owners=["data-platform@example.com"],
    tags={{"team": "core", "tier": "{tier}"}},
{partitions}    checks=[row_count(min_rows=1), not_null("id", "created_at")],
)
def asset_{number:06d}(ctx: AssetContext{upstream}) -> AssetOut:
    """Build asset {number}."""
    rows = [{{"id": n, "value": n * {number}}} for n in range(10)]
    ctx.report_progress("built", percentage=50)
    return ctx.output(rows)
'''

_LINK = '''

@asset(namespace="chain")
def link_{number:06d}(ctx{upstream}):
    """Link {number}."""
    return [{{"n": {number}}}]
'''

_NO_OP = """

@asset(namespace="{namespace}")
def chain_{chain:03d}_{place}(ctx{upstream}):
    pass
"""

_SLEEPER = """\
import time

from servo import asset


@asset(namespace="one")
def sleeper(ctx):
    time.sleep(0.02)
"""


def one_sleeper(root: Path) -> Path:
    """Write a project of one asset that takes so long that its start is news of its own."""
    _write(_assets(root) / "one.py", [_SLEEPER])
    return root


def many_assets(root: Path, count: int, *, files: int) -> Path:
    """Write a project of assets with owners, tags and two checks.

    Most read the one before the last in their file; every other one is partitioned by day.
    """
    folder = _assets(root)
    per_file = count // files
    for file in range(files):
        namespace = f"ns{file:03d}"
        parts = [_MANY]
        for place in range(per_file):
            number = file * per_file + place
            reads = f', upstream: AssetIn["{namespace}.asset_{number - 2:06d}"]'
            days = '    partitions=DailyPartition("date", start="2020-01-01"),\n'
            parts.append(
                _ONE_OF_MANY.format(
                    namespace=namespace,
                    number=number,
                    tier=number % 3,
                    partitions=days if number % 2 else "",
                    upstream=reads if place >= 2 else "",
                )
            )
        _write(folder / f"part_{file:03d}.py", parts)
    return root


def one_chain(root: Path, count: int, *, files: int) -> Path:
    """Write a project of assets each of which reads the one before it, across all files."""
    folder = _assets(root)
    per_file = count // files
    for file in range(files):
        parts = ["from servo import AssetIn, asset\n"]
        for number in range(file * per_file, (file + 1) * per_file):
            reads = f', upstream: AssetIn["chain.link_{number - 1:06d}"]' if number else ""
            parts.append(_LINK.format(number=number, upstream=reads))
        _write(folder / f"links_{file:03d}.py", parts)
    return root


def no_op_chains(root: Path, chains: int, *, length: int = 10, per_file: int = 100) -> Path:
    """Write a project of chains of assets that do nothing; 100 chains to a file."""
    folder = _assets(root)
    for file, first in enumerate(range(0, chains, per_file)):
        namespace = f"group{file:02d}"
        parts = ["from servo import AssetIn, asset\n"]
        for chain in range(min(per_file, chains - first)):
            for place in range(length):
                reads = f', up: AssetIn["{namespace}.chain_{chain:03d}_{place - 1}"]'
                parts.append(
                    _NO_OP.format(
                        namespace=namespace,
                        chain=chain,
                        place=place,
                        upstream=reads if place else "",
                    )
                )
        _write(folder / f"{namespace}.py", parts)
    return root


def _assets(root: Path) -> Path:
    folder = root / "assets"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("")
    return folder


def _write(path: Path, parts: list[str]) -> None:
    path.write_text("".join(parts), encoding="utf-8")
