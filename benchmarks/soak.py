"""What stays in the memory of a control plane: its slope over 200,000 events."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from measure import HERE, PYTHON, BenchmarkError, Measurement, Options, progress, run, slope
from services import Services

NAME: Final = "soak"
SUMMARY: Final = "memory of the control plane over 200,000 events"

_EVENTS: Final = 200_000
_QUICK_EVENTS: Final = 2_000
_PART: Final = 10_000
"""Events that the slope is given for."""
_WARM_UP: Final = 0.25
"""What part of the events come before the first sample that counts."""
_SECONDS: Final = 3_600


def measure(options: Options) -> Iterator[Measurement]:
    """Let runs of chains follow each other, and look at the memory after each."""
    events = _QUICK_EVENTS if options.quick else _EVENTS
    chains = 10 if options.quick else 100
    with Services(options.folder / NAME, slots=0) as services:
        command = [PYTHON, HERE / "drive_load.py", services.url, chains, 10, events]
        done = run(
            [*map(str, command), str(services.plane.pid)],
            env=services.environment, timeout=_SECONDS,
        )  # fmt: skip
    found = json.loads(done.output)
    samples: list[tuple[int, int]] = [tuple(pair) for pair in found["samples"]]
    total, resident = samples[-1]
    if not resident:
        raise BenchmarkError("the memory of a process cannot be read on this system")
    warm = [pair for pair in samples if pair[0] >= total * _WARM_UP]
    progress(
        f"{total:,} events in {found['took']['run']:.0f} s: {warm[0][1] / 1e6:.1f} MB after "
        f"{warm[0][0]:,}, {resident / 1e6:.1f} MB at the end"
    )
    yield Measurement(
        benchmark=NAME,
        what=f"memory of the control plane: slope for each {_PART:,} of {total:,} events",
        unit="MB",
        samples=(slope(warm) * _PART / 1e6,),
        limit=1,
        note=f"{found['runs']} runs, each of {chains * 10:,} tasks with lines, measurements and "
        f"progress; the first {_WARM_UP:.0%} left out",
    )
    yield Measurement(
        benchmark=NAME,
        what=f"memory of the control plane after {total:,} events",
        unit="MB",
        samples=(resident / 1e6,),
        note=f"{total / found['took']['run']:,.0f} events/s",
    )
