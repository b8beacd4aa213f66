"""How many deaths of the control plane the runs survive: the storms of the fault tests, for longer.

Each storm is a process (``tests/chaos/storm.py``) with graphs and moments of its own. It kills the
control plane with SIGKILL, before and after commits and at any other moment, some of the time the
workers as well, and ends with the checks of ``tests/chaos/invariants.py``: a storm after which
anything is lost, doubled, stuck or half published is an error here.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from measure import PYTHON, ROOT, BenchmarkError, Measurement, Options, environment, progress, run

NAME: Final = "chaos"
SUMMARY: Final = "runs while the control plane is killed thousands of times; only when it is named"

_STORM: Final = 500
"""Kills of one storm."""
_QUICK: Final = 12
_KILLS_FOR_A_WORKER: Final = 25
_SECONDS_A_KILL: Final = 10.0
"""Where a storm takes longer than that, it has stopped moving."""


def measure(options: Options) -> Iterator[Measurement]:
    """Let storms pass until the control plane was killed as often as was asked for."""
    left = _QUICK if options.quick else options.kills
    found: list[dict[str, Any]] = []
    while left > 0:
        kills = min(left, _STORM)
        found.append(_storm(options.folder / f"storm-{len(found)}", kills))
        left -= kills
    total: Counter[str] = Counter()
    for one in found:
        total.update({name: one[name] for name in ("kills", "worker_kills", "seconds", "events")})
        total.update(runs=sum(one["runs"].values()), tasks=sum(one["tasks"].values()))
    for name, what in (
        ("kills", "kills of the control plane, all survived"),
        ("worker_kills", "kills of workers meanwhile"),
        ("runs", "runs that came to their end"),
        ("tasks", "tasks of these runs"),
        ("events", "events, folded again to the stored state"),
    ):
        yield Measurement(benchmark=NAME, what=what, unit="", samples=(float(total[name]),))
    yield Measurement(
        benchmark=NAME,
        what="a death and what follows, up to the next one",
        unit="s",
        samples=tuple(one["seconds"] / one["kills"] for one in found),
        note=f"{total['seconds']:.0f} s in all, with the checks",
    )


def _storm(folder: Path, kills: int) -> dict[str, Any]:
    seed = random.randrange(2**32)
    paths = os.pathsep.join(str(ROOT / name) for name in ("src", "tests"))
    try:
        done = run(
            [
                *(PYTHON, "-m", "chaos.storm", "--kills", str(kills), "--seed", str(seed)),
                *("--worker-kills", str(kills // _KILLS_FOR_A_WORKER), "--folder", folder),
            ],
            env=environment(PYTHONPATH=paths),
            timeout=60 + kills * _SECONDS_A_KILL,
        )
    except BenchmarkError as exc:
        raise BenchmarkError(f"the storm with the seed {seed} did harm: {exc}") from exc
    found: dict[str, Any] = json.loads(done.output)
    progress(
        f"{found['kills']} kills survived in {found['seconds']:.0f} s, {len(found['boundaries'])} "
        f"kinds of moments (seed {seed})"
    )
    return found
