"""Run the benchmarks and print one table; ``scripts/dev bench --help``."""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import calls
import event_log
import history
import hostile
import idle
import imports
import latency
import manifest
import mutants
import peers
import rows
import serve
import soak
import state
import table
import tasks
from measure import HERE, ROOT, BenchmarkError, Measurement, Options, progress

import chaos

BENCHMARKS: Final = {
    module.NAME: module
    for module in (
        imports, manifest, tasks, calls, serve, latency, idle, event_log, soak, state, history,
        rows, mutants, chaos, hostile,
    )
}  # fmt: skip
BY_NAME_ONLY: Final = frozenset({history.NAME, rows.NAME, mutants.NAME, chaos.NAME, hostile.NAME})
"""What takes so long that it is left out unless it is asked for."""
RESULTS: Final = HERE / "results"

_EXIT_OVER: Final = 1
_EXIT_FAILED: Final = 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run benchmarks; return 0, or 1 when a limit is exceeded, or 2 when one cannot be run."""
    given = _parse(arguments)
    machine = describe_machine()
    found: list[Measurement] = []
    try:
        with _work_folder(given.folder) as folder:
            options = Options(
                folder=folder, repeat=given.repeat, quick=given.quick, profile=given.profile,
                kills=given.kills, rows=given.rows,
            )  # fmt: skip
            for name in given.names or [one for one in BENCHMARKS if one not in BY_NAME_ONLY]:
                print(f"{name}: {BENCHMARKS[name].SUMMARY}", file=sys.stderr)
                (folder / name).mkdir()
                found += BENCHMARKS[name].measure(_inside(options, folder / name))
            if given.peers:
                (folder / "peers").mkdir()
                found += peers.measure(_inside(options, folder / "peers"), found)
    except BenchmarkError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return _EXIT_FAILED
    machine["load_after"] = os.getloadavg()[0]
    document = {
        "machine": machine,
        "quick": given.quick,
        "repeat": given.repeat,
        "measurements": [one.as_json() for one in found],
    }
    text = json.dumps(document, indent=2, ensure_ascii=False) + "\n"
    if given.output is not None:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(text, encoding="utf-8")
        progress(f"written to {given.output}")
    if given.json:
        sys.stdout.write(text)
    elif given.markdown:
        sys.stdout.write(table.as_markdown(found, quick=given.quick))
    else:
        table.show(found, machine, quick=given.quick)
    over = [one for one in found if one.is_within_limit is False]
    return _EXIT_OVER if over and not given.quick else 0


def describe_machine() -> dict[str, Any]:
    """Return what one has to know to compare numbers."""
    model = platform.processor() or platform.machine()
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        lines = cpu_info.read_text().splitlines()
        model = next((line.split(": ", 1)[1] for line in lines if "model name" in line), model)
    commit = subprocess.run(
        ["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    return {
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "processor": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "commit": commit.stdout.strip(),
        "load_before": os.getloadavg()[0],
    }


@contextmanager
def _work_folder(wanted: Path | None) -> Iterator[Path]:
    # Not the system's folder for temporary files: that may be in memory, where a durable commit
    # costs nothing.
    parent = wanted or RESULTS
    parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="work-", dir=parent))
    # Tests in a copy of the tree read its files as another user.
    folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _inside(options: Options, folder: Path) -> Options:
    return replace(options, folder=folder)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="scripts/dev bench",
        description="Run the benchmarks and print one table. Progress goes to standard error. "
        "Exit status 1: a limit is exceeded.",
        epilog="; ".join(f"{name}: {module.SUMMARY}" for name, module in BENCHMARKS.items()),
    )
    parser.add_argument(
        "names", nargs="*", metavar="NAME",
        help=f"which ones ({', '.join(BENCHMARKS)}); all but {', '.join(sorted(BY_NAME_ONLY))}",
    )  # fmt: skip
    parser.add_argument("--repeat", type=int, default=5, help="runs of each thing (default 5)")
    parser.add_argument(
        "--quick", action="store_true", help="small sizes: does it work? limits are not judged"
    )
    parser.add_argument(
        "--kills", type=int, default=5_000, metavar="N", help="kills of chaos (default 5000)"
    )
    parser.add_argument(
        "--rows", type=int, default=1_000_000, metavar="N",
        help="tasks that rows fills each database with, in thousands (default 1000000)",
    )  # fmt: skip
    parser.add_argument(
        "--peers", action="store_true",
        help="measure the like with Dagster and Prefect too, in environments that are made for "
        "them below benchmarks/.peers the first time",
    )  # fmt: skip
    printed = parser.add_mutually_exclusive_group()
    printed.add_argument("--json", action="store_true", help="print JSON instead of the table")
    printed.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--output", type=Path, metavar="FILE", help="write the JSON to a file too")
    parser.add_argument(
        "--profile", type=Path, metavar="DIR",
        help="profile control plane, worker and runners (tasks only; times are not comparable)",
    )  # fmt: skip
    parser.add_argument(
        "--folder", type=Path, metavar="DIR", help="where to work; must be on a disk"
    )
    given = parser.parse_args(arguments)
    if given.repeat < 1:
        parser.error("--repeat must be at least 1")
    if given.kills < 1:
        parser.error("--kills must be at least 1")
    if given.rows < 1_000:
        parser.error("--rows must be at least 1000")
    if unknown := sorted(set(given.names) - set(BENCHMARKS)):
        parser.error(f"unknown benchmark {unknown[0]!r}; there are {', '.join(BENCHMARKS)}")
    return given


if __name__ == "__main__":
    sys.exit(main())
