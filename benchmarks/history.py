"""A control plane that has 100,000 finished tasks behind it: in many runs, and in one chain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from measure import (
    HERE,
    PYTHON,
    BenchmarkError,
    Measurement,
    Options,
    progress,
    resident_bytes,
    run,
)
from services import Services

NAME: Final = "history"
SUMMARY: Final = "100,000 finished tasks behind a control plane; one chain of 100,000, run"

_TASKS: Final = 100_000
_QUICK_TASKS: Final = 200
_EVENTS_OF_A_TASK: Final = 4
_LIMIT: Final = 300
_SECONDS: Final = 7_200


def measure(options: Options) -> Iterator[Measurement]:
    """Run everything on one control plane after the other, and start each of them again."""
    tasks = _QUICK_TASKS if options.quick else _TASKS
    length = 10
    chains = 10 if options.quick else 100
    many = f"{tasks // chains // length:,} runs of {chains * length:,} tasks"
    yield from _measure(options, many, chains, length, tasks * _EVENTS_OF_A_TASK)
    title = f"a chain of {tasks:,} tasks"
    yield from _measure(options, title, 1, tasks, 0)


def _measure(
    options: Options, title: str, chains: int, length: int, events: int
) -> Iterator[Measurement]:
    services = Services(options.folder / f"chains-{chains}", slots=0)
    with services:
        command = (PYTHON, HERE / "drive_load.py", services.url, chains, length, events)
        done = run(
            [*map(str, command), str(services.plane.pid)],
            env=services.environment, timeout=_SECONDS,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(done.output)
        before = resident_bytes(services.plane.pid)
    with services:
        run([PYTHON, HERE / "drive_load.py", services.url, "look"], env=services.environment)
        after = resident_bytes(services.plane.pid)
    if before is None or after is None:
        raise BenchmarkError("the memory of a process cannot be read on this system")
    took = found["took"]
    progress(f"{title}: deployed, selected and run in {sum(took.values()):.0f} s")
    tasks = chains * length * found["runs"]
    if chains == 1:
        if found["selected"] != length:
            raise BenchmarkError(f"{found['selected']} of {length:,} assets were selected")
        for name, what in (
            ("deploy", "deployed"),
            ("select", "everything upstream of its end selected and listed"),
        ):
            yield Measurement(
                benchmark=NAME, what=f"{title}: {what}", unit="s", samples=(took[name],)
            )
    yield Measurement(
        benchmark=NAME,
        what=f"{title}: from CreateRun to the last event",
        unit="ms/task",
        samples=(took["run"] / tasks * 1e3,),
        note=f"{took['run']:.0f} s, the worker answers at once",
    )
    for when, (now, most) in (("behind it", before), ("behind it, started again", after)):
        yield Measurement(
            benchmark=NAME,
            what=f"memory of the control plane with {title} {when}",
            unit="MB",
            samples=(now / 1e6,),
            limit=_LIMIT,
            note=f"{most / 1e6:.0f} MB at most",
        )
