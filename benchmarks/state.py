"""What it costs to keep the process state that one attempt changes from the next one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Final

from measure import HERE, PYTHON, Measurement, Options, progress, run

NAME: Final = "state"
SUMMARY: Final = "comparing the state of a runner's process after each attempt"

_ATTEMPTS: Final = 100
_QUICK_ATTEMPTS: Final = 10
_ROUNDS_FOR_ONE: Final = 4
"""A round takes a moment only, so that there may be more of them."""


def measure(options: Options) -> Iterator[Measurement]:
    """Measure attempts in one process."""
    attempts = _QUICK_ATTEMPTS if options.quick else _ATTEMPTS
    rounds = options.repeat * _ROUNDS_FOR_ONE
    done = run([PYTHON, HERE / "drive_state.py", options.folder, str(attempts), str(rounds)])
    found: dict[str, list[float]] = json.loads(done.output)
    for name, samples in found.items():
        progress(f"{name}: {sorted(samples)[len(samples) // 2]:.0f} us")
    for name, where in (("few", ""), ("many", ", 100 loggers and large libraries loaded")):
        yield Measurement(
            benchmark=NAME,
            what=f"process state compared after an attempt{where}",
            unit="us",
            samples=tuple(found[f"{name}-check"]),
            beside="with output flushed, warnings and decimals apart",
            beside_samples=tuple(found[f"{name}-surround"]),
            limit=50,
        )
        yield Measurement(
            benchmark=NAME,
            what=f"the same as part of an attempt that does nothing{where}",
            unit="us",
            samples=tuple(found[f"{name}-guarded"]),
            beside="without comparing process state",
            beside_samples=tuple(found[f"{name}-bare"]),
        )
