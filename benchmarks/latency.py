"""How soon things are known: of an event to who watches, of a task that is ready to a worker."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

import projects
from imports import compile_ahead
from measure import HERE, PYTHON, Measurement, Options, percentile, progress, run
from services import Services

NAME: Final = "latency"
SUMMARY: Final = "commit to watcher, ready to started"

_RUNS: Final = 500
_QUICK_RUNS: Final = 10


def measure(options: Options) -> Iterator[Measurement]:
    """Run one task after another on an idle worker while somebody watches."""
    compile_ahead()
    runs = _QUICK_RUNS if options.quick else _RUNS
    root = projects.one_sleeper(options.folder / "project")
    rounds: list[dict[str, Any]] = []
    with Services(root, slots=1) as services:
        command = [PYTHON, HERE / "drive_latency.py", services.url, root, str(runs)]
        for _ in range(options.repeat):
            done = run(command, env=services.environment, cwd=root)
            rounds.append(json.loads(done.output))
            progress(
                f"{runs} runs of a task: watcher {percentile(rounds[-1]['watcher'], 99):.1f} ms "
                f"(p99), started {percentile(rounds[-1]['started'], 95):.1f} ms (p95)"
            )
    for name, what, share, limit in (
        ("watcher", "an event's time to its arrival at who watches, commit and all", 99, 20),
        ("started", "ready to started, on an idle worker", 95, 10),
    ):
        every = [value for one in rounds for value in one[name]]
        yield Measurement(
            benchmark=NAME,
            what=f"{what}: p{share}",
            unit="ms",
            samples=tuple(percentile(one[name], share) for one in rounds),
            limit=limit,
            note=f"{len(every):,} of them: median {percentile(every, 50):.2f} ms, at most "
            f"{max(every):.1f} ms",
        )
