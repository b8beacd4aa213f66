"""Run chains of assets that no code stands behind, one run after another.

``python benchmarks/drive_load.py URL CHAINS LENGTH EVENTS PID`` deploys the chains and runs all of
them again and again until so many events have happened, with attempts that also report lines,
measurements and progress; or once, without these, for 0 events. Prints one line of JSON: how long
everything took, and after each run the events so far and the memory of the control plane, which
has that process id.

``URL forever SELECTION`` runs what is deployed until it is killed; ``URL look`` reads what a person
looks at first.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

from measure import resident_bytes
from scripted import Worker, at_work, chains, client, manifest, run_to_end


async def load(url: str, count: int, length: int, events: int, pid: int) -> None:
    took: dict[str, float] = {}
    samples: list[tuple[int, int]] = []
    async with client(url) as plane:
        began = time.perf_counter()
        await plane.deployments.deploy(manifest(*chains("load", count, length)))
        took["deploy"] = time.perf_counter() - began
        began = time.perf_counter()
        last = f"+load.link_{count - 1:03d}_{length - 1:06d}"
        selected = [one async for one in plane.assets.list([last], page_size=1000)]
        took["select"] = time.perf_counter() - began
        async with at_work(plane, Worker(talkative=events > 0)):
            began = time.perf_counter()
            happened = runs = 0
            while not runs or happened < events:
                happened += await run_to_end(plane, "*")
                runs += 1
                resident = resident_bytes(pid)
                samples.append((happened, resident[0] if resident else 0))
            took["run"] = time.perf_counter() - began
    found = {"took": took, "selected": len(selected), "samples": samples, "runs": runs}
    print(json.dumps(found))


async def forever(url: str, selection: str) -> None:
    async with client(url) as plane, at_work(plane, Worker(credit=2)):
        while True:
            await run_to_end(plane, selection)


async def look(url: str) -> None:
    async with client(url) as plane:
        runs = [run async for run in plane.runs.list()]
        await plane.runs.get(runs[0].run_id)
        await plane.assets.get("load.link_000_000000")


def main() -> None:
    match sys.argv[1:]:
        case [url, "look"]:
            asyncio.run(look(url))
        case [url, "forever", selection]:
            asyncio.run(forever(url, selection))
        case [url, count, length, events, pid]:
            asyncio.run(load(url, int(count), int(length), int(events), int(pid)))


main()
